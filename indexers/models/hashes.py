"""Hashes of models, which decide the files that are made with them."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

from mnemodex.indexers.models.locate import MODEL_ENDINGS, file_state, locate, model_files, spacy_folder
from mnemodex.indexers.models.tokenizers import tokenizer_hash
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.schemas.spec import ModelRef


def model_hash(name: str) -> str:
    """Return the SHA-256 of the names and contents of a model's weight, configuration and tokenizer files, as hex."""
    root = locate(name)
    if root.is_file():
        return _hash({root.name: root})
    files = [path for path in model_files(root) if path.suffix in MODEL_ENDINGS]
    if not files:
        endings = ", ".join(MODEL_ENDINGS)
        raise ModelError(f"model {name!r}: {root} has no weight, configuration or tokenizer file ({endings})")
    return _hash({path.relative_to(root).as_posix(): path for path in files})


def digest_of(name: str, ref: ModelRef) -> str:
    """Return the hash of what counts of a model."""
    if ref.part == "tokenizer":
        return tokenizer_hash(name)
    if ref.part == "spacy":
        root = spacy_folder(name)
        # A pipeline reads files of any ending.
        return _hash({path.relative_to(root).as_posix(): path for path in model_files(root)})
    return model_hash(name)


def _hash(files: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for relative, path in sorted(files.items()):
        # A hash has one length and a path no NUL, so no two sets of files read the same.
        digest.update(f"{relative}\0{_file_hash(*file_state(path))}".encode())
    return digest.hexdigest()


# Size and time are arguments so that a changed file is not answered from the cache.
@functools.lru_cache(maxsize=4096)
def _file_hash(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
