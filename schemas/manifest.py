"""The manifest: which files make up a memory at one moment."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializeAsAny

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 2
"""The version of the folder's layout; a reader refuses others."""


def _relative(path: str) -> str:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
        raise ValueError(f"path {path!r} leaves the memory's folder")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Frozen):
    """One write-once file: its path below the memory, its bytes and SHA-256."""

    path: RelativePath
    bytes: int
    sha256: str


_S = TypeVar("_S", bound="Stats")


class Stats(_Frozen):
    """What computing a unit gave beside its rows; an op adds fields of its own in a subclass.

    Attributes:
        seconds: wall time.
        cpu_seconds: CPU time of the worker's process.
        reused: rows that were taken over from the current snapshot.
        errors: rows that were left out, and are rows of the table `errors`.
        pieces: where the pieces of the partition begin and end, for a step that reads it piece by piece.
        dimension: numbers of a vector, in a table or index of vectors.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    reused: int = 0
    errors: int = 0
    pieces: tuple[int, ...] = ()
    dimension: int = 0

    def of(self, kind: type[_S]) -> _S:
        """Return them with the fields of an op's own class."""
        return kind.model_validate(self.model_dump())


class Artifact(_Frozen):
    """The finished output of one unit of work: a table partition, or a shard of an index.

    Attributes:
        label: readable name, stable when the source grows.
        fingerprint: hash of the inputs' fingerprints, the settings and the version of what made it.
        rows: rows of the partition or vectors/documents of the shard.
        stats: what its maker measured.
        also: the places of what the same unit published beside it.
    """

    label: str
    fingerprint: str
    rows: int
    files: tuple[FileEntry, ...] = Field(min_length=1)
    stats: SerializeAsAny[Stats] = Field(default_factory=Stats)
    also: tuple[RelativePath, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def place(self) -> str:
        """What the paths of all its files begin with: `tables/TABLE/LABEL-FINGERPRINT` or `indexes/NAME/LABEL-…`."""
        name = f"{self.label}-{self.fingerprint}"
        return self.files[0].path.partition(name)[0] + name

    @property
    def marker(self) -> str:
        """The path of its marker: in its folder, or beside its one or two files."""
        return f"{self.place}/marker.json" if self.files[0].path.startswith(f"{self.place}/") else f"{self.place}.json"

    def file(self, ending: str) -> FileEntry:
        """Return the file whose name ends so."""
        return next(file for file in self.files if file.path.endswith(ending))

    def part(self, label: str) -> FileEntry | None:
        """Return the file that is named after a partition, of a result that sorts rows by partition; or None."""
        names = ((file, PurePosixPath(file.path)) for file in self.files)
        return next((file for file, name in names if name.stem == label and name.suffix != ".txt"), None)


class TableEntry(_Frozen):
    """A table: its partitions in the order of the source.

    Attributes:
        name: its label.
        id_column: the column that is unique, or None.
        parents: columns that hold ids of other tables, and the labels of these.
        identity: hash of the settings and code that made it, inputs left out: rows of two tables with one identity are
            equal where their ids are.
    """

    name: str
    partitions: tuple[Artifact, ...]
    id_column: str | None = None
    parents: dict[str, str] = Field(default_factory=dict)
    identity: str = ""

    @property
    def rows(self) -> int:
        """Rows of all partitions."""
        return sum(part.rows for part in self.partitions)

    @property
    def bytes(self) -> int:
        """Bytes of all partitions."""
        return sum(part.bytes for part in self.partitions)


class SearchParameters(_Frozen):
    """What an index is searched with.

    Attributes:
        parameter: name of the search parameter (`efSearch`, `nprobe`), or None where the index looks at every row.
        value: chosen for it.
        scale: of distances, for an index whose reader weighs by distance.
    """

    parameter: str | None = None
    value: int | None = None
    scale: float | None = None


class Recall(_Frozen):
    """The measured recall of an index.

    Attributes:
        recall: with the chosen value; the figure of the next smaller value tried where that one was not tried itself.
        k: recall is counted among so many hits.
        probes: queries of the measurement; with 0 nothing could be measured (an index of one row).
        source: what they were: "queries" or "held-out rows".
        parameter: as in `SearchParameters`, and so is `value`.
        margin: the chosen value is so many times the smallest that reached the target, as far as there are lists to
            look at.
        target: recall that was aimed at.
        reached: whether some value tried reached it. If not, the largest is taken.
        curve: recall of each value tried.
    """

    recall: float
    k: int
    probes: int
    source: str
    parameter: str | None
    value: int | None
    margin: int
    target: float
    reached: bool
    curve: dict[int, float]


class IndexEntry(_Frozen):
    """An index: its settings and shards, what it is searched with, and its measured recall."""

    name: str
    type: str
    settings: dict[str, Any]
    fingerprint: str
    table: str | None = None
    rows: int = 0
    shards: tuple[Artifact, ...] = ()
    search: SearchParameters = Field(default_factory=SearchParameters)
    recall: Recall | None = None

    @property
    def bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.bytes for shard in self.shards)


class EncoderEntry(_Frozen):
    """An encoder as a memory's vectors were made with it.

    Attributes:
        settings: the recipe's entry.
        sha256: of the model's files, or of what else decides its vectors.
        dimension: numbers of a vector.
        max_length: tokens after which a text is cut; None where that is not known.
    """

    settings: dict[str, Any]
    sha256: str
    dimension: int
    max_length: int | None = None


class LanguageModelEntry(_Frozen):
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
    dimension: int
    vocabulary: int
    max_length: int


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
    caches: dict[str, TableEntry] = Field(default_factory=dict)
    encoders: dict[str, EncoderEntry] = Field(default_factory=dict)
    language_models: dict[str, LanguageModelEntry] = Field(default_factory=dict)
    versions: dict[str, str]
    tombstones: tuple[Artifact, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the file's content: JSON, tables and indexes in their order."""
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"
        # A path that is not Unicode has lone surrogates.
        return text.encode("utf-8", "surrogatepass")

    def artifacts(self) -> Iterator[Artifact]:
        """Yield all that it names, intermediate results too."""
        for table in (*self.tables.values(), *self.caches.values()):
            yield from table.partitions
        for index in self.indexes.values():
            yield from index.shards
        yield from self.tombstones

    def same_content(self, other: Manifest) -> bool:
        """Whether both hold the same tables, indexes and recipe, by fingerprints: an HNSW graph's bytes may differ."""
        return self._content() == other._content()

    def same_files(self, other: Manifest) -> bool:
        """Whether both snapshots name the very same files: what was computed again may have other bytes."""
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
    """Return 80 bits of SHA-256 over canonical JSON: the name under which a result is found again."""
    data = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(data.encode()).hexdigest()[:20]
