"""Answers that a model marks in a text, with or without a question (Devlin et al., 2019)."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mnemodex.indexers.models.task_model import Row, TaskModel
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Encoding

    from mnemodex.indexers.arrays import Float32s, Int64s

_STRIDE = 128
"""Tokens from the start of a window to that of the next one."""
_LEAST = 8
"""Tokens of a text that a window has room for at least; what is before it, a question, is too long else."""


class MarkedSpan(NamedTuple):
    """The characters `start` to `end` of a text, as a model marks them.

    Attributes:
        score: the log-probability of its first and of its last token in their window.
        margin: its score less that of no answer, which is the first special token's; its probability, which is above 0
            as well, where the model has no such token.
    """

    start: int
    end: int
    score: float
    margin: float


class _Window(NamedTuple):
    """Tokens of a text in a row of the model.

    Attributes:
        text: the number of the text.
        first: the number of its first token that is in the row.
        begin: where that stands in the row.
        size: how many tokens of the text are in the row.
    """

    text: int
    first: int
    begin: int
    size: int


class SpanModel:
    """A transformers model for extractive question answering (`AutoModelForQuestionAnswering`).

    A text that is longer than the model's window is read in windows of 256 tokens, whose starts are 128 apart. A span
    begins where a word begins and ends where one ends, and has a letter or digit.

    Raises:
        ModelError: as `TaskModel`.
    """

    def __init__(self, name: str, *, threads: int | None = None) -> None:
        self._model = TaskModel(name, "spans", threads=threads)
        self._frames = self._model.frame(1), self._model.frame(2)
        if self._model.window < self._frames[1].size + _LEAST:
            raise ModelError(f"model {name!r}: reads only {self._model.window} tokens; take another one")

    def mark(
        self, texts: Sequence[str], questions: Sequence[str] | None = None, *, top: int, max_tokens: int
    ) -> list[list[MarkedSpan] | None]:
        """Return the spans of each text that score best, best first; no two of them overlap.

        Args:
            texts: where spans are marked.
            questions: one a text, which the model reads before it; by default it is given the text alone.
            top: most spans of a text.
            max_tokens: tokens of a span at most.

        Returns:
            of each text its spans; None where the question fills the window.
        """
        encodings = self._encode(texts)
        asked = None if questions is None else self._encode(questions)
        windows, rows = self._windows(encodings, asked)
        null = bool(self._frames[0].before.ids)
        found: list[list[MarkedSpan] | None] = [None for _ in texts]
        for window in windows:
            found[window.text] = []
        for batch, output in self._model.read(rows):
            starts, ends = (part.float().cpu().numpy() for part in (output.start_logits, output.end_logits))
            for number, start, end in zip(batch.tolist(), starts, ends, strict=True):
                window, length = windows[number], len(rows[number].ids)
                some = _score(start[:length], end[:length], window, encodings[window.text], max_tokens, null=null)
                found[window.text] += _best(texts[window.text], some, top)
        key = attrgetter("score" if asked is None else "margin")
        return [None if spans is None else _merge(sorted(spans, key=key, reverse=True), top) for spans in found]

    def _windows(
        self, encodings: Sequence[Encoding], asked: Sequence[Encoding] | None
    ) -> tuple[list[_Window], list[Row]]:
        """Return the windows of all texts that have room, an empty one for an empty text, and their rows."""
        windows: list[_Window] = []
        rows: list[Row] = []
        for text, encoding in enumerate(encodings):
            before = [] if asked is None else [asked[text].ids]
            frame = self._frames[len(before)]
            room = self._model.window - frame.size - sum(map(len, before))
            for first in _starts(len(encoding.ids), room) if room >= _LEAST else ():
                ids = encoding.ids[first : first + room]
                row, begin = frame.join(*before, ids)
                rows.append(row)
                windows.append(_Window(text, first, begin, len(ids)))
        return windows, rows

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        return self._model.tokenizer.encode_batch(list(texts), add_special_tokens=False)


def _starts(tokens: int, room: int) -> range:
    """Return where the windows of a text begin: the last one is the first that reaches its end."""
    step = min(_STRIDE, -(-room // 2))
    return range(0, max(tokens - room + step, 1), step)


class _Candidates(NamedTuple):
    """Spans of one text: characters, int64, and scores, float32, each of shape (n,)."""

    start: Int64s
    end: Int64s
    score: Float32s
    margin: Float32s


def _score(
    start: Float32s, end: Float32s, window: _Window, encoding: Encoding, max_tokens: int, *, null: bool
) -> _Candidates:
    """Return all spans of a window, by the logits of its row, each of shape (tokens,)."""
    start, end = (logits - np.logaddexp.reduce(logits) for logits in (start, end))
    inside = slice(window.begin, window.begin + window.size)
    tokens = slice(window.first, window.first + window.size)
    words = np.array([-1 if word is None else word for word in encoding.word_ids], np.int64)
    begins = np.diff(words, prepend=-2)[tokens] != 0
    ends = np.diff(words, append=-2)[tokens] != 0
    offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)[tokens]
    # Row: where a span begins; column: how many tokens follow its first.
    lasts = np.concatenate([np.where(ends, end[inside], -np.inf), np.full(max_tokens, -np.inf, np.float32)])
    following = sliding_window_view(lasts, max_tokens)[: window.size]
    scores = np.where(begins, start[inside], -np.inf)[:, None] + following
    first, length = np.nonzero(np.isfinite(scores))
    score = scores[first, length].astype(np.float32)
    margin = score - (start[0] + end[0]) if null else np.exp(score)
    return _Candidates(offsets[first, 0], offsets[first + length, 1], score, margin)


def _best(text: str, spans: _Candidates, top: int) -> list[MarkedSpan]:
    """Return the best spans of a window that do not overlap, best first."""
    start, end, score, margin = spans
    words = np.concatenate([[0], np.cumsum(np.fromiter(map(str.isalnum, text), np.bool_, len(text)))])
    left = words[end] > words[start]
    best: list[MarkedSpan] = []
    while len(best) < top and left.any():
        number = int(np.argmax(np.where(left, score, -np.inf)))
        characters = _strip(text, int(start[number]), int(end[number]))
        best.append(MarkedSpan(*characters, float(score[number]), float(margin[number])))
        left &= (end <= start[number]) | (start >= end[number])
    return best


def _merge(spans: list[MarkedSpan], top: int) -> list[MarkedSpan]:
    """Return the first spans that do not overlap with any before them."""
    kept: list[MarkedSpan] = []
    for span in spans:
        if len(kept) < top and all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
    return kept


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span without the white space that some tokenizers count to a word."""
    inside = text[start:end]
    return end - len(inside.lstrip()), start + len(inside.rstrip())
