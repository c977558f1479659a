"""A picture as a page of its own, in which one sees what belongs to what one points at."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING

from mnemodex.retrievers.graph.drawing.svg import to_svg

if TYPE_CHECKING:
    from mnemodex.retrievers.graph.drawing.shapes import Scene

_STYLE = """
body { margin: 0; background: #fff; font-family: 'Helvetica Neue', Arial, 'Noto Sans', sans-serif; }
svg { display: block; margin: 0 auto; max-width: 100%; height: auto; }
svg g { transition: opacity .15s; }
svg.pointed g.node:not(.near), svg.pointed g.edge:not(.near) { opacity: .15; }
#told { position: fixed; display: none; max-width: 26rem; max-height: 60vh; overflow: hidden; padding: .6rem .8rem;
  background: #1f2933; color: #fff; border-radius: .4rem; font-size: .85rem; line-height: 1.4; white-space: pre-wrap;
  overflow-wrap: anywhere; pointer-events: none; box-shadow: 0 4px 16px rgba(0, 0, 0, .25); }
"""

# Texts go in by textContent alone, so that they stay texts.
_SCRIPT = """
const svg = document.querySelector("svg"), told = document.getElementById("told");
const groups = [...svg.querySelectorAll("g.node, g.edge")];
for (const group of groups) {
  const title = group.querySelector("title");
  group.told = title ? title.textContent : "";
  if (title) title.remove();
  group.members = (group.dataset.node || group.dataset.ends).split(" ");
}
for (const group of groups) {
  group.addEventListener("mouseenter", () => {
    const touching = groups.filter(other => group.dataset.node
      ? other === group || (other.dataset.ends && other.members.includes(group.dataset.node))
      : other.dataset.ends === group.dataset.ends);
    const near = new Set(touching.flatMap(other => other.members));
    for (const other of groups) other.classList.toggle("near", other.dataset.node
      ? near.has(other.dataset.node) : touching.includes(other));
    svg.classList.add("pointed");
    told.textContent = group.told;
    told.style.display = group.told ? "block" : "none";
  });
  group.addEventListener("mousemove", event => {
    told.style.left = Math.max(0, Math.min(event.clientX + 16, innerWidth - told.offsetWidth - 8)) + "px";
    told.style.top = Math.max(0, Math.min(event.clientY + 16, innerHeight - told.offsetHeight - 8)) + "px";
  });
  group.addEventListener("mouseleave", () => {
    svg.classList.remove("pointed");
    told.style.display = "none";
  });
}
"""


def to_html(scene: Scene) -> str:
    """The picture as an HTML page that loads nothing; its policy lets no script run but its own."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(scene.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'{to_svg(scene)}<div id="told"></div>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n'
    )
