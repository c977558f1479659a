"""Which reasons of hits are shown to whom."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnemodex.deploy.access import Access

_OF_THE_HIT = re.compile(
    r"word|phrase|sentence|fact|entity|index|next token|body|title|unigram|query|question|(question of )?round \d+"
)
"""Reasons that quote the question, or the hit itself; of facts and entities, those that its passage names. Others, such
as a question rewritten through the facts of a whole graph, quote rows that the hit is not."""


def shown(answer: dict[str, Any], access: Access) -> dict[str, Any]:
    """Return an answer without the reasons that would show rows of others to who sees some rows only."""
    if access.where is None or "hits" not in answer:
        return answer
    return answer | {"hits": [[_shown(hit) for hit in row] for row in answer["hits"]]}


def _shown(hit: dict[str, Any]) -> dict[str, Any]:
    if "reasons" not in hit:
        return hit
    return hit | {"reasons": [reason for reason in hit["reasons"] if _OF_THE_HIT.fullmatch(reason["kind"])]}
