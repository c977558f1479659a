"""Which steps a recipe has: the sections' and the indexes', each declared next to what computes it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mnemodex.pipelines.documents.steps import document_steps
from mnemodex.pipelines.entries import declared_tables
from mnemodex.pipelines.graph.steps import code_steps, graph_steps, passage_steps, triple_steps
from mnemodex.pipelines.indexes.fitting import fitting_steps
from mnemodex.pipelines.indexes.ops import index_steps
from mnemodex.pipelines.lm.readings import read_state_steps
from mnemodex.pipelines.lm.states import state_steps
from mnemodex.pipelines.ops.unique import unique_step
from mnemodex.pipelines.qa.calibration import calibration_steps
from mnemodex.pipelines.qa.steps import qa_pair_steps, question_steps
from mnemodex.pipelines.stages.chunk import chunk_steps
from mnemodex.pipelines.stages.pairs import pair_steps
from mnemodex.pipelines.vectors.encode import embedding_steps, used_encoders
from mnemodex.pipelines.vectors.given import given_steps
from mnemodex.schemas.errors import PluginError
from mnemodex.schemas.event_sections import EventChunks
from mnemodex.schemas.tables import ERRORS, TableKey, TableSpec, table_spec
from mnemodex.schemas.vector_sections import VectorFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.pipelines.plan import Declaration, PlanContext
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.steps import SourceUnit, Step


def declarations(
    recipe: Recipe,
    units: Sequence[SourceUnit],
    fields: Mapping[str, str] = {},
    tombstones: Sequence[str] = (),
    purges: Sequence[Artifact] = (),
) -> list[tuple[str, Declaration]]:
    """Return what gives the steps of a recipe, by names for messages; for the arguments see `document_steps`."""
    vector_steps = partial(_vector_steps, tombstones=tombstones)
    found: list[tuple[str, Declaration]] = [
        ("documents", partial(document_steps, units=units, fields=fields, tombstones=tombstones, purges=purges)),
        ("chunks", chunk_steps),
        *((f"embed.{name}", partial(vector_steps, name=name)) for name in used_encoders(recipe, of_chunks=True)),
        *((f"lm.{name}", partial(_lm_steps, name=name)) for name in recipe.lm),
        *((f"ngram_pairs.{name}", partial(pair_steps, name=name)) for name in recipe.ngram_pairs),
        ("passages", passage_steps),
        ("codes", code_steps),
        *((f"indexes.{name}", partial(index_steps, name=name)) for name in recipe.indexes),
        *((f"indexes.{name}.abstain", partial(calibration_steps, name=name)) for name in recipe.indexes),
        *((f"indexes.{name}.weights", partial(fitting_steps, name=name)) for name in recipe.indexes),
    ]
    if recipe.triples is not None:
        found[2:2] = [("triples", triple_steps), ("graph", graph_steps)]
    if recipe.qa_pairs is not None:
        found[2:2] = [
            ("qa_pairs", partial(qa_pair_steps, tombstones=tombstones)),
            ("questions of pairs", question_steps),
        ]
    tables = declared_tables(recipe)

    def with_ids(declare: Declaration, context: PlanContext) -> Iterator[Step]:
        """Yield the steps, and for every table with ids of its own one that checks them."""
        for step in declare(context):
            yield step
            for key in step.writes:
                if not isinstance(key, TableKey) or key.draft or key == ERRORS:
                    continue
                spec = tables.get(key) or table_spec(key)
                if spec is None:
                    raise PluginError(f"{step.op} writes the table {key.label}, which no kind declares; declare it")
                _check(step, key, spec, tables)
                check = unique_step(key, spec, step.op)
                if check is not None:
                    yield check

    return [(name, partial(with_ids, declare)) for name, declare in found]


def _vector_steps(context: PlanContext, name: str, tombstones: Sequence[str]) -> Iterator[Step]:
    """Yield the steps of an embedding: its vectors are read from files, or encoded."""
    if isinstance(context.recipe.embed[name], VectorFile):
        return given_steps(context, name, tombstones)
    return embedding_steps(context, name)


def _lm_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Yield the steps of a language model's states: documents are read by them, or were read to be cut into events."""
    chunks = context.recipe.chunks
    if isinstance(chunks, EventChunks) and chunks.lm == name:
        return read_state_steps(context, name)
    return state_steps(context, name)


def _check(step: Step, key: TableKey, spec: TableSpec, tables: Mapping[TableKey, TableSpec]) -> None:
    """Refuse a table whose rows could not be checked, or taken over."""
    where = f"{step.op}: the table {key.label}"
    for column, parent in spec.parents.items():
        above = TableKey.parse(parent)
        if above not in tables and table_spec(above) is None:
            raise PluginError(
                f"{where} says that {column} is an id of {parent}, which is no table; correct its parents"
            )
    for name in (*spec.parents, spec.id_column, step.reuse if key == (step.reuse_from or step.result) else None):
        if name is not None and name not in spec.schema.names:
            raise PluginError(f"{where} has no column {name!r}; correct its declaration")
