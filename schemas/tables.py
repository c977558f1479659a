"""The tables of a memory: named Arrow schemas, one line of registration each."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Table:
    """A named Arrow schema.

    Attributes:
        name: the table's folder below `tables/`, and with `/` as `_` its SQL view.
        schema: the Arrow schema of every partition.
        id_column: the unique column, or None.
        row_group_rows: rows a Parquet row group; small where single rows are fetched by position.
    """

    name: str
    schema: pa.Schema
    id_column: str | None = None
    row_group_rows: int = 4096


def _schema(**fields: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, dtype, nullable=False) for name, dtype in fields.items()])


DOCUMENTS = Table(
    "documents",
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
    row_group_rows=1024,
)
"""`metadata` is a JSON object; `source` is the file's path below the source, `line` its 1-based line (or list "
"position)."""

CHUNKS = Table(
    "chunks",
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
    row_group_rows=1024,
)
"""`start` and `end` are character offsets: `document.text[start:end] == chunk.text`."""

TRIPLES = Table(
    "triples",
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
)
"""What was extracted from chunks, as it was written; `ordinal` counts within the chunk. Equal facts of different chunks
have one `fact_id`, and names that are equal in their normal form one entity id."""

MENTIONS = Table(
    "mentions",
    _schema(entity_id=pa.int64(), chunk_id=pa.int64(), name=pa.string(), triples=pa.int32()),
)
"""Which entities stand in which chunks: one row a pair, with the name as it is written there first, and in how many of
the chunk's triples."""

ENTITIES = Table(
    "entities",
    _schema(entity_id=pa.int64(), name=pa.string(), normalized=pa.string(), chunks=pa.int64(), facts=pa.int64()),
    id_column="entity_id",
)
"""By ascending id: the name that most chunks use, and in how many chunks and facts the entity stands."""

FACTS = Table(
    "facts",
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
)
"""Different triples, by ascending id, in the normal form of their names; and how many chunks state them."""

SYNONYMS = Table(
    "synonyms",
    _schema(source_id=pa.int64(), target_id=pa.int64(), weight=pa.float32(), kept=pa.bool_()),
)
"""Pairs of entities with nearly the same name, the smaller id first, and the cosine of their names; `kept` are those
that became edges: an entity keeps its nearest."""

EDGES = Table(
    "edges",
    _schema(source_id=pa.int64(), target_id=pa.int64(), kind=pa.string(), weight=pa.float32()),
)
"""One row for each pair of nodes and kind of edge: `fact` and `synonym` join entities (the smaller id first), `mention`
an entity and a chunk. The weight of a fact edge is how many triples it comes of, of a synonym edge the cosine."""

ERRORS = Table(
    "errors",
    _schema(stage=pa.string(), source=pa.string(), line=pa.int64(), reason=pa.string(), content=pa.string()),
)
"""Rows that were left out, with the reason; `content` is the beginning of what was there."""


def embeddings(name: str, dimension: int) -> Table:
    """The table `embeddings/NAME`: one float32 vector a chunk, in the order of the chunk partition."""
    return Table(
        f"embeddings/{name}",
        _schema(chunk_id=pa.int64(), vector=pa.list_(pa.float32(), dimension)),
        id_column="chunk_id",
    )


def name_vectors(name: str, of: str, dimension: int) -> Table:
    """The table `embeddings/NAME/OF`: one vector a row of the table `OF`, "facts" or "entities", in its order."""
    column = {"facts": "fact_id", "entities": "entity_id"}[of]
    return Table(
        f"embeddings/{name}/{of}",
        _schema(**{column: pa.int64(), "vector": pa.list_(pa.float32(), dimension)}),
        id_column=column,
    )


def ngram_pairs(name: str) -> Table:
    """The table `ngram_pairs/NAME`: what a model is fine-tuned on to write n-grams of the documents that answer.

    `target` is an n-gram as it stands in the document and `tokens` its token ids; `field` ("body" or "title") says
    where, `start` at which token of it. `kind` is "supervised" where `query` is the question `query_id` of the query
    file, "unsupervised" where it is a span of the same document, with `query_id` empty.
    """
    return Table(
        f"ngram_pairs/{name}",
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
    )


def lm_tokens(name: str) -> Table:
    """The table `lm_tokens/NAME`: every document as the language model reads it.

    `tokens` are its ids and `starts` the character at which each begins, of the document's text. One row a document, in
    the order of the documents' partition.
    """
    return Table(
        f"lm_tokens/{name}",
        _schema(doc_id=pa.int64(), tokens=pa.list_(pa.int32()), starts=pa.list_(pa.int32())),
        id_column="doc_id",
        row_group_rows=256,
    )


def lm_states(name: str, dimension: int) -> Table:
    """The table `lm_states/NAME`: what a language model had in mind in front of every token.

    `position` is the document's id plus the token's number in it, `token_offset`; so the token after it has the next
    position. `key` is the model's vector, float16 of so many dimensions; `value` the token that came, and `surprisal`
    its -ln p in nats, null where the recipe does without.
    """
    schema = _schema(
        position=pa.int64(),
        doc_id=pa.int64(),
        chunk_id=pa.int64(),
        token_offset=pa.int32(),
        key=pa.binary(2 * dimension),
        value=pa.int32(),
    )
    return Table(f"lm_states/{name}", schema.append(pa.field("surprisal", pa.float32())), id_column="position")


def view_name(table: str) -> str:
    """The SQL view of a table: `embeddings/minilm` is `embeddings_minilm`."""
    return table.replace("/", "_")
