"""`serve`."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from mnemodex.pipelines.commands.output import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: mnemodex serve memories/python-manual")(serve)


def serve(
    memories: Annotated[list[str], typer.Argument(help="Folders of memories, or NAME=FOLDER.", metavar="MEMORY...")],
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.", min=1, max=65535)] = 8000,
    keys: Annotated[Path | None, typer.Option(help="The file of API keys.")] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Answer SQL, read-only.")] = False,
    replicas: Annotated[int, typer.Option(help="Processes that answer.", min=1)] = 1,
) -> None:
    """Serve memories over HTTP until it is stopped."""
    from mnemodex.deploy.ray_serve import serving
    from mnemodex.deploy.settings import ServerSettings, name_memories
    from mnemodex.schemas.validation import validate

    named = name_memories(memories)
    given = {"memories": named, "host": host, "port": port, "keys": keys, "sql": sql, "replicas": replicas}
    settings = validate(ServerSettings, given, name="serve")
    begun = time.monotonic()
    with serving(settings):
        scheme = "http" if settings.tls_cert is None else "https"
        say(f"ready at {scheme}://{host}:{port} after {time.monotonic() - begun:.1f} s: {', '.join(named)}", err=True)
        signal.pause()
