"""Why a datastore says what comes next: its nearest entries in their texts, and how they change the model's answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.context import words_around
from mnemodex.retrievers.readers.knn_lm.mixing import (
    Mixing,
    log_weights,
    mixed_log_probability,
    nearest_distance,
    token_log_probabilities,
)
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.ids import token_positions
from mnemodex.schemas.tables import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float64s, Int32s
    from mnemodex.retrievers.hits import Chunk, Hits
    from mnemodex.retrievers.next_token import NextTokenRetriever
    from mnemodex.retrievers.readers.prompt_keys import PromptKeys

_LIKELY = 5


@dataclass(frozen=True, slots=True)
class Context:
    """An entry of a datastore in its text.

    Attributes:
        position: its id.
        weight: its part of p_knn over the entries that were found.
        distance: squared, of its key to the prompt's.
        before: some words before the token that came next, and `after` some after it, with single spaces.
        token: the token as it is written.
    """

    chunk: Chunk
    position: int
    weight: float
    distance: float
    before: str
    token: str
    after: str

    def to_json(self) -> dict[str, Any]:
        """Return it as `search --json` prints it; a position does not fit a JavaScript number."""
        fields = {name: getattr(self, name) for name in ("weight", "distance", "before", "token", "after")}
        return {**self.chunk.to_json(), "position": str(self.position), **fields}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What comes after a prompt, and why.

    Attributes:
        contexts: the nearest entries, nearest first.
        likely: the most probable tokens with their probabilities by the `model` alone, by the `neighbours`, and
            `mixed` by the default weight.
    """

    contexts: list[Context]
    likely: dict[str, list[tuple[str, float]]]

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return the likely tokens as `search --json` prints them."""
        return {
            name: [{"token": token, "probability": probability} for token, probability in tokens]
            for name, tokens in self.likely.items()
        }


def explain(retriever: NextTokenRetriever, prompts: Sequence[str], hits: Hits) -> list[Explanation]:
    """Explain the hits that `retriever.search` gave for prompts by the words around them.

    Only the hits' documents are read.

    Raises:
        QueryError: a prompt has no token.
        ModelError: the model is not the one that the index was built with.
    """
    reader, scale = retriever.prompt_keys, retriever.info.scale
    prompt_tokens = reader.tokens(prompts)
    for prompt, tokens in zip(prompts, prompt_tokens, strict=True):
        if not len(tokens):
            raise QueryError(f"prompt {prompt!r} has no token: give the model something to continue")

    @cache
    def read_document(label: str, doc_id: int) -> tuple[str, Int32s, Int32s]:
        row, tokens, starts = retriever.document(label, doc_id)
        # Tokens and texts have the documents in one order.
        return hits.snapshot.take(DOCUMENTS.label, label, [row], ["text"])["text"][0].as_py(), tokens, starts

    explanations = []
    for number, chunks in enumerate(hits.chunks()):
        positions, distances = hits.ids[number, : len(chunks)], -hits.scores[number : number + 1, : len(chunks)]
        offsets = token_positions(positions, -np.array([chunk.doc_id for chunk in chunks], np.int64))
        weights = np.exp(log_weights(distances, scale))[0]
        contexts, next_tokens = [], np.zeros((1, len(chunks)), np.int32)
        for column, chunk in enumerate(chunks):
            text, values, starts = read_document(hits.labels[hits.partition[number, column]], chunk.doc_id)
            offset = offsets[column]
            start, end = np.append(starts, len(text))[offset : offset + 2].tolist()
            before, after = words_around(text, start, end)
            next_tokens[0, column] = token = int(values[offset])
            numbers = int(positions[column]), float(weights[column]), -chunk.score
            contexts.append(Context(chunk, *numbers, before, reader.decode(token), after))
        model = reader.log_probabilities(prompt_tokens[number])
        neighbours = np.full(len(model), -np.inf)
        _, known, logs = token_log_probabilities(distances, next_tokens, scale)
        neighbours[known] = logs
        default_weight = np.broadcast_to(Mixing().weight_of(nearest_distance(distances)), model.shape)
        mixed = mixed_log_probability(model, neighbours, default_weight)
        likely = {"model": _best(reader, model), "neighbours": _best(reader, neighbours), "mixed": _best(reader, mixed)}
        explanations.append(Explanation(contexts, likely))
    return explanations


def _best(reader: PromptKeys, logs: Float64s) -> list[tuple[str, float]]:
    """Return the most probable tokens of a vocabulary's log-probabilities, and their probabilities."""
    best = np.argsort(-logs, kind="stable")[:_LIKELY].tolist()
    return [(reader.decode(token), float(np.exp(logs[token]))) for token in best if logs[token] > -np.inf]
