"""Training pairs of a recipe: what is looked for before any work, and what decides them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models import tokenizer, tokenizer_hash
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.manifest import fingerprint

if TYPE_CHECKING:
    from mnemodex.retrievers.queries import Query
    from mnemodex.schemas.recipe import NgramPairs, Recipe


def check_pairs(recipe: Recipe) -> None:
    """Look for the tokenizers and query files of all pairs.

    Raises:
        ModelError: a tokenizer is not there, or is none.
        QueryError: a query file is not there, is none, or has no gold ids.
    """
    for name, spec in recipe.ngram_pairs.items():
        tokenizer(spec.tokenizer)
        if spec.queries is not None and not answered(spec):
            msg = (
                f"{spec.queries}: no query has `gold_ids`, the keys of the documents that answer it; add them, or take "
                f"`queries` out of ngram_pairs.{name} and give `unsupervised`"
            )
            raise QueryError(msg)


def answered(spec: NgramPairs) -> list[Query]:
    """The questions that some document is known to answer; none where the pairs have no query file.

    Raises:
        QueryError: the query file is not there, or is none.
    """
    return [query for query in read_queries(Path(spec.queries)) if query.gold] if spec.queries is not None else []


def decisive(spec: NgramPairs, queries: list[Query], *, id_salt: str) -> dict[str, Any]:
    """What decides the pairs of a document: contents, not the names they go by."""
    return {
        **spec.model_dump(mode="json", exclude={"tokenizer", "queries"}),
        "tokenizer": tokenizer_hash(spec.tokenizer),
        "queries": fingerprint([[query.id, query.question, sorted(query.gold)] for query in queries]),
        "id_salt": id_salt,
    }
