"""The page of a subgraph in a browser, if there is one: what people see on a phone and on a screen."""

from __future__ import annotations

import pytest
from readability import CONTRAST, OVERFLOWING, SEEN, SIZES
from subgraphs import HOSTILE, example

from mnemodex.retrievers.graph.evidence import ALONE
from mnemodex.retrievers.graph.picture import write_picture
from mnemodex.retrievers.graph.subgraph import Edge, Node, Subgraph

pytestmark = pytest.mark.slow

EMPTY = f"""(() => {{ {SEEN}
  const pills = seen.filter(e => e.matches(".entity, .fact, .question, .passage, .rank, g.node, g.edge:has(rect)"));
  const shown = e => e.tagName == "g" ? [...e.querySelectorAll("text")].map(t => t.textContent).join("") : e.innerText;
  return [pills.length, pills.filter(e => !shown(e).trim()).map(e => e.outerHTML.slice(0, 200))];
}})()"""
EVIDENCE = "[...document.querySelectorAll('.hits li')].map(e => e.querySelector('.evidence').innerText.trim())"
# In the picture an edge, in the lists an arrow in the same row.
LONELY = f"""(() => {{ {SEEN}
  const ends = new Set([...document.querySelectorAll("g.edge")].flatMap(e => e.dataset.ends.split(" ")));
  return seen.filter(e => e.matches("g[data-kind=entity]") && !ends.has(e.dataset.node)
    || e.matches(".entity") && !e.parentElement.innerText.includes("→")).map(e => e.outerHTML.slice(0, 200));
}})()"""


def large():
    """As much as a picture holds, with what documents may hold: hostile, long and empty texts."""
    names = [*HOSTILE, "Sequence Types — list, tuple, range", "s.remove(x)", "Amsterdam"]
    subgraph = example(tuple(names))
    nodes = [*subgraph.nodes, *(Node(f"p{n}", f"Hit {n}", "passage", 0.1, "x" * 500) for n in range(3, 8))]
    edges = [edge for edge in subgraph.edges if edge.kind != "mention"]
    edges += [Edge("e1", "p0", "", "mention", 1.0), Edge("e14", "p1", "", "mention", 1.0)]
    edges += [Edge("q", "e5", "", "seed", 0.4), Edge("e5", "p5", "", "mention", 1.0)]
    notes = ("expanded query: which river flows through Amsterdam", "expanded query: " + "x" * 300)
    return Subgraph("Which river flows there? " * 6, nodes, edges, notes)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "least"), [(390, 14), (1280, 11)])
@pytest.mark.parametrize("subgraph", [example, large])
def test_a_page_can_be_read(browser, tmp_path, subgraph, width, least, dark):
    drawn = subgraph()
    browser.open(write_picture(drawn, tmp_path / "page.html"), width, dark=dark)
    assert browser.evaluate(OVERFLOWING) == [0]
    count, empty = browser.evaluate(EMPTY)
    assert count > len(drawn.nodes) and empty == []
    evidence = browser.evaluate(EVIDENCE)
    assert len(evidence) == sum(node.kind == "passage" for node in drawn.nodes)
    assert all(text == ALONE or "→" in text for text in evidence)
    assert browser.evaluate(LONELY) == []
    assert browser.evaluate(SIZES) >= least
    assert browser.evaluate(CONTRAST) == []


def test_the_keyboard_and_the_mouse_point_at_neighbours(browser, tmp_path):
    browser.open(write_picture(example(), tmp_path / "page.html"), 1280)
    browser.press_tab()
    assert browser.evaluate("document.activeElement.dataset.kind") == "question"
    near = "[...document.querySelectorAll('g.node.near')].map(e => e.querySelector('text').textContent)"
    assert browser.evaluate("document.querySelector('svg').matches('.pointed')")
    assert browser.evaluate(near) == ["QUESTION", "Lilli's Marriage"]
    browser.evaluate("document.activeElement.blur()")
    assert not browser.evaluate("document.querySelector('svg').matches('.pointed')")


def test_no_text_of_a_document_runs(browser, tmp_path):
    browser.open(write_picture(large(), tmp_path / "page.html"), 1280)
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.evaluate("document.querySelectorAll('main script, [onload], [href], [src]').length") == 0
