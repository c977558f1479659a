"""Pictures of subgraphs: files that are what they say, whatever the labels are."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subgraphs import HOSTILE, example

from mnemodex.retrievers.graph.drawing.layout import separate
from mnemodex.retrievers.graph.drawing.svg import to_svg
from mnemodex.retrievers.graph.drawing.text import clean, fit, measure
from mnemodex.retrievers.graph.picture import write_picture
from mnemodex.retrievers.graph.subgraph import Edge, Node, Subgraph
from mnemodex.schemas.errors import QueryError

SVG = "{http://www.w3.org/2000/svg}"
SCRIPTS = ["Маяк на мысе", "港の灯台", "ميناء الإسكندرية", "पुस्तकालय", "ห้องสมุด"]


def svg(subgraph, folder):
    return ET.fromstring(write_picture(subgraph, folder / "picture.svg").read_text(encoding="utf-8"))


def words(root):
    return [element.text.strip("\u202b\u202c") for element in root.iter(f"{SVG}text")]


def test_an_svg_shows_every_label_and_has_the_full_texts_as_titles(tmp_path):
    root = svg(example(), tmp_path)
    shown = words(root)
    for text in ("Jaap Speyer", "to Amsterdam", "Which river flows", "1", "About Jaap Speyer.", "mentioned in"):
        assert text in shown
    titles = [element.text for element in root.iter(f"{SVG}title")]
    assert "Jaap Speyer — to Amsterdam — Amsterdam\n0.5" in titles
    assert "Jaap Speyer\nAbout Jaap Speyer.\n0.5" in titles


def test_what_is_cut_off_ends_in_an_ellipsis_and_stands_in_a_title(tmp_path):
    long = " ".join(f"word{n}" for n in range(200))
    subgraph = example((long, "plain"))
    root = svg(Subgraph(long, subgraph.nodes, subgraph.edges, (long,)), tmp_path)
    titles = "\n".join(element.text for element in root.iter(f"{SVG}title")).split("\n")
    assert sum(text.endswith("…") for text in words(root)) >= 4
    assert titles.count(long) == 5 and f"About {long}." in titles


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_shown(script, tmp_path):
    root = svg(example((script, "plain")), tmp_path)
    shown = [text for text in root.iter(f"{SVG}text") if text.text.strip("\u202b\u202c") == script]
    assert {text.get("text-anchor") for text in shown} == {"middle", "end" if script == SCRIPTS[2] else "start"}
    assert {text.text[0] == "\u202b" for text in shown} == {script == SCRIPTS[2]}


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


def test_a_page_loads_nothing_from_elsewhere(tmp_path):
    page = write_picture(example(), tmp_path / "picture.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=|url\(|@import|import\(", page)
    assert set(re.findall(r"https?://[^\"' ]*", page)) == {"http://www.w3.org/2000/svg"}


def test_a_page_runs_the_one_script_whose_hash_its_policy_names(tmp_path):
    page = write_picture(example(), tmp_path / "picture.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_a_subgraph_without_nodes_is_a_picture_of_its_question(tmp_path):
    empty = Subgraph("Who?", [], [], ("the graph was not asked: it is empty",))
    assert {"Who?", "QUESTION"} <= set(words(svg(empty, tmp_path)))
    assert "the graph was not asked" in write_picture(empty, tmp_path / "picture.html").read_text(encoding="utf-8")


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


def test_what_weighs_more_is_larger(tmp_path):
    nodes = [Node("e0", "name", "entity", 0.1), Node("e1", "name", "entity", 0.9)]
    nodes += [Node("p0", "p", "passage", 1.0), Node("p1", "p", "passage", 0.5)]
    edges = [Edge("e0", "e1", "a", "fact", 0.1), Edge("e0", "e1", "b", "fact", 0.9)]
    root = svg(Subgraph("?", nodes, edges), tmp_path)
    nodes = root.findall(f"{SVG}g[@class='node']")[:4]
    light, heavy, first, second = (group.findall(f"{SVG}rect") for group in nodes)
    assert (rectangle(light[0])[2:] < rectangle(heavy[0])[2:]).all()
    assert float(second[-1].get("width")) == pytest.approx(0.5 * float(first[-1].get("width")), abs=0.1)
    thin, thick = (float(path.get("stroke-width")) for path in root.iterfind(f"{SVG}g[@data-kind='fact']/{SVG}path"))
    assert thin < thick


def rectangle(element):
    """Left, top, right and bottom."""
    left, top, width, height = (float(element.get(name)) for name in ("x", "y", "width", "height"))
    return np.array([left, top, left + width, top + height])


def extent(text):
    """What a text covers, as broad as it was measured."""
    size, x, y = (float(text.get(name)) for name in ("font-size", "x", "y"))
    width = measure(text.text.strip("\u202b\u202c"), size, bold=text.get("font-weight") == "bold")
    left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor")]
    return np.array([left, y - 0.8 * size, left + width, y + 0.2 * size])


@pytest.mark.parametrize("count", [5, 16, 60, 250])
def test_labels_cover_nothing_of_each_other_and_lie_in_the_picture(count):
    root = ET.fromstring(to_svg(example(tuple(f"{'A name of some length ' * (n % 3)}{n}" for n in range(count)))))
    groups = [group for group in root.findall(f"{SVG}g")[:-1] if group.find(f"{SVG}rect") is not None]
    boxes = np.array([rectangle(group.find(f"{SVG}rect")) for group in groups])
    assert len(boxes) == 2 * count - 1 + min(count, 3) + 1
    over = np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - np.maximum(boxes[:, None, :2], boxes[:, :2])
    clash = (over > 0.1).all(axis=2)
    np.fill_diagonal(clash, val=False)
    assert not clash.any()
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= (float(root.get("width")), float(root.get("height")))).all()
    for group, box in zip(groups, boxes, strict=True):
        texts = np.array([extent(text) for text in group.iter(f"{SVG}text")])
        assert (texts[:, :2] >= box[:2] - 0.1).all() and (texts[:, 2:] <= box[2:] + 0.1).all()


def test_an_arrow_ends_at_the_edge_of_its_object():
    root = ET.fromstring(to_svg(example(tuple(f"entity {n}" for n in range(16)))))
    nodes = {
        group.get("data-node"): rectangle(group.find(f"{SVG}rect")) for group in root.iterfind(f"{SVG}g[@class='node']")
    }
    arrows = [group for group in root.iterfind(f"{SVG}g[@class='edge']") if group.find(f"{SVG}polygon") is not None]
    assert len(arrows) == 15
    for arrow in arrows:
        tip = np.array(arrow.find(f"{SVG}polygon").get("points").split()[0].split(","), float)
        box = nodes[arrow.get("data-ends").split()[1]]
        assert 0.5 < np.hypot(*np.maximum(np.maximum(box[:2] - tip, tip - box[2:]), 0)) < 5


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0, 200), st.floats(1, 300), st.floats(1, 90)), max_size=25))
def test_no_two_boxes_overlap_when_they_are_separated(rows):
    centres, sizes = np.split(np.array(rows).reshape(-1, 4), 2, axis=1)
    separated = separate(centres, sizes)
    apart = np.abs(separated[:, None] - separated)
    clash = (apart < (sizes[:, None] + sizes) / 2 - 1e-5).all(axis=2)
    np.fill_diagonal(clash, val=False)
    assert not clash.any()
    assert (separated[:, 0] == centres[:, 0]).all() and (separated[:, 1] >= centres[:, 1]).all()


@settings(max_examples=200)
@given(st.text(max_size=300), st.floats(8, 20), st.floats(30, 300), st.integers(1, 4))
def test_lines_fit_and_keep_the_words(text, size, width, lines):
    fitted = fit(text, size, width, lines)
    assert len(fitted) <= lines
    assert all(measure(line, size) <= width for line in fitted)
    joined = "".join(fitted).replace(" ", "")
    cleaned = clean(text).replace(" ", "")
    assert joined == cleaned or (joined.endswith("…") and cleaned.startswith(joined[:-1]))


@pytest.mark.parametrize("name", ["picture.gif", "picture.png", "picture"])
def test_another_ending_is_refused_with_those_that_there_are(name, tmp_path):
    with pytest.raises(QueryError, match=rf"{name}: a picture is written as \.svg or \.html\. Give"):
        write_picture(example(), tmp_path / name)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(QueryError, match=r"the folder .* does not exist"):
        write_picture(example(), tmp_path / "none" / "picture.svg")
