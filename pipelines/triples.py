"""Triples of a recipe: what is looked for before any work, what decides them, and what is said of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.pipelines.extractors import extractor_class
from mnemodex.pipelines.extractors.job import VERSION
from mnemodex.pipelines.extractors.sorting import Contents, TripleSorter
from mnemodex.pipelines.jobs import JobSpec, Unit
from mnemodex.pipelines.sources.streams import blocks
from mnemodex.schemas.errors import RecipeError, SourceError
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.triples import LlmTriples, SpacyTriples, TripleFile, triples_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.schemas.manifest import Artifact, TableEntry
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.store.store import Store

_NOT_DECISIVE = {"path", "model", "max_errors", "base_url", "api_key_env", "timeout", "max_retries", "concurrency"}
_NOT_DECISIVE |= {"prompt_price", "completion_price"}


def check_triples(recipe: Recipe) -> None:
    """Look for the file of triples, or for what the extractor needs.

    Raises:
        SourceError: the file is not there, or is empty.
        ModelError: the spaCy model is not installed.
        ImportError: the extractor's extra is not installed.
    """
    spec = recipe.triples
    if isinstance(spec, TripleFile):
        path = Path(spec.path)
        if not path.is_file():
            msg = f"{path}: no such file of triples; mend triples.from"
            raise SourceError(msg)
        if next(blocks(path), None) is None:
            msg = f"{path}: the file of triples is empty; mend triples.from"
            raise SourceError(msg)
    elif spec is not None:
        extractor_class(str(triples_form(spec))).check(spec)


class TriplePlan:
    """What the triples of some chunks are made of.

    Args:
        store: the memory that is built.
        recipe: with a section `triples`.
        documents: the documents' table.
        chunks: the chunks' table; its partitions have the labels of the documents'.

    Attributes:
        names: the fingerprint of each partition, by label.
        job: what computes them.
        contents: what the file of triples holds, if they come from one.

    Raises:
        RecipeError: the recipe has no such section.
        SourceError: the file of triples cannot be read.
    """

    def __init__(self, store: Store, recipe: Recipe, documents: TableEntry, chunks: TableEntry) -> None:
        if recipe.triples is None:
            msg = "triples: the section is missing; write {from: FILE}, {extractor: spacy} or {extractor: llm, …}"
            raise RecipeError(msg)
        self.spec = recipe.triples
        self._documents = {part.label: part for part in documents.partitions}
        self._chunks = {part.label: part for part in chunks.partitions}
        form = str(triples_form(self.spec))
        given = self.spec.model_dump(mode="json", by_alias=True)
        name = "OneTriplesJob" if form == "llm" else "TriplesJob"
        settings = {"extractor": form, "settings": given, "id_salt": recipe.id_salt}
        self.job = JobSpec(f"mnemodex.pipelines.extractors.job:{name}", settings)
        kind = extractor_class(form)
        self._sorter = TripleSorter(store, self.spec, documents.partitions) if form == "file" else None  # type: ignore[arg-type] # its form says so
        self.contents = self._sorter.contents() if self._sorter else Contents()
        decisive = {
            **self.spec.model_dump(mode="json", exclude=_NOT_DECISIVE),
            **({} if form == "file" else {"model": kind.model(self.spec)}),
            "id_salt": recipe.id_salt,
        }
        self.names = {
            label: fingerprint(
                "triples", VERSION, form, kind.version, decisive, part.fingerprint, self.contents.digests.get(label)
            )
            for label, part in self._chunks.items()
        }

    def units(self, todo: Sequence[str]) -> list[Unit]:
        """The work on some partitions."""
        return [
            Unit(
                "tables/triples",
                label,
                self.names[label],
                {
                    "chunks": self._chunks[label].model_dump(mode="json"),
                    "documents": self._documents[label].model_dump(mode="json"),
                    "given": self._sorter.given(label) if self._sorter else None,
                },
            )
            for label in todo
        ]

    def check(self, triples: Sequence[Artifact], reason: str) -> None:
        """Fail once more chunks or lines were of no use than the recipe accepts.

        Raises:
            SourceError: with the number, the limit and the first reason.
        """
        limit = getattr(self.spec, "max_errors", None)
        failed = sum(part.facts["failed"] for part in triples) + len(self.contents.bad)
        if limit is not None and failed > limit:
            msg = f"triples: {failed} failures, more than `triples.max_errors: {limit}`{reason}"
            raise SourceError(msg)


def told(plan: TriplePlan, triples: Sequence[Artifact], reason: str) -> list[str]:
    """What the user should know of the triples: what was left out and kept, and what names no document."""
    counts = Counter[str]()
    for part in triples:
        counts.update({key: value for key, value in part.facts.items() if isinstance(value, int)})
    rows = sum(part.rows for part in triples)
    said = []
    out = {"wrong_form": "not three strings", "empty_name": "a name without letters", "self_loop": "one entity twice"}
    if left := sum(counts[key] for key in out):
        listed = ", ".join(f"{counts[key]} {what}" for key, what in out.items() if counts[key])
        said.append(f"triples: {left} of {left + rows} left out ({listed}); the table errors has them all")
    if failed := counts["failed"] + len(plan.contents.bad):
        said.append(f"triples: {failed} failures{reason}; the table errors has them all")
    if plan.contents.unknown:
        said.append(
            f"triples: {plan.contents.unknown} of {plan.contents.lines} entries of {plan.spec.path} are about no "  # type: ignore[union-attr] # only files have contents
            f"document (the first: {plan.contents.example!r}); their ids are the documents' keys"
        )
    if counts["without"]:
        said.append(f"triples: {counts['without']} of {counts['documents']} documents have none")
    return said


def note(plan: TriplePlan, triples: Sequence[Artifact]) -> str:
    """One line on how the triples were made: speed, and what a model read and wrote."""
    facts = [part.facts for part in triples]
    documents, characters = (sum(fact[key] for fact in facts) for key in ("documents", "characters"))
    if isinstance(plan.spec, LlmTriples):
        read, written = (sum(fact[key] for fact in facts) for key in ("prompt_tokens", "completion_tokens"))
        prices = (plan.spec.prompt_price or 0.0) * read + (plan.spec.completion_price or 0.0) * written
        cost = f", cost {prices / 1e6:.4f}" if prices else ""
        return f"{documents} documents, {read} tokens read and {written} written{cost}"
    seconds = sum(fact["cpu_seconds"] for fact in facts)
    if not isinstance(plan.spec, SpacyTriples) or not seconds:
        return ""
    return f"{documents / seconds:.1f} documents/s, {characters / seconds:,.0f} characters/s of a CPU"
