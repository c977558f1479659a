"""The tables of a memory: what each is called, what its rows are, and which of its columns are ids."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, order=True)
class TableKey:
    """A table by name.

    Attributes:
        family: what its rows are: `documents`, `embeddings`.
        name: the recipe's entry that it belongs to; empty for a table of which a memory has one.
        part: what it holds of that entry, where there are several tables.
        draft: the rows before a later step drops some; a draft lies in the folder of its table and is no view.
        scratch: a draft that is kept below `work/` only, and in no snapshot.
    """

    family: str
    name: str = ""
    part: str = ""
    draft: bool = False
    scratch: bool = False

    @property
    def label(self) -> str:
        """What people and the manifest call it: `embeddings/minilm`."""
        return "/".join(word for word in (self.family, self.name, self.part) if word)

    @property
    def path(self) -> str:
        """Its folder below the memory: `tables/embeddings/minilm`."""
        return f"{'work' if self.scratch else 'tables'}/{self.label}"

    @property
    def view(self) -> str:
        """Its SQL view: `embeddings_minilm`."""
        return self.label.replace("/", "_")

    @classmethod
    def parse(cls, label: str) -> TableKey:
        """Return the key of a label."""
        family, name, part = [*label.split("/", 2), "", ""][:3]
        return cls(family, name, part)


@dataclass(frozen=True)
class TableSpec:
    """What the rows of a table are.

    Attributes:
        schema: the Arrow schema of every partition. A list of float32 or a binary column without a size holds
            vectors, whose size a model decides.
        id_column: the column that is unique in the table, or None.
        parents: columns that hold the id of another table's row, and the label of that table. In a label, `*` means
            the table's own name.
        text_columns: columns of running text.
        row_group_rows: rows of a Parquet row group; small where single rows are fetched by position.
        check: `module:function` that yields what is wrong with a partition besides its ids; see `verify`.
        extensible: whether a memory's own columns may follow, whose values may be missing.
        id_decides: whether rows that one step made are equal where their ids are.
    """

    schema: pa.Schema
    id_column: str | None = None
    parents: Mapping[str, str] = field(default_factory=dict)
    text_columns: tuple[str, ...] = ()
    row_group_rows: int = 4096
    check: str = ""
    extensible: bool = False
    id_decides: bool = True

    def extended(self, types: Mapping[str, pa.DataType]) -> TableSpec:
        """Return the table with further columns, whose values may be missing."""
        return replace(self, schema=pa.schema([*self.schema, *(pa.field(*column) for column in types.items())]))

    def sized(self, dimension: int) -> TableSpec:
        """Return the table whose vectors have so many numbers; binary columns hold them as float16."""
        fields = [column.with_type(_sized(column.type, dimension)) for column in self.schema]
        return replace(self, schema=pa.schema(fields))

    def holds(self, schema: pa.Schema) -> bool:
        """Whether rows of a schema are rows of this table."""
        more = len(schema) - len(self.schema)
        return (more == 0 or (more > 0 and self.extensible)) and all(
            here.name == there.name and _is_kind(here.type, there.type)
            for here, there in zip(schema, self.schema, strict=False)
        )


def _sized(declared: pa.DataType, dimension: int) -> pa.DataType:
    if pa.types.is_list(declared) and pa.types.is_float32(declared.value_type):
        return pa.list_(pa.float32(), dimension)
    return pa.binary(2 * dimension) if pa.types.is_binary(declared) else declared


def _is_kind(found: pa.DataType, declared: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(found) and pa.types.is_list(declared):
        return bool(found.value_type == declared.value_type)
    if pa.types.is_fixed_size_binary(found) and pa.types.is_binary(declared):
        return True
    return bool(found == declared)


def _schema(*, missing: tuple[str, ...] = (), **fields: pa.DataType) -> pa.Schema:
    """Return a schema; only the columns `missing` may lack values."""
    return pa.schema([pa.field(name, dtype, nullable=name in missing) for name, dtype in fields.items()])


CATALOGUE_VIEWS = ("files", "indexes", "shards", "snapshots")
"""SQL views that say what a memory consists of; no table has such a name."""

_CHECKS = "mnemodex.pipelines.checks.tables"

DOCUMENTS = TableKey("documents")
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


_QUESTION_VECTORS = TableSpec(
    _schema(question_id=pa.int64(), vector=pa.list_(pa.float32())),
    id_column="question_id",
    parents={"question_id": "questions"},
    check=f"{_CHECKS}:check_text_vectors",
)
_TABLES: dict[tuple[str, str], TableSpec] = {
    ("documents", ""): TableSpec(
        # `metadata` is a JSON object, of which fields follow as columns; `source` the file's path below the source,
        # `line` its line or place in a list.
        _schema(
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
    ("chunks", ""): TableSpec(
        # `start` and `end` are character offsets: `document.text[start:end] == chunk.text`.
        _schema(
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
        _schema(
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
        _schema(extraction_id=pa.int64(), found=pa.string()),
    ),
    ("mentions", ""): TableSpec(
        # One row a pair of entity and chunk, with the name as it is written there first, and in how many of the
        # chunk's triples.
        _schema(entity_id=pa.int64(), chunk_id=pa.int64(), name=pa.string(), triples=pa.int32()),
        parents={"chunk_id": "chunks"},
        check=f"{_CHECKS}:check_mentions",
    ),
    ("entities", ""): TableSpec(
        # By ascending id: the name that most chunks use, and in how many chunks and facts the entity is.
        _schema(entity_id=pa.int64(), name=pa.string(), normalized=pa.string(), chunks=pa.int64(), facts=pa.int64()),
        id_column="entity_id",
        check=f"{_CHECKS}:check_entities",
    ),
    ("facts", ""): TableSpec(
        # Different triples, by ascending id, in the normal form of their names; and how many chunks state them.
        _schema(
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
        _schema(source_id=pa.int64(), target_id=pa.int64(), weight=pa.float32(), kept=pa.bool_()),
        parents={"source_id": "entities", "target_id": "entities"},
    ),
    ("edges", ""): TableSpec(
        # One row a pair of nodes and kind: `fact` and `synonym` join entities (the smaller id first), `mention` an
        # entity and a chunk. The weight of a fact edge is how many triples it comes of, of a synonym edge the cosine.
        _schema(source_id=pa.int64(), target_id=pa.int64(), kind=pa.string(), weight=pa.float32()),
        parents={"source_id": "entities"},
    ),
    ("errors", ""): TableSpec(
        # Rows that were left out, with the reason; `content` is the beginning of what was there.
        _schema(stage=pa.string(), source=pa.string(), line=pa.int64(), reason=pa.string(), content=pa.string()),
    ),
    ("embeddings", ""): TableSpec(
        _schema(chunk_id=pa.int64(), vector=pa.list_(pa.float32())),
        id_column="chunk_id",
        parents={"chunk_id": "chunks"},
        check=f"{_CHECKS}:check_vectors",
    ),
    ("embeddings", "facts"): TableSpec(
        _schema(fact_id=pa.int64(), vector=pa.list_(pa.float32())),
        id_column="fact_id",
        parents={"fact_id": "facts"},
        check=f"{_CHECKS}:check_text_vectors",
    ),
    ("embeddings", "entities"): TableSpec(
        _schema(entity_id=pa.int64(), vector=pa.list_(pa.float32())),
        id_column="entity_id",
        parents={"entity_id": "entities"},
        check=f"{_CHECKS}:check_text_vectors",
    ),
    ("embeddings", "questions"): _QUESTION_VECTORS,
    ("embeddings", "question_answers"): replace(
        _QUESTION_VECTORS,
        # The id of a question does not say what its answers are: `text_id` is a hash of both.
        schema=_QUESTION_VECTORS.schema.append(pa.field("text_id", pa.int64(), nullable=False)),
        id_decides=False,
    ),
    ("qa_pairs", ""): TableSpec(
        # As it was written. Pairs whose questions have one normal form have one `question_id`. The chunk is the first
        # of the document that holds an answer, with `grounded`, or its first; all three are null without a document.
        _schema(
            pair_id=pa.int64(),
            key=pa.string(),
            question=pa.string(),
            question_id=pa.int64(),
            answers=pa.list_(pa.string()),
            doc_id=pa.int64(),
            chunk_id=pa.int64(),
            grounded=pa.bool_(),
            score=pa.float32(),
            generator=pa.string(),
            missing=("doc_id", "chunk_id", "grounded", "score"),
        ),
        id_column="pair_id",
        parents={"doc_id": "documents", "chunk_id": "chunks"},
        text_columns=("question",),
        check=f"{_CHECKS}:check_qa_pairs",
    ),
    ("passage_scores", ""): TableSpec(
        # The log-probability that a chunk is worth asking about.
        _schema(chunk_id=pa.int64(), score=pa.float32()),
    ),
    ("chosen_passages", ""): TableSpec(
        # The chunks that questions are made of.
        _schema(chunk_id=pa.int64()),
    ),
    ("answer_spans", ""): TableSpec(
        # The answers of a chunk, best first: a JSON list of start, end, kind and score.
        _schema(chunk_id=pa.int64(), found=pa.string()),
    ),
    ("generations", ""): TableSpec(
        # What a generator gave for a chunk, best first: a JSON list of question, score, and the answer as above; and a
        # JSON list of what failed.
        _schema(chunk_id=pa.int64(), found=pa.string(), problems=pa.string()),
    ),
    ("qa_candidates", ""): TableSpec(
        # What was generated, in the order of the chunks; `ordinal` counts within the chunk, the best first. The answer
        # is the chunk's text from the character `start` on. Scores are log-probabilities; `predicted` is what a filter
        # was answered, and `reason` why a candidate is not kept, or by which filter it is.
        _schema(
            pair_id=pa.int64(),
            chunk_id=pa.int64(),
            doc_id=pa.int64(),
            ordinal=pa.int32(),
            question=pa.string(),
            answer=pa.string(),
            start=pa.int32(),
            kind=pa.string(),
            generator=pa.string(),
            passage_score=pa.float32(),
            answer_score=pa.float32(),
            question_score=pa.float32(),
            predicted=pa.string(),
            kept=pa.bool_(),
            reason=pa.string(),
            missing=("passage_score", "answer_score", "question_score", "predicted", "reason"),
        ),
        id_column="pair_id",
        parents={"doc_id": "documents", "chunk_id": "chunks"},
        text_columns=("question",),
        check=f"{_CHECKS}:check_qa_candidates",
    ),
    ("questions", ""): TableSpec(
        # Different questions, by ascending id, as they are written first; the answers of all their pairs, those of most
        # pairs first, and where these pairs are, those of the first answer first: partition of qa_pairs, and the row.
        _schema(
            question_id=pa.int64(),
            question=pa.string(),
            answers=pa.list_(pa.string()),
            pairs=pa.int64(),
            partition=pa.list_(pa.int32()),
            row=pa.list_(pa.int64()),
        ),
        id_column="question_id",
        text_columns=("question",),
        row_group_rows=1024,
        check=f"{_CHECKS}:check_questions",
    ),
    ("calibration", ""): TableSpec(
        # By falling threshold of confidence: what an index of pairs answers of some questions, and the part of these
        # answers that is wrong, with its 95 % interval.
        _schema(
            threshold=pa.float64(),
            answered=pa.int64(),
            coverage=pa.float64(),
            risk=pa.float64(),
            risk_low=pa.float64(),
            risk_high=pa.float64(),
        ),
    ),
    ("ngram_pairs", ""): TableSpec(
        # What a model is fine-tuned on to write n-grams of the documents that answer. `target` is an n-gram as it is
        # in the document and `tokens` its token ids; `field` ("body" or "title") says where, `start` at which token of
        # it. `kind` is "supervised" where `query` is the question `query_id` of the query file, "unsupervised" where it
        # is a span of the same document, with `query_id` empty.
        _schema(
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
        _schema(doc_id=pa.int64(), tokens=pa.list_(pa.int32()), starts=pa.list_(pa.int32())),
        id_column="doc_id",
        parents={"doc_id": "documents"},
        row_group_rows=256,
        check=f"{_CHECKS}:check_tokens",
    ),
    ("lm_states", ""): TableSpec(
        # What a language model had in mind in front of every token. `position` is the document's id plus the token's
        # number in it, `token_offset`; so the token after it has the next position. `key` is the model's vector in
        # float16; `value` the token that came, and `surprisal` its -ln p in nats, null where the recipe leaves it out.
        _schema(
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
