"""The plan of a source: its splits as units. Workers find it out; it is remembered while the files stay as they are."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.contents import folder_state
from mnemodex.pipelines.documents.splits import PlanSettings
from mnemodex.pipelines.engine import LOCAL_SECONDS, Place, choose_engine, estimate
from mnemodex.pipelines.materialize import Materializer
from mnemodex.pipelines.ops.checkpoint import PARTIAL
from mnemodex.pipelines.plan import Plan
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.results import BuildResults
from mnemodex.pipelines.run_files import RunFiles
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.files import FileSource, Stretch
from mnemodex.pipelines.sources.packing import Packing, group, slug
from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.kinds import SOURCES
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.steps import All, Read, SourceUnit, Step
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.store.store import Store

PACKING = Packing()
_PIECES = TableKey("plan", "files", draft=True, scratch=True)
_SPLITS = TableKey("plan", "partitions", draft=True, scratch=True)
_UNIT_BYTES = 64 << 20
"""Of the files that one unit cuts."""
_LEAST_BYTES = 16 << 10
"""What a file counts as at least, so that a unit opens some thousands of files at most."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What is known of a source.

    Attributes:
        units: its splits, for the step that reads them.
        places: of all that was found out about its files.
        warnings: of files that are there and give nothing.
    """

    units: tuple[SourceUnit, ...]
    places: frozenset[str]
    warnings: tuple[str, ...]

    def has(self, path: str) -> bool:
        """Return whether a file below `work/`, or a folder of files, is of this plan."""
        # A marker has the name of its place, the files next to it have a hash of their content too.
        return path.removesuffix(".json") in self.places or path.rpartition("-")[0] in self.places


def leftovers(store: Store) -> Iterator[str]:
    """Yield what former builds left below `work/`: plans of sources, and work that a next try may take over."""
    for folder in (_PIECES.path, _SPLITS.path, PARTIAL):
        for name in store.files.names(folder):
            yield f"{folder}/{name}"


def plan_source(
    store: Store,
    recipe: Recipe,
    *,
    place: Place | None = None,
    files: RunFiles | None = None,
    progress: Progress | None = None,
) -> SourcePlan:
    """Plan the recipe's source: cut its files into pieces, and pack these into splits.

    A large source is planned in a place, a small one in this process.

    Raises:
        SourceError: the source is missing, or not one of its format.
    """
    try:
        return _plan(store, recipe, place, files or RunFiles(store, {}), progress or Progress())
    except CorruptFileError:
        _remove_damaged(store)
        return _plan(store, recipe, place, files or RunFiles(store, {}), progress or Progress())


def _remove_damaged(store: Store) -> None:
    """Remove what is damaged of plans, or was removed meanwhile, so that it is found out again."""
    for key in (_PIECES, _SPLITS):
        for marker in (name for name in store.files.names(key.path) if name.endswith(".json")):
            artifact = store.artifact(f"{key.path}/{marker.removesuffix('.json')}")
            try:
                for file in artifact.files if artifact is not None else ():
                    store.files.check(file)
            except CorruptFileError:
                store.files.delete(f"{key.path}/{marker}")


def _plan(store: Store, recipe: Recipe, place: Place | None, files: RunFiles, progress: Progress) -> SourcePlan:
    results = BuildResults(recipe, store)
    empty: list[str] = []
    plan = Plan([("source", partial(_steps, empty=empty))])
    work = Materializer(store, plan, results, former=None, files=files, progress=progress)
    work.find()
    if work.todo:
        seconds = estimate(results, work.todo)
        where = place if place is not None and seconds >= LOCAL_SECONDS else Place(local=True)
        engine = choose_engine(store, files.run, seconds, place=where, objects={})
        try:
            work.compute(engine)
        finally:
            engine.close()
    (splits,) = results.artifacts(_SPLITS)
    for file in splits.files:
        store.files.local(file)
    found = [splits, *(results.artifacts(_PIECES) if results.has(_PIECES) else ())]
    units = tuple(_units(store, splits))
    return SourcePlan(units, frozenset(artifact.place for artifact in found), tuple(_warn(empty)))


def _warn(empty: Sequence[str]) -> Iterator[str]:
    if empty:
        files = "1 file of the source has" if len(empty) == 1 else f"{len(empty)} files of the source have"
        yield f"{files} no bytes: {empty[0]}{', …' if len(empty) > 1 else ''}; remove what should not be there"


def _steps(context: PlanContext, *, empty: list[str]) -> Iterator[Step]:
    """Declare the steps of a plan; add the paths of empty files to `empty`."""
    source = context.recipe.source
    opened = open_source(source, PACKING)
    # A format that follows from the path is one of ours.
    named: str | None = getattr(source, "format", None)
    settings = PlanSettings(source=source, packing=PACKING, skipped=getattr(opened, "skipped", ""))
    version = SOURCES.find(named).version if named is not None else ""
    identity = [settings.identity(), type(opened).__qualname__, version]
    ops = "mnemodex.pipelines.documents.splits"
    if isinstance(opened, FileSource):
        scans = tuple(_scans(_noted(opened.stretches(_UNIT_BYTES), empty)))
        yield Step("source: files", f"{ops}:ScanOp", (), (_PIECES,), settings, identity=identity, source=scans)
        reads = (Read(_PIECES, All()),)
        yield Step("source: partitions", f"{ops}:PackOp", reads, (_SPLITS,), settings, identity=identity)
    else:
        path: Any = getattr(source, "path", None)
        state = fingerprint(folder_state(Path(path))) if isinstance(path, str) else uuid.uuid4().hex
        whole = (SourceUnit("all", state, ""),)
        yield Step("source: partitions", f"{ops}:PlanOp", (), (_SPLITS,), settings, identity=identity, source=whole)


def _noted(stretches: Iterable[Stretch], empty: list[str]) -> Iterator[Stretch]:
    for stretch in stretches:
        if not stretch.bytes:
            empty.append(stretch.path)
        yield stretch


def _scans(stretches: Iterable[Stretch]) -> Iterator[SourceUnit]:
    """Group stretches of files into units, each of which is found again while all of its files stay as they are."""
    weighed = ((max(one.bytes, _LEAST_BYTES), f"{one.path}:{one.start}", one) for one in stretches)
    for members in group(weighed, lambda before: _UNIT_BYTES):
        some = [stretch for _, stretch in members]
        state = fingerprint([(one.path, one.start, one.stop, one.state) for one in some])
        label = f"{slug(some[0].path)}-{some[0].start}"
        yield SourceUnit(label, state, Stretch.to_json(some), bytes=sum(one.bytes for one in some))


def _units(store: Store, plan: Artifact) -> Iterator[SourceUnit]:
    """Yield the splits of a plan as units; the splits of one compressed file go to one worker, which reads it once."""
    rows = parquet.read(store.files.local(plan.file("splits.parquet")))
    columns = (rows[name].to_pylist() for name in ("label", "content", "affinity", "bytes"))
    for number, (label, content, affinity, size) in enumerate(zip(*columns, strict=True)):
        yield SourceUnit(label, content, f"{plan.place}#{number}", affinity, size)
