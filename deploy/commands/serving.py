"""`serve`."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnemodex.pipelines.commands.output import say

if TYPE_CHECKING:
    from mnemodex.deploy.settings import ServerSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: mnemodex serve memories/python-manual")(serve)


def serve(
    memories: Annotated[list[str], typer.Argument(help="Folders of memories, or NAME=FOLDER.", metavar="MEMORY...")],
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.", min=1, max=65535)] = 8000,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster's address; a local Ray of its own by default.")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="The file of API keys; see `mnemodex keys`.")] = None,
    replicas: Annotated[int, typer.Option(help="Processes that answer.", min=1)] = 1,
    follow: Annotated[bool, typer.Option("--follow", help="Serve new snapshots as they are committed.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Answer SQL too.")] = False,
    feedback: Annotated[Path | None, typer.Option(help="The file that the page's thumbs go to.")] = None,
    audit: Annotated[Path | None, typer.Option(help="The file of the audit log.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="The certificate for HTTPS, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    reader: Annotated[
        list[str] | None, typer.Option(help="A model that writes answers: NAME=MODEL, or NAME=URL#MODEL.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may take.", min=0.001)] = 30.0,
    queue: Annotated[int, typer.Option(help="Requests that a replica takes at a time.", min=1)] = 256,
) -> None:
    """Serve memories over HTTP until it is stopped."""
    from mnemodex.deploy.log import printed
    from mnemodex.deploy.ray_serve import serving
    from mnemodex.deploy.readers import name_readers
    from mnemodex.deploy.settings import make_settings, name_memories

    files = {"keys": keys, "feedback": feedback, "audit": audit, "tls_cert": tls_cert, "tls_key": tls_key}
    given = {
        "memories": name_memories(memories),
        "host": host,
        "port": port,
        "replicas": replicas,
        "follow": follow,
        "sql": sql,
        "readers": name_readers(reader or []),
        "limits": {"seconds": timeout, "queued": queue},
    }
    settings = make_settings(given | {name: path and path.absolute() for name, path in files.items()})
    begun = time.monotonic()
    # How it ends: by Ctrl-C or SIGTERM.
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        # Replicas of a cluster log where Ray keeps the logs of its nodes.
        log = stack.enter_context(printed()) if address is None else None
        parts = stack.enter_context(serving(settings, address=address, log=log))
        _say_ready(settings, time.monotonic() - begun, parts)
        while True:
            signal.pause()
    _note("stopped")


def _say_ready(settings: ServerSettings, seconds: float, parts: dict[str, float]) -> None:
    """Say where the server is asked, and what its start took."""
    scheme = "http" if settings.tls_cert is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    _note(f"ready after {seconds:.1f} s: {scheme}://{host}:{settings.port}")
    _note(f"  {', '.join(f'{name} {taken:.1f} s' for name, taken in parts.items() if taken >= 0.05)}")


def _note(text: str) -> None:
    """Print a line on stderr; a full disk, where that leads to one, ends no server."""
    with contextlib.suppress(OSError):
        say(text, err=True)
