"""The steps of the recipe's language models: `lm_tokens/NAME` and `lm_states/NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.pipelines.lm.states import StateSettings
from mnemodex.pipelines.stages.lm_tokens import LmTokenStage
from mnemodex.pipelines.vectors.steps import MODEL
from mnemodex.schemas.steps import Pieces, Read, Step
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.plan import PlanContext


def state_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Tokenise documents, for which no GPU is needed, and read them in pieces, so that few documents use all cores."""
    spec = context.recipe.lm[name]
    tokens, states = TableKey("lm_tokens", name), TableKey("lm_states", name)
    stage = "mnemodex.pipelines.stages.lm_tokens:LmTokenStage"
    identity = spec.identity(step="lm_tokens", digest=context.digest)
    yield Step(
        tokens.label, stage, (Read(DOCUMENTS, columns=LmTokenStage.columns),), (tokens,), spec, identity=identity
    )
    settings = StateSettings(lm=spec, name=name)
    yield Step(
        states.label,
        "mnemodex.pipelines.lm.states:StatesOp",
        (Read(tokens, Pieces()), Read(CHUNKS, columns=("chunk_id", "doc_id", "end"))),
        (states,),
        settings,
        identity=settings.identity(step="lm_states", digest=context.digest),
        resources=MODEL,
        reuse="position",
    )
