"""EXPLAIN statements: what they explain, and how."""

from __future__ import annotations

import duckdb

from mnemodex.schemas.errors import QueryError

_FORMATS = ("text", "json", "html", "graphviz", "yaml", "mermaid")
_EXPLAIN_OPTIONS = frozenset({"analyze", *(f"format {name}" for name in _FORMATS)})
ONE_SELECT = "SQL: exactly one SELECT statement, or the EXPLAIN of one, can be asked"


def split_explain(cursor: duckdb.DuckDBPyConnection, query: str) -> tuple[str, str]:
    """Return our own EXPLAIN for a statement that begins with one, and the rest of it; nothing where it does not.

    The rest is judged whatever it is, so that a wrong cut does no harm.

    Raises:
        QueryError: there is not one statement, or it is another one.
    """
    kinds = [statement.type for statement in cursor.extract_statements(query)]
    if kinds == [duckdb.StatementType.SELECT]:
        return "", query
    if kinds != [duckdb.StatementType.EXPLAIN]:
        raise QueryError(ONE_SELECT)
    text, tokens = query.encode(), duckdb.tokenize(query)
    ends = [place for place, _ in tokens[1:]] + [len(text)]
    words = [
        (place, text[place:end].strip().decode().casefold())
        for (place, kind), end in zip(tokens, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]
    spelled = [word for _, word in words]
    start, options = (2, ["analyze"]) if spelled[1] == "analyze" else (1, [])
    if spelled[start] == "(" and ")" in spelled:
        close = spelled.index(")")
        listed = " ".join(word.strip("'") for word in spelled[start + 1 : close]).split(" , ")
        # Else it is a statement in brackets.
        if _EXPLAIN_OPTIONS.issuperset(listed):
            start, options = close + 1, [*options, *listed]
    prefix = f"EXPLAIN ({', '.join(options)}) " if options else "EXPLAIN "
    return prefix, text[words[start][0] :].decode()
