"""Conversations with a language model of this machine."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models.chat import Answer
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.locate import locate
from mnemodex.retrievers.readers.prompted import to_tensors
from mnemodex.schemas.errors import ModelError, NoAnswerError, TooLongError

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
        self._template = _template(model)
        # A copy, since steps share that one. A template writes the special tokens itself.
        self._tokenizer = copy.deepcopy(self._lm.tokenizer)
        self._tokenizer.encode_special_tokens = self._template is None
        self._limit: int | None = getattr(self._lm.model.config, "max_position_embeddings", None)

    def ask_many(self, conversations: Sequence[Messages]) -> list[Answer | NoAnswerError]:
        """Return answers in the same order; a `TooLongError` for a conversation that is too long for the model."""
        prompts = [self._tokens(messages) for messages in conversations]
        room = self._room()
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

    def _room(self) -> int | None:
        """Return the longest prompt that leaves room for an answer; an encoder-decoder's answer takes none of it."""
        if self._limit is None or self._lm.is_encoder_decoder:
            return self._limit
        return max(self._limit - self._max_tokens, 0)

    def _tokens(self, messages: Messages) -> list[int]:
        """Return the conversation as the model reads it."""
        if self._template is None:
            text = "\n\n".join(message["content"] for message in messages)
        else:
            import jinja2

            try:
                text = self._template.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            except (jinja2.TemplateError, ValueError) as error:
                problem = f"its chat template refuses the conversation: {error}"
                raise ModelError(f"model {self._lm.name!r}: {problem}") from error
        return self._tokenizer.encode(text, add_special_tokens=self._template is None).ids

    def _generate(self, prompts: list[list[int]]) -> list[Answer | NoAnswerError]:
        import torch

        lm = self._lm
        ids, mask = to_tensors(prompts, lm)
        with torch.inference_mode():
            written = lm.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self._max_tokens if self._limit is None else min(self._max_tokens, self._limit - 1),
                do_sample=False,
                num_beams=1,
                pad_token_id=0 if lm.end is None else lm.end,
            ).cpu()
        rows = written[:, 1:] if lm.is_encoder_decoder else written[:, ids.shape[1] :]
        return [self._answer(len(prompt), row.tolist()) for prompt, row in zip(prompts, rows, strict=True)]

    def _answer(self, read: int, tokens: list[int]) -> Answer:
        end = self._lm.model.generation_config.eos_token_id
        ends = end if isinstance(end, list) else [end]
        length = next((number for number, token in enumerate(tokens) if token in ends), len(tokens))
        text = self._tokenizer.decode(tokens[:length], skip_special_tokens=True)
        return Answer(text.strip(), read, length, cut=length == len(tokens))


def _template(name: str) -> Any | None:
    """Return the tokenizer that has the model's chat template; None where the model has none."""
    from transformers import AutoTokenizer

    path = folder = locate(name)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if path.is_file():
        folder, options["gguf_file"] = path.parent, path.name
    else:
        config = path / "tokenizer_config.json"
        in_config = config.is_file() and '"chat_template"' in config.read_text(encoding="utf-8")
        if not in_config and not (path / "chat_template.jinja").is_file():
            return None
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), **options)
    except Exception as error:
        # Each kind of tokenizer has its own way of failing, and the Rust library raises bare Exception.
        problem = f"the tokenizer with its chat template cannot be loaded: {error}"
        raise ModelError(f"model {name!r} ({path}): {problem}") from error
    return tokenizer if tokenizer.chat_template else None
