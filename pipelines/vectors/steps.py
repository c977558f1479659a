"""The steps that make embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.vectors.encode import EncodeSettings, Of
from mnemodex.schemas.kinds import ENCODERS
from mnemodex.schemas.spec import Ref
from mnemodex.schemas.steps import Each, Read, Resources, Step
from mnemodex.schemas.tables import CHUNKS, ENTITIES, FACTS, TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.recipe import Recipe

MODEL = Resources(gpus=1, threads=True)
"""Of a step that runs a model: a whole GPU where there is one, else all CPUs."""

_SOURCES = {"chunks": CHUNKS, "facts": FACTS, "entities": ENTITIES}
_IDS = {"chunks": "chunk_id", "facts": "fact_id", "entities": "entity_id"}


def used_encoders(recipe: Recipe) -> list[str]:
    """Return the embeddings that some index needs, sorted."""
    leaves = (leaf for settings in recipe.indexes.values() for leaf in settings.leaves())
    return sorted(
        {leaf.value for leaf in leaves if (ref := leaf.marker(Ref)) and ref.section == "embed" and leaf.value}
    )


def embedding_key(name: str, of: Of = "chunks") -> TableKey:
    """Return the table of an embedding's vectors of chunks, facts or entities."""
    return TableKey("embeddings", name, "" if of == "chunks" else of)


def encode_step(context: PlanContext, name: str, of: Of = "chunks") -> Step:
    """Return the step that encodes a table with one embedding."""
    spec: Any = context.recipe.embed[name]
    settings = EncodeSettings(encoder=spec, of=of, name=name)
    step = "embeddings" if of == "chunks" else "name_vectors"
    decides = [spec.identity(step=step, digest=context.digest), of, ENCODERS.find(spec.encoder).version]
    workers = 1 if spec.encoder == "openai" else None
    return Step(
        embedding_key(name, of).label,
        "mnemodex.pipelines.vectors.encode:EncodeOp",
        (Read(_SOURCES[of], Each()),),
        (embedding_key(name, of),),
        settings,
        identity=decides,
        resources=Resources(workers=workers) if workers else MODEL,
        reuse=_IDS[of],
    )


def embedding_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Encode every partition of the chunks."""
    yield encode_step(context, name)
