"""Beam search that an n-gram index holds to what a corpus says (Bevilacqua et al., 2022; De Cao et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.ngram.answers import offsets_of
from mnemodex.indexers.ngram.ragged import Ragged, spans
from mnemodex.retrievers.ngram.frontier import Frontier
from mnemodex.retrievers.seal.keys import Keys, Kind
from mnemodex.schemas.errors import ModelError, QueryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.indexers.models.language_model import LanguageModel
    from mnemodex.indexers.ngram.index import FMIndex
    from mnemodex.retrievers.readers.prompted import Expected, Prompted

_END = -1
"""Stands for a token where an n-gram ends."""

_WIDE = {"cuda": 256, "cpu": 1 << 18}
"""Rows of a range from which the model's best tokens are looked for in the index, and not the index's in the model. A
GPU finds the model's best in no time; a CPU takes as long as it takes to list some thousand tokens of the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamOptions:
    """How n-grams are searched for.

    Attributes:
        beams: partial n-grams that are kept at each step for each question.
        length: the most tokens of an n-gram.
        whole: look for whole documents of the field (titles): from their first token to where they end.
        end: the token with which the model ends an n-gram that is complete; its probability counts in. None for none.
        keep_history: keep every candidate of every step, 2 x beams each, as SEAL does; else the `beams` best n-grams
            that are complete: as long as they may be, or ended. Whole documents are always complete.
        stop_at_count: end n-grams that occur no more often than this; 0 for never.
        constrained: hold the search to n-grams that occur. If not, those that do not occur are dropped at the end.
    """

    beams: int = 15
    length: int = 10
    whole: bool = False
    end: int | None = None
    keep_history: bool = True
    stop_at_count: int = 0
    constrained: bool = True

    def __post_init__(self) -> None:
        if self.beams < 1 or self.length < 1 or self.stop_at_count < 0:
            msg = (
                f"beams is {self.beams}, length {self.length} and stop_at_count {self.stop_at_count}: give at least 1 "
                "beam, 1 token, and 0"
            )
            raise QueryError(msg)


class _Beams(NamedTuple):
    """Partial n-grams: arrays with one row each, by question."""

    query: NDArray[np.int64]
    tokens: NDArray[np.int64]
    """Shape (beams, tokens so far)."""
    score: NDArray[np.float64]
    ranges: NDArray[np.int64]


class _Candidates(NamedTuple):
    """What may follow the beams: arrays with one place each, by beam."""

    beam: NDArray[np.int64]
    token: NDArray[np.int64]
    score: NDArray[np.float64]

    def of(self, places: NDArray[np.int64]) -> _Candidates:
        return _Candidates(self.beam[places], self.token[places], self.score[places])


class BeamSearch:
    """Finds the n-grams of a field that a language model thinks most probable after a prompt.

    Scores are the model's log-probabilities, not renormalised over what the index allows. At each step the index is
    asked once for all beams of all questions.

    Args:
        lm: the model.
        index: the field, in the model's own tokens.
        options: how to search.

    Raises:
        ModelError: the index has tokens that the model does not know.
    """

    def __init__(self, lm: LanguageModel, index: FMIndex, options: BeamOptions) -> None:
        import torch

        ids = index.vocabulary.ids
        if ids[-1] >= lm.size:
            msg = (
                f"model {lm.name!r} has {lm.size} tokens, but the index one of id {ids[-1]}: use the index's tokenizer"
            )
            raise ModelError(msg)
        self._lm = lm
        self._index = index
        self._options = options
        self._frontier = Frontier(index)
        self._known = torch.from_numpy(ids.astype(np.int64)).to(lm.device)
        self._wide = _WIDE[lm.device.type]

    def run(self, prompted: Prompted, kind: Kind) -> Keys:
        """Search from prompts that were read.

        Args:
            prompted: the prompts, with room for `length` tokens; used up.
            kind: what the n-grams are called.

        Returns:
            The n-grams of each prompt, all different; in the order of the steps, and the best of a step first.
        """
        options = self._options
        rows = len(prompted.expected)
        start = self._index.starts(rows) if options.whole else self._index.whole(rows)
        beams = _Beams(np.arange(rows, dtype=np.int64), np.empty((rows, 0), np.int64), np.zeros(rows), start)
        expected = prompted.expected
        found: list[Keys] = []
        closing = options.whole or options.end is not None
        for step in range(options.length + closing):
            candidates = self._candidates(expected, beams, last=step == options.length)
            chosen = self._choose(candidates, beams, rows)
            ranges = self._follow(beams, chosen)
            full = step + 1 == options.length and not closing
            found.append(self._record(beams, chosen, ranges, kind, complete=full))
            beams, parents = self._survivors(beams, chosen, ranges)
            if not len(parents) or full:
                break
            if step + 1 < options.length or options.end is not None:
                expected = prompted.follow(parents, beams.tokens[:, -1])
        return self._best(Keys.concatenate(found))

    def _candidates(self, expected: Expected, beams: _Beams, *, last: bool) -> _Candidates:
        """What may follow each beam; where it has to end, nothing else."""
        started = beams.tokens.shape[1] > 0
        counts = (beams.ranges[:, :, 1] - beams.ranges[:, :, 0]).sum(axis=1)
        seldom = (counts <= self._options.stop_at_count) & started & self._options.constrained
        ending = np.full(len(counts), last) | (seldom & (not self._options.whole))
        beam, token = self._continuing(expected, beams, np.flatnonzero(~ending), counts)
        spoken = token if self._options.end is None else np.where(token == _END, self._options.end, token)
        score = beams.score[beam] + expected.at(beam, spoken)
        ends = self._ends(beams, ending)
        score_of_end = beams.score[ends]
        if self._options.end is not None:
            score_of_end = score_of_end + expected.at(ends, np.full(len(ends), self._options.end))
        beam = np.concatenate([beam, ends])
        order = np.argsort(beam, kind="stable")
        token = np.concatenate([token, np.full(len(ends), _END)])
        return _Candidates(beam[order], token[order], np.concatenate([score, score_of_end])[order])

    def _ends(self, beams: _Beams, ending: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The beams that may end, or have to."""
        if not self._options.whole:
            return np.flatnonzero(ending)
        if not beams.tokens.shape[1]:
            return np.empty(0, np.int64)
        return np.flatnonzero(self._index.ends(beams.ranges) > 0)

    def _continuing(
        self, expected: Expected, beams: _Beams, rows: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Beams and tokens that may follow them, by beam: all of a narrow range, the best 2 x beams of a wide one."""
        if not self._options.constrained:
            return self._free(expected, beams, rows)
        wide = rows[counts[rows] > self._wide]
        row, token, unsure = self._test(expected, beams, wide)
        narrow = np.concatenate([rows[counts[rows] <= self._wide], unsure])
        listed = self._frontier.continuations(beams.ranges[narrow])
        row = np.concatenate([row, np.repeat(narrow, np.diff(listed.offsets))])
        return row, np.concatenate([token, listed.tokens])

    def _free(
        self, expected: Expected, beams: _Beams, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The model's best tokens, whatever the index says; its own end is one of ours."""
        tokens = expected.top(rows, 2 * self._options.beams, self._known)
        row, token = np.repeat(rows, tokens.shape[1]), tokens.reshape(-1)
        if self._options.end is None:
            return row, token
        ended = token == self._options.end
        token = np.where(ended, _END, token)
        # Nothing is no n-gram, and where whole documents may end is known.
        kept = ~ended if self._options.whole or not beams.tokens.shape[1] else np.ones(len(row), bool)
        return row[kept], token[kept]

    def _test(
        self, expected: Expected, beams: _Beams, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Look for the model's best tokens in the index.

        More than 2 x beams of one beam are never chosen, so these are enough; the third array has the beams of which
        fewer were found, so that better ones may be among the rest.
        """
        wanted = 2 * self._options.beams
        tokens = expected.top(rows, 4 * wanted, self._known)
        tried = self._index.step(np.repeat(beams.ranges[rows], tokens.shape[1], axis=0), tokens.reshape(-1))
        occurs = (tried[:, :, 1] > tried[:, :, 0]).any(axis=1).reshape(tokens.shape)
        enough = (occurs.sum(axis=1) >= wanted) | (tokens.shape[1] == len(self._known))
        kept = occurs & (np.cumsum(occurs, axis=1) <= wanted) & enough[:, None]
        place, column = np.nonzero(kept)
        return rows[place], tokens[place, column], rows[~enough]

    def _choose(self, candidates: _Candidates, beams: _Beams, queries: int) -> _Candidates:
        """The best 2 x beams of each question."""
        from mnemodex.retrievers.ngram.choice import best_of_each

        query = beams.query[candidates.beam]
        offsets = np.searchsorted(query, np.arange(queries + 1)).astype(np.int64)
        chosen = np.empty((queries, 2 * self._options.beams), np.int64)
        counts = np.empty(queries, np.int64)
        best_of_each(candidates.score, offsets, chosen, counts)
        return candidates.of(chosen[np.arange(chosen.shape[1]) < counts[:, None]])

    def _follow(self, beams: _Beams, chosen: _Candidates) -> NDArray[np.int64]:
        """The ranges of the chosen n-grams; that of one that ends stays as it is."""
        ranges = beams.ranges[chosen.beam]
        going = np.flatnonzero(chosen.token != _END)
        ranges[going] = self._index.step(ranges[going], chosen.token[going])
        return ranges

    def _record(
        self, beams: _Beams, chosen: _Candidates, ranges: NDArray[np.int64], kind: Kind, *, complete: bool
    ) -> Keys:
        """The chosen candidates that are worth keeping, as keys."""
        ended = chosen.token == _END
        history = self._options.keep_history and not self._options.whole
        # In a history the n-gram that ends stands already.
        kept = np.flatnonzero(~ended) if history else np.flatnonzero(ended | complete)
        if not self._options.constrained:
            kept = kept[(ranges[kept, :, 1] > ranges[kept, :, 0]).any(axis=1)]
        tokens = np.concatenate([beams.tokens[chosen.beam[kept]], chosen.token[kept, None]], axis=1)
        lengths = tokens.shape[1] - ended[kept]
        starts = np.arange(len(kept), dtype=np.int64) * tokens.shape[1]
        offsets = offsets_of(lengths)
        return Keys(
            beams.query[chosen.beam[kept]],
            Ragged(tokens.reshape(-1)[spans(starts, lengths)], offsets),
            chosen.score[kept],
            np.full(len(kept), kind, np.int8),
        )

    def _survivors(
        self, beams: _Beams, chosen: _Candidates, ranges: NDArray[np.int64]
    ) -> tuple[_Beams, NDArray[np.int64]]:
        """The best `beams` n-grams of each question that go on, and the beams that they come from."""
        going = np.flatnonzero(chosen.token != _END)
        query = beams.query[chosen.beam[going]]
        rank = np.arange(len(going)) - np.searchsorted(query, query)
        kept = going[rank < self._options.beams]
        parents = chosen.beam[kept]
        tokens = np.concatenate([beams.tokens[parents], chosen.token[kept, None]], axis=1)
        return _Beams(beams.query[parents], tokens, chosen.score[kept], ranges[kept]), parents

    def _best(self, keys: Keys) -> Keys:
        """All keys of a history; else the best `beams` of each question, best first."""
        if self._options.keep_history:
            return keys
        order = np.lexsort((-keys.log_probability, keys.query))
        rank = np.arange(len(order)) - np.searchsorted(keys.query, keys.query)
        return keys.take(order[rank < self._options.beams])
