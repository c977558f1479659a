"""The process that runs the statements of one snapshot: `deploy/statements.py` starts it and talks to it in JSON."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from multiprocessing.connection import Connection as Channel
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mnemodex.retrievers.answer import Answer
from mnemodex.retrievers.deadline import any_left_behind
from mnemodex.retrievers.memory import reopen
from mnemodex.retrievers.memory_limit import bounded_memory
from mnemodex.retrievers.sql import Connection
from mnemodex.schemas.errors import MnemodexError

if TYPE_CHECKING:
    from collections.abc import Mapping


def main() -> None:
    """Open the snapshot that the first message names, and answer statements until nobody asks any more."""
    channel = Channel(int(sys.argv[1]))
    with contextlib.suppress(EOFError):
        setup = json.loads(channel.recv_bytes())
        try:
            connection = _open(setup)
        except MnemodexError as error:
            _send(channel, _error(error))
            return
        _send(channel, {})
        with bounded_memory(connection.memory_bytes + setup["headroom"]):
            while True:
                request = json.loads(channel.recv_bytes())
                _send(channel, _run(connection, request, setup["rows"]))


def _open(setup: Mapping[str, Any]) -> Connection:
    root, name, created = setup["state"]
    memory = reopen(Path(root), name, created, {})
    return Connection(
        memory.snapshot,
        memory.encoder,
        memory.retriever,
        memory_limit=setup["memory"],
        answer_bytes=setup["bytes"],
    )


def _run(connection: Connection, request: Mapping[str, Any], rows: int) -> dict[str, Any]:
    try:
        table, more = connection.first(request["query"], seconds=request["seconds"], rows=rows)
    except MnemodexError as error:
        return _error(error)
    answer = {"arrow": _stream(table)} if request["form"] == "arrow" else Answer(table).to_json()
    return {**answer, "truncated": more}


def _stream(table: pa.Table) -> str:
    """Return a table as the base64 of an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return base64.b64encode(sink.getvalue()).decode("ascii")


def _error(error: MnemodexError) -> dict[str, Any]:
    return {"error": str(error), "kind": type(error).__name__}


def _send(channel: Channel, answer: dict[str, Any]) -> None:
    """Send an answer, and whether the process takes further statements: not beside one that cannot be stopped."""
    channel.send_bytes(json.dumps({**answer, "goes_on": not any_left_behind()}, allow_nan=False).encode())


if __name__ == "__main__":
    main()
