"""Building the tables of a recipe: documents, chunks, embeddings and training pairs, partition by partition."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models import model_hash
from mnemodex.pipelines.extractors.job import publish_errors
from mnemodex.pipelines.jobs import JobSpec, Unit
from mnemodex.pipelines.pairs import answered, decisive
from mnemodex.pipelines.plan import plan
from mnemodex.pipelines.read import DeduplicateJob, ReadJob
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.stages.registry import stage_class
from mnemodex.pipelines.triples import TriplePlan, note, told
from mnemodex.pipelines.uniqueness import repeated_documents
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.manifest import Artifact, TableEntry, fingerprint
from mnemodex.schemas.recipe import DEFAULT_MODEL, Recipe
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnemodex.pipelines.chunkers import ChunkSettings
    from mnemodex.pipelines.engine import Engine
    from mnemodex.pipelines.progress import Progress
    from mnemodex.pipelines.sources.base import Split
    from mnemodex.schemas.store.store import Store

_PARTITION_ROWS = 1024
"""Most documents of a partition: so few that a small corpus has work for every CPU."""

_READ = JobSpec("mnemodex.pipelines.read:ReadJob", {})
_DEDUPLICATE = JobSpec("mnemodex.pipelines.read:DeduplicateJob", {})


class TableBuilder:
    """Finds or computes every partition of the tables; `warnings` gathers what the user should know."""

    def __init__(self, store: Store, recipe: Recipe, chunks: ChunkSettings, engine: Engine, progress: Progress) -> None:
        self._store = store
        self._recipe = recipe
        self._chunks = chunks
        self._engine = engine
        self._progress = progress
        self.warnings: list[str] = []

    def documents(self, former: TableEntry | None) -> tuple[TableEntry, TableEntry]:
        """The documents, and the rows that were left out; `former` are those of the current snapshot.

        Raises:
            SourceError: no documents, or more bad rows than the recipe accepts.
            DuplicateKeyError: two documents have one key and different content.
        """
        source = self._recipe.source
        path = Path(source.path)
        settings = {**source.model_dump(exclude={"max_errors"}), "id_salt": self._recipe.id_salt}
        opened = open_source(path, fields=source.fields, format=source.format, rows=_PARTITION_ROWS)
        splits = plan(self._store, opened, path, [settings, _PARTITION_ROWS])
        decisive = {**settings, "path": None}
        names = {
            split.label: fingerprint("documents", ReadJob.version, decisive, split.fingerprint()) for split in splits
        }
        spec = JobSpec(_READ.job, settings)
        found = self.compute(
            "documents", names, spec, lambda todo: _read_units(splits, names, todo), self._check_errors
        )
        errors = [part for document in found if (part := self._errors_of(document)) is not None]
        if not sum(part.rows for part in found):
            msg = f"{path}: no documents{self._first_reason(errors)}"
            raise SourceError(msg)
        if errors:
            count = sum(part.rows for part in errors)
            self.warnings.append(f"{_rows(count)} left out{self._first_reason(errors)}; the table errors has them all")
        return self._deduplicate(found, former), TableEntry(name="errors", partitions=tuple(errors))

    def chunks(self, documents: TableEntry) -> TableEntry:
        """The chunks.

        Raises:
            SourceError: no document has any text.
        """
        settings = {"chunks": self._chunks.model_dump(mode="json"), "id_salt": self._recipe.id_salt}
        tokenizers = {
            name: model_hash(name) for name in {DEFAULT_MODEL, getattr(self._chunks, "tokenizer", DEFAULT_MODEL)}
        }
        chunks = self.stage("chunk", settings, documents, "chunks", decisive=[settings, tokenizers])
        if not chunks.rows:
            msg = f"{self._recipe.source.path}: no document has any text; check `source.fields.text`"
            raise SourceError(msg)
        return chunks

    def embeddings(self, name: str, chunks: TableEntry) -> tuple[TableEntry, dict[str, Any]]:
        """The vectors of one embedding, and its model for the manifest."""
        spec = self._recipe.embed[name]
        settings = {"name": name, "spec": spec.model_dump(mode="json")}
        digest = model_hash(spec.model)
        # The model's weights decide its vectors, not the name they go by; and the query prefix does not touch passages.
        decisive = {**spec.model_dump(mode="json", exclude={"model", "query_prefix"}), "model": digest}
        table = self.stage("embed", settings, chunks, f"embeddings/{name}", decisive=decisive, job="ModelTableJob")
        facts = [part.facts for part in table.partitions]
        shape = {key: facts[0][key] for key in ("dimension", "max_length")}
        cut = sum(fact["truncated"] for fact in facts)
        if cut:
            limit = shape["max_length"]
            self.warnings.append(
                f"{cut} of {table.rows} chunks have more than the {limit} tokens that {spec.model} reads; the rest of "
                "them is not embedded"
            )
        return table, {"settings": spec.model_dump(mode="json"), "sha256": digest, **shape}

    def ngram_pairs(self, name: str, documents: TableEntry) -> TableEntry:
        """The training pairs of one section of the recipe."""
        spec, id_salt = self._recipe.ngram_pairs[name], self._recipe.id_salt
        queries = answered(spec)
        settings = {"name": name, "spec": spec.model_dump(mode="json"), "id_salt": id_salt}
        decided = decisive(spec, queries, id_salt=id_salt)
        table = self.stage("pairs", settings, documents, f"ngram_pairs/{name}", decisive=decided)
        gold = len({key for query in queries for key in query.gold})
        missing = gold - sum(part.facts["gold"] for part in table.partitions)
        if missing:
            self.warnings.append(
                f"ngram_pairs {name!r}: {missing} of the {gold} gold ids of {spec.queries} are no document's key; "
                "`gold_ids` name documents by the source's own ids"
            )
        if not table.rows:
            self.warnings.append(
                f"ngram_pairs {name!r} has no pairs: no document that it is about has text in the tokens of "
                f"{spec.tokenizer}"
            )
        return table

    def triples(self, documents: TableEntry, chunks: TableEntry) -> tuple[TableEntry, TableEntry]:
        """The triples, and what of them was left out.

        Raises:
            RecipeError: the recipe has no section `triples`.
            SourceError: the file of triples cannot be read, or there are more failures than the recipe accepts.
            ChatServerError: the language model's server answers nothing.
        """
        plan = TriplePlan(self._store, self._recipe, documents, chunks)
        bad = plan.contents.bad
        unread = [publish_errors(self._store, "triples", fingerprint([str(row) for row in bad]), bad)] if bad else []

        def errors(parts: Sequence[Artifact]) -> list[Artifact]:
            return [*unread, *(found for part in parts if (found := self._errors_of(part)) is not None)]

        found = self.compute(
            "triples",
            plan.names,
            plan.job,
            plan.units,
            lambda parts: plan.check(parts, self._first_reason(errors(parts))),
        )
        left_out = errors(found)
        self.warnings.extend(told(plan, found, self._first_reason(left_out)))
        self._progress.stages[-1].note = note(plan, found)
        return TableEntry(name="triples", partitions=tuple(found)), TableEntry(
            name="errors", partitions=tuple(left_out)
        )

    def mentions(self, triples: TableEntry) -> TableEntry:
        """Which entities stand in which chunks."""
        return self.stage("mentions", {}, triples, "mentions", decisive=None)

    def stage(
        self,
        stage: str,
        settings: dict[str, Any],
        source: TableEntry,
        table: str,
        *,
        decisive: Any,
        job: str = "TableJob",
    ) -> TableEntry:
        """Run a stage over a table; `decisive` is what of its settings decides the output, for the fingerprint."""
        version = stage_class(stage).version
        inputs = {part.label: part for part in source.partitions}
        names = {label: fingerprint(stage, version, decisive, part.fingerprint) for label, part in inputs.items()}
        spec = JobSpec(f"mnemodex.pipelines.jobs:{job}", {"stage": stage, "settings": settings})

        def units(todo: Sequence[str]) -> list[Unit]:
            return [
                Unit(f"tables/{table}", label, names[label], {"input": inputs[label].model_dump(mode="json")})
                for label in todo
            ]

        return TableEntry(name=table, partitions=tuple(self.compute(table, names, spec, units)))

    def compute(
        self,
        table: str,
        names: dict[str, str],
        spec: JobSpec,
        units: Callable[[Sequence[str]], list[Unit]],
        check: Callable[[Sequence[Artifact]], None] = lambda _: None,
        *,
        folder: str | None = None,
    ) -> list[Artifact]:
        """The partitions of a table in order: those that are there, and those that its units compute."""
        place = f"tables/{folder or table}"
        there = {label: self.find(place, label, name) for label, name in names.items()}
        done = {label: part for label, part in there.items() if part is not None}
        todo = [label for label in names if label not in done]
        check(list(done.values()))
        if todo:
            self._engine.start()
        with self._progress.stage(table, partitions=len(names), found=list(done.values()), todo=len(todo)) as progress:
            for artifacts in self._engine.run(spec, units(todo)):
                for artifact in artifacts:
                    done[artifact.label] = artifact
                    progress.done(artifact)
                check(list(done.values()))
        return [done[label] for label in names]

    def find(self, place: str, label: str, name: str) -> Artifact | None:
        """A published partition; one whose left-out rows are lost counts as lost too."""
        part = self._store.find(place, label, name)
        whole = part is None or not part.facts.get("errors") or self._errors_of(part) is not None
        return part if whole else None

    def _check_errors(self, documents: Sequence[Artifact]) -> None:
        """Fail once more rows are bad than the recipe accepts."""
        count = sum(part.facts["errors"] for part in documents)
        if count > self._recipe.source.max_errors:
            errors = [part for document in documents if (part := self._errors_of(document)) is not None]
            limit = self._recipe.source.max_errors
            msg = (
                f"{self._recipe.source.path}: {_rows(count)} cannot be read, more than `source.max_errors: "
                f"{limit}`{self._first_reason(errors)}"
            )
            raise SourceError(msg)

    def _errors_of(self, part: Artifact) -> Artifact | None:
        """What was left out of a partition of documents or triples."""
        if not part.facts["errors"]:
            return None
        table = part.place.split("/")[1]
        return self._store.find("tables/errors", f"{table}-{part.label}", part.facts.get("of", part.fingerprint))

    def _first_reason(self, errors: Sequence[Artifact]) -> str:
        """Where the first bad row stands and why it is bad, as the end of a sentence."""
        if not errors:
            return ""
        row = parquet.read(self._store.files.check(errors[0].file(".parquet"))).slice(0, 1).to_pylist()[0]
        return f": {row['source']} line {row['line']}: {row['reason']}"

    def _deduplicate(self, documents: list[Artifact], former: TableEntry | None) -> TableEntry:
        """Drop documents that stand in the source twice; partitions without such stay as they are."""
        table = self._former(documents, former.partitions) if former is not None else None
        if table is None:
            table = self._without_repeats(documents, repeated_documents(self._store, documents))
        count = sum(part.facts.get("repeated", 0) for part in table.partitions)
        if count:
            self.warnings.append(f"{_rows(count)} of the source repeat a document, key and content; each is kept once")
        return table

    def _former(self, documents: list[Artifact], cleaned: Sequence[Artifact]) -> TableEntry | None:
        """The current snapshot's documents as they are now, if they came of these and are all there."""
        found = [self._store.find("tables/documents", part.label, part.fingerprint) for part in cleaned]
        there = tuple(part for part in found if part is not None)
        same = [part.facts.get("of", part.fingerprint) for part in there] == [part.fingerprint for part in documents]
        return TableEntry(name="documents", partitions=there) if same else None

    def _without_repeats(self, documents: list[Artifact], drop: dict[str, list[int]]) -> TableEntry:
        """The documents without some rows, given by partition label."""
        inputs = {part.label: part for part in documents if part.label in drop}
        names = {
            label: fingerprint("deduplicate", DeduplicateJob.version, part.fingerprint, drop[label])
            for label, part in inputs.items()
        }

        def units(todo: Sequence[str]) -> list[Unit]:
            payloads = {label: {"input": inputs[label].model_dump(mode="json"), "rows": drop[label]} for label in todo}
            return [Unit("tables/documents", label, names[label], payloads[label]) for label in todo]

        made = self.compute("documents: repeats", names, _DEDUPLICATE, units, folder="documents") if drop else []
        cleaned = {part.label: part for part in made}
        return TableEntry(name="documents", partitions=tuple(cleaned.get(part.label, part) for part in documents))


def _read_units(splits: Sequence[Split], names: dict[str, str], todo: Sequence[str]) -> list[Unit]:
    """One unit a split; the splits of one compressed file go together, so that it is decompressed once."""
    wanted = set(todo)
    groups: dict[str, list[Split]] = {}
    for split in splits:
        if split.label in wanted:
            path = split.pieces[0].path
            groups.setdefault(path if path.endswith(".gz") else split.label, []).append(split)
    return [
        Unit(
            "tables/documents",
            group[0].label,
            names[group[0].label],
            {"splits": [{"split": split.to_json(), "fingerprint": names[split.label]} for split in group]},
        )
        for group in groups.values()
    ]


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
