"""Conversations with a language model of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models.chat import Answer
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.locate import locate
from mnemodex.schemas.errors import ModelError, NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.models.chat import Messages

_ROWS = {"cuda": 16, "cpu": 4}
"""Conversations that are answered at once."""


class LocalChat:
    """A transformers model that answers conversations with its likeliest words (greedy decoding).

    A model with a chat template reads the conversation as it was tuned to. Any other reads plain text: what everybody
    says, with empty lines between.

    Args:
        model: the model's name, see `LanguageModel`.
        max_tokens: of an answer.
        threads: torch's CPU threads.

    Raises:
        ModelError: there is no such model, or its chat template is none.
        ImportError: it is a GGUF file, and what reads those is not installed.
    """

    def __init__(self, model: str, *, max_tokens: int = 256, threads: int | None = None) -> None:
        self._lm = LanguageModel(model, threads=threads)
        self._most = max_tokens
        self._template = _template(model)

    def ask_many(self, conversations: Sequence[Messages]) -> list[Answer | NoAnswerError]:
        """Answers, in the same order; a `NoAnswerError` for a conversation that is too long for the model."""
        prompts = [self._tokens(messages) for messages in conversations]
        answers: list[Answer | NoAnswerError] = [self._too_long(len(prompt)) for prompt in prompts]
        room = self._room()
        fitting = [number for number, prompt in enumerate(prompts) if room is None or len(prompt) <= room]
        # Prompts of like length are read together, for less padding.
        fitting.sort(key=lambda number: len(prompts[number]))
        size = _ROWS[self._lm.device.type]
        for start in range(0, len(fitting), size):
            part = fitting[start : start + size]
            for number, answer in zip(part, self._generate([prompts[number] for number in part]), strict=True):
                answers[number] = answer
        return answers

    @property
    def _limit(self) -> int | None:
        """How many positions the model has; None where it has no limit."""
        found: int | None = getattr(self._lm.model.config, "max_position_embeddings", None)
        return found

    def _room(self) -> int | None:
        """The longest prompt that leaves room for an answer; an encoder-decoder writes into a room of its own."""
        if self._limit is None or self._lm.is_encoder_decoder:
            return self._limit
        return max(self._limit - self._most, 0)

    def _too_long(self, length: int) -> NoAnswerError:
        return NoAnswerError(
            f"model {self._lm.name!r}: the prompt has {length} tokens, and it reads {self._room()} before an answer of "
            f"{self._most}; ask for fewer hits, build smaller chunks, or take a model that reads more"
        )

    def _tokens(self, messages: Messages) -> list[int]:
        """The conversation as the model reads it."""
        if self._template is None:
            text = "\n\n".join(message["content"] for message in messages)
            found: list[int] = self._lm.tokenizer.encode(text).ids
            return found
        import jinja2

        try:
            text = self._template.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except (jinja2.TemplateError, ValueError) as error:
            msg = f"model {self._lm.name!r}: its chat template refuses the conversation: {error}"
            raise ModelError(msg) from error
        # The template writes the special tokens itself.
        templated: list[int] = self._lm.tokenizer.encode(text, add_special_tokens=False).ids
        return templated

    def _generate(self, prompts: list[list[int]]) -> list[Answer | NoAnswerError]:
        import torch

        lm = self._lm
        longest = max(map(len, prompts))
        # A causal model goes on where its prompt ends: at the right.
        left = 0 if lm.is_encoder_decoder else 1
        ids = torch.zeros((len(prompts), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            start = left * (longest - len(prompt))
            ids[row, start : start + len(prompt)] = torch.tensor(prompt, dtype=torch.long)
            mask[row, start : start + len(prompt)] = 1
        with torch.inference_mode():
            written = lm.model.generate(
                input_ids=ids.to(lm.device),
                attention_mask=mask.to(lm.device),
                max_new_tokens=self._most if self._limit is None else min(self._most, self._limit - 1),
                do_sample=False,
                num_beams=1,
                pad_token_id=0 if lm.end is None else lm.end,
            ).cpu()
        rows = written[:, 1:] if lm.is_encoder_decoder else written[:, longest:]
        return [self._answer(len(prompt), row.tolist()) for prompt, row in zip(prompts, rows, strict=True)]

    def _answer(self, read: int, tokens: list[int]) -> Answer:
        ends = self._lm.model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        length = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
        text = self._lm.tokenizer.decode(tokens[:length], skip_special_tokens=True)
        return Answer(text.strip(), read, length, cut=length == len(tokens))


def _template(name: str) -> Any | None:
    """The tokenizer that knows the model's chat template; None where the model has none."""
    from transformers import AutoTokenizer

    path = locate(name)
    place = str(path)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if path.is_file():
        place, options["gguf_file"] = str(path.parent), path.name
    elif not _has_template(path):
        return None
    try:
        found: Any = AutoTokenizer.from_pretrained(place, **options)
    except Exception as error:
        # Each kind of tokenizer has its own way of failing, and the Rust library raises bare Exception.
        msg = f"model {name!r} ({path}): the tokenizer with its chat template cannot be loaded: {error}"
        raise ModelError(msg) from error
    return found if found.chat_template else None


def _has_template(folder: Path) -> bool:
    config = folder / "tokenizer_config.json"
    written = config.is_file() and '"chat_template"' in config.read_text(encoding="utf-8")
    return written or (folder / "chat_template.jinja").is_file()
