"""`sql`: one SELECT over a memory's tables and indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from mnemodex.deploy.operations.base import Form
from mnemodex.schemas.errors import AccessError, QueryError

if TYPE_CHECKING:
    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served
    from mnemodex.deploy.statements import Statements

LONGEST = 100_000
"""Characters of a statement."""


class SqlForm(Form):
    """A statement.

    Attributes:
        query: one SELECT, or EXPLAIN and one.
        form: of the rows: as JSON, or as the base64 of an Arrow stream, which keeps their types.
    """

    query: str
    form: Literal["json", "arrow"] = "json"


def sql(served: Served, request: SqlForm, access: Access, *, statements: Statements | None) -> dict[str, Any]:
    """Return the columns and rows of a statement, and whether there were more rows than an answer may have.

    In JSON, ids, dates and numbers that JavaScript does not hold are strings, as `mnemodex sql --json` prints them.
    """
    access.admit("sql", served.name)
    access.require_all_rows("SQL", "it reads every table")
    if statements is None:
        raise AccessError("SQL is off on this server; start it with --sql")
    if len(request.query) > LONGEST:
        raise QueryError(f"query: has {len(request.query)} characters. Write a statement of at most {LONGEST}")
    answer = statements.run(served.memory, request.query, form=request.form)
    return {"memory": served.name, "snapshot": served.snapshot, **answer}
