"""Pictures of the subgraph that answers a question, as SVG or HTML files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from mnemodex.retrievers.graph.subgraph import Subgraph


def write_picture(subgraph: Subgraph, path: str | Path) -> Path:
    """Write a picture of a subgraph, and return its path; equal subgraphs give equal files.

    The path ends in .svg, or in .html for a page that also lists facts and hits with their evidence, and highlights the
    neighbours of what the mouse or the keyboard points at.

    Raises:
        QueryError: the path has another ending, or its folder does not exist.
    """
    path = Path(path)
    check_path(path)
    from mnemodex.retrievers.graph.drawing.page import to_page
    from mnemodex.retrievers.graph.drawing.svg import to_svg

    draw = to_svg if path.suffix.lower() == ".svg" else to_page
    path.write_text(draw(subgraph), encoding="utf-8", newline="\n")
    return path


def check_path(path: Path) -> None:
    """Raise `QueryError`, as `write_picture` does, for a path that no picture can be written to."""
    if path.suffix.lower() not in {".svg", ".html"}:
        raise QueryError(f"{path}: a picture is written as .svg or .html. Give the file one of these endings.")
    if not path.parent.is_dir():
        raise QueryError(f"{path}: the folder {path.parent} does not exist. Create it, or name another.")
