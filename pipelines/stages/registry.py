"""The stages by name: one line each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnemodex.pipelines.stages.base import Stage

STAGES = {
    "chunk": "mnemodex.pipelines.stages.chunk:ChunkStage",
    "mentions": "mnemodex.pipelines.stages.mentions:MentionStage",
    "embed": "mnemodex.pipelines.stages.embed:EmbedStage",
    "pairs": "mnemodex.pipelines.stages.pairs:PairStage",
    "lm_tokens": "mnemodex.pipelines.stages.lm_tokens:LmTokenStage",
}


def stage_class(name: str) -> Any:
    """A stage's class."""
    module, _, attribute = STAGES[name].partition(":")
    return getattr(import_module(module), attribute)


def make_stage(name: str, settings: dict[str, Any]) -> Stage:
    """A stage with its settings."""
    made: Stage = stage_class(name)(settings)
    return made
