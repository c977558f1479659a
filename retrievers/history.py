"""What was said of an entity, in the order of time: which fact took the place of which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnemodex.indexers.graph.names import normalize
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.metadata import TIME_TYPES

if TYPE_CHECKING:
    from datetime import datetime

    from mnemodex.retrievers.memory import Memory


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


def history(memory: Memory, entity: str, *, time: str, newest: bool = False) -> list[DatedFact]:
    """Return the facts of an entity, as subject or as object, by time, those without a time first.

    A subject and a predicate have one value where no two objects are stated at the same time; then each value holds
    until the next one is stated, and the same value may come back. Of others, all facts hold.

    Args:
        memory: with triples.
        entity: a name, which is compared in its normal form.
        time: the field of documents with their times, of type `timestamp` or `date`.
        newest: only the facts that still hold.

    Raises:
        QueryError: there is no such field, or it holds no times.
    """
    kind = memory.snapshot.fields.get(time)
    if kind not in TIME_TYPES:
        known = ", ".join(name for name, of in memory.snapshot.fields.items() if of in TIME_TYPES) or "there is none"
        raise QueryError(f"time: {time!r} is no field of times; name one of these: {known}")
    name = "'" + normalize(entity).replace("'", "''") + "'"
    field = '"' + time.replace('"', '""') + '"'
    rows = memory.sql(_QUERY.format(name=name, field=field)).fetchall()
    facts = [DatedFact(*row) for row in rows]
    return [fact for fact in facts if fact.superseded_by is None] if newest else facts


_QUERY = """
WITH named AS (
    SELECT DISTINCT subject, predicate FROM facts WHERE subject = {name} OR object = {name}
), stated AS (
    SELECT DISTINCT f.fact_id, f.subject, f.predicate, f.object, CAST(d.{field} AS TIMESTAMP) AS stated_at
    FROM facts f JOIN named USING (subject, predicate) JOIN triples t USING (fact_id)
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
SELECT * FROM (FROM changed UNION ALL FROM others) WHERE subject = {name} OR object = {name}
ORDER BY valid_from NULLS FIRST, subject, predicate, object
"""
