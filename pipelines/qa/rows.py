"""Rows of a file of question-answer pairs: JSONL, CSV or Parquet."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import from_json

from mnemodex.indexers.qa import normalize_question
from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import COMPRESSIONS
from mnemodex.pipelines.sources.reading import read_blocks, read_lines
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_COLUMNS = ("id", "question", "answers", "answer", "passage_id", "score")
_FORM = '{"id", "question", "answers", "passage_id"}'
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


class PairRow(NamedTuple):
    """A question with its answers, as it was written; without a key it is called by its line."""

    line: int
    key: str
    question: str
    answers: list[str]
    passage: str
    score: float | None


def check_file(path: Path) -> None:
    """Refuse a file of pairs that is not there, is empty, or has an unknown ending, by a `SourceError`."""
    if not path.is_file():
        raise SourceError(f"{path}: no such file of question-answer pairs; correct qa_pairs.from")
    if _ending(path) not in (".jsonl", ".ndjson", ".parquet", *_DELIMITERS):
        known = ".jsonl, .ndjson, .csv or .tsv (each also .gz or .zst), or .parquet"
        raise SourceError(f"{path}: the name is of no known format of question-answer pairs; rename it to {known}")
    if next(read_blocks(path), None) is None:
        raise SourceError(f"{path}: the file of question-answer pairs is empty; correct qa_pairs.from")


def read_pairs(path: Path) -> Iterator[PairRow | BadRow]:
    """Yield the rows of a file in their order, those that cannot be used with the reason."""
    ending = _ending(path)
    if ending == ".parquet":
        rows: Iterator[_Raw | BadRow] = _read_parquet(path)
    elif ending in _DELIMITERS:
        rows = _read_csv(path, _DELIMITERS[ending])
    else:
        rows = _read_jsonl(path)
    for row in rows:
        yield row if isinstance(row, BadRow) else _parse(path.name, *row)


def _ending(path: Path) -> str:
    """Return how the name ends, without the ending of a compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in COMPRESSIONS), "")


_Raw = tuple[int, Any]
"""The number of a row, and the row."""


def _read_jsonl(path: Path) -> Iterator[_Raw | BadRow]:
    for number, line in enumerate(read_lines(path), 1):
        if line and not line.isspace():
            try:
                yield number, from_json(line, allow_inf_nan=False)
            except ValueError as error:
                yield BadRow.of(path.name, number, f"is not JSON ({error})", line)


def _read_csv(path: Path, delimiter: str) -> Iterator[_Raw | BadRow]:
    """Yield the rows of a CSV file with a header; a cell of several answers is a JSON list."""
    lines = (line.decode("utf-8", "surrogateescape") + "\n" for line in read_lines(path))
    reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
    if "question" not in (reader.fieldnames or ()):
        raise _no_question(path, "its first line", reader.fieldnames or ())
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield BadRow.of(path.name, reader.line_num, f"is not CSV ({error})", "")
            continue
        if row is None:
            return
        if extra := row.pop(None, None):
            # An answer with a comma in it would lose what is behind it.
            reason = f"has more cells than the header, by {len(extra)}; put cells with a {delimiter!r} in quotes"
            yield BadRow.of(path.name, reader.line_num, reason, _shown([*row.values(), *extra]))
            continue
        yield reader.line_num, {**row, "answers": _cell(row.get("answers") or row.get("answer"))}


def _no_question(path: Path, place: str, columns: Iterable[str]) -> SourceError:
    shown = ", ".join(map(repr, columns))
    return SourceError(f"{path}: {place} has no column 'question', but {shown}; give a header of {_FORM}")


def _cell(text: Any) -> Any:
    if isinstance(text, str) and text.lstrip().startswith("["):
        try:
            return from_json(text, allow_inf_nan=False)
        except ValueError:
            # An answer that begins with a bracket.
            return text
    return text


def _read_parquet(path: Path) -> Iterator[_Raw | BadRow]:
    try:
        with pq.ParquetFile(path) as file:
            if "question" not in (names := file.schema_arrow.names):
                raise _no_question(path, "the table", names)
            columns = [name for name in _COLUMNS if name in names]
            batches = file.iter_batches(columns=columns, use_threads=False)
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path}: cannot be read as Parquet ({error}); write it again") from error


def _parse(source: str, line: int, row: Any) -> PairRow | BadRow:
    """Return a row with its fields checked, or why it cannot be used."""
    if not isinstance(row, dict):
        return BadRow.of(source, line, f"is not {_FORM}", _shown(row))
    values = {name: row.get(name) for name in _COLUMNS}
    given = values["answers"] if values["answers"] is not None else values["answer"]
    answers = [_text(answer) for answer in (given if isinstance(given, list) else [given])]
    names = [_text(values[name]) for name in ("id", "passage_id")]
    question: Any = values["question"]
    score = _number(values["score"])
    if not isinstance(question, str) or not normalize_question(question):
        reason = "has no question"
    elif None in answers:
        reason = "has an answer that is no text"
    elif not any(answers):
        reason = "has no answer"
    elif None in names:
        reason = "has an id that is no text or number"
    elif score is None:
        reason = "has a score that is no number"
    else:
        key, passage = map(str, names)
        known = [str(answer) for answer in dict.fromkeys(answers) if answer]
        number = None if math.isnan(score) else score
        pair = PairRow(line, key or f"line {line}", " ".join(question.split()), known, passage, number)
        try:
            # Arrow takes no lone surrogates, which CSV has where it is not UTF-8.
            "".join((key, question, passage, *known)).encode()
        except UnicodeEncodeError:
            reason = "is not valid Unicode"
        else:
            return pair
    return BadRow.of(source, line, f"{reason}; give {_FORM}", _shown(row))


def _text(value: Any) -> str | None:
    """Return a text or number as text with single spaces, empty for none; None for what is no text."""
    if value is None or value != value:  # noqa: PLR0124 - NaN is how some libraries write nothing
        return ""
    if isinstance(value, str) or _is_number(value):
        return " ".join(str(value).split())
    return None


def _number(value: Any) -> float | None:
    """Return a number, which CSV writes as text, NaN where there is none; None for what is no number."""
    if value is None or value == "":
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isinf(number) else number


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False, default=str)
