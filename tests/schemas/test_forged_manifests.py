"""Manifests and list files that someone made, with right checksums."""

from __future__ import annotations

import os
import shutil

import pytest
from forging import forge, forge_list, linked
from small_memory import answers, build_again

from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.store.store import open_store


@pytest.fixture
def folder(small_memory, tmp_path):
    return linked(small_memory / "memory", tmp_path / "memory")


def deep(content, levels):
    for _ in range(levels):
        content["recipe"] = {"a": content["recipe"]}


CHANGES = {
    "a seal of itself": lambda c: c["indexes"]["keys"]["settings"].update(of="keys"),
    "a hybrid of itself": lambda c: c["indexes"]["both"]["settings"].update(of=["words", "both"]),
    "a circle": lambda c: [
        c["indexes"]["both"]["settings"].update(of=["keys", "words"]),
        c["indexes"]["keys"]["settings"].update(of="both"),
    ],
    "a value of 10^15": lambda c: c["indexes"]["graph"]["search"].update(value=10**15),
    "a value of text": lambda c: c["indexes"]["graph"]["search"].update(value="64"),
    "no value": lambda c: c["indexes"]["graph"]["search"].update(value=0),
    "10^12 rows of an index": lambda c: c["indexes"]["words"].update(rows=10**12),
    "10^12 rows of a table": lambda c: c["tables"]["chunks"]["partitions"].update(rows=10**12),
    "-1 rows": lambda c: c["indexes"]["words"].update(rows=-1),
    "10^400 bytes": lambda c: c["tables"]["chunks"]["partitions"].update(bytes=10**400),
    "a table called files": lambda c: c["tables"].update(files=c["tables"]["chunks"] | {"name": "files"}),
    "a table of another name": lambda c: c["tables"].update(other=c["tables"]["chunks"]),
    "a model without anything": lambda c: c["encoders"].update(minilm={}),
    "vectors without numbers": lambda c: [entry.update(dimension=0) for entry in c["encoders"].values()],
    "70 levels": lambda c: deep(c, 70),
    "another snapshot's": lambda c: c.update(name="000001"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_manifest_whose_entries_cannot_be_is_refused_when_it_is_opened(folder, change):
    assert Memory(folder).indexes
    forge(folder, change)
    with pytest.raises(CorruptFileError, match=r"000002\.json: .* remove CURRENT and the folder snapshots"):
        Memory(folder)


def test_json_of_any_depth_is_refused(folder):
    forge(folder, data=b'"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    with pytest.raises(CorruptFileError, match="is not JSON"):
        Memory(folder)


SETTINGS = {
    "both": lambda settings: settings.update(of=[]),
    "flat": lambda settings: settings.clear(),
    "words": lambda settings: settings.update(b="much"),
    "next": lambda settings: settings.update(lm={}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_are_none_are_refused_when_the_index_is_opened(folder, name):
    forge(folder, lambda content: SETTINGS[name](content["indexes"][name]["settings"]))
    with pytest.raises(CorruptFileError, match=f"index {name!r}: the manifest"):
        Memory(folder).retriever(name)


def test_settings_of_an_encoder_that_are_none_are_refused(folder):
    wrong = {"encoder": "sentence_transformers", "model": 7}
    forge(folder, lambda content: [entry.update(settings=wrong) for entry in content["encoders"].values()])
    with pytest.raises(CorruptFileError, match="embedding 'minilm': the manifest's settings are none"):
        Memory(folder).encoder("minilm")


def test_more_candidates_than_a_search_can_keep_are_refused(folder):
    for name, value in (("graph", 5000), ("lists", 5000)):
        forge(folder, lambda content, name=name, value=value: content["indexes"][name]["search"].update(value=value))
        with pytest.raises(CorruptFileError, match=f"is searched with {value}"):
            Memory(folder).retriever(name)


LISTS = {
    "without a file": ("chunks", lambda rows: rows[0].update(files=[])),
    "without .parquet": (
        "chunks",
        lambda rows: [file.update(path=file["path"] + ".txt") for file in rows[0]["files"]],
    ),
    "of 10^12 rows": ("chunks", lambda rows: rows[0].update(rows=10**12)),
    "that lies elsewhere": ("chunks", lambda rows: rows[0]["files"][0].update(path=rows[1]["files"][0]["path"])),
    "of other tables": ("chunks", lambda rows: rows[0].update(label="other")),
    "listed twice": ("words", lambda rows: rows.append(rows[0])),
    "with fewer files than there are": ("words", lambda rows: rows[0].update(files=rows[0]["files"][1:])),
}


@pytest.mark.parametrize("case", LISTS)
def test_results_that_cannot_be_are_refused_when_they_are_opened(folder, case):
    of, change = LISTS[case]
    forge_list(folder, of, lambda _: None)
    answered = answers(folder)
    assert not [answer for answer in answered.values() if isinstance(answer, Exception)]
    forge_list(folder, of, change)
    errors = [answer for answer in answers(folder).values() if isinstance(answer, Exception)]
    assert errors and {type(error) for error in errors} == {CorruptFileError}


@pytest.mark.parametrize("kind", ["pipe", "huge"])
def test_a_current_that_would_never_end_is_not_read(folder, kind):
    before = open_store(folder)[1]
    current = folder / "CURRENT"
    current.unlink()
    if kind == "pipe":
        os.mkfifo(current)
    else:
        with current.open("wb") as file:
            file.truncate(3 << 30)
    assert open_store(folder)[1] == before


def test_a_pipe_in_place_of_a_manifest_or_a_partition_is_refused(folder):
    file = next(iter(open_store(folder)[1].tables["chunks"].partitions)).files[0]
    opened = Memory(folder)
    for path in (folder / file.path, folder / "snapshots/000002.json"):
        path.unlink()
        os.mkfifo(path)
    with pytest.raises(CorruptFileError, match="is no regular file"):
        opened.snapshot.paths("chunks")
    with pytest.raises(CorruptFileError, match=r"000002\.json.*is no regular file"):
        open_store(folder)


@pytest.mark.parametrize("case", ["a manifest", "a list"])
def test_the_remedy_of_a_forged_manifest_works_in_the_same_folder(small_memory, tmp_path, case):
    root = shutil.copytree(small_memory / "memory", tmp_path / "memory")
    before = answers(root)
    files = {path for path in root.rglob("*.parquet") if "lists" not in path.parts}
    if case == "a list":
        forge_list(root, "words", LISTS["listed twice"][1])
    else:
        forge(root, CHANGES["a seal of itself"])
    with pytest.raises(CorruptFileError, match="remove CURRENT and the folder snapshots and build again"):
        list(open_store(root)[1].indexes["words"].shards)
    (root / "CURRENT").unlink()
    shutil.rmtree(root / "snapshots")
    build_again(small_memory, root)
    after = answers(root)
    assert {name: answer for name, answer in after.items() if name.startswith("search")} == {
        name: answer for name, answer in before.items() if name.startswith("search")
    }
    assert files <= {*root.rglob("*.parquet")}
