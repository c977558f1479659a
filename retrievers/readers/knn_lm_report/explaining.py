"""Why a datastore says what comes next: where its nearest entries stand, and what they make of the model's mind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.retrievers.readers.knn_lm.forward import Signature
from mnemodex.retrievers.readers.knn_lm.mixing import (
    Mixing,
    log_weights,
    mixed_log_probability,
    nearest_distance,
    token_log_probabilities,
)
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.ids import token_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.next_token import NextTokenRetriever
    from mnemodex.retrievers.snapshot import Snapshot

_WORDS = 8
_WIDTH = 160
"""Characters within which the words before and after are looked for."""

_LIKELY = 5


@dataclass(frozen=True, slots=True)
class Context:
    """An entry of a datastore where it stands.

    Attributes:
        rank: from 1.
        position: its id.
        weight: its part of p_knn over the entries that were found.
        distance: squared, of its key to the prompt's.
        key: its document's key.
        title: its document's title.
        before: some words before the token that came next, and `after` some after it, with single spaces.
        token: the token as it is written.
    """

    rank: int
    position: int
    weight: float
    distance: float
    key: str
    title: str
    before: str
    token: str
    after: str

    def to_json(self) -> dict[str, Any]:
        """As `search --json` prints it beside the chunk; a position does not fit a JavaScript number."""
        names = ("weight", "distance", "before", "token", "after")
        return {"position": str(self.position), **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What comes after a prompt, and why.

    Attributes:
        contexts: the nearest entries, nearest first.
        model: the tokens that the model alone takes for the most likely, with their probabilities.
        neighbours: those that the entries do.
        mixed: those that both do, by the default weight.
    """

    contexts: list[Context]
    model: list[tuple[str, float]]
    neighbours: list[tuple[str, float]]
    mixed: list[tuple[str, float]]

    def likely(self) -> dict[str, list[dict[str, Any]]]:
        """The likely tokens, as `search --json` prints them."""
        lists = {"model": self.model, "neighbours": self.neighbours, "mixed": self.mixed}
        return {
            name: [{"token": token, "probability": probability} for token, probability in found]
            for name, found in lists.items()
        }


def explain(retriever: NextTokenRetriever, snapshot: Snapshot, prompts: Sequence[str], hits: Hits) -> list[Explanation]:
    """Hits of a datastore with the words around them; only the hits' documents are read.

    Args:
        retriever: the datastore.
        snapshot: the memory's, where the texts are read from.
        prompts: what is gone on from.
        hits: of these prompts, by `retriever.search`.

    Raises:
        QueryError: a prompt has no token.
        ModelError: the model is not the one that the index was built with.
    """
    reader = _Reader(retriever, snapshot)
    asked = retriever.prompt_keys.tokens(prompts)
    for prompt, tokens in zip(prompts, asked, strict=True):
        if not len(tokens):
            msg = f"prompt {prompt!r} has no token: give the model something to go on from"
            raise QueryError(msg)
    places = reader.places(hits)
    mixing = Mixing(temperature=retriever.info.scale)
    answers = []
    for number, chunks in enumerate(hits.chunks()):
        distances = -hits.scores[number : number + 1, : len(chunks)]
        mine = places[number][: len(chunks)]
        ids = hits.ids[number, : len(chunks)].tolist()
        weights = np.exp(log_weights(distances, retriever.info.scale))[0]
        contexts = [
            Context(chunk.rank, position, float(weight), -chunk.score, chunk.key, chunk.title, *reader.around(place))
            for chunk, position, weight, place in zip(chunks, ids, weights, mine, strict=True)
        ]
        tokens = np.array([[place.token for place in mine]], np.int32).reshape(distances.shape)
        answers.append(Explanation(contexts, *reader.likely(asked[number], distances, tokens, mixing)))
    return answers


class _Document(NamedTuple):
    text: str
    tokens: NDArray[np.int32]
    starts: NDArray[np.int32]


class _Place(NamedTuple):
    """A token of a document."""

    document: _Document
    offset: int

    @property
    def token(self) -> int:
        return int(self.document.tokens[self.offset])


class _Reader:
    """Reads the documents of hits, each once, and prompts."""

    def __init__(self, retriever: NextTokenRetriever, snapshot: Snapshot) -> None:
        self._prompts = retriever.prompt_keys
        self._lm = self._prompts.model
        self._snapshot = snapshot
        self._table = f"lm_tokens/{snapshot.index(retriever.name).settings['lm']}"
        self._documents: dict[int, _Document] = {}

    def places(self, hits: Hits) -> list[list[_Place]]:
        """Where the hits of each query are."""
        documents = hits.document_ids()
        offsets = token_positions(hits.ids, -documents)
        return [
            [
                _Place(self._document(hits.labels[partition], document), offset)
                for partition, document, offset in zip(*(part[found].tolist() for part in parts), strict=True)
            ]
            for *parts, found in zip(hits.partition, documents, offsets, hits.ids != MISSING_ID, strict=True)
        ]

    def _document(self, label: str, doc_id: int) -> _Document:
        if doc_id not in self._documents:
            # Both tables have the documents in one order.
            row = np.flatnonzero(self._snapshot.column(self._table, label, "doc_id") == doc_id)[:1].tolist()
            read = self._snapshot.take(self._table, label, row, ["tokens", "starts"])
            text = self._snapshot.take("documents", label, row, ["text"])["text"][0].as_py()
            lists = (read[name][0].values.to_numpy() for name in ("tokens", "starts"))
            self._documents[doc_id] = _Document(text, *lists)
        return self._documents[doc_id]

    def around(self, place: _Place) -> tuple[str, str, str]:
        """Words before a token, the token, and words after it."""
        text, _, starts = place.document
        start = int(starts[place.offset])
        end = int(starts[place.offset + 1]) if place.offset + 1 < len(starts) else len(text)
        left, right = text[max(start - _WIDTH, 0) : start].split(), text[end : end + _WIDTH].split()
        return " ".join(left[-_WORDS:]), self._written(place.token), " ".join(right[:_WORDS])

    def likely(
        self, prompt: NDArray[np.int32], distances: NDArray[np.float32], tokens: NDArray[np.int32], mixing: Mixing
    ) -> tuple[list[tuple[str, float]], ...]:
        """The most likely next tokens of the model, of the neighbours (shape (1, k)) and of both."""
        assert mixing.temperature is not None  # noqa: S101 - `explain` gives one
        alone = self._log_probabilities(prompt)
        neighbours = np.full(len(alone), -np.inf)
        _, found, logs = token_log_probabilities(distances, tokens, mixing.temperature)
        neighbours[found] = logs
        weight = np.broadcast_to(mixing.weight_of(nearest_distance(distances)), alone.shape)
        return tuple(self._best(each) for each in (alone, neighbours, mixed_log_probability(alone, neighbours, weight)))

    def _log_probabilities(self, prompt: NDArray[np.int32]) -> NDArray[np.float64]:
        """The logarithms of the model's probabilities after a prompt, shape (vocabulary,)."""
        import torch

        model = self._lm.model
        options: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in Signature(model).names else {}
        read = torch.from_numpy(prompt[None].astype(np.int64)).to(self._lm.device)
        with self._prompts.lock, torch.inference_mode():
            # Not `model(...)`: what the model says alone, although a reader may be attached to it.
            logits = model.forward(input_ids=read, use_cache=False, **options).logits[0, -1]
        found: NDArray[np.float64] = torch.log_softmax(logits.double(), dim=-1).cpu().numpy()
        return found

    def _best(self, logs: NDArray[np.float64]) -> list[tuple[str, float]]:
        best = np.argsort(-logs, kind="stable")[:_LIKELY]
        return [(self._written(token), float(np.exp(logs[token]))) for token in best.tolist() if logs[token] > -np.inf]

    def _written(self, token: int) -> str:
        return self._lm.tokenizer.decode([token], skip_special_tokens=False)
