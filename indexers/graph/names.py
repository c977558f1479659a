"""When two names are one: the normal form by which entities are known."""

from __future__ import annotations

import unicodedata

from mnemodex.schemas.ids import hash_text


def normalize(name: str) -> str:
    """The normal form of a name: letters, marks and digits of any script in lower case, all else one space.

    HippoRAG keeps `[A-Za-z0-9 ]` only, so that names in other scripts become nothing; on names in ASCII both forms are
    equal but for runs of spaces.
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(_keep(folded).split())


def _keep(text: str) -> str:
    # Python's \w leaves out the vowel signs that Indic scripts write as marks.
    return "".join(
        letter if letter.isalnum() or unicodedata.category(letter).startswith("M") else " " for letter in text
    )


def entity_id(normalized: str, *, salt: str = "") -> int:
    """The id of an entity: a hash of its normal form, so that partitions need no coordination."""
    return hash_text("entity", normalized, salt=salt)


def fact_id(subject: str, predicate: str, object_: str, *, salt: str = "") -> int:
    """The id of a fact, from the normal forms of its three parts."""
    return hash_text("fact", subject, predicate, object_, salt=salt)
