"""Pictures of the subgraph that answers a question, as SVG or HTML files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from mnemodex.retrievers.graph.subgraph import Subgraph


def write_picture(subgraph: Subgraph, path: str | Path) -> Path:
    """Write a picture of a subgraph, and return its path; equal subgraphs give equal files.

    Args:
        subgraph: what is drawn.
        path: ends in .svg, or in .html for a page that highlights the neighbours of what the mouse points at.

    Raises:
        QueryError: the path has another ending, or its folder is not there.
    """
    path = Path(path)
    check_path(path)
    from mnemodex.retrievers.graph.drawing.html import to_html
    from mnemodex.retrievers.graph.drawing.svg import to_svg

    text = to_svg(subgraph) if path.suffix.lower() == ".svg" else to_html(subgraph)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def check_path(path: Path) -> None:
    """Raise `QueryError`, as `write_picture` does, for a path that no picture can be written to."""
    if path.suffix.lower() not in {".svg", ".html"}:
        msg = f"{path}: a picture is written as .svg or .html. Give the file one of these endings."
        raise QueryError(msg)
    if not path.parent.is_dir():
        msg = f"{path}: there is no folder {path.parent}. Make it, or name another."
        raise QueryError(msg)
