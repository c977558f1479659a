"""TREC runs: what evaluators of retrieval read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence


def trec_run(names: Sequence[str], answers: Sequence[Sequence[tuple[str, float]]], *, tag: str) -> str:
    """Return a TREC run, `query Q0 document rank score tag` a line, of the names of queries and the answers to them.

    Fields end at white space, so that in names and keys it is written as in a URL (`a b` is `a%20b`).
    """
    # Nine digits tell any two float32 apart: evaluators sort by the score.
    lines = [
        f"{_field(name)} Q0 {_field(key)} {rank} {score:.9g} {tag}\n"
        for name, answer in zip(names, answers, strict=True)
        for rank, (key, score) in enumerate(answer, start=1)
    ]
    return "".join(lines)


def _field(text: str) -> str:
    return re.sub(r"\s", lambda space: quote(space[0]), text)
