"""Pictures of subgraphs: files that are what they say, whatever the labels are."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.retrievers.graph.drawing import fonts
from mnemodex.retrievers.graph.drawing.compose import compose
from mnemodex.retrievers.graph.drawing.layout import place
from mnemodex.retrievers.graph.drawing.lettering import clean, fit, measure
from mnemodex.retrievers.graph.drawing.png import size_of
from mnemodex.retrievers.graph.drawing.shapes import Box, Text
from mnemodex.retrievers.graph.picture import write_picture
from mnemodex.retrievers.graph.subgraph import Edge, Node, Subgraph
from mnemodex.schemas.errors import QueryError

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>",
    "]]></title></svg><script>alert(2)</script>",
    "\"quoted\" & 'single' onload=alert(3)",
    "x" * 10_000,
    "words " * 2_000,
    "nul\0and\x1b[31mescape\x7f",
    "\u202eturned\u202d around\u2066",
    "lone \ud800 surrogate and \ufffe",
    "שלום עולם (abc) 123",
    "e\u0301\u0301\u0301" * 50,
    "👩\u200d👩\u200d👧 family",
    "",
    "   ",
]
SCRIPTS = ["Маяк на мысе", "港の灯台", "ميناء الإسكندرية", "पुस्तकालय", "ห้องสมุด"]


def example(labels=("Lilli's Marriage", "Jaap Speyer", "Amsterdam", "Amstel")):
    nodes = [Node("q", "Which river flows there?", "question", 1.0)]
    nodes += [Node(f"e{n}", label, "entity", 0.1 * n) for n, label in enumerate(labels)]
    nodes += [Node(f"p{n}", label, "passage", 1 / (1 + n), f"About {label}.") for n, label in enumerate(labels[:3])]
    last = len(labels) - 1
    edges = [Edge(f"e{n}", f"e{n + 1}", f"to {labels[n + 1]}", "fact", 0.5) for n in range(last)]
    edges += [Edge("q", "e0", "", "seed", 0.5), Edge("e0", f"e{last}", "", "synonym", 0.9)]
    edges += [Edge(f"e{n}", f"p{n % 3}", "", "mention", 1.0) for n in range(len(labels))]
    return Subgraph("Which river flows there?", nodes, edges, ("asked as: Which river flows through Amsterdam?",))


def svg(subgraph, folder):
    return ET.fromstring(write_picture(subgraph, folder / "picture.svg").read_text(encoding="utf-8"))


def words(root):
    return [element.text.strip("\u202b\u202c") for element in root.iter(f"{SVG}text")]


def test_an_svg_shows_every_label_and_tells_the_whole_when_pointed_at(tmp_path):
    root = svg(example(), tmp_path)
    shown = words(root)
    for text in ("Jaap Speyer", "to Amsterdam", "Which river flows", "1", "About Jaap Speyer.", "mentioned in"):
        assert text in shown
    told = [element.text for element in root.iter(f"{SVG}title")]
    assert "Jaap Speyer — to Amsterdam — Amsterdam\n0.5" in told
    assert "Jaap Speyer\nAbout Jaap Speyer.\n0.5" in told


def test_equal_subgraphs_give_equal_files(tmp_path):
    for ending in ("svg", "html"):
        one, other = (write_picture(example(), tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
        assert one == other


@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_labels_stay_texts(label, tmp_path):
    subgraph = example((label, "plain", label, "more"))
    root = svg(Subgraph(label, subgraph.nodes, subgraph.edges, (label,)), tmp_path)
    assert {element.tag for element in root.iter()} <= {
        SVG + tag for tag in ("svg", "g", "title", "text", "rect", "circle", "path", "polygon")
    }
    names = {name for element in root.iter() for name in element.attrib}
    assert not any(name.startswith("on") or "href" in name for name in names)
    page = write_picture(subgraph, tmp_path / "picture.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert write_picture(subgraph, tmp_path / "picture.png").stat().st_size > 1000


def test_a_page_loads_nothing_from_elsewhere(tmp_path):
    page = write_picture(example(), tmp_path / "picture.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=|url\(|@import|import\(", page)
    assert set(re.findall(r"https?://[^\"' ]*", page)) == {"http://www.w3.org/2000/svg"}


def test_a_png_has_the_size_of_the_scene_and_is_not_blank(tmp_path):
    from PIL import Image

    with Image.open(write_picture(example(tuple(SCRIPTS)), tmp_path / "picture.png")) as image:
        assert image.format == "PNG"
        assert image.size == size_of(compose(example(tuple(SCRIPTS))))
        assert image.size[0] > 2000
        colours = {colour for _, colour in image.getcolors(1 << 24)}
    assert {(0, 114, 178), (0, 128, 92), (217, 140, 0)} <= colours


def test_a_subgraph_without_nodes_is_a_picture_of_its_question(tmp_path):
    empty = Subgraph("Who?", [], [], ("the graph was not asked: it is empty",))
    assert {"Who?", "QUESTION"} <= set(words(svg(empty, tmp_path)))
    assert write_picture(empty, tmp_path / "picture.png").stat().st_size > 500


def test_edges_without_their_ends_are_left_out(tmp_path):
    subgraph = example()
    lost = [Edge("e0", "nowhere", "lost", "fact", 1.0), Edge("gone", "p0", "", "mention", 1.0)]
    assert "lost" not in words(svg(Subgraph("?", subgraph.nodes, [*subgraph.edges, *lost]), tmp_path))


def test_a_fact_about_itself_and_two_facts_of_one_pair_are_drawn(tmp_path):
    subgraph = example()
    more = [Edge("e1", "e1", "is itself", "fact", 1.0), Edge("e1", "e2", "lived in", "fact", 1.0)]
    assert {"is itself", "lived in"} <= set(
        words(svg(Subgraph("?", subgraph.nodes, [*subgraph.edges, *more]), tmp_path))
    )


def test_weights_that_are_no_numbers_do_not_spoil_the_picture(tmp_path):
    nodes = [Node("e0", "a", "entity", float("nan")), Node("e1", "b", "entity", -1.0)]
    nodes += [Node("p0", "p", "passage", float("nan")), Node("p1", "p", "passage", 0.0)]
    text = write_picture(Subgraph("?", nodes, []), tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert '"nan' not in text


def boxes_of(scene):
    """The rectangles that labels and cards cover: of texts as broad as they were measured."""
    found = []
    for group in scene.groups[:-1]:
        texts = [shape for shape in group.shapes if isinstance(shape, Text)]
        outer = [shape for shape in group.shapes if isinstance(shape, Box)][:1]
        if outer:
            found.append((outer[0].x, outer[0].y, outer[0].x + outer[0].width, outer[0].y + outer[0].height))
        elif texts:
            left = min(text.x - text.width / 2 for text in texts)
            right = max(text.x + text.width / 2 for text in texts)
            found.append((left, min(t.y - t.size * 0.8 for t in texts), right, max(t.y for t in texts)))
    return np.array(found)


@pytest.mark.parametrize("count", [5, 16, 60, 250])
def test_labels_cover_nothing_of_each_other_and_lie_in_the_picture(count):
    scene = compose(example(tuple(f"{'A name of some length ' * (n % 3)}{n}" for n in range(count))))
    boxes = boxes_of(scene)
    assert len(boxes) == 2 * count - 1 + min(count, 3) + 1
    over = np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - np.maximum(boxes[:, None, :2], boxes[:, :2])
    clash = (over > 0.1).all(axis=2)
    np.fill_diagonal(clash, val=False)
    assert not clash.any()
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= (scene.width, scene.height)).all()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(1, 300), st.floats(1, 90)), max_size=25), st.data())
def test_no_two_boxes_of_a_layout_overlap(sizes, data):
    count = len(sizes)
    pairs = st.tuples(st.integers(0, max(count - 1, 0)), st.integers(0, count))
    springs = np.array(data.draw(st.lists(pairs, max_size=20)) if count else [], np.int64).reshape(-1, 2)
    area = np.array(sizes).reshape(-1, 2)
    found = place(area, np.ones(count), np.array([[0.0, 50.0]]), springs, np.ones(len(springs)), (400.0, 200.0))
    apart = np.abs(found[:, None] - found)
    clash = (apart < (area[:, None] + area) / 2 - 1e-5).all(axis=2)
    np.fill_diagonal(clash, val=False)
    assert not clash.any()
    assert (found[:, 0] >= area[:, 0] / 2 - 1e-6).all() and (found[:, 0] <= 400 - area[:, 0] / 2 + 1e-6).all()


@settings(max_examples=200)
@given(st.text(max_size=300), st.floats(8, 20), st.floats(30, 300), st.integers(1, 4))
def test_lines_fit_and_keep_the_words(text, size, width, lines):
    found = fit(text, size, width, lines)
    assert len(found) <= lines
    assert all(measure(line, size) <= width for line in found)
    joined = "".join(found).replace(" ", "")
    whole = clean(text).replace(" ", "")
    assert joined == whole or (joined.endswith("…") and whole.startswith(joined[:-1]))


def test_letters_that_pillows_own_font_has_not_come_from_a_font_of_the_machine():
    if not fonts._paths():
        pytest.skip("this machine has no DejaVu or Noto fonts")
    chosen = fonts.Fonts(1.0).runs("Маяк", 12)
    assert len(chosen) == 1
    assert chosen[0][1].getname()[0] != fonts.Fonts(1.0).runs("Lighthouse", 12)[0][1].getname()[0]


def test_letters_that_no_font_has_do_not_end_the_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "_paths", list)
    assert write_picture(example(tuple(SCRIPTS)), tmp_path / "picture.png").stat().st_size > 1000


def test_another_ending_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(QueryError, match=r"picture\.gif: a picture is written as \.svg, \.html, \.png"):
        write_picture(example(), tmp_path / "picture.gif")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(QueryError, match="there is no folder"):
        write_picture(example(), tmp_path / "none" / "picture.svg")


def test_a_png_without_pillow_names_the_extra(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "PIL" else find(name))
    with pytest.raises(ImportError, match=r"mnemodex\[picture\]"):
        write_picture(example(), tmp_path / "picture.png")
    assert not (tmp_path / "picture.png").exists()
    assert Path(write_picture(example(), tmp_path / "picture.svg")).exists()
