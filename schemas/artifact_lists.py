"""Lists of artifacts: in memory, or in files that are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Self, overload

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import core_schema
from typing_extensions import override

from mnemodex.schemas.artifacts import Artifact, Count, Frozen
from mnemodex.schemas.errors import START_OVER, CorruptFileError
from mnemodex.schemas.validation import say_first

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import GetCoreSchemaHandler, ValidationInfo


class ListFile(Frozen):
    """A write-once file that lists consecutive artifacts; snapshots share it.

    Attributes:
        sha256: of its bytes; the file is called so.
        content: hash of the files of what it lists, by which an unchanged list is known without being written again.
        count: artifacts.
        rows: their rows.
        bytes: their bytes.
    """

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    content: str
    count: Count
    rows: Count
    bytes: Count

    @property
    def path(self) -> str:
        """Its path below the memory."""
        return f"snapshots/lists/{self.sha256}.parquet"


class _Listed(Frozen):
    """How a manifest names artifacts: their totals, and the files that list them."""

    count: Count
    rows: Count
    bytes: Count
    lists: tuple[ListFile, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        for name in ("count", "rows", "bytes"):
            if getattr(self, name) != sum(getattr(part, name) for part in self.lists):
                raise ValueError(f"{name} is not the sum of its lists'")
        return self


ReadList = Callable[[ListFile], "pa.Table"]
"""Reads the rows of a list file: `label`, `fingerprint`, and `artifact` as JSON."""

_GIVEN = TypeAdapter(tuple[Artifact, ...])


class Artifacts(Sequence[Artifact]):
    """Artifacts in order: those of a build, in memory, or those of a snapshot, in list files.

    Files are read when an artifact is asked for, one after the other, or all by `load`. How many artifacts there are,
    their rows and their bytes are known without. A file that is not what its entry says, or one artifact twice, is a
    `CorruptFileError`.

    Attributes:
        lists: the list files; None for artifacts in memory.
    """

    def __init__(
        self, given: Iterable[Artifact] = (), *, lists: Sequence[ListFile] | None = None, read: ReadList | None = None
    ) -> None:
        self.lists = tuple(lists) if lists is not None else None
        self._given = tuple(given)
        self._read = read
        self._loaded: list[tuple[Artifact, ...]] | None = None
        self._positions: dict[str, int] | None = None

    @override
    def __len__(self) -> int:
        return len(self._given) if self.lists is None else sum(part.count for part in self.lists)

    @property
    def rows(self) -> int:
        """Rows of all of them."""
        return sum(part.rows for part in (self._given if self.lists is None else self.lists))

    @property
    def bytes(self) -> int:
        """Bytes of all of them."""
        return sum(part.bytes for part in (self._given if self.lists is None else self.lists))

    @override
    def __iter__(self) -> Iterator[Artifact]:
        yield from self._given
        if self._loaded is not None:
            yield from chain.from_iterable(self._loaded)
        else:
            seen: set[str] = set()
            yield from chain.from_iterable(self._parsed(part, seen) for part in self.lists or ())

    def load(self) -> None:
        """Read all list files and keep what they name: for a build, which needs all of it at once."""
        seen: set[str] = set()
        self._loaded = [tuple(self._parsed(part, seen)) for part in self.lists or ()]

    @property
    def loaded(self) -> Iterator[tuple[ListFile, tuple[Artifact, ...]]]:
        """The list files with what they name, after `load`."""
        return zip(self.lists or (), self._loaded or (), strict=False)

    @overload
    def __getitem__(self, index: int) -> Artifact: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Artifact, ...]: ...
    @override
    def __getitem__(self, index: int | slice) -> Artifact | tuple[Artifact, ...]:
        if self.lists is None:
            return self._given[index]
        numbers = range(len(self))[index]
        return self._at(numbers) if isinstance(numbers, int) else tuple(map(self._at, numbers))

    def find(self, label: str) -> Artifact | None:
        """Return the artifact with a label, or None."""
        if self._positions is None:
            labels = [part.label for part in self._given]
            for part in self.lists or ():
                labels += self._rows(part)["label"].to_pylist()
            self._positions = {name: number for number, name in enumerate(labels)}
        position = self._positions.get(label)
        return None if position is None else self[position]

    def only(self, keep: Callable[[ListFile], bool]) -> Artifacts:
        """Return those of the list files that are to be kept; all of those in memory."""
        if self.lists is None:
            return self
        return Artifacts(lists=[*filter(keep, self.lists)], read=self._read)

    def same_results(self, other: Artifacts) -> bool:
        """Whether both have the same labels, fingerprints and rows; files may differ in their bytes."""
        if self.lists is not None and self.lists == other.lists:
            return True
        return len(self) == len(other) and all(
            (one.label, one.fingerprint, one.rows) == (two.label, two.fingerprint, two.rows)
            for one, two in zip(self, other, strict=True)
        )

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Artifacts):
            return NotImplemented
        if self.lists is not None and self.lists == other.lists:
            return True
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment] # as of a list

    @override
    def __repr__(self) -> str:
        return f"Artifacts(count={len(self)}, rows={self.rows}, bytes={self.bytes})"

    def _at(self, number: int) -> Artifact:
        for part in self.lists or ():
            if number < part.count:
                return _artifact(part, *(self._rows(part)[name][number].as_py() for name in ("label", "artifact")))
            number -= part.count
        raise IndexError(number)

    def _parsed(self, part: ListFile, seen: set[str]) -> Iterator[Artifact]:
        rows = 0
        labels, texts = (self._rows(part)[name].to_pylist() for name in ("label", "artifact"))
        for artifact in map(partial(_artifact, part), labels, texts):
            if artifact.place in seen:
                raise CorruptFileError(f"{part.path}: names {artifact.place} twice; {START_OVER}")
            seen.add(artifact.place)
            rows += artifact.rows
            yield artifact
        if rows != part.rows:
            raise CorruptFileError(f"{part.path}: its results have {rows} rows, not {part.rows}; {START_OVER}")

    def _rows(self, part: ListFile) -> pa.Table:
        assert self._read is not None  # noqa: S101 - lists are given with their reader
        return self._read(part)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validate, serialization=core_schema.plain_serializer_function_ser_schema(cls._serialize)
        )

    @classmethod
    def _validate(cls, value: Any, info: ValidationInfo) -> Artifacts:
        """Return what a manifest's JSON or a build names; `context` of the validation is what reads list files."""
        if isinstance(value, Artifacts):
            return value
        try:
            if isinstance(value, list | tuple):
                return cls(_GIVEN.validate_python(value))
            return cls(lists=_Listed.model_validate(value).lists, read=info.context)
        except ValidationError as error:
            raise ValueError(say_first(error)) from error

    def _serialize(self) -> Any:
        if self.lists is None:
            return [part.model_dump(mode="json") for part in self._given]
        totals = {"count": len(self), "rows": self.rows, "bytes": self.bytes}
        return {**totals, "lists": [part.model_dump() for part in self.lists]}


def _artifact(part: ListFile, label: str, text: str) -> Artifact:
    try:
        artifact = Artifact.model_validate_json(text)
    except ValidationError as error:
        raise CorruptFileError(f"{part.path}: names no artifact ({say_first(error)}); {START_OVER}") from error
    if artifact.label != label or not all(file.path.startswith(artifact.place) for file in artifact.files):
        raise CorruptFileError(f"{part.path}: {label} is {artifact.place}, whose files lie elsewhere; {START_OVER}")
    return artifact
