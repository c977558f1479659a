"""Clauses of questions, on parses that are written out by hand; and the model's own parse of one."""

from __future__ import annotations

import pytest
import spacy
from spacy.tokens import Doc

from mnemodex.indexers.graph.words import WordCounts
from mnemodex.retrievers.graph.clauses import clause_around, clauses_of
from mnemodex.retrievers.graph.parsing import find_parser

COUNTS = WordCounts.of(["the city museum", "the song", "a singer of the song", "Philbrook"])


def parsed(*words):
    """A parse from (word, number of its head, relation, part of speech, tag)."""
    texts, heads, relations, kinds, tags = zip(*words, strict=True)
    return Doc(spacy.blank("en").vocab, texts, heads=list(heads), deps=relations, pos=kinds, tags=tags)


CITY = parsed(
    ("When", 2, "advmod", "ADV", "WRB"),
    ("did", 2, "aux", "AUX", "VBD"),
    ("rain", 2, "ROOT", "VERB", "VB"),
    ("in", 2, "prep", "ADP", "IN"),
    ("the", 5, "det", "DET", "DT"),
    ("city", 3, "pobj", "NOUN", "NN"),
    ("where", 8, "advmod", "ADV", "WRB"),
    ("Philbrook", 8, "nsubj", "PROPN", "NNP"),
    ("lies", 5, "relcl", "VERB", "VBZ"),
)


def texts_of(doc, *facts):
    return [doc.text[clause.start : clause.end] for clause in clauses_of(doc, facts, COUNTS)]


def test_a_clause_is_the_least_noun_phrase_around_a_name():
    assert texts_of(CITY) == ["the city where Philbrook lies"]
    (clause,) = clauses_of(CITY, [], COUNTS)
    assert clause.mention == "Philbrook"
    assert clause.replaced(CITY.text, "Tulsa") == "When did rain in Tulsa "


def test_what_a_question_word_begins_is_asked_for_and_is_no_clause():
    doc = parsed(
        ("Which", 1, "det", "DET", "WDT"),
        ("singer", 4, "nsubj", "NOUN", "NN"),
        ("of", 1, "prep", "ADP", "IN"),
        ("Alien", 2, "pobj", "PROPN", "NNP"),
        ("won", 4, "ROOT", "VERB", "VBD"),
    )
    assert texts_of(doc) == []


@pytest.mark.parametrize("relation", ["conj", "appos"])
def test_a_clause_is_not_looked_for_beyond_what_is_beside_a_name(relation):
    doc = parsed(
        ("Is", 0, "ROOT", "AUX", "VBZ"),
        ("the", 2, "det", "DET", "DT"),
        ("song", 0, "nsubj", "NOUN", "NN"),
        ("and", 2, "cc", "CCONJ", "CC"),
        ("Alien", 2, relation, "PROPN", "NNP"),
    )
    assert texts_of(doc) == []


def test_the_clause_around_a_clause_is_found_in_the_same_parse():
    doc = parsed(
        ("the", 1, "det", "DET", "DT"),
        ("home", 1, "ROOT", "NOUN", "NN"),
        ("of", 1, "prep", "ADP", "IN"),
        ("the", 4, "det", "DET", "DT"),
        ("singer", 2, "pobj", "NOUN", "NN"),
        ("of", 4, "prep", "ADP", "IN"),
        ("Alien", 5, "pobj", "PROPN", "NNP"),
    )
    (inner,) = clauses_of(doc, [], COUNTS)
    assert doc.text[inner.start : inner.end] == "the singer of Alien"
    start, end = clause_around(doc, inner.start, inner.end)
    assert doc.text[start:end] == "the home of the singer of Alien"
    assert clause_around(doc, start, end) is None


def test_the_end_of_a_fact_is_a_name_too_and_a_question_has_two_clauses_at_most():
    doc = parsed(
        *[
            word
            for at in range(0, 9, 3)
            for word in (
                ("song", at, "ROOT", "NOUN", "NN"),
                ("of", at, "prep", "ADP", "IN"),
                (f"thing{at}", at + 1, "pobj", "NOUN", "NN"),
            )
        ]
    )
    assert texts_of(doc) == []
    facts = [(f"thing{at}", "is", "else") for at in range(0, 9, 3)]
    assert texts_of(doc, *facts) == ["song of thing0", "song of thing3"]


def test_a_models_parse_has_the_clause():
    parse = find_parser("clauses", None).parse
    (doc,) = parse(["When did the Admiral Twin open in the city where the Philbrook Museum is located?"])
    assert "the city where the Philbrook Museum is located" in texts_of(doc)


@pytest.mark.parametrize("question", ["", " ", "?", "東方红的作者在哪里出生", "\u200f مرحبا", "a b " * 30_000])
def test_any_text_is_parsed_and_has_clauses_of_its_own_characters(question):
    (doc,) = find_parser("clauses", None).parse([question])
    for clause in clauses_of(doc, [(question, "is", "x")], COUNTS):
        assert 0 <= clause.start < clause.end <= len(question)
