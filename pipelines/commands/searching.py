"""`search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnemodex.pipelines.commands.output import print_json, say
from mnemodex.pipelines.commands.texts import MemoryArgument, SnapshotOption, TextCommand
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.base import Retriever


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        cls=TextCommand, epilog='Example: mnemodex search memories/python-manual both "how do decorators work" -k 3'
    )(search)


def search(
    memory: MemoryArgument,
    index: Annotated[str, typer.Argument(help="The index's name.")],
    questions: Annotated[list[str], typer.Argument(help="One or more questions.", metavar="QUESTION...")],
    k: Annotated[int, typer.Option("-k", help="Hits per question.")] = 10,
    where: Annotated[str | None, typer.Option(help="A boolean SQL expression over chunks c and documents d.")] = None,
    newest: Annotated[
        bool, typer.Option("--newest", help="Leave out facts of a graph that others took the place of.")
    ] = False,
    group_by: Annotated[
        str | None, typer.Option(help="Print the best values of a field of metadata, such as session, with their hits.")
    ] = None,
    expand: Annotated[
        int | None, typer.Option(help="Print hits with so many chunks before and after them, each text once.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print the evidence for each hit.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the part of a graph that answers one question: FILE.svg or .html.")
    ] = None,
    snapshot: SnapshotOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Search an index."""
    from mnemodex.pipelines.commands.rendering import SearchRequest
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.kinds import KINDS, load

    opened = Memory(memory, snapshot=snapshot)
    if picture is not None:
        if newest or where is not None:
            raise QueryError(
                f"--picture draws a walk over the whole graph; leave out --{'newest' if newest else 'where'}"
            )
        _draw(opened.retriever(index), questions, picture)
    kind = opened.kind(index)
    with KINDS.calling(opened.snapshot.index(index).type):
        request = SearchRequest(opened, index, questions, k, where, explain, newest)
        if group_by is not None or expand is not None:
            from mnemodex.pipelines.commands.arranging import print_arranged

            print_arranged(request, group_by, expand, as_json=as_json)
            return
        renderer = load(kind.renderer)(request)
        if as_json:
            print_json(renderer.to_json())
        else:
            renderer.print()


def _draw(retriever: Retriever, questions: Sequence[str], path: Path) -> None:
    from mnemodex.retrievers.graph.picture import check_path, write_picture
    from mnemodex.retrievers.graph.retriever import GraphRetriever

    check_path(path)
    if not isinstance(retriever, GraphRetriever) or len(questions) != 1:
        raise QueryError(
            "--picture draws the answer of one question in a graph; give one question, and an index of type graph"
        )
    write_picture(retriever.subgraph(questions[0]), path)
    say(f"{path} written", err=True)
