"""Index files that are changed or cut at random, their checksums right: does each search end by itself?

Run as a program of one thread, since it forks: `mutants.py MEMORY ROUNDS`. It prints one JSON object: how many searches
were refused, answered or lacked memory, and all that ended otherwise, with the file and the bytes that were changed.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fuzzing import stream
from small_memory import QUESTIONS, encode_once

from mnemodex.indexers import forks
from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.store.local_files import LocalFiles

INDEXES = ("ngrams", "keys", "walk", "words", "next", "flat", "graph", "lists")
ENDS = {0: "answered", 3: "refused", 4: "out of memory"}
_ADDRESSES = 8 << 30
_SECONDS = 20


def changed(data, chance):
    """A file's bytes, cut short, or with some numbers in it that are others."""
    if not data or chance.random() < 0.15:
        return data[: chance.randrange(len(data) + 1)]
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 2])):
        size = chance.choice([1, 4, 8])
        place = chance.choice([chance.randrange(len(data)), chance.randrange(min(len(data), 256))])
        place -= place % chance.choice([1, size])
        former = int.from_bytes(data[place : place + size], "little")
        limits = [0, 1, former + 1, former - 1, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, -1]
        number = chance.choice([*limits, former ^ 1 << chance.randrange(8 * size), chance.getrandbits(64)])
        data[place : place + size] = (number % (1 << 8 * size)).to_bytes(size, "little")[: len(data) - place]
    return bytes(data)


def search(root, index):
    memory = Memory(root)
    if index == "next":
        # A language model's threads are not in a child.
        datastore = memory.retriever(index)
        datastore.nearest(np.zeros((2, datastore._searcher.dimension), np.float32), 5)
        return
    memory.retriever(index).search(QUESTIONS, 12).to_arrow()
    if index == "ngrams":
        memory.retriever(index).count(["river", "the"])
        memory.retriever(index).locate(["river", "the"])


def end_of_search(root, index, errors):
    """Search in a child; its status, or the signal that ended it as a negative number."""
    child = os.fork()
    if child == 0:
        status = 5
        try:
            resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
            signal.alarm(_SECONDS)
            search(root, index)
            status = 0
        except CorruptFileError:
            status = 3
        except MemoryError:
            status = 4
        except BaseException:
            errors.write_text(traceback.format_exc()[-600:])
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(root, rounds):
    # As if each checksum were right.
    LocalFiles._compare = lambda *_, **__: None
    encode_once(pytest.MonkeyPatch())
    for index in INDEXES:
        search(root, index)
    chance, counts, faults = stream("mutants", rounds), Counter(), []
    for number in range(rounds):
        index = INDEXES[number % len(INDEXES)]
        name = "ngrams" if index == "keys" else index
        files = sorted(file.path for shard in Memory(root).snapshot.index(name).shards for file in shard.files)
        path = root / chance.choice(files)
        sound = path.read_bytes()
        mutant = changed(sound, chance)
        path.write_bytes(mutant)
        forks._first.process = 0
        errors = root.parent / "errors"
        end = end_of_search(root, index, errors)
        path.write_bytes(sound)
        counts[ENDS.get(end, "ended otherwise")] += 1
        if end not in ENDS:
            places = [place for place in range(min(len(sound), len(mutant))) if sound[place] != mutant[place]]
            said = errors.read_text() if end == 5 else end
            faults.append([number, index, str(path.relative_to(root)), len(sound), len(mutant), places[:8], said])
    print(json.dumps({"counts": counts, "faults": faults}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
