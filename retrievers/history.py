"""What was said of an entity, in the order of time: which fact took the place of which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnemodex.indexers.graph.names import normalize
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.metadata import TIME_TYPES
from mnemodex.schemas.tables import FACTS

if TYPE_CHECKING:
    from datetime import datetime

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class DatedFact:
    """A fact, from when on it holds, and what took its place.

    Attributes:
        fact_id: in the table `facts`.
        valid_from: the time of the first document that states it, or states it again after another value; None where
            no document that states it has a time.
        superseded_by: the fact with the next value; None where it still holds.
    """

    fact_id: int
    subject: str
    predicate: str
    object: str
    valid_from: datetime | None
    superseded_by: int | None


def facts_of(memory: Memory, entity: str, *, newest: bool) -> list[DatedFact]:
    """Return the facts of an entity; see `Memory.history`."""
    if not isinstance(entity, str):
        raise QueryError(f"history: the entity is a {type(entity).__name__}, not a string; give a name")
    field = time_field(memory.snapshot)
    name = "'" + normalize(entity).replace("'", "''") + "'"
    of_name = f"subject = {name} OR object = {name}"
    named = f"(SELECT DISTINCT subject, predicate FROM facts WHERE {of_name})"  # noqa: S608 - quoted
    query = f"SELECT * FROM ({_query(field, named)}) WHERE {of_name} ORDER BY {_ORDER}"  # noqa: S608 - quoted
    facts = [DatedFact(*row) for row in memory.sql(query).fetchall()]
    return [fact for fact in facts if fact.superseded_by is None] if newest else facts


def superseded_facts(memory: Memory) -> Int64s:
    """Return the ids of the facts that hold no more, int64, in no order.

    Raises:
        QueryError: see `time_field`.
    """
    time_field(memory.snapshot)
    query = f"SELECT fact_id FROM {HISTORY} GROUP BY fact_id HAVING bool_and(superseded_by IS NOT NULL)"  # noqa: S608
    ids: Int64s = memory.sql(query).to_arrow_table()["fact_id"].to_numpy()
    return ids


def time_field(snapshot: Snapshot) -> str:
    """Return the column of documents that facts are dated by: that of `triples.time`, or the only one with times.

    Raises:
        QueryError: the memory has no facts, no such column, or several.
    """
    if FACTS.label not in snapshot.manifest.tables:
        raise QueryError("history: the memory has no facts; add `triples` and an index of type graph to the recipe")
    fields = snapshot.fields
    times = [name for name, kind in fields.items() if kind in TIME_TYPES]
    known = ", ".join(times)
    named = (snapshot.manifest.recipe.get("triples") or {}).get("time")
    if named is not None and named not in times:
        raise QueryError(
            f"history: `triples.time` of the recipe is {named!r}, which is no field of times; name one of these: "
            f"{known or 'there is none'}"
        )
    if named is None and not times:
        raise QueryError(
            "history: documents have no field of times; declare it in the recipe, `source.metadata: {time: timestamp}`,"
            " and build again"
        )
    if named is None and len(times) > 1:
        raise QueryError(
            f"history: documents have several fields of times ({known}); name one in the recipe, "
            f"`triples: {{time: {times[0]}}}`, and build again"
        )
    return named if named is not None else times[0]


def history_view(snapshot: Snapshot) -> str:
    """Return the statement that makes the view `history` of all facts over the views of `HISTORY_READS`.

    Where facts have no times, whoever reads the view gets the error that says so.
    """
    try:
        query = _query(time_field(snapshot), "(SELECT DISTINCT subject, predicate FROM facts)")
    except QueryError as error:
        message = "'" + str(error).replace("'", "''") + "'"
        query = f"{_NOTHING} WHERE error({message}) IS NULL"
    return f"CREATE VIEW {HISTORY} AS {query}"


def _query(field: str, named: str) -> str:
    """Return the query of the history of some subjects and predicates, by a column of documents."""
    return _QUERY.format(field='"' + field.replace('"', '""') + '"', named=named)


HISTORY = "history"
"""The name of the view."""
HISTORY_READS = ("facts", "triples", "chunks", "documents")
"""The views that it reads."""
_ORDER = "valid_from NULLS FIRST, subject, predicate, object"
_NOTHING = """
SELECT NULL::BIGINT AS fact_id, NULL::VARCHAR AS subject, NULL::VARCHAR AS predicate, NULL::VARCHAR AS object,
    NULL::TIMESTAMP AS valid_from, NULL::BIGINT AS superseded_by
"""
_QUERY = """
WITH stated AS (
    SELECT DISTINCT f.fact_id, f.subject, f.predicate, f.object, CAST(d.{field} AS TIMESTAMP) AS stated_at
    FROM facts f JOIN {named} named USING (subject, predicate) JOIN triples t USING (fact_id)
    JOIN chunks c USING (chunk_id) JOIN documents d USING (doc_id)
), together AS (
    SELECT subject, predicate FROM stated WHERE stated_at IS NOT NULL
    GROUP BY subject, predicate, stated_at HAVING count(*) > 1
), valued AS (
    SELECT *, lag(fact_id) OVER (PARTITION BY subject, predicate ORDER BY stated_at) AS former
    FROM stated ANTI JOIN together USING (subject, predicate) WHERE stated_at IS NOT NULL
), changed AS (
    SELECT fact_id, subject, predicate, object, stated_at AS valid_from,
        lead(fact_id) OVER (PARTITION BY subject, predicate ORDER BY stated_at) AS superseded_by
    FROM valued WHERE former IS DISTINCT FROM fact_id
), others AS (
    SELECT fact_id, subject, predicate, object, min(stated_at) AS valid_from, NULL AS superseded_by FROM stated
    WHERE fact_id NOT IN (SELECT fact_id FROM changed) GROUP BY ALL
)
FROM changed UNION ALL FROM others
"""
