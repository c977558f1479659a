"""What a recipe can name: memory kinds, chunkers, encoders, extractors, generators and source formats, and plug-ins.

An entry is dotted names (`module:name`) only, so that nothing is imported before a recipe names it. Installed packages
add entries through entry points of the groups below; an entry point gives a `Kind`, or a `Component` for the others.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import SerializeAsAny

from mnemodex.schemas.registry import Component, Kind, Registry, choose, load
from mnemodex.schemas.spec import Spec

__all__ = [
    "AnyChunker",
    "AnyEncoder",
    "AnyExtractor",
    "AnyGenerator",
    "AnyIndex",
    "AnySource",
    "CHUNKERS",
    "Component",
    "ENCODERS",
    "EXTRACTORS",
    "GENERATORS",
    "KINDS",
    "Kind",
    "Registry",
    "SOURCES",
    "choose",
    "load",
]

_DENSE = "mnemodex.indexers.dense"
_SETTINGS = "mnemodex.indexers.settings"
_COMBINED = "mnemodex.indexers.combined_settings"
_VECTOR_SETTINGS = "mnemodex.indexers.vector_settings"
_SECTIONS = "mnemodex.schemas.sections"
_PAIRS = "mnemodex.schemas.pair_sections"
_VECTORS = "mnemodex.schemas.vector_sections"
_FILES = "mnemodex.schemas.source_sections"
_GENERATORS = "mnemodex.pipelines.qa.generators"
_GRAPH = "mnemodex.pipelines.graph"
_COMMANDS = "mnemodex.pipelines.commands"
_SOURCES = "mnemodex.pipelines.sources"

KINDS = Registry(
    "mnemodex.kinds",
    "index type",
    Kind,
    {
        "dense": Kind(
            settings=f"{_VECTOR_SETTINGS}:DenseSettings",
            indexer=f"{_DENSE}.indexer:DenseIndexer",
            check=f"{_DENSE}.factory:check_settings",
            retriever="mnemodex.retrievers.dense:DenseRetriever",
            searched_in_builds=True,
            masks=True,
        ),
        "bm25": Kind(
            settings=f"{_SETTINGS}:BM25Settings",
            indexer="mnemodex.indexers.bm25:BM25Indexer",
            retriever="mnemodex.retrievers.bm25:BM25Retriever",
            searched_in_builds=True,
            masks=True,
        ),
        "ngram": Kind(
            settings=f"{_SETTINGS}:NgramSettings",
            indexer="mnemodex.indexers.ngram.indexer:NgramIndexer",
            retriever="mnemodex.retrievers.ngram.index:NgramIndex",
            renderer=f"{_COMMANDS}.rendering:ConcordanceRenderer",
            masks=True,
        ),
        "seal": Kind(
            settings=f"{_SETTINGS}:SealSettings",
            retriever="mnemodex.retrievers.seal.retriever:SealRetriever",
            masks=True,
        ),
        "graph": Kind(
            settings=f"{_SETTINGS}:GraphSettings",
            indexer="mnemodex.indexers.graph.indexer:GraphIndexer",
            check=f"{_GRAPH}.steps:check_index",
            retriever="mnemodex.retrievers.graph.retriever:GraphRetriever",
            masks=True,
        ),
        "knn_lm": Kind(
            settings=f"{_VECTOR_SETTINGS}:KnnLmSettings",
            indexer="mnemodex.indexers.knn_lm:KnnLmIndexer",
            check=f"{_DENSE}.factory:check_settings",
            retriever="mnemodex.retrievers.next_token:NextTokenRetriever",
            hits="position",
            renderer=f"{_COMMANDS}.next_token_tables:ContinuationRenderer",
            evaluator=f"{_COMMANDS}.next_token:TextEvaluator",
            masks=True,
        ),
        "hybrid": Kind(
            settings=f"{_COMBINED}:HybridSettings",
            retriever="mnemodex.retrievers.hybrid:HybridRetriever",
            searched_in_builds=True,
            masks=True,
        ),
        "rerank": Kind(
            settings=f"{_COMBINED}:RerankSettings",
            retriever="mnemodex.retrievers.reranking:RerankRetriever",
            masks=True,
        ),
        "recency": Kind(
            settings=f"{_COMBINED}:RecencySettings",
            retriever="mnemodex.retrievers.recency:RecencyRetriever",
            masks=True,
        ),
        "contiguity": Kind(
            settings=f"{_COMBINED}:ContiguitySettings",
            indexer="mnemodex.indexers.contiguity:ContiguityIndexer",
            retriever="mnemodex.retrievers.contiguity:ContiguityRetriever",
            searched_in_builds=True,
            masks=True,
        ),
        "qa": Kind(
            settings="mnemodex.indexers.pair_settings:QASettings",
            indexer="mnemodex.indexers.qa:QAIndexer",
            check="mnemodex.pipelines.qa.steps:check_index",
            retriever="mnemodex.retrievers.qa.retriever:QARetriever",
            hits="pair",
            renderer=f"{_COMMANDS}.pairs:PairRenderer",
            evaluator=f"{_COMMANDS}.pairs:AnswerEvaluator",
            searched_in_builds=True,
            masks=True,
        ),
    },
)
"""Memory kinds, by the recipe's `indexes.NAME.type`."""

CHUNKERS = Registry(
    "mnemodex.chunkers",
    "chunker",
    Component,
    {
        "document": Component(f"{_SECTIONS}:DocumentChunks", "mnemodex.pipelines.chunkers:DocumentChunker"),
        "tokens": Component(f"{_SECTIONS}:TokenChunks", "mnemodex.pipelines.chunkers.tokens:TokenChunker"),
        "sentences": Component(f"{_SECTIONS}:SentenceChunks", "mnemodex.pipelines.chunkers.sentences:SentenceChunker"),
        "headings": Component(f"{_SECTIONS}:HeadingChunks", "mnemodex.pipelines.chunkers.headings:HeadingChunker"),
        "events": Component(
            "mnemodex.schemas.event_sections:EventChunks", make="", steps="mnemodex.pipelines.lm.events:event_steps"
        ),
        "passed": Component("mnemodex.schemas.passed:PassedChunker", ""),
    },
)
"""Chunkers, by the recipe's `chunks.by`; made of their settings."""

ENCODERS = Registry(
    "mnemodex.encoders",
    "encoder",
    Component,
    {
        "sentence_transformers": Component(f"{_SECTIONS}:Embedding", "mnemodex.indexers.encoders.local:Encoder"),
        "openai": Component(f"{_SECTIONS}:ServedEmbedding", "mnemodex.indexers.encoders.served:ServedEncoder"),
        "file": Component(f"{_VECTORS}:VectorFile", "mnemodex.indexers.encoders.given:open_given"),
        "passed": Component("mnemodex.schemas.passed:PassedEmbedding", ""),
    },
)
"""Encoders, by the recipe's `embed.NAME.encoder`; made of their settings and a number of threads."""

EXTRACTORS = Registry(
    "mnemodex.extractors",
    "extractor",
    Component,
    {
        "file": Component(f"{_SECTIONS}:TripleFile", "mnemodex.pipelines.extractors.file:FileExtractor"),
        "spacy": Component(f"{_SECTIONS}:SpacyTriples", "mnemodex.pipelines.extractors.spacy:SpacyExtractor"),
        "llm": Component(f"{_SECTIONS}:LlmTriples", "mnemodex.pipelines.extractors.llm:LlmExtractor"),
    },
)
"""Extractors of triples, by the recipe's `triples.extractor`; made of their settings and the store."""

GENERATORS = Registry(
    "mnemodex.generators",
    "generator",
    Component,
    {
        "file": Component(f"{_PAIRS}:PairFile", "mnemodex.pipelines.qa.rows:read_pairs"),
        "rules": Component(f"{_PAIRS}:RulePairs", f"{_GENERATORS}.rules:RuleGenerator"),
        "model": Component(f"{_PAIRS}:ModelPairs", f"{_GENERATORS}.model:ModelGenerator"),
        "llm": Component(f"{_PAIRS}:LlmPairs", f"{_GENERATORS}.llm:LlmGenerator"),
    },
)
"""Generators of question-answer pairs, by the recipe's `qa_pairs.generator`; made of their settings and the `Work`."""

SOURCES = Registry(
    "mnemodex.sources",
    "source format",
    Component,
    {
        "jsonl": Component(f"{_FILES}:Source", f"{_SOURCES}.jsonl:JsonlSource"),
        "text": Component(f"{_FILES}:Source", f"{_SOURCES}.text:TextSource"),
        "json": Component(f"{_FILES}:Source", f"{_SOURCES}.json_array:JsonSource"),
        "csv": Component(f"{_FILES}:DelimitedFiles", f"{_SOURCES}.delimited:DelimitedSource"),
        "parquet": Component(f"{_FILES}:Source", f"{_SOURCES}.parquet:ParquetSource"),
        "arrow": Component(f"{_FILES}:Source", f"{_SOURCES}.arrow:ArrowSource"),
        "chat": Component(f"{_FILES}:Source", f"{_SOURCES}.chat:ChatSource"),
        "code": Component(f"{_FILES}:Source", f"{_SOURCES}.source_code:CodeSource"),
        "html": Component(f"{_FILES}:Source", f"{_SOURCES}.web:HtmlSource"),
        "pdf": Component(f"{_FILES}:Source", f"{_SOURCES}.pdf:PdfSource"),
        "docx": Component(f"{_FILES}:Source", f"{_SOURCES}.word:DocxSource"),
        "hipporag": Component(f"{_FILES}:Source", f"{_SOURCES}.json_array:JsonSource"),
        "mixed": Component(f"{_FILES}:Source", f"{_SOURCES}.mixed:MixedSource"),
        "empty": Component(f"{_FILES}:NoSource", f"{_SOURCES}.empty:EmptySource"),
    },
)
"""Source formats, by the recipe's `source.format` or the ending of the path."""

AnyIndex = Annotated[SerializeAsAny[Spec], choose(KINDS, key="type")]
AnyChunker = Annotated[SerializeAsAny[Spec], choose(CHUNKERS, key="by", default="document")]
AnyEncoder = Annotated[SerializeAsAny[Spec], choose(ENCODERS, key="encoder", default="sentence_transformers")]
AnyExtractor = Annotated[SerializeAsAny[Spec], choose(EXTRACTORS, key="extractor", default="file")]
AnyGenerator = Annotated[SerializeAsAny[Spec], choose(GENERATORS, key="generator", default="file")]
AnySource = Annotated[SerializeAsAny[Spec], choose(SOURCES, key="format", default="jsonl")]
"""Settings of any entry, as a field of an op's settings."""
