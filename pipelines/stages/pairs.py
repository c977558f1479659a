"""Documents become training pairs: questions, and n-grams of the documents that answer them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from mnemodex.indexers.candidates import Candidates, TokenWords, uniform
from mnemodex.indexers.models.tokenizers import tokenize, tokenizer, tokenizer_hash
from mnemodex.pipelines.ops.base import Stage
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.ids import hash_columns, hash_text
from mnemodex.schemas.manifest import Stats, fingerprint
from mnemodex.schemas.ngram_pairs import NgramPairs
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.steps import Each, Read, Step
from mnemodex.schemas.tables import DOCUMENTS, TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnemodex.indexers.models.tokenizers import Tokens
    from mnemodex.pipelines.ops.base import Finished, Work
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.retrievers.queries import Query

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


class PairSettings(Spec):
    """Training pairs, and the salt of ids."""

    pairs: NgramPairs
    id_salt: str


class PairStats(Stats):
    """Pairs of each kind, and the documents that they are of.

    Attributes:
        supervised: pairs of questions.
        unsupervised: pairs of spans.
        documents: that were read.
        gold: documents that a question names.
        blank: documents without text.
        unknown: documents of which every n-gram has an unknown token.
        untitled: documents without a title, or with an unknown token in it.
        short: documents without two n-grams apart, for unsupervised pairs.
        tokenizer_sha256: of what decides the tokens.
    """

    supervised: int = 0
    unsupervised: int = 0
    documents: int = 0
    gold: int = 0
    blank: int = 0
    unknown: int = 0
    untitled: int = 0
    short: int = 0
    tokenizer_sha256: str = ""


_COUNTED = tuple(PairStats.model_fields.keys() - {*Stats.model_fields, "tokenizer_sha256"})


def answered(spec: NgramPairs) -> list[Query]:
    """Return the questions that some document is known to answer; none where the pairs have no query file.

    Raises:
        QueryError: the query file is not there, or is none.
    """
    return [query for query in read_queries(Path(spec.queries)) if query.gold] if spec.queries is not None else []


class PairStage(Stage):
    """Samples n-grams for fine-tuning a language model to write them (SEAL; Bevilacqua et al., 2022).

    Supervised: for each question and each of its gold documents, n-grams of the text, drawn without replacement with a
    probability that grows as the exponential of their overlap with the question (`Candidates.overlap`). Unsupervised:
    a random n-gram of a document stands in for a question, and another that shares no token with it is the target.
    Either has one pair more whose target is the document's whole title. Titles and n-grams with an unknown token are
    left out, and so are documents that nobody asks for.

    What is drawn depends on the document's id, the question's id and the seed alone, so partitions and batches make no
    difference.
    """

    version: ClassVar[int] = 1
    Settings: ClassVar[type[Spec]] = PairSettings
    columns: ClassVar[tuple[str, ...]] = ("doc_id", "key", "title", "text")
    seconds_per_megabyte: ClassVar[float] = 1.0
    table = spec_of(TableKey("ngram_pairs", "any"))

    def __init__(self, settings: PairSettings) -> None:
        self._spec = settings.pairs
        self._salt = settings.id_salt

    def setup(self, work: Work) -> None:
        """See `Stage`; reads the query file."""
        self._tokenizer = tokenizer(self._spec.tokenizer)
        self._words = TokenWords(self._tokenizer)
        self._asked: dict[str, list[Query]] = {}
        for query in answered(self._spec):
            for key in query.gold:
                self._asked.setdefault(key, []).append(query)

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Stage`."""
        self._counts = Counter[str]()
        for batch in batches:
            for start in range(0, batch.num_rows, _BATCH):
                yield self._batch(batch.slice(start, _BATCH))

    def stats(self) -> PairStats:
        """See `Stage`."""
        counts = {name: self._counts[name] for name in _COUNTED}
        return PairStats(**counts, tokenizer_sha256=tokenizer_hash(self._spec.tokenizer))

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """Tell of gold ids that are no document's key, and of an empty table."""
        settings: Any = finished.step.settings
        spec: NgramPairs = settings.pairs
        name = finished.step.result.label.partition("/")[2]
        gold = len({key for query in answered(spec) for key in query.gold})
        missing = gold - sum(part.stats.of(PairStats).gold for part in finished.parts)
        said = []
        if missing:
            said.append(
                f"ngram_pairs {name!r}: {missing} of the {gold} gold ids of {spec.queries} are no document's key; "
                "`gold_ids` name documents by the source's own ids"
            )
        if not finished.rows:
            said.append(
                f"ngram_pairs {name!r} has no pairs: no document that it is about has text in the tokens of "
                f"{spec.tokenizer}"
            )
        return said

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


def pair_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Make the training pairs of one section of the recipe from every partition of documents."""
    spec = context.recipe.ngram_pairs[name]
    settings = PairSettings(pairs=spec, id_salt=context.recipe.id_salt)
    key = TableKey("ngram_pairs", name)
    asked = [[query.id, query.question, sorted(query.gold)] for query in answered(spec)]
    yield Step(
        key.label,
        "mnemodex.pipelines.stages.pairs:PairStage",
        (Read(DOCUMENTS, Each(), PairStage.columns),),
        (key,),
        settings,
        identity=[settings.identity(digest=context.digest), fingerprint(asked)],
    )
