"""A subgraph as an HTML page, which highlights the neighbours of what the mouse points at."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING

from mnemodex.retrievers.graph.drawing.svg import to_svg
from mnemodex.retrievers.graph.drawing.text import clean

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


def to_html(subgraph: Subgraph) -> str:
    """Return the picture as an HTML page that loads nothing; its policy lets no script run but its own."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(clean(subgraph.question))}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{to_svg(subgraph)}<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )
