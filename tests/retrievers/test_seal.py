"""SEAL over real memories in two kinds of tokens, against plain Python over all documents."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import seal_reference as reference
from engines import InlineEngine
from library import records, write_parts
from seal_reference import make_keys
from tokenizer_models import byte_level, minilm, save

import mnemodex
from mnemodex.indexers.ngram.indexer import NgramIndexer
from mnemodex.pipelines import run as run_module
from mnemodex.retrievers.seal.keys import Keys, Kind
from mnemodex.schemas.errors import ModelError, QueryError

TOKENIZERS = {"minilm": minilm, "byte-level": byte_level}
ALL = 1000
SCORES = ["lm", "lm_fm", "intersective"]


@pytest.fixture(scope="module", params=TOKENIZERS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def opened(kind, tmp_path_factory):
    """A memory in two shards with several chunks of long documents."""
    folder = tmp_path_factory.mktemp(kind)
    recipe = {
        "source": str(write_parts(folder / "source", records(), 3)),
        "memory": str(folder / "memory"),
        "chunks": {"by": "tokens", "size": 16, "overlap": 6},
        "indexes": {
            "ngrams": {"type": "ngram", "tokenizer": save(TOKENIZERS[kind](), folder / "model")},
            "keys": {"type": "seal"},
            "pairs": {"type": "seal", "of": "ngrams", "score": "lm_fm"},
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        patch.setattr(NgramIndexer, "shard_rows", 40)
        mnemodex.build(recipe)
    return mnemodex.open(folder / "memory")


@pytest.fixture(scope="module")
def retriever(opened):
    assert len(opened.snapshot.index("ngrams").shards) == 2
    return opened.retriever("keys")


class Corpus:
    """All documents as tokens, and the answers of the reference."""

    def __init__(self, corpus):
        everything = np.arange(corpus.body.document_count)
        self.bodies, self.titles = (self.texts(index.tokens(everything)) for index in (corpus.body, corpus.title))
        self.tokens = sum(map(len, self.bodies + self.titles))
        ids = np.concatenate([rows.ids for rows in corpus.chunks.shards])
        owned = corpus.owned(np.arange(len(ids)))
        self.chunks = list(zip(ids.tolist(), *(column.tolist() for column in owned), strict=True))

    @staticmethod
    def texts(ragged):
        return [tuple(ragged.part(row, row + 1).values.tolist()) for row in range(len(ragged))]

    def count(self, tokens, kind):
        if kind == Kind.TITLE:
            return self.titles.count(tokens)
        return sum(len(reference.occurrences(text, tokens)) for text in self.bodies + self.titles)

    def holds(self, number, tokens, kind):
        if kind == Kind.TITLE:
            return self.titles[number] == tokens
        return bool(
            reference.occurrences(self.bodies[number], tokens) + reference.occurrences(self.titles[number], tokens)
        )

    def ranked(self, rows, score):
        weighed = [
            (row[1], row[3], reference.weight(row, rows, self.count(row[1], row[3]), self.tokens, score))
            for row in rows
            if self.count(row[1], row[3])
        ]
        return reference.ranked(weighed, together=score == "intersective")

    def votes(self, rows, score):
        """Chunk id to its votes."""
        keys = self.ranked(rows, score)
        finders = [key[:2] for key in keys if key[1] != Kind.UNIGRAM]
        found = {n for n in range(len(self.bodies)) if any(self.holds(n, *key) for key in finders)}
        answer = {}
        for chunk, number, start, stop in self.chunks:
            if number in found:
                text = self.titles[number], self.bodies[number], start, stop
                answer[chunk] = reference.votes(keys, *text, together=score == "intersective")
        return {chunk: some for chunk, some in answer.items() if some}


@pytest.fixture(scope="module")
def corpus(retriever):
    return Corpus(retriever._index.corpus)


@pytest.fixture(scope="module")
def keys(corpus):
    """Keys of all kinds for five questions."""
    random = np.random.default_rng(5)
    rows = []
    for question in range(5):
        for _ in range(12):
            text = corpus.bodies[random.integers(len(corpus.bodies))] or (5,)
            start = random.integers(len(text))
            ngram = text[start : start + random.integers(1, 6)]
            rows.append((question, ngram, -random.uniform(0.1, 9), random.choice([Kind.BODY, Kind.QUERY])))
            rows.append((question, text[start : start + 1], -random.uniform(2, 12), Kind.UNIGRAM))
        titles = [corpus.titles[number] for number in random.integers(len(corpus.titles), size=3)]
        rows += [(question, title, -random.uniform(0.1, 9), Kind.TITLE) for title in titles if title]
    return make_keys(*rows)


def answers(hits):
    """For each query, chunk id to score."""
    found = hits.ids >= 0
    pairs = zip(hits.ids, hits.scores, found, strict=True)
    return [dict(zip(ids[here].tolist(), scores[here].tolist(), strict=True)) for ids, scores, here in pairs]


def of_question(keys, number):
    return [row for row in reference.rows_of(keys) if row[0] == number]


@pytest.mark.parametrize("score", SCORES)
def test_scores_and_reasons_are_those_of_the_reference(retriever, corpus, keys, score):
    hits = retriever.search_keys(keys, 5, ALL, score=score)
    reasons = hits.reasons()
    for number, found in enumerate(answers(hits)):
        votes = corpus.votes(of_question(keys, number), score)
        assert found == pytest.approx({chunk: sum(vote[2] for vote in some) for chunk, some in votes.items()}, rel=1e-5)
        for chunk, why in zip(found, reasons[number], strict=True):
            expected = sorted(votes[chunk], key=lambda vote: -vote[2])
            assert [reason.score for reason in why] == pytest.approx([gain for *_, gain in expected])
            assert sum(reason.score for reason in why) == pytest.approx(found[chunk], rel=1e-5)
            kinds = sorted(Kind(vote[1]).name.lower() for vote in expected)
            assert sorted(reason.kind for reason in why) == kinds


def test_questions_are_answered_by_their_own_ngrams(retriever, corpus, opened):
    questions = ["Who winds the clockwork of the lamp?", "apples in straw", "the café"]
    own = retriever.keys(questions)
    hits = retriever.search(questions, ALL)
    for number, found in enumerate(answers(hits)):
        rows = of_question(own, number)
        assert {len(tokens) for _, tokens, _, _ in rows} <= {1, 2, 3}
        votes = corpus.votes(rows, "intersective")
        assert found == pytest.approx({chunk: sum(vote[2] for vote in some) for chunk, some in votes.items()}, rel=1e-5)
    best, why = hits.chunks()[1][0], hits.reasons()[1][0]
    ((text,),) = opened.sql(f"SELECT title || ' ' || text FROM documents WHERE key = '{best.key}'").fetchall()
    assert why and all(reason.text.strip().casefold() in text.casefold() for reason in why)
    assert {reason.kind for reason in why} == {"query"}


def test_a_title_finds_every_document_that_has_just_it(retriever, corpus):
    titled = [number for number, title in enumerate(corpus.titles) if title]
    assert corpus.titles[-1] in [corpus.titles[number] for number in titled], "the last one too"
    keys = make_keys(*((place, corpus.titles[number], -1.0, Kind.TITLE) for place, number in enumerate(titled)))
    for place, found in enumerate(answers(retriever.search_keys(keys, len(titled), ALL, score="intersective"))):
        same = {n for n, title in enumerate(corpus.titles) if title == corpus.titles[titled[place]]}
        assert set(found) == {chunk for chunk, number, _, _ in corpus.chunks if number in same} and found


def test_a_part_of_a_title_is_no_title(retriever, corpus):
    title = max(corpus.titles, key=len)
    keys = make_keys((0, title[:-1], -1.0, Kind.TITLE), (1, title[1:], -1.0, Kind.TITLE))
    assert answers(retriever.search_keys(keys, 2, 9)) == [{}, {}]


def test_frequent_keys_and_unigrams_find_nothing_but_score_what_others_found(retriever, corpus, monkeypatch):
    monkeypatch.setattr("mnemodex.retrievers.seal.keys.MOST_OCCURRENCES", 20)
    counts = Counter(token for body in corpus.bodies for token in body)
    (first, _), (second, _) = counts.most_common(2)
    with_both = (body for body in corpus.bodies if {first, second} <= set(body))
    body = next(body for body in with_both if corpus.count(body[1:6], Kind.BODY) <= 20)
    frequent, unigram, rare = (
        (0, (first,), -0.5, Kind.BODY),
        (0, (second,), -0.5, Kind.UNIGRAM),
        (0, body[1:6], -2.0, Kind.BODY),
    )
    assert answers(retriever.search_keys(make_keys(frequent, unigram), 1, 50)) == [{}]
    (hits,) = retriever.search_keys(make_keys(frequent, unigram, rare), 1, 50).reasons()
    voted = {(reason.kind, reason.text) for why in hits for reason in why}
    assert sorted(kind for kind, _ in voted) == ["body", "body", "unigram"]


def test_only_so_many_documents_are_read(retriever, corpus, keys, monkeypatch):
    full = answers(retriever.search_keys(keys, 5, ALL))
    documents = {chunk: number for chunk, number, _, _ in corpus.chunks}
    monkeypatch.setattr("mnemodex.retrievers.seal.retriever.MOST_DOCUMENTS", 3)
    for few, many in zip(answers(retriever.search_keys(keys, 5, ALL)), full, strict=True):
        assert len({documents[chunk] for chunk in few}) == 3 and few.items() <= many.items()
    monkeypatch.setattr("mnemodex.retrievers.seal.retriever.MOST_TOKENS", 1)
    for few, many in zip(answers(retriever.search_keys(keys, 5, ALL)), full, strict=True):
        assert len({documents[chunk] for chunk in few}) == 1 and few.items() <= many.items()


def test_texts_that_are_kept_are_bounded_and_answer_alike(opened, keys, monkeypatch):
    full = answers(opened.retriever("keys").search_keys(keys, 5, ALL))
    monkeypatch.setattr("mnemodex.retrievers.seal.retriever._KEPT", 40)
    again = type(opened.retriever("keys"))(opened, opened.snapshot.index("keys"))
    assert answers(again.search_keys(keys, 5, ALL)) == full
    assert again._search._texts._tokens <= 40


def test_a_filter_leaves_scores_and_reasons_as_they_are(retriever, keys, opened):
    where = "ordinal > 0 OR title LIKE '%coast%'"
    allowed = set(opened.ids_where(where).tolist())
    full, kept = retriever.search_keys(keys, 5, ALL), retriever.search_keys(keys, 5, ALL, where=where)
    expected = [{chunk: score for chunk, score in some.items() if chunk in allowed} for some in answers(full)]
    assert answers(kept) == expected and any(expected)
    assert [len(why) for why in kept.reasons()] == [len(some) for some in expected]


@pytest.mark.parametrize(
    ("question", "key"),
    [("港の灯台", "ja"), ("Смотритель маяка", "ru"), ("السفن تدخل", "ar"), ("किताबें मेज़", "hi")],
    ids=["ja", "ru", "ar", "hi"],
)
def test_other_scripts_are_found(retriever, question, key):
    (answer,) = retriever.search([question], 3).chunks()
    assert answer[0].key == key


@pytest.mark.parametrize("question", ["", " \n", "🛸🛸🛸", "\u3164"])
def test_a_question_without_known_tokens_has_no_hits(retriever, kind, question):
    hits = retriever.search([question, "apples in straw"], 4)
    if kind == "minilm" or not question.strip():
        assert (hits.ids[0] == -1).all()
    assert (hits.ids[1] >= 0).any() and len(hits.reasons()) == 2
    assert len(hits.reasons()[0]) == (hits.ids[0] >= 0).sum()


def test_words_that_occur_nowhere_are_not_answered_by_their_pieces(retriever, kind):
    hits = retriever.search(["zzzzz qqqq", "xqzvj", "apples zzzzz in straw", "apples in straw"], 4)
    assert (hits.ids[:2] == -1).all()
    assert hits.ids[2].tolist() == hits.ids[3].tolist()
    texts = [reason.text for why in hits.reasons()[2] for reason in why]
    assert texts and not any("z" in text for text in texts)


def test_a_token_that_the_index_does_not_have_is_refused(retriever):
    with pytest.raises(ModelError, match="99999"):
        retriever.search_keys(make_keys((0, (5, 99999), -1.0, Kind.BODY)), 1)


def test_an_empty_key_is_refused(retriever):
    with pytest.raises(QueryError, match="empty"):
        retriever.search_keys(make_keys((0, (), -1.0, Kind.BODY)), 1)


class Decoder:
    """Gives the titles of a corpus, and the question's own keys."""

    def __init__(self, corpus):
        self.corpus, self.asked = corpus, []

    def keys(self, questions, query_ngrams):
        self.asked.append((list(questions), query_ngrams))
        titles = [(number, self.corpus.titles[3], -1e-9, Kind.TITLE) for number in range(len(questions))]
        return Keys.concatenate([make_keys(*titles), query_ngrams])


def test_a_decoder_gives_the_keys_and_is_handed_those_of_the_question(retriever, corpus, monkeypatch):
    decoder = Decoder(corpus)
    own = retriever.keys(["apples in straw"])
    monkeypatch.setitem(retriever.__dict__, "decoder", decoder)
    hits = retriever.search(["apples in straw", "bread"], ALL)
    ((questions, handed),) = decoder.asked
    assert questions == ["apples in straw", "bread"]
    assert reference.rows_of(handed)[: len(own)] == reference.rows_of(own)
    kinds = [{reason.kind for hit in answer for reason in hit} for answer in hits.reasons()]
    assert kinds == [{"title", "query"}] * 2


def test_the_index_has_its_own_score(opened, keys):
    default, pairs = opened.retriever("keys"), opened.retriever("pairs")
    asked = default.search_keys(keys, 5, 30, score="lm_fm")
    assert answers(pairs.search_keys(keys, 5, 30)) == answers(asked) != answers(default.search_keys(keys, 5, 30))
