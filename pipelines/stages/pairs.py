"""Documents become training pairs: questions, and n-grams of the documents that answer them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.candidates import Candidates, TokenWords, uniform
from mnemodex.indexers.models.tokenizers import Tokens, tokenize, tokenizer, tokenizer_hash
from mnemodex.pipelines.ops.base import Finished, Stage, Work
from mnemodex.retrievers.queries import Query, read_queries
from mnemodex.schemas.ids import hash_columns, hash_text
from mnemodex.schemas.manifest import Stats, fingerprint
from mnemodex.schemas.sections import NgramPairs
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.steps import Read, Step
from mnemodex.schemas.tables import DOCUMENTS, TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Float64s, Int32s, Int64s
    from mnemodex.pipelines.plan import PlanContext

_BATCH = 256
"""Documents that are tokenised at once."""
_TEMPERATURE = 0.1
"""Of the softmax over overlaps: an n-gram that shares half of its words with a question (Dice's coefficient 0.5) is 150
times as likely as one that shares none, so that of a few hundred n-grams those that overlap are mostly taken."""

_FIELDS = ("body", "title")
_Pair = tuple[Any, ...]
"""A row of the table without its id."""


class PairSettings(Spec):
    """Training pairs, and the salt of ids."""

    pairs: NgramPairs
    id_salt: str


class PairStats(Stats):
    """Pairs of each kind, and their documents.

    Of these, `gold` are named by a question, `blank` have no text, `unknown` only n-grams with an unknown token,
    `untitled` no title or one with an unknown token, and `short` no two n-grams apart, for unsupervised pairs.
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


def answered(spec: NgramPairs) -> list[Query]:
    """Return the questions that some document is known to answer; none where the pairs have no query file."""
    return [query for query in read_queries(Path(spec.queries)) if query.gold] if spec.queries is not None else []


class PairStage(Stage):
    """Samples n-grams for fine-tuning a language model to write them (SEAL; Bevilacqua et al., 2022).

    Supervised: for each question and each of its gold documents, n-grams of the text, drawn without replacement with a
    probability that grows as the exponential of their overlap with the question (`Candidates.overlap`). Unsupervised:
    a random n-gram of a document is taken as a question, and another that shares no token with it is the target.
    Either has one pair more whose target is the document's whole title. Titles and n-grams with an unknown token are
    left out, and so are documents that nobody asks for.

    What is drawn depends on the document's id, the question's id and the seed alone, so partitions and batches make no
    difference.
    """

    Settings = PairSettings
    columns = ("doc_id", "key", "title", "text")
    seconds_per_megabyte = 1.0
    table = spec_of(TableKey("ngram_pairs", "any"))

    def __init__(self, settings: PairSettings) -> None:
        super().__init__(settings)
        self._spec = settings.pairs

    @override
    def setup(self, work: Work) -> None:
        self._tokenizer = tokenizer(self._spec.tokenizer)
        self._words = TokenWords(self._tokenizer)
        self._queries: dict[str, list[Query]] = {}
        for query in answered(self._spec):
            for key in query.gold:
                self._queries.setdefault(key, []).append(query)

    @override
    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self._counts = Counter[str]()
        for batch in batches:
            for start in range(0, batch.num_rows, _BATCH):
                yield self._sample(batch.slice(start, _BATCH))

    @override
    def stats(self) -> PairStats:
        return PairStats(**self._counts, tokenizer_sha256=tokenizer_hash(self._spec.tokenizer))

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        settings: Any = finished.step.settings
        spec: NgramPairs = settings.pairs
        name = finished.step.result.label.partition("/")[2]
        gold = len({key for query in answered(spec) for key in query.gold})
        missing = gold - sum(part.stats.of(PairStats).gold for part in finished.parts)
        warnings = []
        if missing:
            warnings.append(
                f"ngram_pairs {name!r}: {missing} of the {gold} gold ids of {spec.queries} are no document's key; "
                "`gold_ids` name documents by the source's own ids"
            )
        if not finished.rows:
            reason = f"no document that it is about has text in the tokens of {spec.tokenizer}"
            warnings.append(f"ngram_pairs {name!r} has no pairs: {reason}")
        return warnings

    def _sample(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the pairs of some documents."""
        keys = batch["key"].to_pylist()
        chosen = [number for number, key in enumerate(keys) if self._spec.unsupervised or key in self._queries]
        queries_of = [self._queries.get(keys[number], []) for number in chosen]
        rows = batch.take(pa.array(chosen, pa.int64()))
        titles, texts = rows["title"].to_pylist(), rows["text"].to_pylist()
        questions = {query.id: query.question for queries in queries_of for query in queries}
        tokens = dict(zip(questions, tokenize(self._tokenizer, list(questions.values())), strict=True))
        columns = rows["doc_id"].to_pylist(), titles, tokenize(self._tokenizer, titles), texts
        pairs: list[_Pair] = []
        for *document_columns, queries in zip(*columns, tokenize(self._tokenizer, texts), queries_of, strict=True):
            document = self._document(*document_columns)
            self._counts.update(documents=1, gold=bool(queries))
            for query in queries:
                pairs += document.supervised(query, tokens[query.id].ids)
            if self._spec.unsupervised:
                spans = document.unsupervised()
                only_titles = all(field == "title" for *_, field, _start, _kind in spans)
                self._counts["short"] += len(document.body.starts) > 0 and only_titles
                pairs += spans
        schema = self.table.schema.remove(0)
        pair_columns = pa.record_batch(list(zip(*pairs, strict=True)) or [()] * len(schema), schema=schema)
        self._counts.update(pair_columns["kind"].to_pylist())
        ids = pair_ids(pair_columns, salt=self.settings.id_salt)
        return pa.record_batch([ids, *pair_columns.columns], schema=self.table.schema)

    def _document(self, doc_id: int, title: str, title_tokens: Tokens, text: str, text_tokens: Tokens) -> _Document:
        """Return a document with the n-grams of its title (the whole, or none) and text; count what it lacks."""
        whole = Candidates.of(title, title_tokens, self._words, length=max(len(title_tokens.ids), 1))
        body = Candidates.of(text, text_tokens, self._words, length=self._spec.length)
        self._counts["untitled"] += not len(whole.starts)
        if not len(body.starts):
            self._counts["unknown" if text.strip() and len(text_tokens.ids) else "blank"] += 1
        return _Document(doc_id, whole, body, self._spec)


def pair_ids(pairs: pa.Table | pa.RecordBatch, *, salt: str) -> Int64s:
    """Hash pairs to ids: the document, the question with its id and kind, the field and the n-gram's start."""
    queries = zip(*(pairs[name].to_pylist() for name in ("kind", "query_id", "query")), strict=True)
    columns = [
        pairs["doc_id"].to_numpy(),
        np.array([hash_text(*parts) for parts in queries], np.int64),
        np.array([_FIELDS.index(field) for field in pairs["field"].to_pylist()], np.int64),
        pairs["start"].to_numpy(),
    ]
    return hash_columns(columns, salt=salt)


class _Document(NamedTuple):
    """One document, of which pairs are made."""

    doc_id: int
    title: Candidates
    body: Candidates
    spec: NgramPairs

    def supervised(self, query: Query, question: Int32s) -> list[_Pair]:
        """Return the pairs of one question: n-grams in the order of the text, then the title.

        The largest sums of log weight and Gumbel noise are a sample without replacement (Efraimidis and Spirakis,
        2006).
        """
        draw = hash_text("supervised", query.id, salt=str(self.spec.seed))
        noise = -np.log(-np.log(uniform(self.doc_id, draw, self.body.starts)))
        order = np.argsort(-(self.body.overlap(question) / _TEMPERATURE + noise), kind="stable")
        return self._pairs(query.question, query.id, np.sort(order[: self.spec.per_query]), "supervised")

    def unsupervised(self) -> list[_Pair]:
        """Return the pairs of random spans: for each an n-gram apart from it, if there is one, then the title."""
        starts = self.body.starts
        spans: dict[str, int] = {}
        for start in starts[np.argsort(self._noise("span"), kind="stable")].tolist():
            if len(spans) == self.spec.unsupervised:
                break
            # Different tokens may read the same.
            spans.setdefault(self.body.span(start).strip(), start)
        pairs = []
        for text, start in spans.items():
            apart = np.flatnonzero(np.abs(starts - start) >= self.body.length)
            target = apart[np.argsort(self._noise("target", start)[apart], kind="stable")[:1]]
            pairs += self._pairs(text, "", target, "unsupervised")
        return pairs

    def _noise(self, purpose: str, start: int = 0) -> Float64s:
        draw = hash_text("unsupervised", purpose, str(start), salt=str(self.spec.seed))
        return uniform(self.doc_id, draw, self.body.starts)

    def _pairs(self, query: str, query_id: str, targets: Int64s, kind: str) -> list[_Pair]:
        """Return the pairs of some n-grams, by their numbers, and of the title."""
        ngrams = [("body", self.body, start, self.body.span(start)) for start in self.body.starts[targets].tolist()]
        ngrams += [("title", self.title, start, self.title.text) for start in self.title.starts.tolist()]
        return [
            (self.doc_id, query, query_id, text, of.tokens.ids[start : start + of.length], field, start, kind)
            for field, of, start, text in ngrams
        ]


def pair_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Make the training pairs of one section of the recipe from every partition of documents."""
    spec = context.recipe.ngram_pairs[name]
    settings = PairSettings(pairs=spec, id_salt=context.recipe.id_salt)
    key = TableKey("ngram_pairs", name)
    questions = [[query.id, query.question, sorted(query.gold)] for query in answered(spec)]
    identity = [settings.identity(digest=context.digest), fingerprint(questions)]
    reads = (Read(DOCUMENTS, columns=PairStage.columns),)
    yield Step(key.label, "mnemodex.pipelines.stages.pairs:PairStage", reads, (key,), settings, identity=identity)
