"""The tables of a memory: what each is called, and what its rows are."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from mnemodex.schemas.pair_tables import PAIR_TABLES
from mnemodex.schemas.table import TableKey, TableSpec, row_schema

__all__ = [
    "ANSWER_SPANS",
    "CATALOGUE_VIEWS",
    "CHANGES",
    "CHOSEN_PASSAGES",
    "CHUNKS",
    "CORRECTED",
    "CORRECTIONS",
    "DOCUMENTS",
    "EDGES",
    "ENTITIES",
    "ERRORS",
    "EXTRACTIONS",
    "FACTS",
    "FACT_TEXTS",
    "GENERATIONS",
    "MENTIONS",
    "NAME_TEXTS",
    "PASSAGE_SCORES",
    "PASSAGE_WORDS",
    "QA_CANDIDATES",
    "PURGES",
    "QA_PAIRS",
    "QUESTIONS",
    "QUESTION_TEXTS",
    "READ_DOCUMENTS",
    "SINGLE_TABLES",
    "SYNONYMS",
    "TOMBSTONES",
    "TRIPLES",
    "TableKey",
    "TableSpec",
    "spec_of",
    "table_spec",
    "vector_codes",
]

CATALOGUE_VIEWS = ("files", "indexes", "shards", "snapshots")
"""SQL views that say what a memory consists of; no table has such a name."""

_CHECKS = "mnemodex.pipelines.checks.tables"

DOCUMENTS = TableKey("documents")
READ_DOCUMENTS = TableKey("documents", draft=True)
CHANGES = TableKey("changes", draft=True)
TOMBSTONES = TableKey("tombstones", draft=True)
CORRECTIONS = TableKey("corrections", draft=True)
PURGES = TableKey("purges", draft=True)
CHUNKS = TableKey("chunks")
TRIPLES = TableKey("triples")
EXTRACTIONS = TableKey("extractions", draft=True)
MENTIONS = TableKey("mentions")
FACTS = TableKey("facts")
ENTITIES = TableKey("entities")
SYNONYMS = TableKey("synonyms")
EDGES = TableKey("edges")
QA_PAIRS = TableKey("qa_pairs")
QA_CANDIDATES = TableKey("qa_candidates")
QUESTIONS = TableKey("questions")
ERRORS = TableKey("errors")
SINGLE_TABLES = (
    *(DOCUMENTS, CHUNKS, TRIPLES, MENTIONS, FACTS, ENTITIES, SYNONYMS, EDGES),
    *(QA_CANDIDATES, QA_PAIRS, QUESTIONS, ERRORS),
)
"""Tables without a name: SQL has their views in every memory, empty where the recipe makes no such table."""
CORRECTED = {
    ENTITIES: ("entity_id",),
    FACTS: ("fact_id",),
    SYNONYMS: ("source_id", "target_id"),
    EDGES: ("source_id", "target_id", "kind"),
    QUESTIONS: ("question_id",),
    QA_PAIRS: ("pair_id",),
}
"""Tables whose rows are counted over many chunks, or stay without theirs, and the columns that are unique in each.

Where tombstones leave chunks out, corrections take the place of some rows; of vectors of questions with answers too."""
FACT_TEXTS = TableKey("fact_texts", draft=True)
NAME_TEXTS = TableKey("name_texts", draft=True)
PASSAGE_WORDS = TableKey("passage_words", draft=True)
QUESTION_TEXTS = TableKey("question_texts", draft=True)
PASSAGE_SCORES = TableKey("passage_scores", draft=True)
CHOSEN_PASSAGES = TableKey("chosen_passages", draft=True)
ANSWER_SPANS = TableKey("answer_spans", draft=True)
GENERATIONS = TableKey("generations", draft=True)


def vector_codes(of: Literal["facts", "passages"], embed: str, *, trained: bool = False) -> TableKey:
    """Return the key of the codes of vectors of facts or passages, or of what they are trained to."""
    return TableKey("codes", embed, f"{of}-trained" if trained else of, draft=True)


_TABLES: dict[tuple[str, str], TableSpec] = {
    **PAIR_TABLES,
    ("documents", ""): TableSpec(
        # `metadata` is a JSON object, of which fields follow as columns; `source` the file's path below the source,
        # `line` its line or place in a list.
        row_schema(
            doc_id=pa.int64(),
            key=pa.string(),
            title=pa.string(),
            text=pa.string(),
            metadata=pa.string(),
            content_hash=pa.string(),
            source=pa.string(),
            line=pa.int64(),
        ),
        id_column="doc_id",
        text_columns=("title", "text"),
        row_group_rows=1024,
        check=f"{_CHECKS}:check_documents",
        extensible=True,
    ),
    ("changes", ""): TableSpec(
        # Documents that were added or deleted after the source was read: of a deleted one there is only its key.
        row_schema(
            key=pa.string(),
            deleted=pa.bool_(),
            title=pa.string(),
            text=pa.string(),
            metadata=pa.string(),
            source=pa.string(),
            line=pa.int64(),
        ),
        row_group_rows=1024,
    ),
    ("purges", ""): TableSpec(
        # Documents that were purged: a hash of each one's key is all that is left of it.
        row_schema(key_hash=pa.string()),
    ),
    ("chunks", ""): TableSpec(
        # `start` and `end` are character offsets: `document.text[start:end] == chunk.text`.
        row_schema(
            chunk_id=pa.int64(),
            doc_id=pa.int64(),
            ordinal=pa.int32(),
            start=pa.int64(),
            end=pa.int64(),
            title=pa.string(),
            text=pa.string(),
            tokens=pa.int32(),
        ),
        id_column="chunk_id",
        parents={"doc_id": "documents"},
        text_columns=("title", "text"),
        row_group_rows=1024,
        check=f"{_CHECKS}:check_chunks",
    ),
    ("triples", ""): TableSpec(
        # As it was written; `ordinal` counts within the chunk. Equal facts of different chunks have one `fact_id`, and
        # names that are equal in their normal form one entity id.
        row_schema(
            triple_id=pa.int64(),
            chunk_id=pa.int64(),
            ordinal=pa.int32(),
            subject=pa.string(),
            predicate=pa.string(),
            object=pa.string(),
            subject_id=pa.int64(),
            object_id=pa.int64(),
            fact_id=pa.int64(),
            extractor=pa.string(),
        ),
        id_column="triple_id",
        parents={"chunk_id": "chunks"},
        check=f"{_CHECKS}:check_triples",
    ),
    ("extractions", ""): TableSpec(
        # What a model found in a document, for the next build: the id is a hash of the document's chunks, `found` a
        # JSON list of triples for each of them.
        row_schema(extraction_id=pa.int64(), found=pa.string()),
    ),
    ("mentions", ""): TableSpec(
        # One row a pair of entity and chunk, with the name as it is written there first, and in how many of the
        # chunk's triples.
        row_schema(entity_id=pa.int64(), chunk_id=pa.int64(), name=pa.string(), triples=pa.int32()),
        parents={"chunk_id": "chunks"},
        check=f"{_CHECKS}:check_mentions",
    ),
    ("entities", ""): TableSpec(
        # By ascending id: the name that most chunks use, and in how many chunks and facts the entity is.
        row_schema(entity_id=pa.int64(), name=pa.string(), normalized=pa.string(), chunks=pa.int64(), facts=pa.int64()),
        id_column="entity_id",
        check=f"{_CHECKS}:check_entities",
    ),
    ("facts", ""): TableSpec(
        # Different triples, by ascending id, in the normal form of their names; and how many chunks state them.
        row_schema(
            fact_id=pa.int64(),
            subject_id=pa.int64(),
            object_id=pa.int64(),
            subject=pa.string(),
            predicate=pa.string(),
            object=pa.string(),
            chunks=pa.int64(),
        ),
        id_column="fact_id",
        check=f"{_CHECKS}:check_facts",
    ),
    ("synonyms", ""): TableSpec(
        # Pairs of entities with nearly the same name, the smaller id first, and the cosine of their names; `kept` are
        # those that became edges: an entity keeps its nearest.
        row_schema(source_id=pa.int64(), target_id=pa.int64(), weight=pa.float32(), kept=pa.bool_()),
        parents={"source_id": "entities", "target_id": "entities"},
    ),
    ("edges", ""): TableSpec(
        # One row a pair of nodes and kind: `fact` and `synonym` join entities (the smaller id first), `mention` an
        # entity and a chunk. The weight of a fact edge is how many triples it comes of, of a synonym edge the cosine.
        row_schema(source_id=pa.int64(), target_id=pa.int64(), kind=pa.string(), weight=pa.float32()),
        parents={"source_id": "entities"},
    ),
    ("errors", ""): TableSpec(
        # Rows that were left out, with the reason; `content` is the beginning of what was there.
        row_schema(stage=pa.string(), source=pa.string(), line=pa.int64(), reason=pa.string(), content=pa.string()),
    ),
    ("embeddings", ""): TableSpec(
        row_schema(chunk_id=pa.int64(), vector=pa.list_(pa.float32())),
        id_column="chunk_id",
        parents={"chunk_id": "chunks"},
        check=f"{_CHECKS}:check_vectors",
    ),
    ("embeddings", "facts"): TableSpec(
        row_schema(fact_id=pa.int64(), vector=pa.list_(pa.float32())),
        id_column="fact_id",
        parents={"fact_id": "facts"},
        check=f"{_CHECKS}:check_text_vectors",
    ),
    ("embeddings", "entities"): TableSpec(
        row_schema(entity_id=pa.int64(), vector=pa.list_(pa.float32())),
        id_column="entity_id",
        parents={"entity_id": "entities"},
        check=f"{_CHECKS}:check_text_vectors",
    ),
    ("ngram_pairs", ""): TableSpec(
        # What a model is fine-tuned on to write n-grams of the documents that answer. `target` is an n-gram as it is
        # in the document and `tokens` its token ids; `field` ("body" or "title") says where, `start` at which token of
        # it. `kind` is "supervised" where `query` is the question `query_id` of the query file, "unsupervised" where it
        # is a span of the same document, with `query_id` empty.
        row_schema(
            pair_id=pa.int64(),
            doc_id=pa.int64(),
            query=pa.string(),
            query_id=pa.string(),
            target=pa.string(),
            tokens=pa.list_(pa.int32()),
            field=pa.string(),
            start=pa.int32(),
            kind=pa.string(),
        ),
        id_column="pair_id",
        parents={"doc_id": "documents"},
        text_columns=("query", "target"),
        check=f"{_CHECKS}:check_pairs",
    ),
    ("lm_tokens", ""): TableSpec(
        # Every document as the language model reads it: token ids, and the character at which each begins. One row a
        # document, in the order of the documents' partition.
        row_schema(doc_id=pa.int64(), tokens=pa.list_(pa.int32()), starts=pa.list_(pa.int32())),
        id_column="doc_id",
        parents={"doc_id": "documents"},
        row_group_rows=256,
        check=f"{_CHECKS}:check_tokens",
    ),
    ("lm_states", ""): TableSpec(
        # What a language model had in mind in front of every token. `position` is the document's id plus the token's
        # number in it, `token_offset`; so the token after it has the next position. `key` is the model's vector in
        # float16; `value` the token that came, and `surprisal` its -ln p in nats, null where the recipe leaves it out.
        row_schema(
            position=pa.int64(),
            doc_id=pa.int64(),
            chunk_id=pa.int64(),
            token_offset=pa.int32(),
            key=pa.binary(),
            value=pa.int32(),
        ).append(pa.field("surprisal", pa.float32())),
        id_column="position",
        parents={"doc_id": "documents", "chunk_id": "chunks"},
        check=f"{_CHECKS}:check_states",
    ),
}


def table_spec(key: TableKey) -> TableSpec | None:
    """Return what the rows of a built-in table are, or None for a table of a plug-in."""
    return _TABLES.get((key.family, key.part))


def spec_of(key: TableKey) -> TableSpec:
    """Return what the rows of a built-in table are; a `KeyError` says that there is none."""
    return _TABLES[key.family, key.part]
