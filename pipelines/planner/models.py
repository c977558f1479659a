"""What models read of a document, and how much they compute for it: for GPU hours, where no GPU was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.models.locate import locate
from mnemodex.pipelines.lm.readings import readings_of
from mnemodex.pipelines.planner.figures import ModelUse
from mnemodex.pipelines.stages.lm_tokens import TokenStats
from mnemodex.pipelines.vectors.encode import EncodeOutcome
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.event_sections import EventChunks
from mnemodex.schemas.sections import Embedding
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnemodex.schemas.recipe import Recipe

_TABLES = ("embed", "embd", "wte", "wpe", "lm_head", "output.weight")
"""In the names of weights that are looked up, or that make words of states, and are not multiplied with each token."""


def models_of(recipe: Recipe, memory: Path, documents: int) -> dict[str, ModelUse]:
    """Return the use of each model of a build of the sample, by the label of the table that it makes."""
    tables = Snapshot.open(memory).manifest.tables
    found = {}
    for label, table in tables.items():
        key = TableKey.parse(label)
        spec = recipe.embed.get(key.name) if key.family == "embeddings" else None
        if isinstance(spec, Embedding):
            tokens = sum(part.stats.of(EncodeOutcome).tokens for part in table.partitions)
            found[label] = ModelUse(tokens=tokens / documents, parameters=parameters(spec.model))
    for name, states in recipe.lm.items():
        tokens_read = sum(
            part.stats.of(TokenStats).predicted for part in tables[TableKey("lm_tokens", name).label].partitions
        )
        # A window's overlap is read once more.
        again = states.window / (states.window - states.overlap)
        cut = isinstance(recipe.chunks, EventChunks) and recipe.chunks.lm == name
        of_token = parameters(states.model, states.surprisal or cut)
        key = readings_of(name) if cut else TableKey("lm_states", name)
        found[key.label] = ModelUse(tokens=tokens_read * again / documents, parameters=of_token)
    return found


def parameters(model: str, with_output: bool = False) -> int:
    """Return how many numbers of a model each token is multiplied with; 0 where its files do not tell.

    With the output layer, tables of words count too: in most models one of them is that layer.
    """
    return sum(count for name, count in _weights(locate(model)) if with_output or not _is_table(name))


def _is_table(name: str) -> bool:
    return any(part in name for part in _TABLES)


def _weights(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the names of a model's weights, and how many numbers each has."""
    if path.suffix == ".gguf":
        from gguf import GGUFReader

        reader: Any = GGUFReader(path)
        yield from ((tensor.name, int(tensor.n_elements)) for tensor in reader.tensors)
        return
    from safetensors import safe_open

    for file in sorted(path.rglob("*.safetensors")):
        with safe_open(file, framework="np") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no mapping
                yield name, int(np.prod(weights.get_slice(name).get_shape()))
