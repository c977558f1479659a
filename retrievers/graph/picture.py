"""Pictures of the subgraph that answers a question, as SVG or HTML files."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.retrievers.graph.drawing.text import clean
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from mnemodex.retrievers.graph.subgraph import Subgraph

_STYLE = """
body { margin: 0; background: #fff; }
svg { display: block; margin: 0 auto; max-width: 100%; height: auto; }
svg g { transition: opacity .15s; }
svg.pointed g.node:not(.near), svg.pointed g.edge:not(.near) { opacity: .15; }
"""

# Texts are not touched, so that they stay texts; browsers show the titles.
_SCRIPT = """
const svg = document.querySelector("svg");
const groups = [...svg.querySelectorAll("g.node, g.edge")];
for (const group of groups) group.members = (group.dataset.node || group.dataset.ends).split(" ");
for (const group of groups) {
  group.addEventListener("mouseenter", () => {
    const touching = groups.filter(other => group.dataset.node
      ? other === group || (other.dataset.ends && other.members.includes(group.dataset.node))
      : other.dataset.ends === group.dataset.ends);
    const near = new Set(touching.flatMap(other => other.members));
    for (const other of groups) other.classList.toggle("near", other.dataset.node
      ? near.has(other.dataset.node) : touching.includes(other));
    svg.classList.add("pointed");
  });
  group.addEventListener("mouseleave", () => svg.classList.remove("pointed"));
}
"""


def write_picture(subgraph: Subgraph, path: str | Path) -> Path:
    """Write a picture of a subgraph, and return its path; equal subgraphs give equal files.

    The path ends in .svg, or in .html for a page that highlights the neighbours of what the mouse points at.

    Raises:
        QueryError: the path has another ending, or its folder does not exist.
    """
    path = Path(path)
    check_path(path)
    from mnemodex.retrievers.graph.drawing.svg import to_svg

    svg = to_svg(subgraph)
    text = svg if path.suffix.lower() == ".svg" else _page(svg, subgraph.question)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def check_path(path: Path) -> None:
    """Raise `QueryError`, as `write_picture` does, for a path that no picture can be written to."""
    if path.suffix.lower() not in {".svg", ".html"}:
        raise QueryError(f"{path}: a picture is written as .svg or .html. Give the file one of these endings.")
    if not path.parent.is_dir():
        raise QueryError(f"{path}: the folder {path.parent} does not exist. Create it, or name another.")


def _page(svg: str, title: str) -> str:
    """Return an HTML page that loads nothing; its policy lets no script run but its own."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(clean(title))}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{svg}<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )
