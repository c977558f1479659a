"""The calibration: builds of growing parts of a sample, for about as long as it may take."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mnemodex.pipelines.planner.figures import Calibration, SearchTrial
from mnemodex.pipelines.planner.models import models_of
from mnemodex.pipelines.planner.sample import draw, of_texts
from mnemodex.pipelines.planner.searches import search_alone
from mnemodex.pipelines.planner.trials import build_sample, build_with_ray
from mnemodex.pipelines.planner.vectors import layouts, try_vectors
from mnemodex.schemas.errors import MnemodexError, UserError
from mnemodex.schemas.manifest import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnemodex.pipelines.planner.figures import TrialBuild
    from mnemodex.pipelines.planner.sample import Sample
    from mnemodex.schemas.recipe import Recipe

_FIRST, _FEWEST, _FIRST_BYTES = 64, 8, 4 << 10
"""Documents of the first build, at most and at least, and the bytes of their lines, which a language model reads in
some seconds; the second one has two times as many, and both show how long a document takes."""
_MOST = 32_768
"""Documents of a sample at most."""
_GROWTH = 4
"""The last build has so many times the documents of the one before."""
_BUILDS, _TEXTS, _VECTORS, _RAY = 0.4, 0.1, 0.25, 0.1
"""The parts of the time that builds, one of texts alone, indexes over vectors, and a second build by Ray may take; the
rest is for a first one, and for questions."""
_HASHED_BYTES = 64 << 20
_FREE_BYTES = 1 << 30
"""Of the disk that the builds are on, at least."""


def calibrate(
    recipe: Recipe, documents: int, *, seconds: float = 120.0, say: Callable[[str], None] = lambda line: None
) -> Calibration:
    """Measure what small builds of a recipe take, in a temporary folder.

    Args:
        recipe: whose own source is sampled.
        documents: that are planned for: they decide which index a vector index is.
        seconds: of one CPU that it may take, roughly: on a busy machine it takes longer.
        say: is told what is done.

    Raises:
        SourceError: the source is missing or has no documents.
        UserError: fewer documents are planned for than the smallest builds have.
        StageFailedError: a build failed.
        MnemodexError: there is no disk for it.
    """
    folder = Path(tempfile.mkdtemp(prefix="mnemodex-plan-"))
    try:
        if (free := shutil.disk_usage(folder).free) < _FREE_BYTES:
            raise MnemodexError(
                f"{folder.parent}: {free >> 20} MiB are free, and the builds of a calibration take up to "
                f"{_FREE_BYTES >> 20}; set TMPDIR to a folder with more"
            )
        sample = draw(recipe, min(_MOST, documents))
        trials = _build(recipe, sample, folder, seconds * _BUILDS, say)
        largest = trials[-1]
        texts = _build_texts(recipe, sample, largest, folder, seconds * _TEXTS, say)
        ray = _build_with_ray(recipe, sample, trials, folder, seconds * _RAY, say)
        memory = folder / str(largest.documents) / "memory"
        say("questions to every index")
        sizes = dict.fromkeys(trial.documents for trial in (trials[0], largest, *texts))
        searches = [
            SearchTrial(documents=size, seconds=search_alone(folder / str(size) / "memory", sample)) for size in sizes
        ]
        vectors = try_vectors(recipe, memory, trials, documents, seconds * _VECTORS, say)
        return Calibration(
            recipe=recipe_hash(recipe),
            machine=machine_name(),
            drawn=f"{largest.documents:,} {sample.drawn}",
            load=os.getloadavg()[0],
            trials=tuple(trials),
            texts=texts,
            ray=ray,
            ray_cpus=len(os.sched_getaffinity(0)),
            hashed=hash_rate(),
            vectors=vectors,
            layouts=layouts(recipe, trials, documents, vectors),
            searches=tuple(searches),
            models=models_of(recipe, memory, largest.documents),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _build(
    recipe: Recipe, sample: Sample, folder: Path, seconds: float, say: Callable[[str], None]
) -> list[TrialBuild]:
    """Build a small part of the sample, one that takes most of the time that is left, and one between these."""

    def build(size: int) -> TrialBuild:
        say(f"a build of {size:,} documents of the sample")
        return build_sample(recipe, sample, size, folder / str(size))

    most = len(sample.lines)
    # The first build compiles and loads what later ones find, so that it counts only where there is no other.
    lengths = accumulate(len(line.encode()) for line in sample.lines[:_FIRST])
    first = max(_FEWEST, sum(length <= _FIRST_BYTES for length in lengths))
    trials = [build(size) for size in dict.fromkeys((min(first, most), min(2 * first, most)))]
    # What the build in between took says better than the small ones how large the last one can be.
    for before in (1 / (_GROWTH + 1), 1.0):
        size = min(most, _affordable(trials, seconds, before))
        if size > trials[-1].documents:
            trials.append(build(size))
    return trials[1:] if len(trials) > 2 else trials


def _affordable(trials: Sequence[TrialBuild], seconds: float, share: float) -> int:
    """Return how many documents one more build has that takes a share of what is left of the time."""
    if len(trials) < 2:
        return 0
    first, last = trials[-2:]
    spent = [sum(cost.cpu for cost in trial.results.values()) for trial in (first, last)]
    # Some of what small builds take is no document's, and how much is not seen in two of them.
    each = max((spent[1] - spent[0]) / (last.documents - first.documents), 0.15 * spent[1] / last.documents, 1e-6)
    start = max(0.0, last.cpu - each * last.documents)
    left = seconds - sum(trial.cpu for trial in trials) - start * (1 if share == 1 else 2)
    affordable = round(share * left / each)
    # Twice the last one at least: sizes that are near each other do not tell what grows.
    return max(2 * last.documents, affordable) if affordable >= last.documents else 0


def _build_texts(
    recipe: Recipe,
    sample: Sample,
    largest: TrialBuild,
    folder: Path,
    seconds: float,
    say: Callable[[str], None],
) -> tuple[TrialBuild, ...]:
    """Build more documents without what models read of them, which are few where a model is slow."""
    part = of_texts(recipe)
    if not sample.keys or part == recipe:
        return ()
    names = {"documents", "chunks", *part.indexes}
    each = sum(cost.cpu for name, cost in largest.results.items() if name in names) / largest.documents
    size = min(len(sample.lines), int(seconds / max(each, 1e-6)))
    if size < 2 * largest.documents:
        return ()
    say(f"a build of {size:,} documents, without models")
    return (build_sample(part, sample, size, folder / str(size)),)


def _build_with_ray(
    recipe: Recipe,
    sample: Sample,
    trials: Sequence[TrialBuild],
    folder: Path,
    seconds: float,
    say: Callable[[str], None],
) -> tuple[TrialBuild, ...]:
    """Build the smallest size with Ray, and a larger one that takes so long at most: see `Calibration.ray`."""
    larger = [trial for trial in trials[1:-1] if trial.cpu <= seconds]
    found = []
    for trial in (trials[0], *larger[-1:]):
        say(f"a build of {trial.documents:,} documents by Ray, for what its processes take")
        found.append(build_with_ray(recipe, sample, trial.documents, folder / f"ray-{trial.documents}"))
    return tuple(found)


def hash_rate() -> float:
    """Return how many bytes a CPU hashes in a second."""
    block = bytes(_HASHED_BYTES)
    began = time.process_time()
    hashlib.sha256(block)
    return _HASHED_BYTES / max(time.process_time() - began, 1e-6)


def recipe_hash(recipe: Recipe) -> str:
    """Return a fingerprint of what a calibration measures: a recipe without its folder and files."""
    return fingerprint(recipe.hash())


def machine_name() -> str:
    """Return what the rates were measured on, in words."""
    lines: list[str] = []
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(models, platform.machine())}, {os.cpu_count()} CPUs"


def read_calibration(path: Path, recipe: Recipe, documents: int) -> Calibration:
    """Read a calibration that was kept.

    Raises:
        UserError: the file is none, or is of another recipe; or so many documents make another index of its vectors.
    """
    try:
        found = Calibration.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        what = error.strerror if isinstance(error, OSError) else "it has other fields"
        raise UserError(
            f"{path}: is no calibration of this version ({what}); remove it, and it is made again"
        ) from None
    if found.recipe != recipe_hash(recipe):
        raise UserError(f"{path}: is the calibration of another recipe; name another file, or remove it")
    for name, layout in layouts(recipe, found.trials, documents, found.vectors).items():
        if layout != found.layouts[name]:
            problem = f"index {name} was measured as {found.layouts[name]}, and is {layout} for {documents} documents"
            raise UserError(f"{path}: {problem}; name another file")
    return found
