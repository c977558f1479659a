"""Opening an encoder: the settings of a recipe become a `TextEncoder`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.encoders.base import Encoded, EncodeStats, TextEncoder
from mnemodex.indexers.models.hashes import digest_of
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.kinds import ENCODERS, load
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.passed import PassedEmbedding
from mnemodex.schemas.spec import ModelRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mnemodex.indexers.encoders.base import PlainEncoder, Window
    from mnemodex.schemas.embedding import TextEmbedding
    from mnemodex.schemas.spec import Spec

_BATCH = 256
"""Texts of one call of an encoder that we know nothing of."""


def open_encoder(
    settings: Spec, *, threads: int | None = None, objects: Mapping[str, Any] | None = None
) -> TextEncoder:
    """Return the encoder that settings ask for, its model loaded.

    Args:
        settings: an entry of the recipe's section `embed`.
        threads: CPU threads; all that it finds by default.
        objects: what the caller of `build` passed.

    Raises:
        ModelError: there is no such model, or it is no encoder.
    """
    if isinstance(settings, PassedEmbedding):
        passed = (objects or {}).get(f"embed/{settings.name}")
        if passed is None:
            msg = (
                f"embedding {settings.name!r} was made by an object that the caller of build passed; pass it again: "
                f"encoders={{{settings.name!r}: encoder}}"
            )
            raise ModelError(msg)
        return Adapted(passed, settings)
    name: Any = getattr(settings, "encoder", None)
    made: Any = load(ENCODERS.find(name).make)(settings, threads=threads)
    return made if isinstance(getattr(made, "stats", None), EncodeStats) else Adapted(made, settings)


def encoder_hash(settings: Spec) -> str:
    """Return the hash of what decides an encoder's vectors beside its settings: its model's files, or its name.

    Raises:
        ModelError: there is no such model.
    """
    models = [digest_of(leaf.value, ref) for leaf in settings.leaves() if (ref := leaf.marker(ModelRef)) and leaf.value]
    return models[0] if models else fingerprint(settings.identity())


class Adapted:
    """A plain encoder with what is said of any encoder: prefixes, normalisation, batches. See `TextEncoder`.

    Args:
        plain: a `PlainEncoder`.
        settings: a `TextEmbedding`.
    """

    def __init__(self, plain: PlainEncoder, settings: Any) -> None:
        self._plain = plain
        self._settings: TextEmbedding = settings
        self.stats = EncodeStats()

    @property
    def dimension(self) -> int:
        """See `TextEncoder`."""
        return int(self._plain.dimension)

    @property
    def max_length(self) -> int | None:
        """See `TextEncoder`."""
        return getattr(self._plain, "max_length", None)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `TextEncoder`."""
        return self.encode([self._settings.query_prefix + text for text in texts])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `TextEncoder`.

        Raises:
            ModelError: the vectors are no matrix of the shape that they should have.
        """
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        given = self._plain.encode(list(texts))
        try:
            vectors = np.asarray(given, np.float32)
        except (TypeError, ValueError) as error:
            msg = f"encoder {type(self._plain).__name__} gives no matrix of vectors ({error}); correct it"
            raise ModelError(msg) from error
        if vectors.shape != (len(texts), self.dimension):
            msg = (
                f"encoder {type(self._plain).__name__} gives vectors of shape {vectors.shape} for {len(texts)} texts "
                f"and dimension {self.dimension}; correct it"
            )
            raise ModelError(msg)
        if self._settings.normalize:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
        return np.ascontiguousarray(vectors, np.float32)

    def stream(self, windows: Iterable[Window]) -> Iterator[Encoded]:
        """See `TextEncoder`."""
        for number, (texts, done) in enumerate(windows):
            for start in range(0, len(texts), _BATCH):
                rows = np.arange(start, min(start + _BATCH, len(texts)))
                # Batches are those of the whole window, so that vectors are the same after an interruption.
                if done is not None and done[rows].all():
                    continue
                yield Encoded(number, rows, self.encode(texts[start : start + _BATCH]))
            self.stats.texts += len(texts)
