"""How memories and hits look in an interpreter and in a notebook."""

from __future__ import annotations

import textwrap
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from mnemodex.schemas.printable import printable
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnemodex.retrievers.hits import Hits
    from mnemodex.schemas.manifest import Manifest

_QUERIES, _HITS, _LETTERS = 3, 5, 80
"""Queries that are shown, hits of each, and letters of a text."""
_HIT_COLUMNS = ("query", "rank", "score", "key", "title", "text")
_INDEX_COLUMNS = ("index", "type", "over", "rows", "recall")
SHOWN_TABLES = (DOCUMENTS.label, CHUNKS.label)
"""Tables whose rows are shown of a memory."""


class ShownIndex(NamedTuple):
    """What is shown of an index: with the table that it is over, its rows, and its recall where that was measured."""

    name: str
    type: str
    over: str
    rows: int
    recall: float | None


class Shown(NamedTuple):
    """What is shown of a memory: its snapshot's name, the rows of its tables, and its indexes."""

    snapshot: str
    tables: Mapping[str, int]
    indexes: Sequence[ShownIndex]


def hits_text(hits: Hits) -> str:
    """Return the first hits of the first queries, one a line."""
    lines = [
        f"  {query}  {rank:>2}  {score:>8.4f}  {' '.join(filter(None, (f'[{key}]', title, text)))}"
        for query, rank, score, key, title, text in _hit_rows(hits)
    ]
    return "\n".join([_summary(hits), *lines])


def hits_html(hits: Hits) -> str:
    """Return the first hits of the first queries as an HTML table."""
    rows = ((query, rank, f"{score:.4f}", *texts) for query, rank, score, *texts in _hit_rows(hits))
    return _html(_summary(hits), _HIT_COLUMNS, rows)


def memory_text(place: str, shown: Shown) -> str:
    """Return a memory's place, snapshot, size and indexes."""
    indexes = ", ".join(f"{index.name} ({index.type})" for index in shown.indexes) or "none"
    return f"<Memory {printable(place)}, {_size(shown)}, indexes: {printable(indexes)}>"


def memory_html(place: str, shown: Shown) -> str:
    """Return a memory's indexes as an HTML table."""
    rows = (
        (i.name, i.type, i.over, f"{i.rows:,}", "" if i.recall is None else f"{i.recall:.3f}") for i in shown.indexes
    )
    return _html(f"Memory {place}, {_size(shown)}", _INDEX_COLUMNS, rows)


def shown_of(manifest: Manifest) -> Shown:
    """Return what is shown of a snapshot."""
    tables = {name: manifest.tables[name].rows for name in SHOWN_TABLES if name in manifest.tables}
    indexes = [
        ShownIndex(i.name, i.type, i.table or "", i.rows, i.recall.recall if i.recall else None)
        for i in manifest.indexes.values()
    ]
    return Shown(manifest.name, tables, indexes)


def _size(shown: Shown) -> str:
    rows = ", ".join(f"{rows:,} {name}" for name, rows in shown.tables.items())
    return f"snapshot {shown.snapshot}: {rows}"


def _summary(hits: Hits) -> str:
    count = int((hits.ids >= 0).sum())
    return f"<Hits: {count} of {len(hits)} {'query' if len(hits) == 1 else 'queries'}, k = {hits.ids.shape[1]}>"


def _hit_rows(hits: Hits) -> list[tuple[Any, ...]]:
    return [
        (query, chunk.rank, chunk.score, *map(_shortened, (chunk.key, chunk.title, chunk.text)))
        for query, chunks in enumerate(hits.first(_QUERIES, _HITS).chunks())
        for chunk in chunks
    ]


def _shortened(text: str) -> str:
    return printable(textwrap.shorten(text, _LETTERS, placeholder=" …"))


def _html(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(printable(str(cell)))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<p>{escape(printable(title))}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
