"""Index files that someone made, with right checksums: each is refused when it is opened, and no process dies."""

from __future__ import annotations

import hashlib
import io

import forging
import numpy as np
import pytest
from forging import forge_list, linked
from small_memory import QUESTIONS

from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import CorruptFileError


@pytest.fixture
def folder(small_memory, tmp_path):
    return linked(small_memory / "memory", tmp_path / "memory")


def forge_file(root, index, ending, change):
    """Change a file of an index's first shard that has it, and its checksum in the snapshot."""
    shard = next(iter(Memory(root).snapshot.index(index).shards))
    path = root / next(file.path for file in shard.files if file.path.endswith(ending))
    if path.suffix == ".npy":
        changed = io.BytesIO()
        np.save(changed, change(np.load(path)))
        forging.put(path, changed.getvalue())
    else:
        forging.put(path, change(bytearray(path.read_bytes())))

    def entries(rows):
        for file in (file for row in rows for file in row["files"]):
            if root / file["path"] == path:
                data = path.read_bytes()
                file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    forge_list(root, index, entries)


def put(place, value):
    def change(array):
        array = array.copy()
        array.ravel()[place] = value
        return array

    return change


def put_bytes(offset, value, size):
    def change(data):
        data[offset : offset + size] = value.to_bytes(size, "little")
        return data

    return change


def flip(place, bit):
    def change(array):
        array = array.copy()
        array[place] ^= np.array(1 << bit, array.dtype)
        return array

    return change


CASES = {
    **{
        f"ngrams {name} {value}": ("ngrams", f"0/body/{name}.npy", put(place, value))
        for name, place, value in [
            *(("levels", column, sign << 60) for column in range(8) for sign in (1, -1)),
            ("leaf_of", 5, 1 << 30),
            ("leaf_of", -1, -(1 << 30)),
            ("marks", 0, (1 << 63) - 1),
            ("marks", 1, 0),
            ("bits", 0, (1 << 63) - 1),
            ("bits", 8, 7),
            ("leaves", 1, 63),
            ("leaves", 2, -5),
            ("leaves", 7, 1 << 40),
            ("borders", 1, 1 << 60),
            ("borders", 1, 0),
            ("samples", 0, (1 << 32) - 1),
        ]
    },
    "ngrams vocabulary": ("ngrams", "0/body/vocabulary.npy", put(1, 1 << 30)),
    "ngrams a bit of a symbol": ("ngrams", "0/body/bits.npy", flip(1, 3)),
    "ngrams a mark": ("ngrams", "0/body/marks.npy", flip(1, 3)),
    "ngrams bits of floats": ("ngrams", "0/body/bits.npy", lambda array: array.view(np.float64)),
    "ngrams short bits": ("ngrams", "0/body/bits.npy", lambda array: array[:-8]),
    "ngrams chunks": ("ngrams", "/document_chunks.npy", put(0, -3)),
    "ngrams tokens": ("ngrams", "/document_tokens.npy", put(-1, 1 << 50)),
    "ngrams first tokens": ("ngrams", "/first_tokens.npy", put(1, 1 << 50)),
    "keys titles": ("ngrams", "0/title/leaf_of.npy", put(0, 1 << 30)),
    **{
        f"graph {name} {value}": ("walk", f"/{name}.npy", put(place, value))
        for name, place, value in [
            ("indices", 0, (1 << 31) - 1),
            ("indices", 0, -1),
            ("indptr", 1, 1 << 60),
            ("indptr", 1, -1),
            ("indptr", -1, 1 << 40),
            ("passage_facts", 0, (1 << 31) - 1),
            ("passage_offsets", 1, 1 << 50),
            ("subjects", 0, 1 << 30),
            ("objects", 0, -7),
            ("fact_numbers", 0, 1 << 30),
            ("mention", 0, np.nan),
            ("mention", 0, -1),
            ("mention", 0, np.inf),
            ("partition", 0, 99),
            ("partition", 0, -1),
            ("row", 0, 1 << 40),
        ]
    },
    "graph texts": ("walk", "/facts.arrow", lambda data: data.replace(b"lies at", b"\xff" * 7)),
    "graph labels": ("walk", "/labels.json", lambda data: b'{"a": 1}'),
    **{
        f"words {name} {value}": ("words", f"/{name}.npy", put(place, value))
        for name, place, value in [
            ("documents", 0, (1 << 31) - 1),
            ("documents", 0, -1),
            ("indptr", 1, 1 << 60),
            ("indptr", 2, 0),
            ("word_offsets", 1, 1 << 60),
            ("lengths", 0, (1 << 31) - 1),
            ("lengths", 0, -1),
        ]
    },
    "words of fewer rows": ("words", "/lengths.npy", lambda array: array[:-1]),
    "words of another type": ("words", "/documents.npy", lambda array: array.astype(np.int64)),
    "words of objects": ("words", "/documents.npy", lambda array: array.astype("U5")),
    "words cut short": ("words", "/documents.npy", lambda array: array[:0]),
    **{
        f"graph {offset} {value}": ("graph", "/index.hnsw", put_bytes(offset, value, size))
        for offset, value, size in [
            (0, 8, 8),
            (8, 1 << 50, 8),
            (16, 1 << 40, 8),
            (16, 1, 8),
            (24, 1 << 20, 8),
            (32, 64, 8),
            (40, 4, 8),
            (48, 7, 4),
            (48, (1 << 32) - 1, 4),
            (52, 1 << 30, 4),
            (56, 1 << 40, 8),
            (64, 2, 8),
            (96, 0xFFFF, 2),
            (100, 1 << 31, 4),
        ]
    },
    "graph upper levels": ("graph", "/index.hnsw", lambda data: data[:-4] + (4).to_bytes(4, "little")),
    "graph by chunk": ("graph", "/by_chunk.npy", put(0, 1 << 40)),
    **{
        f"faiss {offset} {value}": ("lists", "/index.faiss", put_bytes(offset, value, size))
        for offset, value, size in [(4, 1 << 30, 4), (8, 1 << 40, 8), (8, 7, 8), (32, 0, 1), (37, 1 << 60, 8)]
    },
    "faiss number of a row": ("lists", "/index.faiss", lambda data: data[:-8] + (1 << 40).to_bytes(8, "little")),
    "faiss cut short": ("lists", "/index.faiss", lambda data: data[:-40]),
    "next values": ("next", "/values.npy", put(0, (1 << 31) - 1)),
    "next negative values": ("next", "/values.npy", put(0, -1)),
}


@pytest.mark.parametrize("case", CASES)
def test_arrays_that_lead_out_of_an_index_are_refused(folder, case):
    index, ending, change = CASES[case]
    forge_file(folder, index, ending, change)
    with pytest.raises(CorruptFileError, match=r"remove|build the (shard|index) again|build it again"):
        Memory(folder).retriever("keys" if index == "ngrams" and "keys" in case else index).search(QUESTIONS, 12)


def test_numbers_of_documents_are_refused_when_they_are_read(folder):
    forge_file(folder, "ngrams", "0/body/documents.npy", lambda array: ~np.zeros_like(array))
    index = Memory(folder).retriever("ngrams")
    assert index.count(["river"]) > 0
    with pytest.raises(CorruptFileError, match="numbers of no documents; build the shard again"):
        index.documents(["river"])


@pytest.mark.parametrize("index", ["ngrams", "walk", "words", "graph", "next"])
def test_what_is_as_it_was_built_is_not_refused(folder, index):
    forge_file(folder, index, ".npy", lambda array: array)
    forge_list(folder, index, lambda _: None)
    assert len(Memory(folder).retriever(index).search(QUESTIONS, 3))
