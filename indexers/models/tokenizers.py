"""The tokenizers of models, hashes of what decides their tokens, and the tokens of texts of any length."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnemodex.indexers.models.locate import file_state, locate, need
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

    from mnemodex.indexers.arrays import Int32s, Int64s

_PIECE = 1 << 16
"""Characters tokenised as one: time and memory grow faster than the text (10 MB as one take 10 s and 1.6 GB)."""

_BATCH = 1 << 20
"""Characters that are handed to the tokenizer's threads at once."""


def tokenizer(name: str) -> Tokenizer:
    """Return a model's tokenizer, with truncation and padding off, so that its counts are those of the whole text.

    The words of special tokens are text like any other.

    All steps of a process that ask for it have the same one; nobody sets it otherwise.

    Raises:
        ModelError: there is no such model, or it has no readable `tokenizer.json` (a GGUF file has its own inside).
        ImportError: it is a GGUF file, and what reads those is not installed.
    """
    return _loaded(name, *file_state(_tokenizer_file(name)))


# Size and time are arguments so that a changed file is not answered from the cache.
@functools.lru_cache(maxsize=4)
def _loaded(name: str, file: Path, size: int, mtime_ns: int) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_str(_of_gguf(file)) if _is_gguf(file) else Tokenizer.from_file(str(file))
    except ImportError:
        raise
    except Exception as error:
        # The Rust library raises bare Exception for a file that it cannot read.
        raise ModelError(f"model {name!r}: {file} is not a tokenizer ({error}); fetch the model again") from error
    loaded.no_truncation()
    loaded.no_padding()
    # "</s>" in a document is four characters, not its end.
    loaded.encode_special_tokens = True
    return loaded


def tokenizer_hash(name: str) -> str:
    """Return the SHA-256 of what decides a tokenizer's tokens, as hex.

    Files that differ in their layout only, or in how texts are cut and padded, have one hash: a model that was tuned
    and saved keeps the tokenizer of its index.
    """
    return _tokenizer_content(name, *file_state(_tokenizer_file(name)))


@functools.lru_cache(maxsize=64)
def _tokenizer_content(name: str, path: Path, size: int, mtime_ns: int) -> str:
    return content_hash(tokenizer(name))


def content_hash(tokenizer: Any) -> str:
    """Return the `tokenizer_hash` of a loaded tokenizer, which may cut and pad.

    It is one of the package tokenizers, or one of transformers that has such a one inside; others are a `ModelError`.
    """
    inside = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(inside, "to_str"):
        kind = type(tokenizer).__name__
        raise ModelError(f"tokenizer {kind}: has no tokenizer of the package tokenizers inside; load a fast one")
    content = {**json.loads(inside.to_str()), "truncation": None, "padding": None}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _tokenizer_file(name: str) -> Path:
    root = locate(name)
    file = root if _is_gguf(root) else root / "tokenizer.json"
    if not file.is_file():
        raise ModelError(
            f"model {name!r}: {root} has no tokenizer.json; make one with "
            "transformers.AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER)"
        )
    return file


def _is_gguf(path: Path) -> bool:
    return path.suffix == ".gguf" and path.is_file()


def _of_gguf(path: Path) -> str:
    need("gguf", extra="lm")
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name, local_files_only=True)
    return str(loaded.backend_tokenizer.to_str())


class Tokens(NamedTuple):
    """The tokens of one text, without those that a model adds at its ends."""

    ids: Int32s
    """Token ids, shape (tokens,)."""
    offsets: Int64s
    """Character offsets of each token, start and end, shape (tokens, 2)."""


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """Return the tokens of each text, by a tokenizer with truncation and padding off.

    A long text is tokenised piece by piece, cut before a single space between words. Tokenizers that work on words
    (BERT's, byte-level BPE) give the tokens of the whole text; others may give one token more a piece.
    """
    ids: list[list[Int32s]] = [[np.zeros(0, np.int32)] for _ in texts]
    offsets: list[list[Int64s]] = [[np.zeros((0, 2), np.int64)] for _ in texts]
    for batch in _batches(texts):
        pieces = [texts[number][start:end] for number, start, end in batch]
        encodings = tokenizer.encode_batch(pieces, add_special_tokens=False)
        for (number, start, _), encoding in zip(batch, encodings, strict=True):
            ids[number].append(np.array(encoding.ids, np.int32))
            offsets[number].append(np.array(encoding.offsets, np.int64).reshape(-1, 2) + start)
    return list(map(Tokens, map(np.concatenate, ids), map(np.concatenate, offsets)))


def text_prefix(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the tokens that a model wants before a text (one for its beginning), often none."""
    encoding = tokenizer.encode("a")
    marks = [*encoding.special_tokens_mask, 0]
    return tuple(encoding.ids[: marks.index(0)])


def unknown_token(tokenizer: Tokenizer) -> int | None:
    """Return the id of what is not in the vocabulary; None where a tokenizer has none."""
    model = json.loads(tokenizer.to_str())["model"]
    unknown: int | None = model.get("unk_id")
    if unknown is None and model.get("unk_token") is not None:
        unknown = tokenizer.token_to_id(model["unk_token"])
    return unknown


def token_offsets(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Int64s]:
    """Return the character offsets of the tokens that cover characters: of each text int64 of shape (tokens, 2)."""
    return [offsets[offsets[:, 1] > offsets[:, 0]] for _, offsets in tokenize(tokenizer, texts)]


def _batches(texts: Sequence[str]) -> Iterator[list[tuple[int, int, int]]]:
    """Yield pieces (text, start, end), as many as fill a batch."""
    batch: list[tuple[int, int, int]] = []
    filled = 0
    for number, text in enumerate(texts):
        for start, end in _pieces(text):
            batch.append((number, start, end))
            filled += end - start
            if filled >= _BATCH:
                yield batch
                batch, filled = [], 0
    if batch:
        yield batch


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while len(text) - start > _PIECE:
        end = _word_end(text, start, start + _PIECE)
        yield start, end
        start = end
    yield start, len(text)


def _word_end(text: str, start: int, end: int) -> int:
    """Return the last place before `end` where a single space parts two words, or `end` where there is none."""
    space = text.rfind(" ", start + 1, end)
    while space > start:
        if not text[space - 1].isspace() and not text[space + 1].isspace():
            return space
        space = text.rfind(" ", start + 1, space)
    return end
