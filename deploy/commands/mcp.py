"""`mcp`."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: mnemodex mcp memories/python-manual")(mcp)


def mcp(
    memories: Annotated[list[str], typer.Argument(help="Folders of memories, or NAME=FOLDER.", metavar="MEMORY...")],
    sql: Annotated[bool, typer.Option(help="Offer SQL too, read-only.")] = True,
    follow: Annotated[bool, typer.Option("--follow", help="Serve new snapshots as they are committed.")] = False,
) -> None:
    """Serve memories as tools to an assistant of this machine, which starts this command (MCP over stdio)."""
    import asyncio

    from mnemodex.indexers.models.locate import need

    need("mcp", extra="mcp")
    from mnemodex.deploy.access import OPEN
    from mnemodex.deploy.mcp_server import mcp_server
    from mnemodex.deploy.service import Service
    from mnemodex.deploy.settings import ServerSettings, name_memories
    from mnemodex.schemas.validation import validate

    named = name_memories(memories)
    service = Service(validate(ServerSettings, {"memories": named, "sql": sql, "follow": follow}, name="mcp"))
    service.follow()
    asyncio.run(mcp_server(service, lambda context: OPEN).run_stdio_async())
