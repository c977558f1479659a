"""Which triples can be used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.graph.names import entity_id, fact_id, normalize
from mnemodex.pipelines.bad_row import BadRow

if TYPE_CHECKING:
    from mnemodex.pipelines.extractors.base import Raw

_SHOWN = 200
"""Characters of a bad triple that are kept."""

# Names come again and again, and their normal forms are made letter by letter.
_normal = lru_cache(maxsize=1 << 16)(normalize)


@dataclass(frozen=True, slots=True)
class Triple:
    """A triple as it was written, with the ids of its normal form."""

    subject: str
    predicate: str
    object: str
    subject_id: int
    object_id: int
    fact_id: int


class Judge:
    """Makes triples of what was found, and says of the rest why it is left out.

    Left out: what is not three strings, names without a letter or digit, and facts about one entity only. Kept, but
    counted: names of one character, and predicates without a letter or digit.

    Args:
        salt: the recipe's `id_salt`.

    Attributes:
        counts: triples that were `wrong_form`, `empty_name` or `self_loop` (left out), and `one_character` or
            `no_predicate` (kept).
    """

    def __init__(self, *, salt: str) -> None:
        self._salt = salt
        self.counts = Counter[str](wrong_form=0, empty_name=0, self_loop=0, one_character=0, no_predicate=0)

    def __call__(self, raw: Raw) -> Triple | BadRow:
        """A triple, or why it is none."""
        parts = _parts(raw.value)
        if parts is None:
            return self._left_out(raw, "wrong_form", "a triple is three strings")
        subject, predicate, object_ = parts
        head, middle, tail = map(_normal, parts)
        if not head or not tail:
            return self._left_out(raw, "empty_name", "a name of the triple has no letter or digit")
        if head == tail:
            return self._left_out(raw, "self_loop", "both names of the triple are one entity")
        self.counts["one_character"] += len(head) == 1 or len(tail) == 1
        self.counts["no_predicate"] += not middle
        head_id, tail_id = (entity_id(name, salt=self._salt) for name in (head, tail))
        fact = fact_id(head, middle, tail, salt=self._salt)
        return Triple(subject, predicate, object_, head_id, tail_id, fact)

    def _left_out(self, raw: Raw, kind: str, reason: str) -> BadRow:
        self.counts[kind] += 1
        return BadRow(raw.source, raw.line, reason, str(raw.value)[:_SHOWN])


def _parts(value: Any) -> tuple[str, str, str] | None:
    """The three parts with single spaces; numbers, which models write without quotes, are names too."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        return None
    if not all(isinstance(part, str | int | float) and not isinstance(part, bool) for part in value):
        return None
    subject, predicate, object_ = (" ".join(str(part).split()) for part in value)
    return subject, predicate, object_
