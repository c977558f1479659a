"""What the page shows around hits: the picture of a graph, and the question's words in texts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from mnemodex.deploy.access import OPEN, Access
from mnemodex.deploy.memories import Served
from mnemodex.deploy.operations.graph import GraphForm, graph
from mnemodex.deploy.operations.highlight import HighlightForm, highlight
from mnemodex.deploy.settings import Limits
from mnemodex.schemas.errors import AccessError, LimitError, QueryError

QUESTION = "Who winds the lamp?"
TENANT = Access(key_name="tenant", scopes=frozenset({"search"}), where="d.key LIKE 'mill%'")


@pytest.fixture
def served(memory):
    return Served("library", memory, Limits(k=20))


class TestGraph:
    def test_it_is_the_subgraph_of_the_index(self, served, memory):
        answer = graph(served, GraphForm(index="bridge", question=QUESTION, k=3), OPEN)
        subgraph = memory.retriever("bridge").subgraph(QUESTION, 3)
        assert [node["label"] for node in answer["nodes"]] == [node.label for node in subgraph.nodes]
        assert [edge["kind"] for edge in answer["edges"]] == [edge.kind for edge in subgraph.edges]
        assert sum(node["kind"] == "passage" for node in answer["nodes"]) == 3
        assert (answer["memory"], answer["index"], answer["notes"]) == ("library", "bridge", list(subgraph.notes))

    def test_the_picture_is_one_svg_that_loads_nothing(self, served):
        svg = graph(served, GraphForm(index="bridge", question=QUESTION), OPEN)["svg"]
        root = ET.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and QUESTION in "".join(root.itertext())
        assert not [e for e in root.iter() if e.tag.endswith("script") or any("href" in name for name in e.attrib)]
        assert "prefers-color-scheme: dark" in svg and "url(" not in svg

    def test_another_type_of_index_is_refused_with_those_that_there_are(self, served):
        with pytest.raises(QueryError, match=r"Ask one of these: bridge, hipporag2, lite, sentences"):
            graph(served, GraphForm(index="words", question=QUESTION), OPEN)

    def test_a_key_with_a_filter_does_not_see_it(self, served):
        with pytest.raises(AccessError, match="facts and names are those of the whole corpus"):
            graph(served, GraphForm(index="bridge", question=QUESTION), TENANT)


class TestHighlight:
    def test_words_are_found_in_all_their_forms(self, served):
        texts = ["The lamps were wound; he winds a lamp.", "Nothing.", "🔦 LAMP"]
        answer = highlight(served, HighlightForm(index="words", question=QUESTION, texts=texts), OPEN)
        words = [[text[start:end] for start, end in row] for text, row in zip(texts, answer["spans"], strict=True)]
        assert words == [["lamps", "winds", "lamp"], [], ["LAMP"]]

    def test_any_index_and_any_key_may_ask(self, served):
        form = HighlightForm(index="both", question=QUESTION, texts=["a lamp"])
        assert highlight(served, form, TENANT)["spans"] == [[(2, 6)]]

    def test_there_may_be_as_many_texts_as_hits(self, served):
        with pytest.raises(LimitError, match="21 of them"):
            highlight(served, HighlightForm(index="words", question=QUESTION, texts=["a"] * 21), OPEN)
