"""Random questions, numbers of hits and filters: sound hits, and the same again, or a QueryError."""

from __future__ import annotations

import numpy as np
import pytest
from contract import CASES, assert_sound, hits_of, opened
from fuzzing import random_text, rounds, stream
from library import records
from small_memory import encode_once

from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import QueryError

BATCH = 20
WORDS = sorted({word for row in records() for word in f"{row['title']} {row['text']}".split()})
_NUMBERS = [
    *(1, 2, 3, 10, 57, 1000, np.int64(5), np.uint8(7)),
    *(0, -1, 10**6 + 1, 2**31, 2**63, 10**30, True, 1.5, "5", None),
]
_FILTERS = [
    *("true", "false", "year > 1902", "lang = 'ja'", "title LIKE '%a%'", "d.key = 'ja'", "c.chunk_id % 2 = 0", "NULL"),
    *("year > 1902 AND length(c.text) < 80", "ngram_count('ngrams', 'harbour') > 0", "key IN ('ja', 'ru')"),
    *("", " ", "(", ")", "'", "nothing = 1", "title", "1; SELECT 1", "true --", "/*", "EXISTS (SELECT 1)", "year = ''"),
    *("(" * 5000 + "true" + ")" * 5000, "NOT " * 20000 + "true", " OR ".join(["year = 1"] * 5000), "1 / 0 = 1", "?"),
]  # fmt: skip


@pytest.fixture(scope="module")
def asked(library):
    """The library; each text is encoded once for all retrievers."""
    with pytest.MonkeyPatch.context() as patch:
        encode_once(patch)
        yield Memory(library)


def is_text(question):
    try:
        question.encode()
    except UnicodeEncodeError:
        return False
    return True


def filter_of(chance):
    match chance.randrange(6):
        case 0:
            return random_text(chance, ["year", "title", "=", "'a'", "OR", "lang"])
        case 1 | 2:
            return chance.choice(_FILTERS)
        case _:
            return None


def search(retriever, questions, k, where):
    """The hits, or the error that says what is wrong."""
    try:
        return retriever.search(questions, k, where=where)
    except QueryError as error:
        assert 0 < len(str(error)) < 2000
        return str(error)


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("case", CASES)
@rounds(few=100, many=10_000)
def test_a_random_question_has_sound_hits_or_is_refused(asked, counts, case, rounds):
    retriever = opened(asked, case)
    chunks = [number for (number,) in asked.sql("SELECT chunk_id FROM chunks").fetchall()]
    known = hits_of(asked, retriever, chunks)
    # The same questions for each retriever.
    texts, chance = stream("questions", rounds), stream("filters", rounds, case)
    for start in range(0, rounds, BATCH):
        questions = [random_text(texts, WORDS) for _ in range(BATCH)]
        k = chance.choice(_NUMBERS) if chance.random() < 0.3 else chance.randint(1, 12)
        where = filter_of(chance)
        for question in questions:
            if not is_text(question):
                assert "lone surrogate" in search(retriever, [question], 5, None)
                counts["refused"] += 1
        sound = list(filter(is_text, questions))
        hits = search(retriever, sound, k, where)
        if isinstance(hits, str):
            counts["refused"] += len(sound)
            continue
        found = (hits.ids >= 0).sum(axis=1)
        assert_sound(hits, queries=len(sound), k=k, matching=found)
        assert set(hits.ids[hits.ids >= 0].tolist()) <= known
        counts["answered"] += len(sound)
        counts["hits"] += int(found.sum())
        if start % (5 * BATCH) == 0:
            again = search(retriever, sound, k, where)
            assert np.array_equal(hits.ids, again.ids) and np.array_equal(hits.scores, again.scores)
            assert len(hits.to_arrow()) == found.sum()
            counts["asked twice"] += len(sound)
