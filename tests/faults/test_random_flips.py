"""Bytes of a memory's files, changed at random: `verify` names the file, and no answer is made of it."""

from __future__ import annotations

import pytest
from damage import Folder, is_right, problems
from fuzzing import stream
from small_memory import answers, build_small, encode_once

FLIPS = 150


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_flipped_byte_is_found_and_makes_no_answer(tmp_path, monkeypatch, counts):
    encode_once(monkeypatch)
    small = Folder(build_small(tmp_path))
    sound = answers(small.root)
    kinds = {}
    for file in small.files():
        kinds.setdefault((file.split("/")[0], file.rpartition(".")[2]), []).append(file)
    chance, wrong = stream("flips"), []

    def flipped(data):
        place = chance.randrange(len(data))
        return data[:place] + bytes([data[place] ^ chance.randrange(1, 256)]) + data[place + 1 :]

    for _ in range(FLIPS):
        file = chance.choice(kinds[chance.choice(sorted(kinds))])
        with small.damaged(file, damage=flipped) as damaged:
            found, given = problems(small.root), answers(small.root)
        counts["flips"] += 1
        wrong += [] if any(damaged[0] in problem for problem in found) else [("not found", file)]
        wrong += [(name, file) for name, answer in given.items() if not is_right(answer, sound.get(name), damaged)]
        counts["answers refused"] += sum(answer != sound.get(name) for name, answer in given.items())
    assert wrong == []
    assert answers(small.root) == sound
