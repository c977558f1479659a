"""The steps that make embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.vectors.encode import COLUMNS, EncodeSettings, Of
from mnemodex.schemas.kinds import ENCODERS
from mnemodex.schemas.spec import Ref
from mnemodex.schemas.steps import Files, Read, Resources, Step
from mnemodex.schemas.tables import FACT_TEXTS, NAME_TEXTS, TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.recipe import Recipe

MODEL = Resources(gpus=1, threads=True)
"""Of a step that runs a model: a whole GPU where there is one, else all CPUs."""


def used_encoders(recipe: Recipe) -> list[str]:
    """Return the embeddings that some index needs, sorted."""
    leaves = (leaf for settings in recipe.indexes.values() for leaf in settings.leaves())
    refs = ((leaf.marker(Ref), leaf.value) for leaf in leaves)
    return sorted({name for ref, name in refs if ref and ref.section == "embed" and name})


def encode_step(context: PlanContext, name: str, of: Of = "chunks") -> Step:
    """Return the step that encodes chunks, facts or entities with one embedding."""
    spec: Any = context.recipe.embed[name]
    key = TableKey("embeddings", name, "" if of == "chunks" else of)
    identity = spec.identity(step="embeddings" if of == "chunks" else "name_vectors", digest=context.digest)
    return Step(
        key.label,
        "mnemodex.pipelines.vectors.encode:EncodeOp",
        (Read(TableKey(of)) if of == "chunks" else Read(FACT_TEXTS if of == "facts" else NAME_TEXTS, Files()),),
        (key,),
        EncodeSettings(encoder=spec, of=of, name=name),
        identity=[identity, of, ENCODERS.find(spec.encoder).version],
        resources=Resources(workers=1) if spec.encoder == "openai" else MODEL,
        reuse=COLUMNS[of][0],
    )


def embedding_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Encode every partition of the chunks."""
    yield encode_step(context, name)
