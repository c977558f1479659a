"""Artifacts: finished results of units of work, their files and what their makers measured."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializeAsAny

from mnemodex.schemas.errors import START_OVER, CorruptFileError


def _relative(path: str) -> str:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
        raise ValueError(f"path {path!r} leaves the memory's folder")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]

Count = Annotated[int, Field(ge=0, lt=1 << 48)]
"""A number of rows, bytes or results."""


class Frozen(BaseModel):
    """A value that does not change, without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(Frozen):
    """One write-once file: its path below the memory, its bytes and SHA-256."""

    path: RelativePath
    bytes: Count
    sha256: str


_S = TypeVar("_S", bound="Stats")


class Stats(Frozen):
    """What computing a unit gave besides its rows; an op adds fields of its own in a subclass.

    Attributes:
        seconds: wall time.
        cpu_seconds: CPU time of the worker's process.
        reused: rows that were taken over from the current snapshot.
        errors: rows that were left out, and are rows of the table `errors`.
        pieces: where the pieces of the partition begin and end, for a step that reads it piece by piece.
        dimension: numbers of a vector, in a table or index of vectors.
        rows_read: rows of the first input, of a step whose result outlasts it.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    reused: int = 0
    errors: int = 0
    pieces: tuple[int, ...] = ()
    dimension: int = 0
    rows_read: int = 0

    def of(self, kind: type[_S]) -> _S:
        """Return them with the fields of an op's own class."""
        return kind.model_validate(self.model_dump())


class Artifact(Frozen):
    """The finished output of one unit of work: a table partition, or a shard of an index.

    Attributes:
        label: readable name, stable when the source grows.
        fingerprint: hash of the inputs' fingerprints, the settings and the version of what made it.
        rows: rows of the partition or vectors/documents of the shard.
        stats: what its maker measured.
        also: the places of what the same unit published with it.
    """

    label: str
    fingerprint: str
    rows: Count
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
    def folder(self) -> str:
        """The folder that its files are in, where it is one."""
        return self.place + self.files[0].path.removeprefix(self.place).partition("/")[0]

    @property
    def marker(self) -> str:
        """The path of its marker: next to its files or its folder, or in a folder of format 2."""
        return f"{self.place}/marker.json" if self.files[0].path.startswith(f"{self.place}/") else f"{self.place}.json"

    def file(self, ending: str) -> FileEntry:
        """Return the file whose name ends so; without one, what names this result is a `CorruptFileError`."""
        for file in self.files:
            if file.path.endswith(ending):
                return file
        raise CorruptFileError(f"{self.place}: the memory names no file {ending} of it; {START_OVER}")

    @property
    def names(self) -> list[str]:
        """The names of its files, without their endings."""
        return [PurePosixPath(file.path).stem for file in self.files]

    def part(self, label: str) -> FileEntry | None:
        """Return the file that is named after a partition, of a result that sorts rows by partition; or None."""
        names = ((file, PurePosixPath(file.path)) for file in self.files)
        return next((file for file, name in names if name.stem == label and name.suffix != ".txt"), None)
