"""Conversations with a language model of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.indexers.models.chat import Answer
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.retrievers.readers.chat_format import ChatFormat
from mnemodex.retrievers.readers.prompted import to_tensors
from mnemodex.schemas.errors import NoAnswerError, TooLongError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.models.chat import Messages

_ROWS = {"cuda": 16, "cpu": 4}
"""Conversations that are answered at once."""


class LocalChat:
    """A transformers model that answers conversations with its likeliest words (greedy decoding).

    A model with a chat template reads the conversation by it. Any other reads the messages as plain text, with empty
    lines between. An answer has at most `max_tokens`; for the other arguments see `LanguageModel`.

    Raises:
        ModelError: there is no such model, or its chat template is none.
        ImportError: it is a GGUF file, and what reads those is not installed.
    """

    def __init__(self, model: str, *, max_tokens: int = 256, threads: int | None = None) -> None:
        self._lm = LanguageModel(model, threads=threads)
        self._max_tokens = max_tokens
        self._format = ChatFormat(self._lm)

    def ask_many(self, conversations: Sequence[Messages]) -> list[Answer | NoAnswerError]:
        """Return answers in the same order; a `TooLongError` for a conversation that is too long for the model."""
        prompts = list(map(self._format.encode, conversations))
        room = self._format.room(self._max_tokens)
        answers: list[Answer | NoAnswerError] = [
            TooLongError(
                f"model {self._lm.name!r}: the prompt has {len(prompt)} tokens, and it reads {room} before an answer "
                f"of {self._max_tokens}; ask for fewer hits, build smaller chunks, or take a model that reads more",
                excess=len(prompt) - (room or 0),
            )
            for prompt in prompts
        ]
        fitting = [number for number, prompt in enumerate(prompts) if room is None or len(prompt) <= room]
        # Prompts of like length are read together, for less padding.
        fitting.sort(key=lambda number: len(prompts[number]))
        size = _ROWS[self._lm.device.type]
        for start in range(0, len(fitting), size):
            batch = fitting[start : start + size]
            for number, answer in zip(batch, self._generate([prompts[number] for number in batch]), strict=True):
                answers[number] = answer
        return answers

    def _generate(self, prompts: list[list[int]]) -> list[Answer | NoAnswerError]:
        import torch

        lm = self._lm
        ids, mask = to_tensors(prompts, lm)
        with torch.inference_mode():
            written = lm.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self._format.writable(self._max_tokens),
                do_sample=False,
                num_beams=1,
                pad_token_id=0 if lm.end is None else lm.end,
            ).cpu()
        rows = written[:, 1:] if lm.is_encoder_decoder else written[:, ids.shape[1] :]
        return [self._answer(len(prompt), row.tolist()) for prompt, row in zip(prompts, rows, strict=True)]

    def _answer(self, read: int, tokens: list[int]) -> Answer:
        kept = self._format.until_end(tokens)
        return Answer(self._format.decode(kept).strip(), read, len(kept), cut=len(kept) == len(tokens))
