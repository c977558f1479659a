"""The tables of the recipe's language models: `lm_tokens/NAME` and `lm_states/NAME`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models import locate, model_hash
from mnemodex.pipelines.jobs import JobSpec, Unit
from mnemodex.pipelines.lm.states import LmStatesJob
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.manifest import TableEntry, fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.tables import TableBuilder
    from mnemodex.schemas.lm import LmStates
    from mnemodex.schemas.recipe import Recipe


def check_language_models(recipe: Recipe) -> None:
    """Look for the language models now, and not after an hour of other work.

    Raises:
        ModelError: one is not there.
    """
    for spec in recipe.lm.values():
        locate(spec.model)


def lm_tables(
    builder: TableBuilder,
    name: str,
    spec: LmStates,
    documents: TableEntry,
    chunks: TableEntry,
    *,
    former: TableEntry | None,
) -> tuple[dict[str, TableEntry], dict[str, Any]]:
    """Find or compute the tables of one language model.

    Args:
        builder: finds and computes.
        name: of the model in the recipe.
        spec: what the recipe says of it.
        documents: what is read.
        chunks: what hits belong to.
        former: the states of the current snapshot; where only the chunks are others, their keys are taken over.

    Returns:
        The tables, and the model for the manifest.

    Raises:
        SourceError: no document has a token to predict.
    """
    settings = {"name": name, "spec": spec.model_dump(mode="json")}
    digest = model_hash(spec.model)
    shape = {"window": spec.window, "overlap": spec.overlap}
    # Its tokenizer is one of its files; the hash of what decides the tokens would take seconds to find.
    tokens = builder.stage("lm_tokens", settings, documents, f"lm_tokens/{name}", decisive=[digest, shape])
    if not sum(part.facts["predicted"] for part in tokens.partitions):
        msg = (
            f"lm.{name}: no document has the two tokens that it takes to predict one; check `source.fields.text`, or "
            f"leave `lm.{name}` out"
        )
        raise SourceError(msg)
    decisive = [digest, spec.model_dump(mode="json", exclude={"model"})]
    states = _states(builder, settings, decisive, tokens, chunks, former=former)
    facts = states.partitions[0].facts
    model = {
        "settings": settings["spec"],
        "sha256": digest,
        "tokenizer_sha256": tokens.partitions[0].facts["tokenizer_sha256"],
        "prefix": tokens.partitions[0].facts["prefix"],
        "dimension": facts["dimension"],
        "vocabulary": facts["vocabulary"],
        "max_length": spec.window,
    }
    return {tokens.name: tokens, states.name: states}, model


def _states(
    builder: TableBuilder,
    settings: dict[str, Any],
    decisive: list[Any],
    tokens: TableEntry,
    chunks: TableEntry,
    *,
    former: TableEntry | None,
) -> TableEntry:
    """The states: a partition of documents gives as many partitions as it has units."""
    table = f"lm_states/{settings['name']}"
    known = {part.facts["reading"]: part for part in (former.partitions if former else ())}
    chunked = {part.label: part for part in chunks.partitions}
    payloads: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}

    def taken(label: str, reading: str) -> dict[str, Any] | None:
        part = known.get(reading)
        there = builder.find(f"tables/{table}", label, part.fingerprint) if part else None
        return there.model_dump(mode="json") if there else None

    for part in tokens.partitions:
        beside = chunked[part.label]
        inputs = {"tokens": part.model_dump(mode="json"), "chunks": beside.model_dump(mode="json")}
        for number, span in enumerate(pairwise(part.facts["cuts"])):
            label = f"{part.label}-{number:04d}"
            reading = fingerprint("lm_states", LmStatesJob.version, decisive, part.fingerprint, span)
            names[label] = fingerprint(reading, beside.fingerprint)
            payloads[label] = {**inputs, "windows": span, "reading": reading, "former": taken(label, reading)}

    def units(todo: Sequence[str]) -> list[Unit]:
        return [Unit(f"tables/{table}", label, names[label], payloads[label]) for label in todo]

    spec = JobSpec("mnemodex.pipelines.lm.states:LmStatesJob", settings)
    return TableEntry(name=table, partitions=tuple(builder.compute(table, names, spec, units)))
