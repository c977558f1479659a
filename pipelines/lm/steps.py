"""The steps of the recipe's language models: `lm_tokens/NAME` and `lm_states/NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.pipelines.lm.states import StateSettings
from mnemodex.pipelines.vectors.steps import MODEL
from mnemodex.schemas.steps import Each, Pieces, Read, Step
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.plan import PlanContext


def state_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Tokenise documents, and read them piece by piece.

    GPU workers do not tokenise, and a small corpus uses all cores.
    """
    spec = context.recipe.lm[name]
    tokens, states = TableKey("lm_tokens", name), TableKey("lm_states", name)
    yield Step(
        tokens.label,
        "mnemodex.pipelines.stages.lm_tokens:LmTokenStage",
        (Read(DOCUMENTS, Each(), ("doc_id", "text")),),
        (tokens,),
        spec,
        identity=spec.identity(step="lm_tokens", digest=context.digest),
    )
    settings = StateSettings(lm=spec, name=name)
    yield Step(
        states.label,
        "mnemodex.pipelines.lm.states:StatesOp",
        (Read(tokens, Pieces()), Read(CHUNKS, Each(), ("chunk_id", "doc_id", "end"))),
        (states,),
        settings,
        identity=settings.identity(step="lm_states", digest=context.digest),
        resources=MODEL,
        reuse="position",
    )
