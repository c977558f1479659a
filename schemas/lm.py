"""What the recipe says of a language model's states: the keys of a next-token datastore."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

KeyKind = Literal["ffn_input", "block_output", "final_hidden", "lm_head_input"]
"""Which vector of a token stands for what was read up to it: the input of the last feed-forward block after its
normalisation (kNN-LM; Khandelwal et al., 2020), the output of the last block, the last hidden state after the final
normalisation, or what the output embedding is given."""


class LmStates(BaseModel):
    """A causal language model and how it reads the documents.

    Attributes:
        model: a path, a hub id, or `pkg:MODULE/FILE`.
        key: which vector is kept of every token.
        window: tokens that are read at once.
        overlap: tokens of a window that were read by the one before it: what every later token has before it at least.
        surprisal: whether the table tells how surprising each token was. It takes the model's output layer, which keys
            do not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    key: KeyKind = "ffn_input"
    window: int = Field(default=1024, ge=2)
    overlap: int = Field(default=256, ge=1)
    surprisal: bool = True

    @model_validator(mode="after")
    def _windows_go_on(self) -> Self:
        if self.overlap >= self.window:
            msg = f"`overlap` is {self.overlap}, but a window has {self.window} tokens; give fewer"
            raise ValueError(msg)
        return self
