"""List files: which artifacts a table, a cache or an index consists of; shared by snapshots."""

from __future__ import annotations

import hashlib
import io
import json
import operator
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mnemodex.schemas.artifact_lists import Artifacts, ListFile
from mnemodex.schemas.errors import START_OVER, CorruptFileError, ObjectStoreError
from mnemodex.schemas.store.columns import to_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.schemas.artifacts import Artifact
    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.store.files import Files

_MOST = 10_000
"""Artifacts of a file."""

_ENDS = ("000", "400", "800", "c00")
"""How the fingerprint of a file's last artifact ends: that of one artifact in 1,024.

Since the artifacts themselves decide where a file ends, one that is added, changed or removed in the middle changes the
file that it is in, and no other one.
"""

_SCHEMA = pa.schema([("label", pa.string()), ("fingerprint", pa.string()), ("artifact", pa.string())])


class Lists:
    """The list files of a memory.

    Attributes:
        read: returns the rows of a list file; the last ones are kept.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self.read = lru_cache(maxsize=64)(self._read)

    def write(self, manifest: Manifest, former: Manifest | None) -> Manifest:
        """Return a manifest whose artifacts are all in list files; those that the former snapshot has are taken over.

        What the former snapshot has loaded is taken over without looking into it.

        Raises:
            OSError: a list file could not be written.
        """
        before = [*former.lists()] if former else []
        known = {part.content: part for kept in before for part in kept.lists or ()}
        loaded = {id(kept[0]): (part, kept) for artifacts in before for part, kept in artifacts.loaded}

        def listed(artifacts: Artifacts) -> Artifacts:
            if artifacts.lists is not None:
                return artifacts
            given, lists, start = artifacts[:], [], 0
            while start < len(given):
                part, kept = loaded.get(id(given[start]), (None, ()))
                if part is None or not _is_next(kept, given, start):
                    some = given[start : _end(given, start)]
                    content = _content(some)
                    part = known.get(content) or self._write(some, content)
                lists.append(part)
                start += part.count
            return Artifacts(lists=lists, read=self.read)

        return manifest.replaced(listed)

    def sound(self, manifest: Manifest) -> Manifest:
        """Return a manifest without its damaged list files: a build finds what they named, and lists it again."""

        def readable(part: ListFile) -> bool:
            try:
                self.read(part)
            except CorruptFileError:
                return False
            return True

        return manifest.replaced(lambda artifacts: artifacts.only(readable))

    def _write(self, artifacts: Sequence[Artifact], content: str) -> ListFile:
        columns = [
            [artifact.label for artifact in artifacts],
            [artifact.fingerprint for artifact in artifacts],
            # In one order, whether it was computed or read from its marker.
            [json.dumps(artifact.model_dump(mode="json"), sort_keys=True) for artifact in artifacts],
        ]
        sink = io.BytesIO()
        pq.write_table(to_table(columns, _SCHEMA), sink, compression="zstd", use_dictionary=False)
        data = sink.getvalue()
        part = ListFile(
            sha256=hashlib.sha256(data).hexdigest(),
            content=content,
            count=len(artifacts),
            rows=sum(artifact.rows for artifact in artifacts),
            bytes=sum(artifact.bytes for artifact in artifacts),
        )
        self._files.put(part.path, data)
        return part

    def _data(self, part: ListFile) -> bytes:
        path = self._files.root / part.path
        try:
            data = self._files.read(part.path, sha256=part.sha256)
        except ObjectStoreError:
            raise
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise CorruptFileError(f"{path}: {self._files.missing}") from error
            raise CorruptFileError(f"{path}: cannot be read ({error.strerror}); run the build again") from error
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise CorruptFileError(f"{path}: differs from its checksum; run the build again")
        return data

    def _read(self, part: ListFile) -> pa.Table:
        try:
            file = pq.ParquetFile(pa.BufferReader(self._data(part)))
            # Before it is read, which may take any memory.
            if file.schema_arrow != _SCHEMA or file.metadata.num_rows != part.count or part.count > _MOST:
                raise CorruptFileError(f"{part.path}: is not what the snapshot says of it; {START_OVER}")
            rows = file.read()
        except pa.ArrowException as error:
            raise CorruptFileError(f"{part.path}: is no list file ({error}); {START_OVER}") from error
        return rows


def is_list(files: Files, path: str) -> bool:
    """Return whether a file is a sound list file: one that has the name of its content."""
    return path == f"snapshots/lists/{hashlib.sha256(files.read(path)).hexdigest()}.parquet"


def _end(artifacts: Sequence[Artifact], start: int) -> int:
    """Return where the list file ends that begins with an artifact."""
    stop = min(start + _MOST, len(artifacts))
    ends = (number + 1 for number in range(start, stop) if artifacts[number].fingerprint.endswith(_ENDS))
    return next(ends, stop)


def _is_next(kept: Sequence[Artifact], artifacts: Sequence[Artifact], start: int) -> bool:
    """Return whether the next list file names the very same artifacts as a former one."""
    stop = start + len(kept)
    # A former last file may go on now.
    ends = stop == len(artifacts) or len(kept) == _MOST or kept[-1].fingerprint.endswith(_ENDS)
    return ends and stop <= len(artifacts) and all(map(operator.is_, kept, artifacts[start:stop]))


def _content(artifacts: Sequence[Artifact]) -> str:
    """Return the hash of the files of artifacts, their paths and bytes."""
    files = [file for artifact in artifacts for file in artifact.files]
    paths, digests = "\n".join([file.path for file in files]), "\n".join([file.sha256 for file in files])
    return hashlib.sha256(f"{paths}\n{digests}".encode()).hexdigest()[:20]
