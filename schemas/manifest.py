"""The manifest: which files make up a memory at one moment."""

from __future__ import annotations

import hashlib
import json
import re
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from mnemodex.schemas.artifact_lists import Artifacts
from mnemodex.schemas.artifacts import Artifact, Count, FileEntry, Frozen, Stats
from mnemodex.schemas.measured import Abstention, FittedWeights, Recall, SearchParameters
from mnemodex.schemas.metadata import check_fields
from mnemodex.schemas.tables import CATALOGUE_VIEWS, TableKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "FORMAT",
    "UPGRADABLE",
    "Abstention",
    "Artifact",
    "Artifacts",
    "EncoderEntry",
    "FileEntry",
    "FittedWeights",
    "IndexEntry",
    "LanguageModelEntry",
    "Manifest",
    "Recall",
    "SearchParameters",
    "Stats",
    "TableEntry",
    "digest",
    "fingerprint",
    "own_digest",
]

FORMAT = 3
"""The version of the folder's layout; a reader refuses others."""

UPGRADABLE = 2
"""The oldest format that `mnemodex upgrade` takes; snapshots of it stay readable as ancestors."""

_SEAL = re.compile(rb'\{"sha256": "([0-9a-f]{64})",\n')


Size = Annotated[int, Field(gt=0, lt=1 << 31)]
"""A number of dimensions or tokens."""


class TableEntry(Frozen):
    """A table: its partitions in the order of the source.

    Attributes:
        name: its label.
        id_column: the column that is unique, or None.
        parents: columns that hold ids of other tables, and the labels of these.
        identity: hash of the settings and code that made it, inputs left out: rows of two tables with one identity are
            equal where their ids are.
        fields: of the metadata that are columns of `documents`, and the names of their types.
        masked: rows of the partitions that readers leave out, because a tombstone names their document.
    """

    name: str
    partitions: Artifacts
    masked: Count = 0
    id_column: str | None = None
    parents: dict[str, str] = Field(default_factory=dict)
    identity: str = ""
    fields: dict[str, str] = Field(default_factory=dict)

    @field_validator("fields")
    @classmethod
    def _known_types(cls, fields: dict[str, str]) -> dict[str, str]:
        check_fields(fields)
        return fields

    @property
    def rows(self) -> int:
        """Rows of all partitions that readers see."""
        return self.partitions.rows - self.masked

    @property
    def bytes(self) -> int:
        """Bytes of all partitions."""
        return self.partitions.bytes


class IndexEntry(Frozen):
    """An index: its settings and shards, and what a build measures for it.

    That is what it is searched with, its recall, when it abstains, and the weights of its parts. Of the rows of the
    shards, searches leave the `masked` ones out, of which a tombstone names the document.
    """

    name: str
    type: str
    settings: dict[str, Any]
    fingerprint: str
    table: str | None = None
    rows: Count = 0
    masked: Count = 0
    shards: Artifacts = Field(default_factory=Artifacts)
    search: SearchParameters = Field(default_factory=SearchParameters)
    recall: Recall | None = None
    abstention: Abstention | None = None
    fitted: FittedWeights | None = None

    @property
    def made_of(self) -> list[str]:
        """The names of the indexes that it searches."""
        of = self.settings.get("of")
        return [name for name in (of if isinstance(of, list | tuple) else [of]) if isinstance(name, str)]

    @property
    def bytes(self) -> int:
        """Bytes of all shards."""
        return self.shards.bytes

    @property
    def memory_bytes(self) -> int:
        """Bytes that a search of FAISS's files keeps in memory: vectors or codes, ids, links and centroids."""
        return sum(file.bytes for shard in self.shards for file in shard.files if file.path.endswith("/index.faiss"))


class EncoderEntry(Frozen):
    """An encoder as a memory's vectors were made with it.

    Attributes:
        settings: the recipe's entry.
        sha256: of the model's files, or of what else decides its vectors.
        dimension: numbers of a vector.
        max_length: tokens after which a text is cut; None where that is not known.
        own: the settings that are as the model says of itself; None where the build did not note it.
    """

    settings: dict[str, Any]
    sha256: str
    dimension: Size
    max_length: Size | None = None
    own: tuple[str, ...] | None = None

    @property
    def encodes(self) -> bool:
        """Whether there is a model for questions: vectors that were made elsewhere may have none."""
        return self.settings.get("encoder") != "file" or self.settings.get("questions") is not None


class LanguageModelEntry(Frozen):
    """A language model as a memory's states were made with it.

    Attributes:
        settings: the recipe's entry.
        sha256: of the model's files.
        tokenizer_sha256: of what decides its tokens.
        prefix: the tokens that every window begins with.
        dimension: numbers of a key.
        vocabulary: tokens that it gives probabilities to.
        max_length: tokens of a window.
    """

    settings: dict[str, Any]
    sha256: str
    tokenizer_sha256: str
    prefix: tuple[int, ...]
    dimension: Size
    vocabulary: Size
    max_length: Size


class Manifest(Frozen):
    """One immutable snapshot of a memory; timestamps are naive UTC.

    Tombstones name documents, and their chunks, that are still in the files and that no reader sees.
    """

    format: int = FORMAT
    name: str
    parent: str | None
    parent_sha256: str | None
    created: str
    recipe: dict[str, Any]
    recipe_hash: str
    tables: dict[str, TableEntry]
    indexes: dict[str, IndexEntry]
    caches: dict[str, TableEntry] = Field(default_factory=dict)
    encoders: dict[str, EncoderEntry] = Field(default_factory=dict)
    language_models: dict[str, LanguageModelEntry] = Field(default_factory=dict)
    versions: dict[str, str]
    tombstones: Artifacts = Field(default_factory=Artifacts)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Refuse entries that do not belong together."""
        names = {name: entry.name for name, entry in self.tables.items()}
        names |= {name: entry.name for name, entry in self.indexes.items()}
        if wrong := [name for name, own in names.items() if name != own]:
            raise ValueError(f"the entry {wrong[0]!r} is called {names[wrong[0]]!r}")
        if taken := {TableKey.parse(name).view for name in self.tables} & {*CATALOGUE_VIEWS}:
            raise ValueError(f"a table is called {min(taken)!r}, as a view of the catalogue")
        for name, index in self.indexes.items():
            if index.rows + index.masked != index.shards.rows and index.shards:
                raise ValueError(f"index {name!r} has {index.shards.rows} rows, not {index.rows + index.masked}")
        try:
            TopologicalSorter({name: index.made_of for name, index in self.indexes.items()}).prepare()
        except CycleError as error:
            raise ValueError(f"indexes are made of each other: {' of '.join(error.args[1])}") from error
        return self

    def to_bytes(self) -> bytes:
        """Return the file's content: JSON with its checksum, tables and indexes in their order."""
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False) + "\n"
        # A path that is not Unicode has lone surrogates.
        body = text[1:].encode("utf-8", "surrogatepass")
        return f'{{"sha256": "{hashlib.sha256(body).hexdigest()}",\n'.encode() + body

    def replaced(self, change: Callable[[Artifacts], Artifacts]) -> Manifest:
        """Return it with other artifacts in the place of each table's, cache's and index's."""

        def tables(entries: dict[str, TableEntry]) -> dict[str, TableEntry]:
            return {
                name: entry.model_copy(update={"partitions": change(entry.partitions)})
                for name, entry in entries.items()
            }

        indexes = {
            name: entry.model_copy(update={"shards": change(entry.shards)}) for name, entry in self.indexes.items()
        }
        changed = {"tables": tables(self.tables), "caches": tables(self.caches), "indexes": indexes}
        return self.model_copy(update={**changed, "tombstones": change(self.tombstones)})

    def lists(self) -> Iterator[Artifacts]:
        """Yield the artifacts of each table, cache and index."""
        for table in (*self.tables.values(), *self.caches.values()):
            yield table.partitions
        for index in self.indexes.values():
            yield index.shards
        yield self.tombstones

    def artifacts(self) -> Iterator[Artifact]:
        """Yield all that it names, intermediate results too."""
        for artifacts in self.lists():
            yield from artifacts

    def same_content(self, other: Manifest) -> bool:
        """Whether both hold the same tables, indexes and recipe, by fingerprints: an HNSW graph's bytes may differ."""
        return (
            self.recipe_hash == other.recipe_hash
            and self.tables.keys() == other.tables.keys()
            and self.indexes.keys() == other.indexes.keys()
            and all(entry.fingerprint == other.indexes[name].fingerprint for name, entry in self.indexes.items())
            and all(entry.partitions.same_results(other.tables[name].partitions) for name, entry in self.tables.items())
            and all(entry.shards.same_results(other.indexes[name].shards) for name, entry in self.indexes.items())
            and self.tombstones.same_results(other.tombstones)
        )

    def same_files(self, other: Manifest) -> bool:
        """Whether both snapshots name the very same files: what was computed again may have other bytes."""
        return self.same_content(other) and (
            (self.tables, self.indexes, self.caches) == (other.tables, other.indexes, other.caches)
        )


def own_digest(data: bytes) -> str | None:
    """Return the checksum that is in a manifest's file; None where it has none, or its content another one."""
    seal = _SEAL.match(data)
    right = seal is not None and hashlib.sha256(data[seal.end() :]).hexdigest() == seal[1].decode()
    return seal[1].decode() if seal is not None and right else None


def digest(data: bytes) -> str:
    """Return the checksum by which other files name a manifest's file: its own; in format 2, the file's."""
    return own_digest(data) or hashlib.sha256(data).hexdigest()


def fingerprint(*parts: Any) -> str:
    """Return 80 bits of SHA-256 over canonical JSON: the name under which a result is found again."""
    data = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(data.encode()).hexdigest()[:20]
