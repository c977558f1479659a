"""Models of transformers that judge texts: by classes, or by the spans that they mark in them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mnemodex.indexers.models.language_model import choose_device, load_weights, silence
from mnemodex.indexers.models.locate import locate, refuse_pickled
from mnemodex.indexers.models.tokenizers import tokenizer
from mnemodex.indexers.text import length_buckets, pad
from mnemodex.schemas.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenizers import Tokenizer

    from mnemodex.indexers.arrays import Int64s

Task = Literal["classes", "spans"]

_AUTO = {"classes": "AutoModelForSequenceClassification", "spans": "AutoModelForQuestionAnswering"}
_TOKENS = {"cpu": 4096, "cuda": 65536}
"""Padded tokens a batch."""


class Row(NamedTuple):
    """What a model reads at once: token ids and the segment of each."""

    ids: list[int]
    segments: list[int]


class Frame(NamedTuple):
    """The special tokens of a tokenizer around one text or two, each a row."""

    before: Row
    between: Row
    after: Row
    segments: tuple[int, ...]
    """Of the tokens of each text."""

    @property
    def size(self) -> int:
        """How many tokens they are."""
        return sum(len(row.ids) for row in (self.before, self.between, self.after))

    def join(self, *texts: list[int]) -> tuple[Row, int]:
        """Return the row of the token ids of one text or two, and where the last one begins in it."""
        ids, segments = [*self.before.ids], [*self.before.segments]
        for number, (text, segment) in enumerate(zip(texts, self.segments, strict=True)):
            if number:
                ids += self.between.ids
                segments += self.between.segments
            begin = len(ids)
            ids += text
            segments += [segment] * len(text)
        return Row(ids + self.after.ids, segments + self.after.segments), begin


class TaskModel:
    """A model with a head for one task and its tokenizer, on one device.

    Args:
        name: a folder, a hub id, or `pkg:MODULE/FOLDER`; weights are safetensors.
        task: `classes` for a sequence classifier, `spans` for a model that marks answers.
        threads: torch's CPU threads; all that torch finds by default.

    Attributes:
        model: the torch module, in evaluation mode: float32 on a CPU, bf16 (else fp16) on a GPU.
        tokenizer: with truncation and padding off.
        window: tokens that it reads at once, 256 or fewer where the model knows fewer places.

    Raises:
        ModelError: there is no such model, or it has no such head.
    """

    def __init__(self, name: str, task: Task, *, threads: int | None = None) -> None:
        import torch
        import transformers

        if threads is not None:
            torch.set_num_threads(threads)
        self.name = name
        self.tokenizer: Tokenizer = tokenizer(name)
        path = locate(name)
        self._device, dtype = choose_device()
        try:
            refuse_pickled(path)
            with silence():
                loaded = load_weights(getattr(transformers, _AUTO[task]), path, dtype)
        except MissingExtraError:
            raise
        except Exception as error:
            # Libraries raise what they like at a damaged or strange model.
            raise ModelError(f"model {name!r} ({path}) cannot be loaded as one that marks {task}: {error}") from error
        self.model: Any = loaded.to(self._device).eval()
        self.window = min(256, getattr(self.model.config, "max_position_embeddings", None) or 256)
        takes = inspect.signature(self.model.forward).parameters
        self._segments = "token_type_ids" in takes and getattr(self.model.config, "type_vocab_size", 0) > 1

    def frame(self, texts: int) -> Frame:
        """Return the special tokens around one text, or around and between two."""
        encoding = self.tokenizer.encode("a", "b" if texts == 2 else None)
        first, last = (
            [place for place, text in enumerate(encoding.sequence_ids) if text == number] for number in (0, texts - 1)
        )

        def part(begin: int, end: int) -> Row:
            return Row(encoding.ids[begin:end], encoding.type_ids[begin:end])

        segments = tuple(encoding.type_ids[some[0]] for some in (first, last)[:texts])
        between = part(first[-1] + 1, last[0]) if texts == 2 else part(0, 0)
        return Frame(part(0, first[0]), between, part(last[-1] + 1, len(encoding.ids)), segments)

    def read(self, rows: Sequence[Row]) -> Iterator[tuple[Int64s, Any]]:
        """Yield the numbers of the rows of a batch, int64 of shape (n,), and the model's output for them."""
        import torch

        lengths = np.array([len(row.ids) for row in rows], np.int64)
        for batch in length_buckets(lengths, max_tokens=_TOKENS[self._device.type]):
            width = int(lengths[batch].max())
            ids, mask = pad([rows[number].ids for number in batch], width)
            inputs = {"input_ids": ids, "attention_mask": mask}
            if self._segments:
                inputs["token_type_ids"] = pad([rows[number].segments for number in batch], width)[0]
            with torch.inference_mode():
                tensors = {name: torch.from_numpy(array).to(self._device) for name, array in inputs.items()}
                yield batch, self.model(**tensors)
