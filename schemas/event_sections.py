"""The section `chunks` of a recipe that cuts documents into events."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mnemodex.schemas.spec import Ref, Spec

Refinement = Literal["modularity", "conductance"]
"""What is best where an event begins, of the graph of its tokens' similarity (Fountas et al., 2024)."""


class EventChunks(Spec):
    """Events: chunks that begin where a language model is surprised.

    Attributes:
        lm: the entry of the section `lm` that reads the documents; the first one by default.
        gamma: a token is surprising where its surprisal is so many standard deviations above the mean.
        window: tokens of which mean and deviation are taken.
        min_size: fewest tokens of a chunk; a shorter text is one chunk.
        max_size: most tokens of a chunk.
        refine: what decides where, at or before a surprising token, a chunk begins.
    """

    by: Literal["events"]
    lm: Annotated[str | None, Ref("lm")] = None
    gamma: float = 1.0
    window: int = Field(default=4096, ge=1, le=16384)
    min_size: int = Field(default=8, ge=1)
    max_size: int = Field(default=128, ge=2, le=1024)
    refine: Refinement = "modularity"

    @model_validator(mode="after")
    def _chunks_can_be_cut(self) -> Self:
        if self.max_size < 2 * self.min_size:
            raise ValueError(
                f"`max_size` is {self.max_size}, but a chunk that is too long is cut into two of at least `min_size` = "
                f"{self.min_size}; give {2 * self.min_size} or more"
            )
        return self
