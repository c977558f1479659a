"""What a `where` may be that comes from somebody else: one expression over a chunk and its document."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

LONGEST = 20_000
"""Characters of a filter: a column's name of 15,000 parts would end the process in DuckDB."""
_BRACKETS = 200
"""Brackets of a filter: DuckDB's parser takes 24 seconds for 3,000 that are not closed, and cannot be interrupted."""

_SYNTAX = {
    "CASE": None,
    "BETWEEN": None,
    "CAST": None,
    "COLLATE": None,
    "COLUMN_REF": None,
    "COMPARISON": None,
    "CONJUNCTION": None,
    "CONSTANT": None,
    # `metadata -> '$.name'` is parsed as one; no function that calls a lambda is in the list below.
    "LAMBDA": None,
    "OPERATOR": frozenset(
        {
            "ARRAY_EXTRACT",
            "ARRAY_SLICE",
            "COMPARE_IN",
            "COMPARE_NOT_IN",
            "OPERATOR_COALESCE",
            "OPERATOR_IS_NOT_NULL",
            "OPERATOR_IS_NULL",
            "OPERATOR_NOT",
        }
    ),
}
"""Classes of DuckDB's expressions, and the types of each; None means all of its types."""

_WORDS = {
    "patterns": (
        "~~ !~~ ~~* !~~* ~~~ like_escape ilike_escape not_like_escape not_ilike_escape regexp_full_match "
        "regexp_matches ^@ starts_with ends_with prefix suffix contains instr position strpos"
    ),
    "texts": (
        "lower upper lcase ucase length len strlen trim ltrim rtrim substring substr left strip_accents md5 hash"
    ),
    "numbers": "+ - * / // % abs round floor ceil ceiling trunc sign mod least greatest nullif if",
    "lists": "list_value row list_contains list_has array_contains list_has_any list_has_all && @> <@ array_length",
    "json": ("->> json_extract json_extract_string json_exists json_type json_array_length json_contains json_valid"),
    "time": (
        "to_years to_months to_weeks to_days to_hours to_minutes to_seconds date_part datepart date_trunc "
        "date_diff datediff year quarter month week day hour minute second dayofweek strptime try_strptime "
        "make_date epoch now today timezone"
    ),
}
FUNCTIONS = frozenset(name for names in _WORDS.values() for name in names.split())
"""What a filter may call: DuckDB's functions that look at their arguments alone and whose results are no longer than
these. One that makes texts longer, such as `repeat`, can take all memory of the machine, and no limit of DuckDB stops
it."""

TYPES = frozenset(
    {
        *(
            "BOOLEAN",
            "TINYINT",
            "SMALLINT",
            "INTEGER",
            "BIGINT",
            "HUGEINT",
            "UTINYINT",
            "USMALLINT",
            "UINTEGER",
            "UBIGINT",
        ),
        *("REAL", "FLOAT", "DOUBLE", "DECIMAL", "NUMERIC", "VARCHAR", "TEXT", "STRING", "JSON", "UUID"),
        *("DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", "INTERVAL"),
    }
)
"""What a filter may cast to: no bits and bytes, whose text is longer than they are."""

_LISTS = frozenset({"list_value", "row"})
_REMEDY = "compare columns of chunks c and documents d, such as d.key = 'a' AND c.text ILIKE '%tide%'"


def check_filter(where: str) -> None:
    """Refuse what is more than one expression over the columns of a chunk and its document.

    Subqueries, names of tables, aggregates, functions of indexes and of the server's state, and functions that make
    texts longer are refused. Whether it is boolean, and its columns are there, shows when it is run.

    Raises:
        QueryError: `where` is no such expression.
    """
    check_size(where)
    refused = _refused(where)
    if refused is not None:
        raise QueryError(f"where {refused}; {_REMEDY}")


def check_size(where: str) -> None:
    """Refuse a filter that takes long to parse, or would end the process.

    Raises:
        QueryError: `where` is too long, has too many brackets, or is no valid Unicode.
    """
    if len(where) > LONGEST:
        raise QueryError(f"where has {len(where):,} characters; give at most {LONGEST:,}")
    if where.count("(") > _BRACKETS:
        raise QueryError(f"where has {where.count('('):,} opening brackets; give at most {_BRACKETS}")
    try:
        where.encode()
    except UnicodeEncodeError as error:
        raise QueryError("where holds a lone surrogate; give it as valid Unicode") from error


@lru_cache(maxsize=1024)
def _refused(where: str) -> str | None:
    """Return what is wrong with a filter, None where it may be run."""
    import duckdb

    try:
        # Alone, so that a bracket, a comment or a keyword of it cannot close what will stand around it.
        duckdb.SQLExpression(where)
        parsed = json.loads(_parse(where))
    except (duckdb.Error, RecursionError) as error:
        return f"is not one SQL expression ({' '.join(str(error).split())[:300]})"
    if parsed["error"]:
        return f"is not one SQL expression ({parsed['error_message'][:300]})"
    (statement,) = parsed["statements"]
    (expression,) = statement["node"]["select_list"]
    return next(_faults(expression), None)


def _parse(where: str) -> str:
    """Return DuckDB's own reading of an expression, as JSON."""
    cursor = _parser().cursor()
    row = cursor.execute("SELECT json_serialize_sql(?::VARCHAR)", [f"SELECT (\n{where}\n)"]).fetchone()
    assert row is not None  # noqa: S101 - it is one row by construction
    return str(row[0])


@lru_cache(maxsize=1)
def _parser() -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(":memory:")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _faults(expression: dict[str, Any]) -> Iterator[str]:
    """Yield what an expression holds that a filter may not."""
    pending: list[tuple[Any, bool]] = [(expression, False)]
    while pending:
        node, in_list = pending.pop()
        if isinstance(node, list):
            pending.extend((part, in_list) for part in node)
            continue
        if not isinstance(node, dict):
            continue
        class_ = node.get("class")
        name = str(node.get("function_name", "")).casefold()
        if class_ == "TYPE":
            # Its parts are numbers, such as the digits of a DECIMAL, or types of its elements.
            yield from _type_faults(node)
            continue
        if class_ == "FUNCTION":
            yield from _function_faults(node, name)
        elif class_ is not None:
            yield from _syntax_faults(node, class_, in_list=in_list)
        inside = in_list or name in _LISTS
        pending.extend((part, inside) for part in node.values() if isinstance(part, dict | list))


def _syntax_faults(node: dict[str, Any], class_: str, *, in_list: bool) -> Iterator[str]:
    if class_ == "SUBQUERY":
        yield "holds a subquery, which reads other rows than the one that is judged"
    elif class_ not in _SYNTAX:
        yield f"holds what a filter may not ({class_.casefold()})"
    types = _SYNTAX.get(class_)
    if types is not None and node["type"] not in types:
        yield f"holds what a filter may not ({node['type'].casefold()})"
    if class_ == "COLUMN_REF":
        if in_list:
            yield "makes a list of columns; write constants into lists"
        if len(node["column_names"]) > 8:
            yield "names a column of more than 8 parts"


def _function_faults(node: dict[str, Any], name: str) -> Iterator[str]:
    if name not in FUNCTIONS or node["schema"] or node["catalog"]:
        yield f"calls {name[:60]}, which is not one of the functions of a filter"
    if node["filter"] is not None or node["distinct"] or node["order_bys"]["orders"]:
        yield f"calls {name} as an aggregate"


def _type_faults(node: dict[str, Any]) -> Iterator[str]:
    if node["schema"] or node["catalog"] or node["type_name"].upper() not in TYPES:
        yield f"casts to {node['type_name'][:60]}, which is not one of the types of a filter"
