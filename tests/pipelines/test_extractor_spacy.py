"""What spaCy finds in a few sentences: facts about a title along paths, and clauses where there is no title."""

from __future__ import annotations

import importlib.util

import pytest
from builds import computed
from library import write_jsonl

import mnemodex
from mnemodex.indexers.graph.names import normalize
from mnemodex.pipelines.extractors.base import Passages
from mnemodex.pipelines.ops.base import Work
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.sections import SPACY_MODEL, SpacyTriples

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("spacy", SPACY_MODEL)), reason="the extra openie"
)


@pytest.fixture(scope="module")
def extractor():
    from mnemodex.pipelines.extractors.spacy import SpacyExtractor

    made = SpacyExtractor(SpacyTriples(extractor="spacy"), Work(1, None))
    made.begin(None)
    return made


def facts(extractor, title, *texts):
    (found,) = extractor.extract([Passages(1, title, texts)])
    assert found.problems == []
    each = [[tuple(raw.value) for raw in triples] for triples in found.triples]
    return each[0] if len(texts) == 1 else each


def test_an_entity_is_joined_to_the_title_by_the_words_up_to_the_root(extractor):
    text = "Demon Dice is a dice game created by Lester Smith. The game was published in Germany."
    assert facts(extractor, "Demon Dice (game)", text) == [
        ("Demon Dice", "is game created by", "Lester Smith"),
        ("Demon Dice", "published in", "Germany"),
    ]


def test_coordinated_entities_share_their_governor(extractor):
    text = "The film stars Scarlett Johansson, Michael Caine and Hugh Jackman."
    assert facts(extractor, "The Prestige", text) == [
        ("The Prestige", "stars", "Scarlett Johansson"),
        ("The Prestige", "stars", "Michael Caine"),
        ("The Prestige", "stars", "Hugh Jackman"),
    ]


def test_numbers_and_names_in_the_title_are_no_entities_and_nothing_stands_twice(extractor):
    text = "Lovelace lived in London. Lovelace lived in London. She had three children and died in 1852."
    assert facts(extractor, "Ada Lovelace", text) == [("Ada Lovelace", "lived in", "London")]


def test_a_chunk_has_at_most_so_many_facts_and_each_chunk_its_own(extractor):
    text = " ".join(f"It was shown in {city}." for city in ("London", "Paris", "Rome", "Madrid", "Vienna"))
    many = " ".join([text.replace("shown", verb) for verb in ("shown", "sold", "seen", "made")])
    first, second = facts(extractor, "A picture", many, text)
    assert (len(first), len(second)) == (16, 5)
    assert [fact[2] for fact in second] == ["London", "Paris", "Rome", "Madrid", "Vienna"]


def test_without_a_title_clauses_are_triples(extractor):
    text = (
        "Marie Curie discovered radium. Curie was a physicist from Poland. She won it. Pierre Curie, a chemist, taught "
        "in Paris and married Marie. The book was written by Jane Austen, who lived in Bath."
    )
    found = facts(extractor, " ", text)
    assert ("Marie Curie", "discovered", "radium") in found
    assert ("Curie", "was", "physicist") in found
    assert ("Pierre Curie", "is", "chemist") in found
    assert ("Pierre Curie", "taught in", "Paris") in found
    assert ("Pierre Curie", "married", "Marie") in found
    assert ("book", "was written by", "Jane Austen") in found
    assert ("Jane Austen", "lived in", "Bath") in found
    assert not any("She" in fact or "who" in fact or "it" in fact for fact in found)


@pytest.mark.parametrize(
    ("title", "text", "fact"),
    [
        ("Gravity", "The film was made with Alfonso Cuarón's brother.", ("made with brother of", "Alfonso Cuarón")),
        ("Gravity", "It was written by his son, Jonás Cuarón.", ("written by son is", "Jonás Cuarón")),
        ("A baron", "He is the grandson of the Hon. Oliver Hugh Stanley, a son.", ("is", "Oliver Hugh Stanley")),
        (
            "Boston",
            "The Mystic River separates Charlestown from Chelsea and Everett, and Chelsea Creek and Boston Harbor "
            "separate East Boston from Downtown.",
            ("separates", "Boston Harbor"),
        ),
    ],
)
def test_an_apposition_a_possessive_a_fragment_and_a_list_have_predicates(extractor, title, text, fact):
    assert (title, *fact) in facts(extractor, title, text)


def test_predicates_have_letters_and_capitals_of_sentences_without_a_verb_are_no_names(extractor):
    text = (
        "Raises LookupError in case of errors.\n\nNew in version 3.5.\n\n+-----+-----+\n| Operation | Result |\n"
        "+=====+=====+\n| Bitwise XOR | a ^ b |\n\nKeyword Arguments:\n  - Paris (London) = Rome"
    )
    for _, predicate, name in [*facts(extractor, "codecs", text), *facts(extractor, "", text)]:
        assert any(map(str.isalnum, predicate)) and name not in {"New", "Raises"}


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("The interpreter is written in C.", {"C."}),
        ("Unlike C, all comparison operations in Python have the same priority.", {"C"}),
        ("X, formerly Twitter, is a site of Elon Musk.", {"X"}),
        ("Let a and b be the sides; return a[i] and f(x), where *y* is a part of X[0] or (Z).", set()),
        ("It was 40 °C in Paris, and Charles I was king. A. First. B. Second. He knew Booker T well.", set()),
        ('Its second letter, "S", stands for South Africa.', set()),
    ],
)
def test_one_letter_is_a_name_only_where_it_is_written_as_one(extractor, text, letters):
    for title in ("A page", ""):
        ends = {end for fact in facts(extractor, title, text) for end in (fact[0], fact[2])}
        assert {end for end in ends if len(normalize(end)) == 1} <= letters
    assert letters <= {fact[2] for fact in facts(extractor, "A page", text)}


@pytest.mark.parametrize("text", ["", " \n", "…", "12 34 56", "港の灯台は毎晩船を導く。", "Moss grows."])
def test_texts_that_say_nothing_to_it_are_no_trouble(extractor, text):
    facts(extractor, "", text)
    facts(extractor, "Moss", text)
    facts(extractor, "()", text)


def test_a_long_text_is_read_to_its_end(extractor):
    found = facts(extractor, "A town", "It grows. " * 4_500 + "It lies near London.")
    assert found == [("A town", "lies near", "London")]


def test_a_build_extracts_once_and_says_how_fast(inline, tmp_path):
    notes = [
        {"id": "a", "title": "Ada Lovelace", "text": "She worked with Charles Babbage."},
        {"id": "b", "title": "Moss", "text": "It grows."},
    ]
    recipe = {
        "source": {"path": str(write_jsonl(tmp_path / "notes.jsonl", notes))},
        "memory": str(tmp_path / "memory"),
        "indexes": {},
        "triples": {"extractor": "spacy"},
    }
    result = mnemodex.build(recipe)
    (step,) = (step for step in result.steps if step.name == "triples")
    assert "documents/s" in step.note
    found = mnemodex.open(tmp_path / "memory").sql("SELECT subject, predicate, object, extractor FROM triples")
    assert found.fetchall() == [("Ada Lovelace", "worked with", "Charles Babbage", "spacy")]
    assert result.warnings == ["triples: 1 of 2 documents have none"]
    assert computed(mnemodex.build(recipe)) == {}
    assert computed(mnemodex.build({**recipe, "triples": {"extractor": "spacy", "max_facts": 3}})) == {
        "triples": 1,
        "mentions": 1,
        "facts and entities: sort": 1,
        "facts and entities": 1,
        "edges": 1,
    }
    assert verify(tmp_path / "memory").problems == []


def test_a_missing_model_or_extra_is_said_before_any_work(inline, tmp_path, monkeypatch):
    recipe = {"source": {"path": str(tmp_path)}, "memory": str(tmp_path / "memory")}
    with pytest.raises(ModelError, match=r"spaCy model 'en_none'.*mnemodex\[openie\]"):
        mnemodex.build({**recipe, "triples": {"extractor": "spacy", "model": "en_none"}})
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "spacy" else find(name, *rest))
    with pytest.raises(ImportError, match=r"mnemodex\[openie\]"):
        mnemodex.build({**recipe, "triples": {"extractor": "spacy"}})
    assert not (tmp_path / "memory").exists()


def test_what_only_moves_is_not_read_again(build, tmp_path, monkeypatch):
    from mnemodex.pipelines.extractors.spacy import SpacyExtractor

    given = []
    extract = SpacyExtractor.extract
    monkeypatch.setattr(SpacyExtractor, "extract", lambda self, docs: given.extend(docs) or extract(self, docs))
    rows = [
        {"id": "r", "title": "Rhine", "text": "The Rhine flows through Basel and Cologne."},
        {"id": "n", "title": "Nothing", "text": "it is so."},
        {
            "id": "p",
            "title": "The Prestige",
            "text": "The film stars Scarlett Johansson, Michael Caine and Hugh Jackman.",
        },
    ]
    notes = tmp_path / "notes"
    write_jsonl(notes / "a.jsonl", rows)
    triples = {"extractor": "spacy"}

    def facts():
        return mnemodex.open(tmp_path / "memory").sql("SELECT * FROM triples ORDER BY triple_id").fetchall()

    build(triples=triples)
    before = facts()
    assert len(given) == 3 and len(before) > 3
    given.clear()
    write_jsonl(notes / "0.jsonl", [{"id": "d", "title": "Delft", "text": "Delft lies near Rotterdam."}, rows[2]])
    write_jsonl(notes / "a.jsonl", rows[:2])
    result = build(triples=triples)
    (step,) = [step for step in result.steps if step.name == "triples"]
    assert [document.title for document in given] == ["Delft"] and step.rows_reused == len(before)
    assert set(before) < set(facts()) and step.rows == step.rows_computed == len(facts())
    assert verify(tmp_path / "memory").problems == []
    (notes / "0.jsonl").rename(notes / "z.jsonl")
    given.clear()
    build(triples=triples)
    assert given == []
