"""Encoders (texts in, vectors out), and opening those of a recipe: ours, a plug-in's, or a caller's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from typing_extensions import override

from mnemodex.indexers.models.hashes import digest_of
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.kinds import ENCODERS, load
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.passed import PassedEmbedding
from mnemodex.schemas.spec import ModelRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.schemas.spec import Spec

_BATCH = 256
"""Texts of one call of an encoder that does not cut batches itself."""


@dataclass
class EncodeStats:
    """Counts of an encoder's work: texts, real and padded tokens, characters read, and those in unknown tokens."""

    texts: int = 0
    tokens: int = 0
    padded: int = 0
    characters: int = 0
    unknown: int = 0


class Window(NamedTuple):
    """Texts that are sorted by length together; `done` are those that have their vectors, bool of shape (texts,)."""

    texts: Sequence[str]
    done: Bools | None = None


class Encoded(NamedTuple):
    """The vectors of some texts of a window, float32 of shape (n, dimension); `rows` are the texts' numbers in it.

    `truncated` says which texts were cut at the model's limit, bool of shape (n,); None where that is not known.
    """

    window: int
    rows: Int64s
    vectors: Float32s
    truncated: Bools | None = None


class PlainEncoder(Protocol):
    """The least that an encoder of a plug-in or of a Python caller has."""

    dimension: int

    def encode(self, texts: Sequence[str]) -> Float32s:
        """Return the vectors of texts, float32 of shape (texts, dimension)."""


class TextEncoder(Protocol):
    """An encoder as indexes and retrievers use it, of settings that are a `TextEmbedding`."""

    settings: Any
    stats: EncodeStats

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""

    @property
    def max_length(self) -> int | None:
        """Tokens after which a text is cut; None where that is not known."""
        return None

    def encode_queries(self, texts: Sequence[str]) -> Float32s:
        """Return the vectors of questions, float32 of shape (texts, dimension)."""
        return self.encode([self.settings.query_prefix + text for text in texts])

    def encode(self, texts: Sequence[str]) -> Float32s:
        """Return the vectors of texts as they are, float32 of shape (texts, dimension)."""
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for part in self.stream([Window(texts)]):
            vectors[part.rows] = part.vectors
        return vectors

    def stream(self, windows: Iterable[Window]) -> Iterator[Encoded]:
        """Encode windows of texts as they are, as a stream.

        Windows come in order, their vectors in any order; texts that are done are left out where that saves work.
        """


def normalize(vectors: Float32s) -> Float32s:
    """Return vectors of length 1; those of length 0 stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)


def open_encoder(
    settings: Spec, *, threads: int | None = None, objects: Mapping[str, Any] | None = None
) -> TextEncoder:
    """Return the encoder of an entry of the recipe's section `embed`, its model loaded.

    A model that is not there, or is no encoder, is a `ModelError`. `threads` are CPU threads, all that it finds by
    default; `objects` are what the caller of `build` passed.
    """
    if isinstance(settings, PassedEmbedding):
        passed = (objects or {}).get(f"embed/{settings.name}")
        if passed is None:
            raise ModelError(
                f"embedding {settings.name!r} was made by an object that the caller of build passed; pass it again: "
                f"encoders={{{settings.name!r}: encoder}}"
            )
        return Adapted(passed, settings)
    name: Any = getattr(settings, "encoder", None)
    with ENCODERS.calling(name) as entry:
        encoder: Any = load(entry.make)(settings, threads=threads)
    return encoder if isinstance(getattr(encoder, "stats", None), EncodeStats) else Adapted(encoder, settings)


def encoder_hash(settings: Spec) -> str:
    """Return the hash of what decides an encoder's vectors besides its settings: its model's files, or its name."""
    models = [digest_of(leaf.value, ref) for leaf in settings.leaves() if (ref := leaf.marker(ModelRef)) and leaf.value]
    return models[0] if models else fingerprint(settings.identity())


class Adapted(TextEncoder):
    """A plain encoder with the prefixes, normalisation and batches of any encoder, as a `TextEmbedding` sets them."""

    def __init__(self, plain: PlainEncoder, settings: Any) -> None:
        self._plain = plain
        self.settings = settings
        self.stats = EncodeStats()

    @property
    @override
    def dimension(self) -> int:
        return int(self._plain.dimension)

    @property
    @override
    def max_length(self) -> int | None:
        return getattr(self._plain, "max_length", None)

    @override
    def encode(self, texts: Sequence[str]) -> Float32s:
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        # Whatever the encoder itself raises is for the caller to see.
        output = self._plain.encode(list(texts))
        try:
            if np.iscomplexobj(output):
                raise TypeError("they are complex")
            vectors = np.asarray(output, np.float32)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"encoder {type(self._plain).__name__} gives no matrix of vectors ({error}); correct it"
            ) from error
        if vectors.shape != (len(texts), self.dimension):
            raise ModelError(
                f"encoder {type(self._plain).__name__} gives vectors of shape {vectors.shape} for {len(texts)} texts "
                f"and dimension {self.dimension}; correct it"
            )
        return np.ascontiguousarray(normalize(vectors) if self.settings.normalize else vectors, np.float32)

    @override
    def stream(self, windows: Iterable[Window]) -> Iterator[Encoded]:
        for number, (texts, done) in enumerate(windows):
            for start in range(0, len(texts), _BATCH):
                rows = np.arange(start, min(start + _BATCH, len(texts)))
                # Batches are those of the whole window, so that vectors are the same after an interruption.
                if done is None or not done[rows].all():
                    vectors = self.encode(texts[start : start + _BATCH])
                    if len(vectors) > 1 and not vectors.any():
                        raise ModelError(
                            f"encoder {type(self._plain).__name__} gives zeros for {len(vectors)} texts; correct it"
                        )
                    yield Encoded(number, rows, vectors)
            self.stats.texts += len(texts)
