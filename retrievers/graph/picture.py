"""Pictures of what a question woke in the graph, as SVG, HTML or PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from mnemodex.retrievers.graph.subgraph import Subgraph

_ENDINGS = (".svg", ".html", ".png")


def write_picture(subgraph: Subgraph, path: str | Path) -> Path:
    """Draw a subgraph into a file; SVG and HTML of equal subgraphs are equal byte by byte.

    Args:
        subgraph: what is drawn.
        path: ends in .svg, .html (which tells more where it is pointed at) or .png.

    Returns:
        The path.

    Raises:
        QueryError: the path has another ending, or its folder is not there.
        ImportError: it is a PNG, and the extra that paints it is not installed.
    """
    path = Path(path)
    check_path(path)
    from mnemodex.retrievers.graph.drawing.compose import compose

    scene = compose(subgraph)
    if path.suffix.lower() == ".png":
        from mnemodex.retrievers.graph.drawing.png import to_png

        path.write_bytes(to_png(scene))
    elif path.suffix.lower() == ".svg":
        from mnemodex.retrievers.graph.drawing.svg import to_svg

        path.write_text(to_svg(scene), encoding="utf-8", newline="\n")
    else:
        from mnemodex.retrievers.graph.drawing.html import to_html

        path.write_text(to_html(scene), encoding="utf-8", newline="\n")
    return path


def check_path(path: Path) -> None:
    """Refuse a path that no picture can be written to, before a search is made for it.

    Raises:
        QueryError: see `write_picture`.
    """
    if path.suffix.lower() not in _ENDINGS:
        msg = f"{path}: a picture is written as {', '.join(_ENDINGS)}; give the file one of these endings"
        raise QueryError(msg)
    if not path.parent.is_dir():
        msg = f"{path}: there is no folder {path.parent}; make it, or name another"
        raise QueryError(msg)
