"""The plan of a build: the steps of a recipe, and the fingerprints of their units. The only place that makes these."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from mnemodex.indexers.models.hashes import digest_of
from mnemodex.pipelines.messages import ModelUse, StepOrder, TableOrder
from mnemodex.pipelines.ops.base import Op, Stage
from mnemodex.schemas.errors import PluginError, RecipeError
from mnemodex.schemas.kinds import load
from mnemodex.schemas.manifest import Stats, fingerprint
from mnemodex.schemas.spec import ModelRef
from mnemodex.schemas.steps import IndexKey, Key, Step
from mnemodex.schemas.tables import CATALOGUE_VIEWS, ERRORS, TableKey

if TYPE_CHECKING:
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.tables import TableSpec


class Unfinished(Exception):  # noqa: N818 - no error: the steps are declared later
    """A declaration needs to know what a table holds that is not finished."""


class PlanContext(Protocol):
    """What a declaration of steps may look at."""

    recipe: Recipe

    def rows(self, key: Key) -> int:
        """Return the rows of a finished result.

        Raises:
            Unfinished: it is not finished.
        """

    def stats(self, key: Key) -> Stats:
        """Return the stats of a finished result's first partition that has rows.

        Raises:
            Unfinished: it is not finished.
        """

    def planned_rows(self, index: str) -> int:
        """Return the rows of the table when the current snapshot's index was laid out; 0 without one."""

    def digest(self, name: str, ref: ModelRef) -> str:
        """Return the hash of what decides of a model."""

    def content(self, path: str) -> str:
        """Return the hash of a file's content."""


Declaration = Callable[[PlanContext], Iterable[Step]]


class Plan:
    """The steps of a recipe, in an order in which every step follows what it reads.

    Some steps depend on what is found in a table (an index of a million rows is trained, one of a thousand is not), so
    a plan unfolds while it is carried out: declarations give its steps.

    Attributes:
        steps: those that are known.
    """

    def __init__(self, declarations: Iterable[tuple[str, Declaration]]) -> None:
        self.steps: list[Step] = []
        self._waiting = list(declarations)

    @property
    def waiting(self) -> list[str]:
        """The names of declarations whose steps are not known yet."""
        return [name for name, _ in self._waiting]

    def unfold(self, context: PlanContext) -> list[Step]:
        """Return the steps that are known now and were not before.

        Raises:
            RecipeError: two steps have one name or write one table, or two tables have one SQL view.
        """
        new: list[Step] = []
        for entry in list(self._waiting):
            try:
                steps = list(entry[1](context))
            except Unfinished:
                continue
            self._waiting.remove(entry)
            for step in steps:
                self._check(step)
                self.steps.append(step)
                new.append(step)
        return new

    def _check(self, step: Step) -> None:
        if any(other.name == step.name for other in self.steps):
            raise RecipeError(f"two steps are called {step.name!r}; rename the index that is called so")
        for key in step.writes:
            if isinstance(key, IndexKey) or key == ERRORS:
                continue
            if key.view in CATALOGUE_VIEWS:
                raise RecipeError(f"table {key.label} ({step.name}) has the name of a view of the catalogue; rename it")
            for other in self.steps:
                for there in other.writes:
                    if isinstance(there, TableKey) and there.view == key.view and there.draft == key.draft:
                        what = "is written by two steps" if there == key else f"has the SQL view of {there.label}"
                        raise RecipeError(
                            f"table {key.label} ({step.name}) {what} ({other.name}); rename one of them in the recipe"
                        )


def identity(step: Step) -> str:
    """Return the hash of what a step does: its code, and the settings that decide its results."""
    op = load(step.op)
    if not (isinstance(op, type) and issubclass(op, Op | Stage)):
        raise PluginError(f"{step.name}: {step.op} is no Op and no Stage; correct the step")
    return fingerprint(step.op, op.version, step.identity)


def order(step: Step, declared: Mapping[TableKey, TableSpec]) -> StepOrder:
    """Return a step as workers need it, with the hashes of its models, and its tables among those of plug-ins."""
    models = {}
    for leaf in step.settings.leaves():
        ref: ModelRef | None = leaf.marker(ModelRef)
        if ref is not None and leaf.value is not None:
            models[leaf.value, ref.part] = digest_of(leaf.value, ref)
    return StepOrder(
        name=step.name,
        op=step.op,
        settings=step.settings.model_dump_json(by_alias=True),
        reads=tuple(read.table.label for read in step.reads),
        writes=step.writes,
        tables={
            key.label: TableOrder(
                schema_bytes=base64.b64encode(declared[key].schema.serialize().to_pybytes()).decode(),
                id_column=declared[key].id_column,
                parents=dict(declared[key].parents),
            )
            for key in (*step.writes, *(read.table for read in step.reads))
            if isinstance(key, TableKey) and key in declared
        },
        models=tuple(ModelUse(name=name, part=part, sha256=digest) for (name, part), digest in models.items()),
    )
