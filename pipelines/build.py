"""A build: recipe in, committed snapshot out."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.caller import Passed, with_passed
from mnemodex.pipelines.engine import Place
from mnemodex.pipelines.preflight import check_inputs
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.run import Run
from mnemodex.schemas.errors import MnemodexError, ObjectStoreError
from mnemodex.schemas.recipe import Recipe, load_recipe, parse_recipe
from mnemodex.schemas.store.object_url import parse_root
from mnemodex.schemas.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mnemodex.pipelines.outcome import BuildResult
    from mnemodex.schemas.store.object_url import Root


def build(  # noqa: PLR0913 - its options are those of the command and what only Python can pass
    recipe: str | Path | dict[str, Any] | Recipe,
    *,
    memory: str | Root | None = None,
    address: str | None = None,
    local: bool = False,
    runtime_env: str | Path | Mapping[str, Any] | None = None,
    dry_run: bool = False,
    forget_deletions: bool = False,
    source: Iterable[Mapping[str, Any]] | None = None,
    chunker: Any = None,
    encoders: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Build a memory, or bring it up to date with its recipe and source.

    Args:
        recipe: a recipe file, a mapping, or a checked recipe.
        memory: where to build; the recipe's own place by default.
        address: of a Ray cluster; a local one by default.
        local: compute in this process, without Ray. By default that is done where little is to be computed.
        runtime_env: of Ray's workers, as `ray.init` takes it, or a YAML or JSON file of it; with one, Ray is used.
        dry_run: plan only: what is there, what would be computed. Nothing is written but below `work/`, and another
            build may write meanwhile.
        forget_deletions: documents that were deleted from the memory and are in the source come back.
        source: documents as mappings, instead of the recipe's `source`.
        chunker: a `Chunker`, instead of the recipe's `chunks`.
        encoders: `TextEncoder`s or `PlainEncoder`s by the names of the recipe's section `embed`.
        progress: follows the build.

    Raises:
        UserError: `local` is given with `address` or `runtime_env`, or that is none.
        RecipeError: the recipe is wrong.
        ModelError: a model or tokenizer that it names is not there.
        QueryError: a query file that it names is not there, or is none.
        SourceError: the source is missing, empty or has too many bad rows; two documents have one key. Or the file of
            triples is.
        ChatServerError: the server of a language model that it names answers nothing.
        WriterBusyError: another build writes to this memory.
        StageFailedError: a partition could not be processed.
    """
    place = Place(address, local, _runtime_env(runtime_env))
    passed = Passed(source, chunker, dict(encoders or {}))
    checked = check_inputs(_recipe(recipe, passed))
    store = Store(parse_root(memory or checked.memory).absolute())
    store.prepare()
    with contextlib.ExitStack() as ending:
        if not dry_run:
            ending.enter_context(store.lock())
            store.clean()
            ending.callback(store.clean_after)
        work = Run(
            store,
            with_passed(checked, passed, store),
            progress or Progress(),
            passed,
            forget_deletions=forget_deletions,
        )
        ending.callback(work.close)
        try:
            if (unchanged := work.unchanged()) is not None:
                unchanged.planned = dry_run
                return unchanged
            return work.plan(place) if dry_run else work.run(place)
        except ObjectStoreError:
            raise
        except OSError as error:
            at = f": {error.filename}" if error.filename else ""
            raise MnemodexError(
                f"{store.root}: {error.strerror or error}{at}. Correct that and build again: finished partitions "
                "are kept"
            ) from error


def _recipe(recipe: str | Path | dict[str, Any] | Recipe, passed: Passed) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, dict):
        return parse_recipe(passed.complete(recipe), name="recipe", base=Path.cwd())
    return load_recipe(Path(recipe), complete=passed.complete)


def _runtime_env(given: str | Path | Mapping[str, Any] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    from mnemodex.pipelines.runtime_env import check_runtime_env

    return check_runtime_env(given)
