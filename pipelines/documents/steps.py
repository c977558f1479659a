"""The steps that make the documents of a source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.documents.purges import rewritten_names
from mnemodex.pipelines.documents.read import ReadSettings
from mnemodex.pipelines.documents.repeats import FindSettings
from mnemodex.retrievers.queries import find_beir
from mnemodex.schemas.kinds import SOURCES
from mnemodex.schemas.steps import All, Part, Read, Step
from mnemodex.schemas.tables import DOCUMENTS, ERRORS, READ_DOCUMENTS, TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.source_sections import Decontamination
    from mnemodex.schemas.steps import SourceUnit

_REPEATS = TableKey("repeats", draft=True)


def _content(context: PlanContext, file: str) -> str:
    path = Path(file)
    return context.content(str(find_beir(path)[0] if path.is_dir() else path))


def document_steps(
    context: PlanContext,
    units: Sequence[SourceUnit],
    fields: Mapping[str, str] = {},
    tombstones: Sequence[str] = (),
    purges: Sequence[Artifact] = (),
) -> Iterator[Step]:
    """Read every split, find documents that occur twice, and write the partitions that have any without them.

    Args:
        context: of the plan.
        units: the splits, and the partitions of the change log after them.
        fields: of the metadata that become columns where the recipe declares none, and the names of their types.
        tombstones: the places of those whose documents stay in the files.
        purges: what was purged, and is not read.
    """
    recipe = context.recipe
    declared: Mapping[str, str] | None = getattr(recipe.source, "metadata", None)
    strict, types = declared is not None, dict(fields if declared is None else declared)
    places = tuple(part.place for part in purges)
    settings = ReadSettings(source=recipe.source, id_salt=recipe.id_salt, fields=types, strict=strict, purges=places)
    typed: list[Any] = [[*types.items()], strict] if types else []
    clean: Decontamination | None = getattr(recipe.source, "decontaminate", None)
    if clean is not None:
        typed.append({"n": clean.n, "texts": [_content(context, file) for file in clean.files]})
    # A format that follows from the path is one of ours.
    named: str | None = getattr(recipe.source, "format", None)
    package = "mnemodex.pipelines.documents"
    yield Step(
        "documents",
        f"{package}.read:ReadOp",
        (),
        (READ_DOCUMENTS, ERRORS),
        settings,
        identity=[settings.identity(), SOURCES.find(named).version if named is not None else "", *typed],
        source=tuple(units),
        rewritten=rewritten_names(purges),
    )
    keys = (Read(READ_DOCUMENTS, All(), ("doc_id", "key", "content_hash", "source", "line")),)
    find, drop = f"{package}.repeats:FindRepeats", f"{package}.repeats:DropRepeats"
    finding = FindSettings(**dict(settings), tombstones=tuple(tombstones))
    yield Step("documents: repeats", find, keys, (_REPEATS,), finding, identity=[*tombstones] or None)
    reads = (Read(READ_DOCUMENTS), Read(_REPEATS, Part()))
    yield Step("documents: without repeats", drop, reads, (DOCUMENTS,), settings, pass_through=True)
