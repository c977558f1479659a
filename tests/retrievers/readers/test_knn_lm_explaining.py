"""Why a datastore says what comes next: its nearest entries in their texts, and the likely tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mnemodex.retrievers.memory import Memory
from mnemodex.retrievers.readers.knn_lm import KnnLM
from mnemodex.retrievers.readers.knn_lm_report.explaining import explain
from mnemodex.schemas.errors import QueryError

PROMPTS = ["The keeper feeds them", "Apples from the orchard are stored in"]


@pytest.fixture(scope="module")
def memory(library):
    return Memory(library)


@pytest.fixture(scope="module")
def found(memory):
    retriever = memory.retriever("next")
    return explain(retriever, PROMPTS, retriever.search(PROMPTS, 6))


def test_the_words_around_an_entry_are_those_of_its_document(memory, found):
    retriever = memory.retriever("next")
    hits = retriever.search(PROMPTS, 6)
    values = dict(memory.sql("SELECT position, value FROM lm_states_tiny").fetchall())
    texts = dict(memory.sql("SELECT key, text FROM documents").fetchall())
    for number in (0, 1):
        assert [one.chunk.rank for one in found[number].contexts] == [1, 2, 3, 4, 5, 6]
        for place, one in enumerate(found[number].contexts):
            value = values[int(hits.ids[number, place])]
            assert one.token == retriever.prompt_keys.model.tokenizer.decode([value])
            assert one.distance == pytest.approx(-hits.scores[number, place])
            # Blanks may be within a token, or between it and its neighbours.
            whole = "".join(texts[one.chunk.key].split())
            assert "".join(f"{one.before}{one.token}{one.after}".split()) in whole


def test_weights_fall_with_the_distance_and_sum_to_one(memory, found):
    scale = memory.retriever("next").info.scale
    for number in (0, 1):
        distances = np.array([one.distance for one in found[number].contexts])
        parts = np.exp(-(distances - distances[0]) / scale)
        assert [one.weight for one in found[number].contexts] == pytest.approx(list(parts / parts.sum()), rel=1e-4)


def test_likely_tokens_are_those_of_the_model_alone_and_attached(memory, found):
    retriever = memory.retriever("next")
    lm = retriever.prompt_keys.model
    ids = torch.from_numpy(retriever.prompt_keys.tokens(PROMPTS)[0].astype(np.int64))[None]
    with torch.no_grad():
        alone = lm.model(input_ids=ids).logits[0, -1].softmax(-1)
        with KnnLM(retriever, k=6).attach(lm.model):
            mixed = lm.model(input_ids=ids).logits[0, -1].exp()
    for likely, expected in ((found[0].likely["model"], alone), (found[0].likely["mixed"], mixed)):
        best = expected.topk(5)
        assert [probability for _, probability in likely] == pytest.approx(best.values.tolist(), rel=1e-3)
        assert [token for token, _ in likely] == [lm.tokenizer.decode([token]) for token in best.indices.tolist()]
    by_token = {}
    for one in found[0].contexts:
        by_token[one.token] = by_token.get(one.token, 0) + one.weight
    assert dict(found[0].likely["neighbours"]) == pytest.approx(
        dict(sorted(by_token.items(), key=lambda item: -item[1])[:5])
    )


def test_a_prompt_without_a_token_is_refused(memory):
    retriever = memory.retriever("next")
    with pytest.raises(QueryError, match="prompt '' has no token: give the model something to continue"):
        explain(retriever, ["The", ""], retriever.search(["The", ""], 2))


def test_a_filter_holds(memory):
    retriever = memory.retriever("next")
    hits = retriever.search(PROMPTS[:1], 4, where="key = 'café-3'")
    (one,) = explain(retriever, PROMPTS[:1], hits)
    assert [context.chunk.key for context in one.contexts] == ["café-3"] * 4
    assert sum(context.weight for context in one.contexts) == pytest.approx(1)


def test_hits_say_what_came_next_and_how_much_it_counts(memory, found):
    reasons = memory.retriever("next").search(PROMPTS, 6).reasons()
    for one, some in zip(found, reasons, strict=True):
        assert [reason.text for (reason,) in some] == [context.token for context in one.contexts]
        assert [reason.score for (reason,) in some] == pytest.approx([context.weight for context in one.contexts])
