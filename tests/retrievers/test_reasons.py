"""What the reasons of hits say, by the kind of index."""

from __future__ import annotations

import numpy as np
import pytest

QUESTIONS = ["Who winds the clockwork of the lamps?", "apples, apples in straw", "", "xyzzy"]


def test_words_are_as_the_question_writes_them_and_share_the_score(memory):
    hits = memory.retriever("words").search(QUESTIONS, 20)
    reasons = hits.reasons()
    assert {reason.text for hit in reasons[0] for reason in hit} == {"winds", "clockwork", "lamps"}
    assert {reason.text for hit in reasons[1] for reason in hit} == {"apples", "straw"} and reasons[3] == []
    for chunks, row in zip(hits, reasons, strict=True):
        for chunk, hit in zip(chunks, row, strict=True):
            shares = [reason.score for reason in hit]
            assert sum(shares) == pytest.approx(chunk.score, rel=1e-5)
            assert shares == sorted(shares, reverse=True)
            text = f"{chunk.title} {chunk.text}".lower()
            assert all(reason.text.rstrip("s") in text for reason in hit)
            assert {"straw", "clockwork"} & {reason.text for reason in hit} == {
                word for word in ("straw", "clockwork") if word in text
            }


def test_words_of_scripts_without_spaces_are_told_by_their_pairs(memory):
    reasons = memory.retriever("words").search(["港の灯台"], 3).reasons()
    assert {"灯台", "港の"} <= {reason.text for reason in reasons[0][0]}


@pytest.mark.parametrize("index", ["flat", "hnswlib"])
def test_the_nearest_sentence_is_found_by_one_call_of_the_encoder(memory, monkeypatch, index):
    encoder = memory.encoder("minilm")
    calls = []
    encode = type(encoder).encode
    monkeypatch.setattr(encoder, "encode", lambda texts: calls.append(list(texts)) or encode(encoder, texts))
    hits = memory.retriever(index).search(QUESTIONS, 8)
    assert len(calls) == 1, "the questions"
    reasons = hits.reasons()
    assert len(calls) == 2 and len(calls[1]) == len(set(calls[1]))
    vectors = encode(encoder, QUESTIONS)
    for vector, chunks, row in zip(vectors, hits, reasons, strict=True):
        for chunk, (reason,) in zip(chunks, row, strict=True):
            # Chunks of tokens begin and end within sentences.
            pieces = [piece for piece in chunk.text.replace(". ", ".\n").replace("。", "。\n").split("\n") if piece]
            cosines = encode(encoder, pieces or [chunk.title]) @ vector
            expected = cosines.max() if index == "flat" else 2 * cosines.max() - 2
            assert reason.text == (pieces or [chunk.title])[int(cosines.argmax())]
            assert reason.score == pytest.approx(expected, abs=1e-4)


def test_lines_of_a_paragraph_are_no_sentences(memory):
    from mnemodex.retrievers.sentences import nearest_sentences

    text = "Apples lie\nin straw. Ships come\nin with the tide.\n\n  * lamp"
    encoder = memory.encoder("minilm")
    questions = ["apples in straw", "a ship on the tide", "lamp"]
    found = nearest_sentences(encoder, encoder.encode_queries(questions), [[("", text)]] * 3, "ip")
    texts = [reason.text for (reason,) in found]
    assert texts == ["Apples lie in straw.", "Ships come in with the tide.", "* lamp"]


def test_a_fused_hit_says_its_rank_and_score_in_each_index(memory):
    both = memory.retriever("both").search(QUESTIONS[:2], 30)
    parts = {name: memory.retriever(name).search(QUESTIONS[:2], 100) for name in ("flat", "words")}
    for query, row in enumerate(both.reasons()):
        for chunk_id, score, hit in zip(both.ids[query], both.scores[query], row, strict=True):
            expected = []
            for name, hits in parts.items():
                ranks = np.flatnonzero(hits.ids[query] == chunk_id)
                if len(ranks):
                    expected.append(f"{name}: rank {ranks[0] + 1}, score {hits.scores[query, ranks[0]]:.4f}")
                else:
                    few = (hits.ids[query] >= 0).sum() < 100
                    expected.append(f"{name}: not among its hits" if few else f"{name}: not among its first 100 hits")
            assert sorted(reason.text for reason in hit) == sorted(expected)
            assert sum(reason.score for reason in hit) == pytest.approx(score, rel=1e-5)
    texts = {reason.text for hit in both.reasons()[0] for reason in hit}
    assert "words: not among its hits" in texts


def test_a_phrase_and_how_often_it_begins_in_the_hit(memory):
    hits = memory.retriever("ngrams").search([" slice of lemon", "xyzzy"], 3)
    reasons = hits.reasons()
    assert [[(reason.kind, reason.text, reason.score) for reason in hit] for hit in reasons[0]] == [
        [("phrase", "slice of lemon", score)] for score in hits.scores[0].tolist()
    ]
    assert reasons[1] == []
