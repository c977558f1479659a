"""Hashes of models: what decides the files that are made with them."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

from mnemodex.indexers.models.locate import MODEL_ENDINGS, file_state, locate, spacy_folder
from mnemodex.indexers.models.tokenizers import tokenizer_hash
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnemodex.schemas.spec import ModelRef


def model_hash(name: str) -> str:
    """SHA-256 over the names and contents of the model's weight, configuration and tokenizer files, in hexadecimal.

    Raises:
        ModelError: there is no such model, or no such file in it.
    """
    root = locate(name)
    digest = hashlib.sha256()
    files = list(_model_files(root))
    if not files:
        msg = f"model {name!r}: {root} has no weight, configuration or tokenizer file ({', '.join(MODEL_ENDINGS)})"
        raise ModelError(msg)
    for relative, file in files:
        content = _file_hash(*file_state(file))
        # A hash has one length and a path no NUL, so no two sets of files read the same.
        digest.update(f"{relative}\0{content}".encode())
    return digest.hexdigest()


def digest_of(name: str, ref: ModelRef) -> str:
    """Return the hash of what counts of a model.

    Raises:
        ModelError: there is no such model.
    """
    if ref.part == "tokenizer":
        return tokenizer_hash(name)
    if ref.part == "spacy":
        return _file_hash(*file_state(spacy_folder(name) / "meta.json"))
    return model_hash(name)


def _model_files(root: Path) -> Iterator[tuple[str, Path]]:
    if root.is_file():
        yield root.name, root
        return
    files = [file for file in root.rglob("*") if file.suffix in MODEL_ENDINGS and file.is_file()]
    yield from sorted((file.relative_to(root).as_posix(), file) for file in files)


@functools.lru_cache(maxsize=4096)
def _file_hash(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file; size and time are arguments so that a changed file is not answered from the cache."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
