"""Beam search constrained to the n-grams of a corpus (Bevilacqua et al., 2022; De Cao et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.ngram.ragged import as_ragged
from mnemodex.retrievers.ngram.corpus import Frontier
from mnemodex.retrievers.seal.keys import Keys, Kind
from mnemodex.schemas.errors import ModelError, QueryError

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Float64s, Int64s
    from mnemodex.indexers.models.language_model import LanguageModel
    from mnemodex.indexers.ngram.index import FMIndex
    from mnemodex.retrievers.readers.prompted import Expected, Prompted

_END = -1
"""In place of a token where an n-gram ends."""

_WIDE = {"cuda": 256, "cpu": 1 << 18}
"""In a range of more rows, the model's best tokens are looked for in the index, and not the index's in the model. A GPU
finds the model's best at once; a CPU needs as long as for listing some thousand tokens of the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamOptions:
    """How n-grams are searched for; without a beam or a token it is a `QueryError`.

    Attributes:
        beams: partial n-grams that are kept at each step for each question.
        length: the most tokens of an n-gram.
        whole: look for whole documents of the field (titles): from their first token to where they end. Else every
            candidate of every step is a result, 2 x beams each, as in SEAL.
        end: the token with which the model ends a whole document; its probability counts in. None for none.
    """

    beams: int = 15
    length: int = 10
    whole: bool = False
    end: int | None = None

    def __post_init__(self) -> None:
        if self.beams < 1 or self.length < 1:
            raise QueryError(f"beams is {self.beams} and length {self.length}: give at least 1 beam and 1 token")


class _Beams(NamedTuple):
    """Partial n-grams: arrays with one row each, by question."""

    query: Int64s
    tokens: Int64s
    """Shape (beams, tokens so far)."""
    score: Float64s
    ranges: Int64s


class _Candidates(NamedTuple):
    """What may follow the beams: arrays of one element each, by beam."""

    beam: Int64s
    token: Int64s
    score: Float64s

    def take(self, rows: Int64s) -> _Candidates:
        return _Candidates._make(column[rows] for column in self)


class BeamSearch:
    """Finds the n-grams of a field that a language model thinks most probable after a prompt.

    Scores are the model's log-probabilities, not renormalised over what the index allows. At each step the index is
    asked once for all beams of all questions. An index with tokens that the model does not know is a `ModelError`.
    """

    def __init__(self, lm: LanguageModel, index: FMIndex, options: BeamOptions) -> None:
        import torch

        ids = index.vocabulary.ids
        if ids[-1] >= lm.size:
            raise ModelError(
                f"model {lm.name!r} has {lm.size} tokens, but the index one of id {ids[-1]}: use the index's tokenizer"
            )
        self._index = index
        self._options = options
        self._frontier = Frontier(index)
        self._known = torch.from_numpy(ids.astype(np.int64)).to(lm.device)
        self._wide = _WIDE[lm.device.type]

    def run(self, prompted: Prompted, kind: Kind) -> Keys:
        """Return the n-grams of prompts that were read, as keys of a kind.

        Those of a prompt are all different, in the order of the steps, and the best of a step first. The prompts have
        room for `length` tokens, and are changed by the search.
        """
        options = self._options
        rows = len(prompted.expected)
        start = self._index.starts(rows) if options.whole else self._index.whole(rows)
        beams = _Beams(np.arange(rows, dtype=np.int64), np.empty((rows, 0), np.int64), np.zeros(rows), start)
        expected = prompted.expected
        recorded: list[Keys] = []
        for step in range(options.length + options.whole):
            candidates = self._candidates(expected, beams, last=step == options.length)
            chosen = self._choose(candidates, beams, rows)
            recorded.append(self._record(beams, chosen, kind))
            beams, parents = self._survivors(beams, chosen)
            if not len(parents) or step + 1 == options.length + options.whole:
                break
            if step + 1 < options.length or options.end is not None:
                expected = prompted.follow(parents, beams.tokens[:, -1])
        return Keys.concatenate(recorded)

    def _candidates(self, expected: Expected, beams: _Beams, *, last: bool) -> _Candidates:
        """Return what may follow each beam; at the last step, ends alone."""
        rows, ends = np.arange(0 if last else len(beams.query)), np.empty(0, np.int64)
        beam, token = self._continuing(expected, beams, rows)
        if self._options.whole and beams.tokens.shape[1]:
            ends = np.flatnonzero(self._index.ends(beams.ranges) > 0)
        beam, token = np.concatenate([beam, ends]), np.concatenate([token, np.full(len(ends), _END)])
        order = np.argsort(beam, kind="stable")
        beam, token = beam[order], token[order]
        ended, end = token == _END, self._options.end
        added = expected.at(beam, np.where(ended, end or 0, token))
        return _Candidates(beam, token, beams.score[beam] + (np.where(ended, 0.0, added) if end is None else added))

    def _continuing(self, expected: Expected, beams: _Beams, rows: Int64s) -> tuple[Int64s, Int64s]:
        """Return beams and tokens that may follow: all of a narrow range, the best 2 x beams of a wide one."""
        counts = (beams.ranges[:, :, 1] - beams.ranges[:, :, 0]).sum(axis=1)
        wide = rows[counts[rows] > self._wide]
        row, token, unsure = self._test(expected, beams, wide)
        narrow = np.concatenate([rows[counts[rows] <= self._wide], unsure])
        listed = self._frontier.continuations(beams.ranges[narrow])
        row = np.concatenate([row, np.repeat(narrow, np.diff(listed.offsets))])
        return row, np.concatenate([token, listed.tokens])

    def _test(self, expected: Expected, beams: _Beams, rows: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """Return beams and tokens of the model's best that occur, and the beams that have too few among these.

        More than 2 x beams of one beam are never chosen, so these are enough.
        """
        wanted = 2 * self._options.beams
        tokens = expected.top(rows, 4 * wanted, self._known)
        tried = self._index.step(np.repeat(beams.ranges[rows], tokens.shape[1], axis=0), tokens.reshape(-1))
        occurs = (tried[:, :, 1] > tried[:, :, 0]).any(axis=1).reshape(tokens.shape)
        enough = (occurs.sum(axis=1) >= wanted) | (tokens.shape[1] == len(self._known))
        row, column = np.nonzero(occurs & (np.cumsum(occurs, axis=1) <= wanted) & enough[:, None])
        return rows[row], tokens[row, column], rows[~enough]

    def _choose(self, candidates: _Candidates, beams: _Beams, queries: int) -> _Candidates:
        """Choose the best 2 x beams of each question."""
        from mnemodex.retrievers.seal.kernels import best_of_each

        offsets = np.searchsorted(beams.query[candidates.beam], np.arange(queries + 1)).astype(np.int64)
        chosen, counts = np.empty((queries, 2 * self._options.beams), np.int64), np.empty(queries, np.int64)
        best_of_each(candidates.score, offsets, chosen, counts)
        return candidates.take(chosen[np.arange(chosen.shape[1]) < counts[:, None]])

    def _record(self, beams: _Beams, chosen: _Candidates, kind: Kind) -> Keys:
        """Return the chosen candidates that are results, as keys."""
        rows = np.flatnonzero((chosen.token == _END) == self._options.whole)
        tokens = beams.tokens[chosen.beam[rows]]
        if not self._options.whole:
            tokens = np.concatenate([tokens, chosen.token[rows, None]], axis=1)
        query, kinds = beams.query[chosen.beam[rows]], np.full(len(rows), kind, np.int8)
        return Keys(query, as_ragged(tokens), chosen.score[rows], kinds)

    def _survivors(self, beams: _Beams, chosen: _Candidates) -> tuple[_Beams, Int64s]:
        """Return the best `beams` n-grams of each question that continue, and the beams that they come from."""
        unended = np.flatnonzero(chosen.token != _END)
        query = beams.query[chosen.beam[unended]]
        best = unended[np.arange(len(unended)) - np.searchsorted(query, query) < self._options.beams]
        parents = chosen.beam[best]
        tokens = np.concatenate([beams.tokens[parents], chosen.token[best, None]], axis=1)
        ranges = self._index.step(beams.ranges[parents], chosen.token[best])
        return _Beams(beams.query[parents], tokens, chosen.score[best], ranges), parents
