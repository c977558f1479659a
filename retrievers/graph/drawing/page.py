"""A subgraph as an HTML page: its picture or, where there is no room, its facts; its hits with their evidence."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Any

from mnemodex.retrievers.graph.drawing.palette import PALETTE, dark_rules
from mnemodex.retrievers.graph.drawing.svg import to_svg
from mnemodex.retrievers.graph.drawing.text import clean
from mnemodex.retrievers.graph.evidence import show_label, with_evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mnemodex.retrievers.graph.evidence import Link
    from mnemodex.retrievers.graph.subgraph import Subgraph

_TEXT = 300
"""Characters of a passage that are shown."""

_STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1400px; margin: 0 auto; padding: 16px; overflow-wrap: anywhere; }
h1 { font-size: 22px; line-height: 1.3; margin: 0; } h2 { font-size: 18px; margin: 24px 0 8px; }
ul, ol { list-style: none; margin: 0; padding: 0; }
.notes, .text { color: var(--quiet); font-size: 15px; }
figure { display: none; margin: 16px 0 0; } svg { display: block; margin: 0 auto; max-width: 100%; height: auto; }
li { padding: 10px 12px; margin: 0 0 10px; border: 1px solid var(--edge); border-radius: 8px; background: var(--tint); }
.notes li { padding: 0; margin: 4px 0; border: 0; }
.facts li { border-width: 0 0 0 3px; border-radius: 0; border-color: var(--fact); padding: 2px 10px; }
.hits li { --edge: var(--passage); --tint: var(--passage-tint); }
h3 { font-size: 16px; margin: 0; } p { margin: 4px 0; }
.rank { background: var(--passage); color: var(--paper); font-weight: bold; padding: 1px 9px; border-radius: 12px; }
.score { display: block; height: 4px; margin: 6px 0; background: var(--passage); border-radius: 2px; }
.entity, .fact, .question, .passage { display: inline-block; max-width: 100%; padding: 0 8px; font-size: 15px; }
.entity { border: 1.5px solid var(--entity); background: var(--entity-tint); border-radius: 14px; }
.fact { border: 1.5px solid var(--fact); background: var(--fact-tint); border-radius: 4px; }
.question { border: 1.5px solid var(--question); background: var(--question-tint); border-radius: 4px; }
.passage { border: 1.5px solid var(--passage); background: var(--paper); border-radius: 4px; }
:focus-visible { outline: 3px solid var(--entity); outline-offset: 2px; }
svg g { transition: opacity .15s; }
svg.pointed g.node:not(.near), svg.pointed g.edge:not(.near) { opacity: .15; }
@media (prefers-reduced-motion: reduce) { svg g { transition: none; } }
@media (min-width: 1200px) {
  figure { display: block; } .facts, .notes { display: none; }
  .hits ol { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; } .hits li { margin: 0; min-width: 0; }
}
"""

# Texts are not touched, so that they stay texts; browsers show the titles.
_SCRIPT = """
const svg = document.querySelector("svg");
const groups = [...svg.querySelectorAll("g.node, g.edge")];
for (const group of groups) group.members = (group.dataset.node || group.dataset.ends).split(" ");
for (const group of groups) {
  const point = () => {
    const touching = groups.filter(other => group.dataset.node
      ? other === group || (other.dataset.ends && other.members.includes(group.dataset.node))
      : other.dataset.ends === group.dataset.ends);
    const near = new Set(touching.flatMap(other => other.members));
    for (const other of groups) other.classList.toggle("near", other.dataset.node
      ? near.has(other.dataset.node) : touching.includes(other));
    svg.classList.add("pointed");
  };
  const leave = () => svg.classList.remove("pointed");
  group.addEventListener("mouseenter", point);
  group.addEventListener("mouseleave", leave);
  if (group.dataset.node) { group.addEventListener("focus", point); group.addEventListener("blur", leave); }
}
"""


def to_page(subgraph: Subgraph) -> str:
    """Return an HTML page that loads nothing; its policy lets no script run but its own.

    Narrow windows show lists in place of the picture.
    """
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    graph = with_evidence(subgraph)
    passages = [data for _, data in graph.nodes(data=True) if data["kind"] == "passage"]
    triples = [
        _triple(graph.nodes[source]["label"], data["label"], graph.nodes[target]["label"])
        for source, target, data in graph.edges(data=True)
        if data["kind"] == "fact"
    ]
    largest = max((data["weight"] for data in passages if data["weight"] > 0), default=1.0)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(clean(subgraph.question))}</title>\n<style>{_colours()}{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1 dir="auto">{escape(show_label(subgraph.question, "question"))}</h1>\n'
        f"{_list('notes', '', [escape(clean(note)) for note in subgraph.notes])}"
        f"<figure>\n{to_svg(subgraph)}</figure>\n"
        f"{_list('facts', 'Facts linked to the question', triples)}"
        f"{_list('hits', 'Hits and their evidence', [_hit(data, largest) for data in passages])}"
        f"</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _colours() -> str:
    """Return the palette as variables, and rules that paint the picture's light colours dark where people want that."""
    light, dark = ("".join(f"--{name}:{pair[way]};" for name, pair in PALETTE.items()) for way in (0, 1))
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}{dark_rules()}}}"


def _list(name: str, heading: str, items: Iterable[str]) -> str:
    """Return a list of items, which are HTML, below a heading; nothing without items."""
    rows = "".join(f"<li>{item}</li>\n" for item in items)
    title = f"<h2>{heading}</h2>\n" if heading else ""
    return f'<section class="{name}">\n{title}<ol>\n{rows}</ol>\n</section>\n' if rows else ""


def _chip(kind: str, text: str) -> str:
    return f'<span class="{kind}" dir="auto">{escape(text)}</span>'


def _triple(subject: str, predicate: str, object_: str) -> str:
    parts = zip(("entity", "fact", "entity"), (subject, predicate, object_), strict=True)
    return " → ".join(_chip(kind, show_label(text, kind)) for kind, text in parts)


def _hit(data: Mapping[str, Any], largest: float) -> str:
    """Return a passage: its rank and title, its score as a bar, how its text begins, and its evidence."""
    text = clean(data["detail"])
    title = show_label(data["label"] or text[:_TEXT], "passage")
    share = min(max(data["weight"] / largest, 0.0), 1.0) if data["weight"] > 0 else 0.0
    shown = escape(text[:_TEXT] + "…" * (len(text) > _TEXT))
    return (
        f'<h3 dir="auto"><span class="rank">{data["rank"]}</span> {escape(title)}</h3>'
        f'<span class="score" style="width:{100 * share:.1f}%"></span>'
        f'<p class="text" dir="auto">{shown}</p>'
        f'<p class="evidence">{"".join(map(_link, data["evidence"]))}</p>'
    )


def _link(link: Link) -> str:
    if link.kind == "vector":
        return escape(link.text)
    joint = f"<bdi> {escape(link.joint)} </bdi>" if link.joint else ""
    return joint + _chip(link.kind, link.text)
