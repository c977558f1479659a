"""`rclone serve s3`, which accepts the conditions of puts and ignores them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time

import pytest
from library import records, words_recipe, write_jsonl

import mnemodex
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import ObjectStoreRefusedError

KEYS = ("testerkey", "secretsecret")
RCLONE = shutil.which("rclone")

pytestmark = pytest.mark.slow


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder whose folders are the buckets of a server."""
    # Older versions have no server of S3.
    if RCLONE is None:
        pytest.skip("no rclone")
    shown = subprocess.run([RCLONE, "serve", "s3", "--help"], check=False, capture_output=True)
    if b"--auth-key" not in shown.stdout:
        pytest.skip("an rclone that does not serve S3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "served" / "bucket").mkdir(parents=True)
    command = ["serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", ",".join(KEYS), tmp_path / "served"]
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "MNEMODEX_CACHE")
    for name, value in zip(names, (*KEYS, f"http://127.0.0.1:{port}", "true", str(tmp_path / "cache")), strict=True):
        monkeypatch.setenv(name, value)
    with subprocess.Popen([RCLONE, *command]) as server:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        yield tmp_path / "served"
        server.terminate()


def test_a_memory_there_is_read_and_not_written(served, tmp_path, inline, monkeypatch):
    notes = write_jsonl(tmp_path / "notes.jsonl", records())
    mnemodex.build(words_recipe(notes, tmp_path / "memory"))
    shutil.copytree(tmp_path / "memory", served / "bucket" / "memory")
    memory = mnemodex.open("s3://bucket/memory")
    assert memory.retriever("words").search(["harbour tides"], k=1)[0][0].key.startswith("harbour")
    assert verify("s3://bucket/memory").problems == []
    for write in (lambda: memory.delete(["hi"]), lambda: mnemodex.build(words_recipe(notes, "s3://bucket/other"))):
        with pytest.raises(ObjectStoreRefusedError, match=r"no conditional put.*If-None-Match"):
            write()
    assert not [path for path in (served / "bucket" / "other").rglob("*") if path.is_file()]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(ObjectStoreRefusedError, match="SignatureDoesNotMatch"):
        mnemodex.open("s3://bucket/memory")
