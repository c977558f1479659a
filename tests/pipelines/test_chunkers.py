from __future__ import annotations

import pytest
from pydantic import ValidationError

from mnemodex.pipelines.chunkers import CHUNKERS, DocumentChunks, TokenChunks, chunk_settings, chunker_for
from mnemodex.pipelines.chunkers.document import DocumentChunker
from mnemodex.schemas.errors import ModelError, RecipeError


def test_a_document_is_one_chunk_even_without_text():
    spans = DocumentChunker(DocumentChunks()).spans(["some text", "", " \n", "日本語 😀"])
    assert [span.tolist() for span in spans] == [[[0, 9]], [[0, 0]], [[0, 2]], [[0, 5]]]
    assert all(span.dtype == "int64" for span in spans)


def test_no_documents_give_no_spans():
    assert DocumentChunker(DocumentChunks()).spans([]) == []


@pytest.mark.parametrize("by", CHUNKERS)
def test_every_chunker_is_made_from_its_settings_or_the_recipe_section(by):
    settings = chunk_settings({"by": by})
    assert settings == CHUNKERS[by][0]()
    assert type(chunker_for(settings)) is type(chunker_for({"by": by})) is CHUNKERS[by][1]


def test_the_default_is_whole_documents():
    assert chunk_settings({}) == DocumentChunks()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"by": "sentence"}, r"r\.yaml: chunks\.by: 'sentence' is unknown; it is one of document, tokens"),
        ({"by": ["tokens"]}, r"chunks\.by: \['tokens'\] is unknown"),
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


def test_a_tokenizer_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        chunker_for({"by": "tokens", "tokenizer": str(tmp_path)})
