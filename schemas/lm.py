"""The recipe's section `lm`: language models whose states are the keys of a next-token datastore."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mnemodex.schemas.spec import ModelRef, ReadBy, Spec

KeyKind = Literal["ffn_input", "block_output", "final_hidden", "lm_head_input"]
"""Which vector of a token is the key of what was read up to it: the input of the last feed-forward block after its
normalisation (kNN-LM; Khandelwal et al., 2020), the output of the last block, the last hidden state after the final
normalisation, or what the output embedding is given."""


class LmStates(Spec):
    """A causal language model and how it reads the documents.

    Attributes:
        model: a path, a hub id, or `pkg:MODULE/FILE`.
        key: which vector is kept of every token.
        window: tokens that are read at once.
        overlap: tokens of a window that were read by the one before it: what precedes every later token at least.
        surprisal: whether the table has the surprisal of each token. It takes the model's output layer, which keys
            do not.
    """

    model: Annotated[str, ModelRef()]
    key: Annotated[KeyKind, ReadBy("lm_states")] = "ffn_input"
    window: int = Field(default=1024, ge=2)
    overlap: int = Field(default=256, ge=1)
    surprisal: Annotated[bool, ReadBy("lm_states")] = True

    @model_validator(mode="after")
    def _windows_go_on(self) -> Self:
        if self.overlap >= self.window:
            raise ValueError(f"`overlap` is {self.overlap}, but a window has {self.window} tokens; give fewer")
        return self
