"""Models by name: where a model's folder is, what is in it, and its tokenizer."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer

    from mnemodex.schemas.spec import ModelRef

_ENDINGS = (".safetensors", ".gguf", ".json", ".txt", ".model")
"""Weights, configuration and tokenizer. Pickled weights (`.bin`, `.pt`) are neither fetched nor read."""

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def locate(name: str) -> Path:
    """The folder (or GGUF file) of a model.

    Args:
        name: `pkg:MODULE/FOLDER` for what an installed package ships (it is found, never imported), a local path, or a
            hub id `org/name`, which is fetched unless `HF_HUB_OFFLINE` is set.

    Raises:
        ModelError: there is no such model; the message says what was looked for.
    """
    if name.startswith("pkg:"):
        return _in_package(name)
    local = Path(name).expanduser()
    if name and local.exists():
        return local.absolute()
    if _HUB_ID.fullmatch(name):
        return _from_hub(name)
    msg = f"model {name!r}: no such file or folder; give a path, a hub id (org/name) or pkg:MODULE/FOLDER"
    raise ModelError(msg)


def _in_package(name: str) -> Path:
    module, _, inside = name.removeprefix("pkg:").partition("/")
    # The parents of a dotted name would be imported by the search.
    if not module.isidentifier() or not inside:
        msg = f"model {name!r}: the form is pkg:MODULE/FOLDER, with the name of an installed top-level package"
        raise ModelError(msg)
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        msg = f"model {name!r}: no package {module!r} is installed; `pip install {module.replace('_', '-')}`"
        raise ModelError(msg)
    for place in spec.submodule_search_locations:
        root = Path(place).resolve()
        path = (root / inside).resolve()
        if path.exists() and path.is_relative_to(root):
            return path
    msg = f"model {name!r}: the package {module!r} ({root}) has no {inside!r} in it; mend the name after the slash"
    raise ModelError(msg)


def _from_hub(name: str) -> Path:
    import huggingface_hub

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    patterns = [f"*{ending}" for ending in _ENDINGS]
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns, local_files_only=offline))
    except Exception as error:
        # The library's errors, and those of the three transports below it, have no common base.
        looked = "in the local cache only, for HF_HUB_OFFLINE is set" if offline else "on the Hugging Face hub"
        remedy = (
            "unset HF_HUB_OFFLINE to fetch it"
            if offline
            else "check the id and the network, and log in if it is private"
        )
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        msg = (
            f"model {name!r}: no such local path, and not found as a hub id ({looked}: {first_line}); "
            f"{remedy}, or give a path or pkg:MODULE/FOLDER"
        )
        raise ModelError(msg) from error


def tokenizer(name: str) -> Tokenizer:
    """The model's tokenizer, with truncation and padding off, so that its counts and offsets are of the whole text.

    Raises:
        ModelError: there is no such model, or it has no readable `tokenizer.json` (a GGUF file has its own inside).
        ImportError: it is a GGUF file, and what reads those is not installed.
    """
    from tokenizers import Tokenizer

    file = _tokenizer_file(name)
    try:
        loaded = Tokenizer.from_str(_of_gguf(*_state(file))) if _is_gguf(file) else Tokenizer.from_file(str(file))
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
    return _tokenizer_content(name, *_state(_tokenizer_file(name)))


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


def need(module: str, *, extra: str) -> None:
    """Say in one sentence that an extra is not installed, before a library says it in many.

    Raises:
        MissingExtraError: the module is not there; the message names the extra.
    """
    if importlib.util.find_spec(module) is None:
        msg = f"this needs the package {module!r}: pip install 'mnemodex[{extra}]'"
        raise MissingExtraError(msg)


def spacy_folder(name: str) -> Path:
    """The folder of an installed spaCy model, which is found and not imported, or of one that lies somewhere.

    Raises:
        ModelError: there is none.
    """
    if (Path(name) / "meta.json").is_file():
        return Path(name)
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    for place in (spec.submodule_search_locations if spec else None) or ():
        # The package has a folder of its name and version inside.
        for meta in sorted(Path(place).glob(f"{name}-*/meta.json")):
            return meta.parent
    msg = f"spaCy model {name!r}: is not installed and no folder; pip install 'mnemodex[openie]', or name a folder"
    raise ModelError(msg)


def model_hash(name: str) -> str:
    """SHA-256 over the names and contents of the model's weight, configuration and tokenizer files, in hexadecimal.

    Raises:
        ModelError: there is no such model, or no such file in it.
    """
    root = locate(name)
    digest = hashlib.sha256()
    files = list(_model_files(root))
    if not files:
        msg = f"model {name!r}: {root} has no weight, configuration or tokenizer file ({', '.join(_ENDINGS)})"
        raise ModelError(msg)
    for relative, file in files:
        content = _file_hash(*_state(file))
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
        return _file_hash(*_state(spacy_folder(name) / "meta.json"))
    return model_hash(name)


def _model_files(root: Path) -> Iterator[tuple[str, Path]]:
    if root.is_file():
        yield root.name, root
        return
    files = [file for file in root.rglob("*") if file.suffix in _ENDINGS and file.is_file()]
    yield from sorted((file.relative_to(root).as_posix(), file) for file in files)


def _state(path: Path) -> tuple[Path, int, int]:
    """A file and how it stands, as the key of a cache."""
    state = path.stat()
    return path, state.st_size, state.st_mtime_ns


@functools.lru_cache(maxsize=4096)
def _file_hash(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file; size and time are arguments so that a changed file is not answered from the cache."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
