"""The manifest: which files make up a memory at one moment."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
"""The version of the folder's layout; a reader refuses a newer one."""


def _relative(path: str) -> str:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
        msg = f"path {path!r} leaves the memory's folder"
        raise ValueError(msg)
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Frozen):
    """One write-once file: its path below the memory, its bytes and SHA-256."""

    path: RelativePath
    bytes: int
    sha256: str


class Artifact(_Frozen):
    """The finished output of one unit of work: a table partition, or a shard of an index.

    Attributes:
        label: readable name, stable when the source grows.
        fingerprint: hash of the inputs' fingerprints, the settings and the version of what made it.
        rows: rows of the partition or vectors/documents of the shard.
        files: every file of it.
        facts: what its maker measured (seconds, rows left out, recall curves).
    """

    label: str
    fingerprint: str
    rows: int
    files: tuple[FileEntry, ...]
    facts: dict[str, Any] = Field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def place(self) -> str:
        """What the paths of all its files begin with: `tables/TABLE/LABEL-FINGERPRINT` or `indexes/NAME/LABEL-…`."""
        name = f"{self.label}-{self.fingerprint}"
        return self.files[0].path.partition(name)[0] + name

    def file(self, ending: str) -> FileEntry:
        """The file whose name ends so."""
        return next(file for file in self.files if file.path.endswith(ending))


class TableEntry(_Frozen):
    """A table: its partitions in the order of the source."""

    name: str
    partitions: tuple[Artifact, ...]

    @property
    def rows(self) -> int:
        """Rows of all partitions."""
        return sum(part.rows for part in self.partitions)

    @property
    def bytes(self) -> int:
        """Bytes of all partitions."""
        return sum(part.bytes for part in self.partitions)


class IndexEntry(_Frozen):
    """An index: its settings and shards, what it is searched with, and its measured recall."""

    name: str
    type: str
    settings: dict[str, Any]
    fingerprint: str
    table: str | None = None
    rows: int = 0
    shards: tuple[Artifact, ...] = ()
    search: dict[str, Any] = Field(default_factory=dict)
    recall: dict[str, Any] | None = None

    @property
    def bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.bytes for shard in self.shards)


class Manifest(_Frozen):
    """One immutable snapshot of a memory; timestamps are naive UTC."""

    format: int = FORMAT
    name: str
    parent: str | None
    parent_sha256: str | None
    created: str
    recipe: dict[str, Any]
    recipe_hash: str
    tables: dict[str, TableEntry]
    indexes: dict[str, IndexEntry]
    models: dict[str, dict[str, Any]]
    versions: dict[str, str]
    tombstones: tuple[Artifact, ...] = ()

    @property
    def embeddings(self) -> dict[str, dict[str, Any]]:
        """Those of its models that encode texts; language models are under `lm/NAME`."""
        return {name: model for name, model in self.models.items() if not name.startswith("lm/")}

    def to_bytes(self) -> bytes:
        """The file's content: JSON, tables and indexes in their order."""
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"
        # A path that is not Unicode has lone surrogates.
        return text.encode("utf-8", "surrogatepass")

    def artifacts(self) -> Iterator[Artifact]:
        """All that it names."""
        for table in self.tables.values():
            yield from table.partitions
        for index in self.indexes.values():
            yield from index.shards
        yield from self.tombstones

    def same_content(self, other: Manifest) -> bool:
        """Whether both snapshots hold the same tables, indexes and recipe.

        Fingerprints are compared, not bytes: those of an HNSW graph may differ.
        """
        return self._content() == other._content()

    def same_files(self, other: Manifest) -> bool:
        """Whether both snapshots name the very same files: what was computed anew may have other bytes."""
        return self.same_content(other) and (self.tables, self.indexes) == (other.tables, other.indexes)

    def _content(self) -> list[Any]:
        tables = {
            name: [(part.label, part.fingerprint, part.rows) for part in table.partitions]
            for name, table in self.tables.items()
        }
        indexes = {
            name: (index.fingerprint, [(shard.label, shard.fingerprint, shard.rows) for shard in index.shards])
            for name, index in self.indexes.items()
        }
        return [tables, indexes, self.recipe_hash, [part.fingerprint for part in self.tombstones]]


def fingerprint(*parts: Any) -> str:
    """80 bits of SHA-256 over canonical JSON: the name under which a result is found again."""
    data = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(data.encode()).hexdigest()[:20]
