"""What a server is told, and what it is not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mnemodex.deploy.settings import ServerSettings, is_loopback, name_memories
from mnemodex.schemas.errors import UserError


def test_a_memory_is_called_as_its_folder_or_as_is_said(tmp_path):
    named = name_memories([str(tmp_path / "one"), f"two={tmp_path / 'one'}"])
    assert named == {"one": tmp_path / "one", "two": tmp_path / "one"}


@pytest.mark.parametrize("arguments", [["a/x", "b/x"], ["=a"], ["/"], [""], ["a="]])
def test_memories_of_one_name_or_of_none_are_refused(arguments):
    with pytest.raises(UserError):
        name_memories(arguments)


def test_other_machines_need_a_key(tmp_path):
    for host in ("0.0.0.0", "192.168.0.1", "::", "example.org"):
        with pytest.raises(ValidationError, match="mnemodex keys add"):
            ServerSettings(memories={"a": tmp_path}, host=host)
        assert ServerSettings(memories={"a": tmp_path}, host=host, keys=tmp_path / "keys").host == host


def test_this_machine_needs_none():
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.1.2.3")))


def test_https_needs_both_files(tmp_path):
    with pytest.raises(ValidationError, match="--tls-key"):
        ServerSettings(memories={"a": tmp_path}, tls_cert=tmp_path / "cert")
