"""The files of an embedding whose vectors were made elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from mnemodex.pipelines.sources.found import find_files
from mnemodex.pipelines.sources.reading import file_state, unreadable
from mnemodex.pipelines.vectors.block import Header
from mnemodex.pipelines.vectors.matrix_files import map_matrix, read_matrix_file
from mnemodex.pipelines.vectors.parquet_files import read_header, read_parquet_file
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.vectors.block import Block, IdForm
    from mnemodex.schemas.vector_sections import VectorFile


def vector_files(settings: VectorFile) -> list[tuple[str, str | None]]:
    """Return the files of vectors in their order, each with its file of ids; Parquet has none.

    Raises:
        SourceError: a path is of nothing, or there are not as many files of ids as of vectors.
    """
    paths = _find(settings.path, "from")
    if settings.ids is None:
        return [(path, None) for path in paths]
    ids = _find(settings.ids, "ids")
    if len(ids) != len(paths):
        raise SourceError(
            f"{settings.path[0]}: `from` names {len(paths)} files and `ids` {len(ids)}; give a file of ids for each "
            "file of vectors, in the same order"
        )
    return list(zip(paths, ids, strict=True))


def _find(paths: tuple[str, ...], key: str) -> list[str]:
    files = []
    for path in paths:
        try:
            found = find_files(path)
        except SourceError as error:
            raise SourceError(str(error).replace("source.path", f"`{key}` of the embedding")) from error
        files += [f"{found.root}/{name}" for name in found.files]
    return files


def read_headers(settings: VectorFile) -> list[Header]:
    """Return what the headers of the files say.

    Raises:
        SourceError: a file is missing, empty or no vectors, or two have vectors of different dimensions or other ids.
    """
    headers: list[Header] = []
    dimensions: dict[int, str] = {}
    forms: dict[IdForm, str] = {}
    for path, ids in vector_files(settings):
        header = _read_header(path, ids, settings)
        headers.append(header)
        if header.dimension:
            dimensions.setdefault(header.dimension, path)
        if header.rows:
            forms.setdefault(header.form, path)
    if len(dimensions) > 1:
        (one, first), (other, second) = list(dimensions.items())[:2]
        raise SourceError(
            f"{second}: its vectors have {other} dimensions, but those of {first} have {one}; give the vectors of one "
            "model, and those of another as an embedding of its own"
        )
    if not forms:
        raise SourceError(f"{settings.path[0]}: has no vectors; write them again")
    if len(forms) > 1:
        first, second = list(forms.values())[:2]
        raise SourceError(
            f"{second}: its ids are in other columns than those of {first}; give all files chunk_id, or all key and "
            "ordinal, or all key"
        )
    return headers


def _read_header(path: str, ids: str | None, settings: VectorFile) -> Header:
    with _reading(path):
        if ids is None:
            return read_header(path, settings)
        file_state(ids)
        rows, dimension = map_matrix(path).shape
        return Header(rows, dimension, "text")


def read_vectors(settings: VectorFile) -> Iterator[Block]:
    """Yield the rows of all files in their order, in blocks.

    Raises:
        SourceError: a file cannot be read, ids are missing or too many, a row has no vector.
    """
    for path, ids in vector_files(settings):
        with _reading(path):
            yield from read_matrix_file(path, ids) if ids is not None else read_parquet_file(path, settings)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Say of what NumPy and Arrow raise which file it is about."""
    try:
        yield
    except SourceError:
        raise
    except pa.ArrowException as error:
        raise SourceError(f"{path}: is no Parquet file, or a damaged one ({error}); write it again") from error
    except OSError as error:
        raise unreadable(path, error) from error
