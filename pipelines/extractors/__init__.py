"""Extractors of triples by name: one line each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnemodex.pipelines.extractors.base import Extractor
    from mnemodex.schemas.store.store import Store

EXTRACTORS = {
    "file": "mnemodex.pipelines.extractors.file:FileExtractor",
    "spacy": "mnemodex.pipelines.extractors.spacy:SpacyExtractor",
    "llm": "mnemodex.pipelines.extractors.llm:LlmExtractor",
}


def extractor_class(name: str) -> Any:
    """An extractor's class."""
    module, _, attribute = EXTRACTORS[name].partition(":")
    return getattr(import_module(module), attribute)


def make_extractor(name: str, settings: dict[str, Any], store: Store) -> Extractor:
    """An extractor with its settings."""
    made: Extractor = extractor_class(name)(settings, store)
    return made
