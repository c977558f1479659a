"""The tokenizers of models, and hashes of what decides their tokens."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models.locate import file_state, locate, need
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer


def tokenizer(name: str) -> Tokenizer:
    """The model's tokenizer, with truncation and padding off, so that its counts and offsets are of the whole text.

    Raises:
        ModelError: there is no such model, or it has no readable `tokenizer.json` (a GGUF file has its own inside).
        ImportError: it is a GGUF file, and what reads those is not installed.
    """
    from tokenizers import Tokenizer

    file = _tokenizer_file(name)
    try:
        loaded = Tokenizer.from_str(_of_gguf(*file_state(file))) if _is_gguf(file) else Tokenizer.from_file(str(file))
    except ImportError:
        raise
    except Exception as error:
        # The Rust library raises bare Exception for a file that it cannot read.
        msg = f"model {name!r}: {file} is not a tokenizer ({error}); fetch the model again"
        raise ModelError(msg) from error
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def tokenizer_hash(name: str) -> str:
    """SHA-256 of what decides a tokenizer's tokens, in hexadecimal.

    Files that differ in their layout only, or in how texts are cut and padded, have one hash: a model that was tuned
    and saved anew keeps the tokenizer of its index.

    Raises:
        ModelError: see `tokenizer`.
    """
    return _tokenizer_content(name, *file_state(_tokenizer_file(name)))


@functools.lru_cache(maxsize=64)
def _tokenizer_content(name: str, path: Path, size: int, mtime_ns: int) -> str:
    """The hash of a tokenizer; the file's state is an argument as in `_file_hash`."""
    return content_hash(tokenizer(name))


def content_hash(tokenizer: Any) -> str:
    """The same of a tokenizer that is loaded already, SHA-256 in hexadecimal.

    Args:
        tokenizer: of the package tokenizers, or one of transformers that has such a one inside. It may cut and pad.

    Raises:
        ModelError: it has none.
    """
    inside = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(inside, "to_str"):
        msg = (
            f"tokenizer {type(tokenizer).__name__}: has no tokenizer of the package tokenizers inside; load a fast one"
        )
        raise ModelError(msg)
    content = {**json.loads(inside.to_str()), "truncation": None, "padding": None}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _tokenizer_file(name: str) -> Path:
    folder = locate(name)
    if _is_gguf(folder):
        return folder
    file = folder / "tokenizer.json"
    if not file.is_file():
        msg = (
            f"model {name!r}: {folder} has no tokenizer.json; make one with "
            "transformers.AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER)"
        )
        raise ModelError(msg)
    return file


def _is_gguf(path: Path) -> bool:
    return path.suffix == ".gguf" and path.is_file()


@functools.lru_cache(maxsize=4)
def _of_gguf(path: Path, size: int, mtime_ns: int) -> str:
    """The tokenizer inside a GGUF file as JSON; reading one takes seconds, so the last ones are kept."""
    need("gguf", extra="lm")
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name, local_files_only=True)
    return str(found.backend_tokenizer.to_str())
