"""Pages of subgraphs: their lists say what the picture does, and no text of a document acts."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from subgraphs import HOSTILE, example

from mnemodex.retrievers.graph.drawing.page import to_page
from mnemodex.retrievers.graph.drawing.palette import PALETTE
from mnemodex.retrievers.graph.evidence import ALONE
from mnemodex.retrievers.graph.subgraph import Node, Subgraph

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "section", "ol", "li", "p", "span"),
    *("bdi", "figure", "svg", "g", "text", "rect", "path", "polygon", "script"),
}


class Page(HTMLParser):
    """The tags and attributes of a page, and the texts of the elements of each class."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self._open = set(), set(), {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in {"meta", "rect", "path", "polygon"}:
            name = dict(attrs).get("class") or tag
            self._open.append(self.texts.setdefault(name, []))
            self._open[-1].append("")

    def handle_endtag(self, tag):
        if tag not in {"meta", "rect", "path", "polygon"}:
            self._open.pop()

    def handle_data(self, data):
        for texts in self._open:
            texts[-1] += data


def test_every_hit_has_its_evidence_and_every_fact_its_ends():
    page = Page(to_page(example()))
    assert page.texts["evidence"] == [
        "question → Lilli's Marriage",
        "question → Lilli's Marriage — to Jaap Speyer → Jaap Speyer",
        "question → Lilli's Marriage — to Jaap Speyer → Jaap Speyer — to Amsterdam → Amsterdam",
    ]
    assert page.texts["rank"] == ["1", "2", "3"]
    assert page.texts["facts"][0].split("\n")[3] == "Lilli's Marriage → to Jaap Speyer → Jaap Speyer"
    alone = Subgraph("Who?", [Node("p0", "", "passage", float("nan"))], [])
    assert Page(to_page(alone)).texts["evidence"] == [ALONE]


@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_labels_stay_texts_and_no_pill_is_empty(label):
    subgraph = example((label, "plain", label, "more"))
    nodes = [Node(node.id, node.label, node.kind, node.weight, label) for node in subgraph.nodes]
    text = to_page(Subgraph(label, nodes, subgraph.edges, (label,)))
    page = Page(text)
    assert page.tags <= TAGS
    assert not any(name.startswith("on") or name in {"href", "src"} for name in page.attributes)
    assert text.count("<script>") == 1
    # The picture embeds texts from right to left, and closes what it opens.
    assert not re.search("[\u200e\u200f\u202a\u202d\u202e\u2066-\u2069\x00\x1b\ud800]", text)
    assert text.count("\u202b") == text.count("\u202c")
    for name in ("entity", "fact", "question", "evidence", "rank"):
        assert page.texts[name] and all(shown.strip() for shown in page.texts[name])


def test_every_colour_has_one_for_a_dark_ground():
    text = to_page(example())
    used = set(re.findall(r'(?:fill|stroke)="(#\w+)"', text))
    assert used <= {light for light, _ in PALETTE.values()}
