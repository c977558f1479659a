"""Conversations as the tokens that a language model reads."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models.locate import locate
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.models.chat import Messages
    from mnemodex.indexers.models.language_model import LanguageModel


class ChatFormat:
    """How a model reads conversations: by its chat template, or else as plain text, with empty lines between messages.

    Raises:
        ModelError: its chat template cannot be loaded.
    """

    def __init__(self, lm: LanguageModel) -> None:
        self._lm = lm
        self._template = _template(lm.name)
        # A copy, since steps share that one. A template writes the special tokens itself.
        self._tokenizer = copy.deepcopy(lm.tokenizer)
        self._tokenizer.encode_special_tokens = self._template is None
        self.limit: int | None = getattr(lm.model.config, "max_position_embeddings", None)

    def room(self, written: int) -> int | None:
        """Return the longest prompt that leaves room for so many tokens; an encoder-decoder's take none of it."""
        if self.limit is None or self._lm.is_encoder_decoder:
            return self.limit
        return max(self.limit - written, 0)

    def writable(self, most: int) -> int:
        """Return how many tokens the model can write, of so many."""
        return most if self.limit is None else min(most, self.limit - 1)

    def encode(self, messages: Messages) -> list[int]:
        """Return the conversation as the model reads it.

        Raises:
            ModelError: its chat template refuses the conversation.
        """
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

    def until_end(self, tokens: list[int]) -> list[int]:
        """Return the tokens that were written before one that ends a text."""
        end = self._lm.model.generation_config.eos_token_id
        ends = end if isinstance(end, list) else [end]
        return tokens[: next((number for number, token in enumerate(tokens) if token in ends), len(tokens))]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens that were written, without special ones."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)


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
