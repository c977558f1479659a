"""Checks of the rows of our tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from mnemodex.indexers.arrays import find_ids
from mnemodex.indexers.graph.names import entity_id, fact_id, normalize
from mnemodex.indexers.qa import question_id
from mnemodex.pipelines.documents.read import content_hash
from mnemodex.pipelines.qa.candidates import generated_key
from mnemodex.pipelines.qa.lines import pair_id
from mnemodex.pipelines.stages.mentions import mentions
from mnemodex.pipelines.stages.pairs import pair_ids
from mnemodex.schemas.ids import hash_columns, hash_text, token_positions
from mnemodex.schemas.metadata import documents_spec
from mnemodex.schemas.store.columns import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnemodex.pipelines.checks.partition import CheckedPartition


def check_documents(partition: CheckedPartition) -> Iterator[str]:
    """Check that every doc_id is the hash of the key and the content, and that the metadata has its columns."""
    if not partition.rows.schema.equals(documents_spec(partition.table.fields).schema):
        yield partition.problem("its columns are not those that the manifest names")
    columns = ("doc_id", "content_hash", "key", "title", "text", "metadata")
    for doc_id, content, key, *parts in partition.tuples(*columns):
        if content != content_hash(*parts) or doc_id != hash_text(key, content, salt=partition.salt):
            yield partition.problem(f"the doc_id of {key!r} is not the hash of its key and content")


def check_chunks(partition: CheckedPartition) -> Iterator[str]:
    """Check that every chunk is `text[start:end]` of its document, and its id the hash of its place."""
    texts = {row["doc_id"]: row["text"] for row in partition.parent("documents", ["doc_id", "text"]).to_pylist()}
    hashed = [partition.rows[name].to_numpy() for name in ("doc_id", "start", "end")]
    if not np.array_equal(hash_columns(hashed, salt=partition.salt), partition.rows["chunk_id"].to_numpy()):
        yield partition.problem("a chunk_id is not the hash of its document and offsets")
    for doc_id, start, end, text in partition.tuples("doc_id", "start", "end", "text"):
        if doc_id in texts and texts[doc_id][start:end] != text:
            yield partition.problem(f"a chunk of document {doc_id} is not its text from {start} to {end}")


def check_pairs(partition: CheckedPartition) -> Iterator[str]:
    """Check that every target is in the field of its document, and every id the hash of its pair."""
    documents = {row["doc_id"]: row for row in partition.parent("documents", ["doc_id", "title", "text"]).to_pylist()}
    if not np.array_equal(pair_ids(partition.rows, salt=partition.salt), partition.rows["pair_id"].to_numpy()):
        yield partition.problem("a pair_id is not the hash of its document, question and place")
    for doc_id, field, target in partition.tuples("doc_id", "field", "target"):
        document = documents.get(doc_id, {"title": target, "text": target})
        if target not in document["text"] if field == "body" else target != document["title"]:
            yield partition.problem(f"a target of document {doc_id} is not its text or title")


def check_qa_pairs(partition: CheckedPartition) -> Iterator[str]:
    """Check that every id is the hash of what it names, and every chunk one of the pair's document."""
    for stored, key, question, stored_question, answers in partition.tuples(
        "pair_id", "key", "question", "question_id", "answers"
    ):
        if stored != pair_id(key, question, answers, partition.salt):
            yield partition.problem(f"the pair_id of {key!r} is not the hash of its key, question and answers")
        if stored_question != question_id(question, salt=partition.salt):
            yield partition.problem(f"the question_id of {key!r} is not the hash of its question")
    placed = partition.rows.filter(partition.rows["chunk_id"].is_valid())
    if placed.num_rows:
        chunks = partition.parent("chunks", ["chunk_id", "doc_id"])
        places = find_ids(chunks["chunk_id"].to_numpy(), placed["chunk_id"].to_numpy())
        if (chunks["doc_id"].to_numpy()[places] != placed["doc_id"].to_numpy()).any():
            yield partition.problem("a chunk_id is not one of its document's")


def check_qa_candidates(partition: CheckedPartition) -> Iterator[str]:
    """Check that answers are in their chunks, ids are hashes, and the pairs are the candidates that are kept."""
    chunks = partition.parent("chunks", ["chunk_id", "doc_id", "text"])
    known = {row["chunk_id"]: row for row in chunks.to_pylist()}
    columns = ("pair_id", "chunk_id", "doc_id", "ordinal", "question", "answer", "start")
    for stored, chunk_id, doc_id, ordinal, question, answer, start in partition.tuples(*columns):
        key = generated_key(chunk_id, ordinal)
        if stored != pair_id(key, question, [answer], partition.salt):
            yield partition.problem(f"the pair_id of {key!r} is not the hash of its key, question and answer")
        chunk = known.get(chunk_id, {"doc_id": doc_id, "text": ""})
        if chunk["doc_id"] != doc_id:
            yield partition.problem(f"the chunk of {key!r} is not one of its document's")
        if answer and not chunk["text"].startswith(answer, start):
            yield partition.problem(f"the answer of {key!r} is not in its chunk from {start} on")
    kept = partition.rows.filter(partition.rows["kept"])["pair_id"]
    if not kept.equals(partition.parent("qa_pairs", ["pair_id"])["pair_id"]):
        yield partition.problem("the candidates that are kept are not those of qa_pairs")


def check_questions(partition: CheckedPartition) -> Iterator[str]:
    """Check that questions are sorted by their ids, the hashes of their normal forms, and name all of their pairs."""
    rows = partition.rows
    yield from _check_names(partition, "question_id", ("question",), question_id)
    for name in ("partition", "row"):
        if not np.array_equal(rows["pairs"], pc.list_value_length(rows[name])):
            yield partition.problem("not as many places as pairs")
            return
    parts = [numbers(ids) for ids in partition.columns("qa_pairs", "question_id")]
    owner = np.repeat(numbers(rows["question_id"]), numbers(rows["pairs"]))
    part, row = (numbers(rows[name].combine_chunks().flatten()).astype(np.int64) for name in ("partition", "row"))
    sizes = np.array(list(map(len, parts)), np.int64)
    inside = (part >= 0) & (part < len(parts)) & (row >= 0)
    inside[inside] = row[inside] < sizes[part[inside]]
    if not inside.all():
        yield partition.problem("a place is none of a pair")
        return
    starts, asked = np.cumsum(sizes) - sizes, np.concatenate([np.zeros(0, np.int64), *parts])
    places = starts[part] + row
    # A partition of questions is one of equal ranges of ids.
    bits = len(partition.table.partitions).bit_length() - 1
    expected = np.flatnonzero(asked >> (63 - bits) == int(partition.part.label))
    if (asked[places] != owner).any() or not np.array_equal(np.sort(places), expected):
        yield partition.problem("its places are not those of the pairs of its questions")


def check_triples(partition: CheckedPartition) -> Iterator[str]:
    """Check that triples are in the order of their chunks, and every id is the hash of what it names."""
    ids = partition.parent("chunks", ["chunk_id"])["chunk_id"].to_numpy()
    rows = partition.rows
    chunk_ids, ordinals = rows["chunk_id"].to_numpy(), rows["ordinal"].to_numpy()
    chunks = find_ids(ids, chunk_ids)
    begins = np.append(True, chunk_ids[1:] != chunk_ids[:-1])[: len(chunk_ids)]
    first = np.maximum.accumulate(np.where(begins, np.arange(len(chunk_ids)), 0))
    if (np.diff(chunks) < 0).any() or (ordinals != np.arange(len(ordinals)) - first).any():
        yield partition.problem("its rows are not in the order of the chunks")
    if not np.array_equal(hash_columns([chunk_ids, ordinals], salt=partition.salt), rows["triple_id"].to_numpy()):
        yield partition.problem("a triple_id is not the hash of its chunk and ordinal")
    columns = ("subject", "predicate", "object", "subject_id", "object_id", "fact_id")
    for subject, predicate, object_, *stored in partition.tuples(*columns):
        head, middle, tail = normalize(subject), normalize(predicate), normalize(object_)
        ends = [entity_id(name, salt=partition.salt) for name in (head, tail)]
        if stored != [*ends, fact_id(head, middle, tail, salt=partition.salt)]:
            yield partition.problem(f"an id of {subject!r}, {predicate!r}, {object_!r} is not its hash")


def check_mentions(partition: CheckedPartition) -> Iterator[str]:
    """Check that mentions are those of the triples."""
    if not mentions(partition.parent("triples")).equals(partition.rows):
        yield partition.problem("its mentions are not those of its triples")


def check_facts(partition: CheckedPartition) -> Iterator[str]:
    """Check that facts are sorted by their ids, which are the hashes of their normal forms."""
    return _check_names(partition, "fact_id", ("subject", "predicate", "object"), fact_id)


def check_entities(partition: CheckedPartition) -> Iterator[str]:
    """Check that entities are sorted by their ids, which are the hashes of their normal forms."""
    return _check_names(partition, "entity_id", ("normalized",), entity_id)


def _check_names(
    partition: CheckedPartition, column: str, names: tuple[str, ...], hash_name: Callable[..., int]
) -> Iterator[str]:
    if (np.diff(partition.rows[column].to_numpy()) <= 0).any():
        yield partition.problem("its rows are not in the order of their ids, each once")
    for stored, *parts in partition.tuples(column, *names):
        if stored != hash_name(*parts, salt=partition.salt):
            yield partition.problem(f"an id of {' '.join(parts)!r} is not its hash")


def check_vectors(partition: CheckedPartition) -> Iterator[str]:
    """Check that vectors are in the order of the rows that they are of, the same in both files."""
    ((column, parent),) = partition.table.parents.items()
    if not partition.rows[column].equals(partition.parent(parent, [column])[column]):
        yield partition.problem(f"its {column}s are not those of {parent}, in their order")
    yield from _check_matrix(partition)


def check_text_vectors(partition: CheckedPartition) -> Iterator[str]:
    """Check that vectors of facts or names are in the order of their ids, the same in both files."""
    (column,) = partition.table.parents
    if (np.diff(partition.rows[column].to_numpy()) <= 0).any():
        yield partition.problem(f"its {column}s are not in their order, each once")
    yield from _check_matrix(partition)


def _check_matrix(partition: CheckedPartition) -> Iterator[str]:
    matrix = partition.matrix()
    vectors = partition.rows["vector"].combine_chunks().flatten().to_numpy()
    if vectors.size != matrix.size or not np.array_equal(vectors.reshape(matrix.shape), matrix):
        yield partition.problem("the Parquet and .npy vectors differ")


def check_tokens(partition: CheckedPartition) -> Iterator[str]:
    """Check that there is one row a document, with as many first characters as tokens."""
    rows = partition.rows
    if not rows["doc_id"].equals(partition.parent("documents", ["doc_id"])["doc_id"]):
        yield partition.problem("its documents are not those of documents, in their order")
    tokens, starts = (rows[name].combine_chunks().offsets for name in ("tokens", "starts"))
    if not tokens.equals(starts):
        yield partition.problem("not as many first characters as tokens")


def check_states(partition: CheckedPartition) -> Iterator[str]:
    """Check that values are the tokens at their positions, chunks the documents', and keys the same in both files."""
    rows = partition.rows
    doc_ids, offsets = rows["doc_id"].to_numpy(), rows["token_offset"].to_numpy()
    if not np.array_equal(token_positions(doc_ids, offsets), rows["position"].to_numpy()):
        yield partition.problem("a position is not that of its document and token")
    documents = partition.parent(partition.table.name.replace("lm_states/", "lm_tokens/", 1), ["doc_id", "tokens"])
    lists = documents["tokens"].combine_chunks()
    starts, known = lists.offsets.to_numpy().astype(np.int64), documents["doc_id"].to_numpy()
    text = find_ids(known, doc_ids)
    inside = (known[text] == doc_ids) & (offsets >= 0) & (offsets < np.diff(starts)[text])
    if not inside.all() or (lists.flatten().to_numpy()[starts[text] + offsets] != rows["value"].to_numpy()).any():
        yield partition.problem("a value is not the token of its document")
    columns = ["chunk_id", "doc_id"]
    # Threads of Arrow that still free a table's memory when Python ends abort the program (apache/arrow#33765).
    pairs = rows.select(columns).group_by(columns, use_threads=False).aggregate([])
    chunks = partition.parent("chunks", columns)
    if pairs.join(chunks, columns, join_type="left anti", use_threads=False).num_rows:
        yield partition.problem("a chunk_id is not one of its document's")
    keys = np.frombuffer(rows["key"].combine_chunks().buffers()[1], np.uint16)
    if not np.array_equal(keys, np.asarray(partition.matrix()).view(np.uint16).ravel()):
        yield partition.problem("the Parquet and .npy keys differ")
