"""Documents become training pairs: questions, and n-grams of the documents that answer them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from mnemodex.indexers.candidates import Candidates, TokenWords, uniform
from mnemodex.indexers.models import tokenizer, tokenizer_hash
from mnemodex.indexers.tokens import tokenize
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.ids import hash_columns, hash_text
from mnemodex.schemas.recipe import NgramPairs
from mnemodex.schemas.tables import ngram_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnemodex.indexers.tokens import Tokens
    from mnemodex.retrievers.queries import Query
    from mnemodex.schemas.tables import Table

_BATCH = 256
"""Documents that are tokenised at once."""

_TEMPERATURE = 0.1
"""Of the softmax over overlaps: an n-gram that shares half of its words with a question (Dice's coefficient 0.5) is 150
times as likely as one that shares none, so that of a few hundred n-grams those that overlap are mostly taken."""

_FIELDS = ("body", "title")


class _Pair(NamedTuple):
    doc_id: int
    query: str
    query_id: str
    target: str
    tokens: NDArray[np.int32]
    field: str
    start: int
    kind: str


class PairStage:
    """Samples n-grams for fine-tuning a language model to write them (SEAL; Bevilacqua et al., 2022).

    Supervised: for each question and each of its gold documents, n-grams of the text, drawn without replacement with a
    probability that grows as the exponential of their overlap with the question (`Candidates.overlap`). Unsupervised:
    a random n-gram of a document stands in for a question, and another that shares no token with it is the target.
    Either has one pair more whose target is the document's whole title. Titles and n-grams with an unknown token are
    left out, and so are documents that nobody asks for.

    What is drawn depends on the document's id, the question's id and the seed alone, so partitions and batches make no
    difference.

    Settings: `name` and `spec` of the pairs, `id_salt`.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("doc_id", "key", "title", "text")
    table: Table

    def __init__(self, settings: dict[str, Any]) -> None:
        self._spec = NgramPairs.model_validate(settings["spec"])
        self._salt: str = settings["id_salt"]
        self.table = ngram_pairs(settings["name"])

    def setup(self, cpus: int) -> None:
        """See `Stage.setup`; reads the query file."""
        self._tokenizer = tokenizer(self._spec.tokenizer)
        self._words = TokenWords(self._tokenizer)
        self._asked: dict[str, list[Query]] = {}
        for query in read_queries(Path(self._spec.queries)) if self._spec.queries else ():
            for key in query.gold:
                self._asked.setdefault(key, []).append(query)

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Stage.run`."""
        self._counts = Counter[str]()
        for batch in batches:
            for start in range(0, batch.num_rows, _BATCH):
                yield self._batch(batch.slice(start, _BATCH))

    def facts(self) -> dict[str, Any]:
        """See `Stage.facts`: pairs of each kind, and the documents that they are of.

        `gold` counts the documents that a question names. `blank` (no text), `unknown` (every n-gram has an unknown
        token), `untitled` (no title, or an unknown token in it) and `short` (no two n-grams apart, for unsupervised
        pairs) count documents that were left out for it.
        """
        keys = ("supervised", "unsupervised", "documents", "gold", "blank", "unknown", "untitled", "short")
        counts = {key: self._counts[key] for key in keys}
        return {**counts, "tokenizer_sha256": tokenizer_hash(self._spec.tokenizer)}

    def _batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        keys = batch["key"].to_pylist()
        wanted = [place for place, key in enumerate(keys) if self._spec.unsupervised or key in self._asked]
        asked = [self._asked.get(keys[place], []) for place in wanted]
        rows = batch.take(pa.array(wanted, pa.int64()))
        titles, texts = rows["title"].to_pylist(), rows["text"].to_pylist()
        questions = {query.id: query.question for queries in asked for query in queries}
        tokens = dict(zip(questions, tokenize(self._tokenizer, list(questions.values())), strict=True))
        named = zip(titles, tokenize(self._tokenizer, titles), strict=True)
        bodies = zip(texts, tokenize(self._tokenizer, texts), strict=True)
        pairs: list[_Pair] = []
        for doc_id, title, body, queries in zip(rows["doc_id"].to_pylist(), named, bodies, asked, strict=True):
            document = _Document(doc_id, *self._fields(title, body), self._spec)
            self._counts.update(documents=1, gold=bool(queries))
            for query in queries:
                pairs += document.supervised(query, tokens[query.id].ids)
            if self._spec.unsupervised:
                made = document.unsupervised()
                self._counts["short"] += len(document.body.starts) > 0 and all(pair.field == "title" for pair in made)
                pairs += made
        self._counts.update(pair.kind for pair in pairs)
        return self._rows(pairs)

    def _fields(self, title: tuple[str, Tokens], body: tuple[str, Tokens]) -> tuple[Candidates, Candidates]:
        """The whole title, and the n-grams of the text: none, one or several; what is missing is counted."""
        whole = Candidates.of(*title, self._words, length=max(len(title[1].ids), 1))
        ngrams = Candidates.of(*body, self._words, length=self._spec.length)
        self._counts["untitled"] += not len(whole.starts)
        if not len(ngrams.starts):
            self._counts["unknown" if body[0].strip() and len(body[1].ids) else "blank"] += 1
        return whole, ngrams

    def _rows(self, pairs: list[_Pair]) -> pa.RecordBatch:
        fields = list(self.table.schema)[1:]
        values = list(zip(*pairs, strict=True)) or [()] * len(fields)
        columns = [pa.array(column, field.type) for column, field in zip(values, fields, strict=True)]
        ids = pair_ids(pa.table(columns, names=[field.name for field in fields]), salt=self._salt)
        return pa.record_batch([pa.array(ids), *columns], schema=self.table.schema)


def pair_ids(pairs: pa.Table, *, salt: str) -> NDArray[np.int64]:
    """The ids of pairs: hashes of the document, the question with its id and kind, the field and the n-gram's start."""
    asked = zip(*(pairs[name].to_pylist() for name in ("kind", "query_id", "query")), strict=True)
    columns = [
        pairs["doc_id"].to_numpy(),
        np.array([hash_text(*parts) for parts in asked], np.int64),
        np.array([_FIELDS.index(field) for field in pairs["field"].to_pylist()], np.int64),
        pairs["start"].to_numpy(),
    ]
    return hash_columns(columns, salt=salt)


class _Document:
    """One document, of which pairs are made."""

    def __init__(self, doc_id: int, title: Candidates, body: Candidates, spec: NgramPairs) -> None:
        self.body = body
        self._doc_id = doc_id
        self._title = title
        self._spec = spec

    def supervised(self, query: Query, question: NDArray[np.int32]) -> list[_Pair]:
        """The pairs of one question: n-grams in the order of the text, then the title.

        The largest sums of log weight and Gumbel noise are a sample without replacement (Efraimidis and Spirakis,
        2006).
        """
        draw = hash_text("supervised", query.id, salt=str(self._spec.seed))
        noise = -np.log(-np.log(uniform(self._doc_id, draw, self.body.starts)))
        order = np.argsort(-(self.body.overlap(question) / _TEMPERATURE + noise), kind="stable")
        return self._pairs(query.question, query.id, np.sort(order[: self._spec.per_query]), "supervised")

    def unsupervised(self) -> list[_Pair]:
        """The pairs of random spans: of each an n-gram apart from it, if there is one, then the title."""
        starts = self.body.starts
        asked: dict[str, int] = {}
        for start in starts[np.argsort(self._noise("span"), kind="stable")].tolist():
            if len(asked) == self._spec.unsupervised:
                break
            # Different tokens may read the same; a text is asked once.
            asked.setdefault(self.body.span(start).strip(), start)
        pairs = []
        for text, start in asked.items():
            apart = np.flatnonzero(np.abs(starts - start) >= self.body.length)
            chosen = apart[np.argsort(self._noise("target", start)[apart], kind="stable")[:1]]
            pairs += self._pairs(text, "", chosen, "unsupervised")
        return pairs

    def _noise(self, what: str, start: int = 0) -> NDArray[np.float64]:
        draw = hash_text("unsupervised", what, str(start), salt=str(self._spec.seed))
        return uniform(self._doc_id, draw, self.body.starts)

    def _pairs(self, query: str, query_id: str, chosen: NDArray[np.intp], kind: str) -> list[_Pair]:
        """The chosen n-grams, and the title."""
        places = [("body", self.body, start) for start in self.body.starts[chosen].tolist()]
        places += [("title", self._title, start) for start in self._title.starts.tolist()]
        return [
            _Pair(
                self._doc_id,
                query,
                query_id,
                source.span(start) if field == "body" else source.text,
                source.tokens.ids[start : start + source.length],
                field,
                start,
                kind,
            )
            for field, source, start in places
        ]
