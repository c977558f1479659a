"""Query files: JSONL of `id`, `question`, `answers`, `gold_ids`, `where` and `kind`, or BEIR's, with qrels."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from mnemodex.schemas.errors import QueryError, reason
from mnemodex.schemas.store.object_url import refuse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_Result = TypeVar("_Result")
_log = logging.getLogger("mnemodex")


@dataclass(frozen=True, slots=True)
class Query:
    """One question.

    Attributes:
        gold: relevance by document key, empty where nothing is known to be relevant.
        answers: of which any is right, none where they are not known.
        where: the filter of its search; see `Retriever.search`.
        kind: of which kind of questions it is; empty where that is not said.
        unanswerable: whether it is known that nothing answers it; without gold and answers alone that is not known.
    """

    id: str
    question: str
    gold: dict[str, int] = field(default_factory=dict)
    answers: tuple[str, ...] = ()
    where: str | None = None
    kind: str = ""
    unanswerable: bool = False


def read_queries(path: Path, *, qrels: Path | None = None) -> list[Query]:
    """Read a query file, plain or gz, and the relevance judgements of a second one.

    A query is known to be unanswerable by `"answerable": false`, or, where neither `answerable` nor qrels nor an
    answer says otherwise, by an empty list of `gold_ids`.

    Raises:
        QueryError: a file is missing, empty, or has a malformed line; the message names the line.
    """
    empty_is_none = qrels is None
    queries = [
        _query(path, number, line, empty_is_none=empty_is_none)
        for number, line in enumerate(_lines(path), 1)
        if line.strip()
    ]
    if not queries:
        raise QueryError(f"{path}: has no queries; write one JSON object a line")
    first: dict[str, int] = {}
    for number, query in enumerate(queries, 1):
        if first.setdefault(query.id, number) != number:
            msg = f"{path}: query {number} has the id {query.id!r} of query {first[query.id]}; make the ids unique"
            raise QueryError(msg)
    if qrels is None:
        return queries
    judged = _read_qrels(qrels)
    unasked = [name for name in judged if name not in first]
    if unasked:
        _log.warning("%s: judges %d queries that %s does not have: %r", qrels, len(unasked), path, unasked[:3])
    return [replace(query, gold=judged.get(query.id, {})) for query in queries]


def find_beir(folder: Path) -> tuple[Path, Path]:
    """Return the queries and the judgements of a BEIR folder: those of its test split, or of its only one.

    Raises:
        QueryError: there are no such files, or several splits and no test split among them.
    """
    queries = next((path for name in ("queries.jsonl", "queries.jsonl.gz") if (path := folder / name).exists()), None)
    splits = sorted((folder / "qrels").glob("*.tsv"))
    if queries is None or not splits:
        raise QueryError(f"{folder}: is no BEIR folder, which has queries.jsonl and qrels/test.tsv; name a query file")
    chosen = folder / "qrels" / "test.tsv"
    if len(splits) > 1 and chosen not in splits:
        names = ", ".join(path.name for path in splits)
        raise QueryError(f"{folder}: has judgements of several splits ({names}); choose one with --qrels FILE")
    return queries, chosen if chosen in splits else splits[0]


def search_each(
    queries: Sequence[Query], search: Callable[[list[str], str | None], Sequence[_Result]]
) -> list[_Result]:
    """Return what a search of questions and their filter gives for each query; those of one filter are asked at once.

    Raises:
        QueryError: a filter is none, and names the query.
    """
    groups: dict[str | None, list[int]] = {}
    for number, query in enumerate(queries):
        groups.setdefault(query.where, []).append(number)
    found: dict[int, _Result] = {}
    for where, numbers in groups.items():
        try:
            results = search([queries[number].question for number in numbers], where)
        except QueryError as error:
            if where is None:
                raise
            raise QueryError(f"query {queries[numbers[0]].id!r}: {error}") from error
        found |= zip(numbers, results, strict=True)
    return [found[number] for number in range(len(queries))]


def _lines(path: Path) -> list[str]:
    refuse_url(path, QueryError)
    try:
        data = path.read_bytes()
        packed = path.suffix.lower() == ".gz" or data.startswith(b"\x1f\x8b")
        text = (gzip.decompress(data) if packed else data).decode("utf-8-sig")
        # JSON may hold other line ends (U+2028), at which `splitlines` would cut.
        return [line.removesuffix("\r") for line in text.split("\n")]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        remedy = "correct the path" if isinstance(error, OSError) and error.errno else "write it in UTF-8, plain or gz"
        raise QueryError(f"{path}: cannot be read ({reason(error)}); {remedy}") from error


def _query(path: Path, number: int, line: str, *, empty_is_none: bool) -> Query:
    try:
        record: Any = json.loads(line)
    except ValueError as error:
        raise QueryError(f"{path} line {number}: is not a JSON object ({error}); correct the line") from error
    if not isinstance(record, dict):
        raise QueryError(f"{path} line {number}: is not a JSON object, but a {type(record).__name__}; correct the line")
    name = record.get("id", record.get("_id"))
    question = record.get("question", record.get("text"))
    gold = record.get("gold_ids") or []
    answers = record.get("answers", record.get("answer")) or []
    if not isinstance(question, str) or name is None or not isinstance(gold, list):
        form = '{"id", "question", "gold_ids"} or BEIR\'s {"_id", "text"}'
        raise QueryError(f"{path} line {number}: a query is {form}; this has {sorted(record)}")
    right = [str(answer) for answer in (answers if isinstance(answers, list) else [answers]) if answer is not None]
    where, kind = record.get("where"), record.get("kind")
    if where is not None and not isinstance(where, str):
        found = type(where).__name__
        raise QueryError(f"{path} line {number}: `where` is no SQL expression, but a {found}; write it as a string")
    answerable = record.get("answerable")
    if answerable is not None and not isinstance(answerable, bool):
        found = type(answerable).__name__
        raise QueryError(f"{path} line {number}: `answerable` is a {found}; write true or false")
    if answerable is None and empty_is_none and record.get("gold_ids") == [] and not right:
        answerable = False
    return Query(
        str(name),
        question,
        {str(key): 1 for key in gold},
        tuple(filter(str.strip, right)),
        where=where,
        kind="" if kind is None else str(kind),
        unanswerable=answerable is False,
    )


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read BEIR's qrels (tab-separated query, document, relevance, with a header) or TREC's (a 0 after the query)."""
    judged: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_lines(path), 1):
        fields = next(csv.reader([line], delimiter="\t")) if "\t" in line else line.split()
        if not fields or (number == 1 and not fields[-1].lstrip("-").isdigit()):
            continue
        try:
            query, document, relevance = fields if len(fields) == 3 else (fields[0], *fields[2:])
            degree = int(relevance)
        except ValueError as error:
            msg = f"{path} line {number}: is not a judgement (query, document, relevance): {line!r}"
            raise QueryError(msg) from error
        if degree > 0:
            judged.setdefault(query, {})[document] = degree
    return judged
