"""A small library of made-up notes: what the tests build memories of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NOTES = {
    "Harbour": "The harbour master of Olme keeps two logs: one of the ships that come in, one of the tides.",
    "Lighthouse": "A lighthouse keeper climbs two hundred steps every evening to wind the clockwork of the lamp.",
    "Bakery": "Rye bread from the old bakery is baked twice, once in the morning and once after the bells.",
    "Orchard": "Apples from the orchard are stored in straw, because straw keeps the frost away from fruit.",
    "Observatory": "The observatory opens on clear nights; visitors may look at Saturn through the small telescope.",
    "Railway": "The narrow railway carried slate from the quarry down to the harbour until the bridge fell.",
    "Library": "Borrowed books go back on the oak table, and the librarian stamps them before noon.",
    "Beehives": "Bees winter in wooden hives behind the wall; the keeper feeds them sugar when it snows.",
    "Mill": "Water turns the mill wheel in spring, but in a dry August the miller borrows an engine.",
    "School": "Children learn to read music before letters in the school on the hill.",
    "Café": "The café serves naïve guests strong coffee and a slice of lemon cake.",
    "Clocktower": "The clock in the tower runs four minutes fast so that nobody misses the last ferry.",
}
"""Title and text of one note each; `records` makes several documents of every one."""

_PLACES = ("in the north", "near the coast", "behind the forest", "on the island")

STRANGE = (
    {"id": "ja", "title": "港", "text": "港の灯台は毎晩船を導く。", "lang": "ja", "year": 1960},
    {"id": "ru", "title": "Маяк", "text": "Смотритель маяка заводит часы каждый вечер.", "lang": "ru", "year": 1961},
    {"id": "ar", "title": "ميناء", "text": "السفن تدخل الميناء مع المد.", "lang": "ar", "year": 1962},
    {"id": "hi", "title": "पुस्तकालय", "text": "किताबें मेज़ पर रखी हैं।", "lang": "hi", "year": 1963},
    {
        "id": "untitled",
        "title": "",
        "text": "A note without a title about ferries and fog.",
        "lang": "en",
        "year": 1964,
    },
    {"id": "title only", "title": "Nothing but a heading about windmills", "text": "", "lang": "en", "year": 1965},
    {"id": "twin a", "title": "Twin", "text": "Two notes say the very same thing.", "lang": "en", "year": 1966},
    {"id": "twin b", "title": "Twin", "text": "Two notes say the very same thing.", "lang": "en", "year": 1967},
)
"""Other scripts, parts that are empty, and one content under two keys."""


def records() -> list[dict[str, Any]]:
    """All documents, with `lang` and `year` as metadata."""
    plain = [
        {
            "id": f"{title.lower()}-{number}",
            "title": f"{title} {place}",
            "text": f"{text} It is {number} {'mile' if number == 1 else 'miles'} away. " + _detail(title, number),
            "lang": "en",
            "year": 1900 + number,
        }
        for number, place in enumerate(_PLACES, start=1)
        for title, text in _NOTES.items()
    ]
    return [*plain, *STRANGE]


def dated(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Documents with the time of their year."""
    return [{**row, "time": f"{row['year']}-01-01T00:00:00Z"} for row in rows]


def _detail(title: str, number: int) -> str:
    """More words, so that some documents have several chunks."""
    words = ("gull", "rope", "salt", "copper", "moss", "thunder", "ledger", "violet")
    return " ".join(f"The {title.lower()} has {words[(number * 3 + place) % 8]}." for place in range(2 * number))


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parts(folder: Path, rows: list[dict[str, Any]], parts: int) -> Path:
    """The records as so many files, each of which becomes a partition."""
    size = -(-len(rows) // parts)
    for number in range(parts):
        write_jsonl(folder / f"part-{number}.jsonl", rows[number * size : (number + 1) * size])
    return folder


def write_triples(path: Path, rows: list[dict[str, Any]]) -> Path:
    """What the documents with a title and a text say, roughly: every third word of the first ones joins two others."""
    triples = []
    for row in rows:
        words = row["text"].split()[:9]
        said = [[row["title"], words[at], words[at + 1]] for at in range(0, len(words) - 1, 3)]
        triples.append({"id": row["id"], "entities": [], "triples": said if row["title"] else []})
    return write_jsonl(path, triples)


def write_pairs(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A question for every document, which its text begins with and its key ends; its last word answers it."""
    pairs = []
    for row in rows:
        words = (row["text"] or row["title"]).split()
        question = " ".join([*words[:12], row["id"]])
        pairs.append({"id": f"pair {row['id']}", "question": question, "answers": words[-1:], "passage_id": row["id"]})
    return write_jsonl(path, pairs)


def write_vectors(path: Path, keys: list[str], dimension: int) -> None:
    """A vector of length 1 for every key, which two columns have."""
    vectors = np.random.default_rng(0).standard_normal((len(keys), dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pq.write_table(pa.table({"key": keys, "again": keys, "vector": vectors.tolist()}), path)


def words_recipe(source: Path, memory: Path, /, **sections: Any) -> dict[str, Any]:
    """A recipe without a model: BM25 alone."""
    return {"source": {"path": str(source)}, "memory": str(memory), "indexes": {"words": {"type": "bm25"}}, **sections}
