from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from mnemodex.pipelines.chunkers import DocumentChunker, make_chunker
from mnemodex.schemas.errors import ModelError, RecipeError
from mnemodex.schemas.kinds import CHUNKERS, load
from mnemodex.schemas.passed import PassedChunker
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.sections import DocumentChunks, TokenChunks


def chunk_settings(data, *, name="recipe"):
    """The settings object of a recipe's section `chunks`."""
    return parse_recipe({"source": "notes", "chunks": data}, name=name, base=Path()).chunks


def test_a_document_is_one_chunk_even_without_text():
    spans = DocumentChunker(DocumentChunks()).spans(["some text", "", " \n", "日本語 😀"])
    assert [span.tolist() for span in spans] == [[[0, 9]], [[0, 0]], [[0, 2]], [[0, 5]]]
    assert all(span.dtype == "int64" for span in spans)


def test_no_documents_give_no_spans():
    assert DocumentChunker(DocumentChunks()).spans([]) == []


@pytest.mark.parametrize("by", [by for by in CHUNKERS.names() if CHUNKERS.find(by).make])
def test_every_chunker_is_made_from_the_recipe_section(by):
    if by == "sentences":
        pytest.importorskip("sentencex")
    settings = chunk_settings({"by": by})
    component = CHUNKERS.find(by)
    assert settings == load(component.settings)()
    assert type(make_chunker(settings, {})) is load(component.make)


def test_the_default_is_whole_documents():
    assert chunk_settings({}) == DocumentChunks()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"by": "sentence"}, r"r\.yaml: chunks: unknown chunker 'sentence'; did you mean 'sentences'"),
        ({"by": ["tokens"]}, r"chunks: unknown chunker \['tokens'\]"),
        ({"by": "tokens", "sise": 5}, r"unknown key 'chunks\.sise'; did you mean 'size'"),
        ({"by": "document", "size": 5}, r"unknown key 'chunks\.size'"),
        ({"by": "tokens", "size": 0}, r"chunks\.size: "),
        ({"by": "tokens", "overlap": -1}, r"chunks\.overlap: "),
        ({"by": "tokens", "size": 8, "overlap": 8}, r"chunks\.overlap: overlap must be less than size \(8\)"),
        ({"by": "tokens", "overlap": 128}, r"chunks\.overlap: overlap must be less than size \(128\)"),
    ],
)
def test_a_wrong_setting_is_named(data, message):
    with pytest.raises(RecipeError, match=message):
        chunk_settings(data, name="r.yaml")


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        TokenChunks().size = 5


def test_a_chunker_that_the_caller_does_not_pass_again_is_asked_for():
    with pytest.raises(RecipeError, match="cut by an object that the caller of build passed; pass it again: chunker="):
        make_chunker(PassedChunker(identity_of="halves"), {})


def test_a_tokenizer_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        make_chunker(TokenChunks(tokenizer=str(tmp_path)), {})
