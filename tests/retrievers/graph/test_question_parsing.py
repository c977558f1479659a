"""Which spaCy model parses the questions of a memory."""

from __future__ import annotations

import json

import pytest

from mnemodex.indexers.settings import GraphSettings
from mnemodex.retrievers.graph import parsing
from mnemodex.retrievers.graph.parsing import find_parser
from mnemodex.schemas.errors import MissingExtraError, ModelError
from mnemodex.schemas.sections import SPACY_MODEL

SPACY = {"extractor": "spacy", "model": SPACY_MODEL}


@pytest.fixture
def without_parser(tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps({"lang": "xx", "pipeline": ["ner"]}), "utf-8")
    return {"extractor": "spacy", "model": str(tmp_path)}


def test_the_model_that_extracted_the_triples_parses_the_questions():
    (doc,) = find_parser(None, SPACY).parse(["Who sang it?"])
    assert [token.text for token in doc if token.dep_ == "ROOT"] == ["sang"]


@pytest.mark.parametrize("triples", [None, {"from": "triples.jsonl"}, {"extractor": "llm", "model": "m"}])
def test_where_the_language_is_not_known_only_the_settings_ask_for_clauses(triples):
    assert find_parser(None, triples) == (None, None)
    assert find_parser("clauses", triples).parse is not None


def test_mentions_need_no_parser():
    assert find_parser("mentions", SPACY) == (None, None)


def test_a_model_without_a_parser_serves_where_nobody_asks_for_clauses(without_parser):
    parse, missing = find_parser(None, without_parser)
    assert parse is None and missing.startswith("clauses: spaCy model") and "it has no parser" in missing
    with pytest.raises(ModelError, match=r"it has no parser, which `rewrites: clauses` needs; .* `rewrites: mentions`"):
        find_parser("clauses", without_parser)


def test_clauses_without_a_model_or_spacy_are_refused_with_the_remedy(monkeypatch):
    missing = {"extractor": "spacy", "model": "no_such_model"}
    parse, why = find_parser(None, missing)
    assert parse is None and "no_such_model" in why and "pip install" in why
    with pytest.raises(ModelError, match=r"no_such_model.* pip install 'mnemodex\[openie\]'"):
        find_parser("clauses", missing)

    def need(module, *, extra):
        raise MissingExtraError(f"this needs the package {module!r}: pip install 'mnemodex[{extra}]'")

    monkeypatch.setattr(parsing, "need", need)
    assert find_parser(None, SPACY).missing.startswith("clauses: this needs the package")
    with pytest.raises(MissingExtraError, match=r"pip install 'mnemodex\[openie\]'"):
        find_parser("clauses", SPACY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "hipporag2", "rewrites": "clauses"}, "rewrites is for the method bridge"),
        ({"method": "bridge-lite", "rewrites": "mentions"}, "rewrites is for the method bridge"),
        ({"method": "hipporag1", "budget_ms": 5}, "budget_ms is for the methods bridge and bridge-lite"),
        ({"method": "bridge", "budget_ms": 0}, "greater than 0"),
        ({"method": "hipporag2", "words": "bm25"}, "words is for the methods bridge and bridge-lite"),
    ],
)
def test_settings_are_refused_where_they_do_not_count(settings, message):
    with pytest.raises(ValueError, match=message):
        GraphSettings(**settings)
