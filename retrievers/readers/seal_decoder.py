"""SEAL's keys for questions: n-grams and titles of a corpus that a language model writes (Bevilacqua et al., 2022)."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.tokenizers import tokenizer_hash
from mnemodex.indexers.ngram.ragged import Ragged
from mnemodex.retrievers.readers.beams import BeamOptions, BeamSearch
from mnemodex.retrievers.readers.prompted import Prompted
from mnemodex.retrievers.seal.keys import Keys, Kind
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from mnemodex.retrievers.ngram.corpus import NgramCorpus
    from mnemodex.retrievers.readers.prompted import Expected

_ROWS = {"cuda": 1024, "cpu": 128}
"""Beams that are decoded at once."""

_ENCODER_DECODER = {"body": "{question} || body", "title": "{question} || title"}
_CAUSAL = {
    "body": "Question: {question}\nAnswer: The text says that",
    "title": "Question: {question}\nTitle of the encyclopedia article that answers it:\n",
}
"""A model that was never tuned writes keys from the middle of a sentence after such words. A title's first token has no
space before it, so it begins a line."""

_TITLE_LENGTH = 15
_UNIGRAMS = 5000
"""SEAL's constants."""


class SealDecoder:
    """Writes keys with a language model, constrained by an n-gram index to the corpus.

    The model is an encoder-decoder or causal, and its tokenizer the index's, which is known by its hash. It reads the
    prompts, with the question for `{question}`, before it writes a body n-gram of so many tokens, or a title; see
    `prompts_for` for the defaults.

    Raises:
        ModelError: the model is not there, or its tokens are not the index's.
        ImportError: the model is a GGUF file, and what reads those is not installed.
    """

    def __init__(
        self,
        corpus: NgramCorpus,
        model: str,
        tokenizer_sha256: str,
        *,
        beams: int = 15,
        length: int = 10,
        body_prompt: str | None = None,
        title_prompt: str | None = None,
    ) -> None:
        if tokenizer_hash(model) != tokenizer_sha256:
            raise ModelError(
                f"model {model!r} has another tokenizer than the n-gram index: build the index with "
                f"`tokenizer: {model}`, or name a model with the index's"
            )
        self._lm = LanguageModel(model)
        self._corpus = corpus
        self._prompts = prompts_for(self._lm, body_prompt, title_prompt)
        self._beams = beams
        title = BeamOptions(beams=beams, length=_TITLE_LENGTH, whole=True, end=end_of_title(self._lm))
        fields = (
            (Kind.BODY, corpus.body, BeamOptions(beams=beams, length=length)),
            (Kind.TITLE, corpus.title, title),
        )
        # A corpus may have no titles.
        self._searches = {
            kind: (BeamSearch(self._lm, index, options), options.length)
            for kind, index, options in fields
            if index.token_count
        }

    def keys(self, questions: Sequence[str], query_ngrams: Keys | None = None) -> Keys:
        """Return the keys of questions.

        These are body n-grams and whole titles as the beam search records them, single tokens with their probabilities
        as a first word, and n-grams of the questions themselves with their probabilities.

        Raises:
            QueryError: a question is too long for the model.
        """
        size = max(_ROWS[self._lm.device.type] // self._beams, 1)
        parts = [Keys(np.empty(0, np.int64), Ragged.of([]), np.empty(0), np.empty(0, np.int8))]
        for start in range(0, len(questions), size):
            batch = questions[start : start + size]
            own = None if query_ngrams is None else query_ngrams.part(start, start + len(batch))
            keys = self._decode(batch, own)
            parts.append(replace(keys, query=keys.query + start))
        return Keys.concatenate(parts)

    def _decode(self, questions: Sequence[str], own: Keys | None) -> Keys:
        parts = []
        for kind, (search, length) in self._searches.items():
            template = self._prompts[kind.name.lower()]
            prompts = [template.replace("{question}", question) for question in questions]
            prompted = Prompted(self._lm, prompts, room=length)
            if kind == Kind.BODY:
                parts.append(self._unigrams(prompted.expected))
                if own is not None:
                    parts.append(_score(prompted.fork(), own))
            parts.append(search.run(prompted, kind))
        return Keys.concatenate(parts)

    def _unigrams(self, expected: Expected) -> Keys:
        """Return the most probable first tokens of each row, of those that occur in the corpus."""
        rows = np.arange(len(expected), dtype=np.int64)
        tokens = expected.top(rows, _UNIGRAMS, self._occurring)
        row, token = np.repeat(rows, tokens.shape[1]), tokens.reshape(-1)
        ngrams = Ragged(token, np.arange(len(token) + 1, dtype=np.int64))
        return Keys(row, ngrams, expected.at(row, token), np.full(len(row), Kind.UNIGRAM, np.int8))

    @cached_property
    def _occurring(self) -> torch.Tensor:
        import torch

        fields = [field.continuations(field.whole(1)).tokens for field in (self._corpus.body, self._corpus.title)]
        return torch.from_numpy(np.unique(np.concatenate(fields))).to(self._lm.device)


def prompts_for(lm: LanguageModel, body: str | None = None, title: str | None = None) -> dict[str, str]:
    """Return what a model reads before it writes an n-gram of a "body" or a "title".

    By default these are SEAL's own words for an encoder-decoder, and plain words for a causal model.
    """
    default = _ENCODER_DECODER if lm.is_encoder_decoder else _CAUSAL
    return {"body": default["body"] if body is None else body, "title": default["title"] if title is None else title}


def end_of_title(lm: LanguageModel) -> int | None:
    """Return what a model writes after a title: an encoder-decoder the end of the text, a causal model a new line."""
    if lm.is_encoder_decoder:
        return lm.end
    line: list[int] = lm.tokenizer.encode("\n", add_special_tokens=False).ids
    return line[0] if len(line) == 1 else lm.end


def _score(prompted: Prompted, keys: Keys) -> Keys:
    """Return the keys with their probabilities after the prompts; equal beginnings are read once."""
    score, row = np.zeros(len(keys)), keys.query.copy()
    lengths, firsts = keys.ngrams.lengths, keys.ngrams.offsets[:-1]
    for position in range(int(lengths.max(initial=0))):
        unread = np.flatnonzero(lengths > position)
        token = keys.ngrams.values[firsts[unread] + position].astype(np.int64)
        score[unread] += prompted.expected.at(row[unread], token)
        longer = lengths[unread] > position + 1
        if longer.any():
            pairs = np.stack([row[unread], token], axis=1)[longer]
            different, row[unread[longer]] = np.unique(pairs, axis=0, return_inverse=True)
            prompted.follow(different[:, 0].copy(), different[:, 1].copy())
    return replace(keys, log_probability=score)
