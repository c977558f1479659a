"""The SQL functions that are not DuckDB's own: `embed_NAME`, `embed` and `ngram_count`, each within its bounds."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import PythonUDFType

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnemodex.indexers.encoders import TextEncoder
    from mnemodex.retrievers.deadline import Deadline
    from mnemodex.schemas.manifest import Manifest

_LONGEST = 1_000_000
"""Characters of an argument: tokenising so many takes about a second."""
_WINDOW = 1_000_000
"""Characters of the arguments that are counted between two looks at the clock."""


class SqlFunctions:
    """The functions of one database. DuckDB calls them from its threads, with rows that have no NULL.

    A function that people call is a macro, which passes the number of the connection that runs the statement on to a
    function of Python: so that looks at the deadline of its own statement.

    DuckDB keeps functions where Python's collector does not look: one that led back to the connection would keep both
    forever, so the connection is no attribute here.

    Args:
        connection: the database.
        manifest: says which embeddings and n-gram indexes there are.
        encoder: returns the encoder of an embedding.
        retriever: returns the retriever of an index.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        manifest: Manifest,
        encoder: Callable[[str], TextEncoder],
        retriever: Callable[[str], Any],
    ) -> None:
        self._deadlines: dict[int, Deadline] = {}
        encoders = [(name, entry) for name, entry in manifest.encoders.items() if entry.encodes]
        for number, (name, model) in enumerate(encoders):
            names = [f"embed_{name}", *(["embed"] if number == 0 else [])]
            function = self._embed(encoder, name, model.dimension)
            self._register(connection, names, function, "text", duckdb.list_type(duckdb.sqltypes.FLOAT))
        indexes = [index.name for index in manifest.indexes.values() if index.type == "ngram"]
        if indexes:
            function = self._ngram_count(retriever, indexes)
            self._register(connection, ["ngram_count"], function, "index_name, text", duckdb.sqltypes.BIGINT)

    @contextmanager
    def within(self, cursor: duckdb.DuckDBPyConnection, deadline: Deadline) -> Iterator[None]:
        """Bound the functions that a cursor's statement calls."""
        row = cursor.execute("SELECT current_connection_id()").fetchone()
        assert row is not None  # noqa: S101 - it is one row by construction
        self._deadlines[row[0]] = deadline
        try:
            yield
        finally:
            del self._deadlines[row[0]]

    @staticmethod
    def _register(
        connection: duckdb.DuckDBPyConnection,
        names: list[str],
        function: Callable[..., pa.Array],
        parameters: str,
        result: Any,
    ) -> None:
        types: list[Any] = [duckdb.sqltypes.UBIGINT, *[duckdb.sqltypes.VARCHAR] * len(parameters.split(","))]
        connection.create_function(f"_{names[0]}", function, types, result, type=PythonUDFType.ARROW)
        for name in names:
            connection.execute(
                f'CREATE MACRO "{name}"({parameters}) AS "_{names[0]}"(current_connection_id(), {parameters})'
            )

    def _deadline(self, connections: Any) -> Deadline:
        deadline = self._deadlines.get(connections[0].as_py())
        if deadline is None:
            raise QueryError("the statement that called is over, or names a function that is not for callers")
        deadline.check()
        return deadline

    def _embed(self, encoder: Callable[[str], TextEncoder], name: str, dimension: int) -> Callable[..., pa.Array]:
        working = threading.Lock()

        @lru_cache(maxsize=1024)
        def vector(text: str) -> Any:
            return encoder(name).encode_queries([text])[0]

        def embed(connections: Any, texts: Any) -> pa.Array:
            values = _bounded(texts)
            deadline = self._deadline(connections)
            vectors: dict[str, Any] = {}
            # Each text is embedded alone, so that its vector does not depend on its neighbours.
            for text in dict.fromkeys(values):
                # An encoder works in one thread at a time.
                if not working.acquire(timeout=deadline.left):
                    raise deadline.error()
                try:
                    vectors[text] = vector(text)
                finally:
                    working.release()
                deadline.check()
            offsets = np.arange(0, (len(values) + 1) * dimension, dimension, dtype=np.int32)
            return pa.ListArray.from_arrays(offsets, np.concatenate([vectors[text] for text in values]))

        return embed

    def _ngram_count(self, retriever: Callable[[str], Any], indexes: list[str]) -> Callable[..., pa.Array]:
        def ngram_count(connections: Any, names: Any, texts: Any) -> pa.Array:
            rows = list(zip(names.to_pylist(), _bounded(texts), strict=True))
            deadline = self._deadline(connections)
            # Each text is counted once.
            counts: dict[tuple[str, str], int] = dict.fromkeys(rows, 0)
            for index in dict.fromkeys(name for name, _ in counts):
                if index not in indexes:
                    raise QueryError(f"no n-gram index {index!r}; there are: {', '.join(indexes)}")
                for keys in _windows([key for key in counts if key[0] == index]):
                    numbers = retriever(index).count([text for _, text in keys], strict=False).tolist()
                    counts.update(zip(keys, numbers, strict=True))
                    deadline.check()
            return pa.array([counts[row] for row in rows], pa.int64())

        return ngram_count


def _bounded(texts: Any) -> list[str]:
    """Return an array's texts; refuse one that takes too long to cut into tokens."""
    import pyarrow.compute as pc

    longest = pc.max(pc.utf8_length(texts)).as_py() or 0
    if longest > _LONGEST:
        raise QueryError(f"a text of {longest} characters is longer than {_LONGEST}; cut it: left(text, {_LONGEST})")
    values: list[str] = texts.to_pylist()
    return values


def _windows(keys: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Cut keys into parts of about so many characters."""
    ends = np.cumsum([len(text) + 1 for _, text in keys]) // _WINDOW
    for part in np.split(np.arange(len(keys)), np.flatnonzero(np.diff(ends)) + 1):
        yield [keys[place] for place in part]
