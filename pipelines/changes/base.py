"""A memory that is to be changed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.caller import Passed, with_passed
from mnemodex.pipelines.engine import Place
from mnemodex.pipelines.preflight import check_inputs
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.run import Revision, Run
from mnemodex.schemas.errors import (
    MemoryNotFoundError,
    MnemodexError,
    ObjectStoreError,
    RecipeError,
    SourceError,
    reason,
)
from mnemodex.schemas.passed import PassedChunker, PassedEmbedding
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.store.object_url import parse_root
from mnemodex.schemas.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mnemodex.pipelines.outcome import BuildResult
    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.store.object_url import Root


@contextlib.contextmanager
def locked_memory(path: str | Root) -> Iterator[tuple[Store, Manifest]]:
    """Hold a memory for writing; give it and its current snapshot, and tidy up before and after.

    Raises:
        MemoryNotFoundError: there is no memory.
        WriterBusyError: a build or change writes to it.
    """
    store = Store(parse_root(path).absolute())
    if not store.files.is_made():
        raise MemoryNotFoundError(f"{path}: no such memory; build one with `mnemodex build RECIPE`")
    with contextlib.ExitStack() as ending:
        ending.enter_context(store.lock())
        store.clean()
        ending.callback(store.clean_after)
        manifest = store.found()
        if manifest is None:
            raise MemoryNotFoundError(f"{path}: is not a memory; build one with `mnemodex build RECIPE`")
        # What a change was given lies there, and the process may live long.
        ending.callback(store.files.remove_own)
        yield store, manifest


@dataclass(frozen=True, slots=True)
class Work:
    """How a change is computed.

    Attributes:
        place: where.
        encoders: the objects that were passed to `build`, by the names of their embeddings.
        progress: follows it.
    """

    place: Place | None = None
    encoders: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Base:
    """What a change is made to: a memory whose lock is held, its current snapshot and the recipe of that."""

    store: Store
    manifest: Manifest
    recipe: Recipe
    work: Work

    def build(self, revision: Revision) -> BuildResult:
        """Commit the snapshot of a revision."""
        passed = Passed(encoders=dict(self.work.encoders))
        run = Run(self.store, self.recipe, self.work.progress or Progress(), passed, revision=revision)
        try:
            return run.run(self.work.place or Place())
        finally:
            run.close()


@contextlib.contextmanager
def changing(path: str | Root, work: Work) -> Iterator[Base]:
    """Hold a memory for a change.

    Raises:
        MemoryNotFoundError: there is no memory.
        RecipeError: an object that was passed to `build` is missing.
        MnemodexError: something that the recipe names is missing, or the disk refused.
        WriterBusyError: a build or change writes to it.
    """
    with locked_memory(path) as (store, manifest):
        try:
            yield Base(store, manifest, _recipe(store, manifest, work.encoders), work)
        except ObjectStoreError:
            raise
        except OSError as error:
            at = f": {error.filename}" if error.filename else ""
            raise MnemodexError(
                f"{store.root}: {reason(error)}{at}. Correct that and try again: the memory is unchanged"
            ) from error


def _recipe(store: Store, manifest: Manifest, encoders: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a snapshot, with the objects that were passed to its build.

    Raises:
        RecipeError: an object that was passed is missing.
        MnemodexError: something that the recipe names is missing.
    """
    recipe = parse_recipe(manifest.recipe, name=f"{store.root}: the recipe", base=store.files.scratch)
    if isinstance(recipe.chunks, PassedChunker):
        raise RecipeError(
            f"{store.root}: its chunks were made by a chunker that was passed to `build`; change its source, and pass "
            "the chunker to `build` again"
        )
    for name, spec in recipe.embed.items():
        if isinstance(spec, PassedEmbedding) and name not in encoders:
            raise RecipeError(
                f"{store.root}: the encoder {name!r} was passed to `build`; open the memory with "
                f"mnemodex.open(path, encoders={{{name!r}: …}})"
            )
    try:
        return check_inputs(with_passed(recipe, Passed(encoders=dict(encoders)), store))
    except SourceError as error:
        raise SourceError(f"{store.root}: {error}") from error
