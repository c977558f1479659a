"""Questions of a query file as vectors, to measure recall with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from typing_extensions import override

from mnemodex.indexers.encoders import open_encoder
from mnemodex.indexers.encoders.base import normalize
from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.vectors.matrix_files import map_matrix
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.kinds import KINDS, AnyEncoder, load
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import RecipePath, Spec

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Float32s
    from mnemodex.indexers.base import Indexer
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


class QuerySettings(Spec):
    """An encoder, the file of questions or of their vectors, and the type of the index that they are asked."""

    encoder: AnyEncoder
    index: str
    path: Annotated[str, RecipePath()]


class QueriesOp(Op):
    """Writes `queries.npy`: float32 of shape (questions, dimension)."""

    Settings = QuerySettings
    settings: QuerySettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        if is_matrix(self.settings.path):
            return self._copy(output)
        encoder = open_encoder(self.settings.encoder, threads=self.work.cpus, objects=self.work.objects)
        texts = question_texts(self.settings.path, self.settings.index)
        np.save(output.folder / "queries.npy", encoder.encode_queries(texts), allow_pickle=False)
        output.rows = len(texts)
        return Stats(dimension=encoder.dimension)

    def _copy(self, output: Output) -> Stats:
        """Take the vectors of questions as they are, of length 1 where those of the chunks are made so."""
        settings: Any = self.settings.encoder
        vectors = read_matrix(self.settings.path)
        if settings.normalize:
            vectors = normalize(vectors)
        np.save(output.folder / "queries.npy", vectors, allow_pickle=False)
        output.rows = len(vectors)
        return Stats(dimension=vectors.shape[1])


def is_matrix(path: str) -> bool:
    """Whether a file of questions has their vectors."""
    return path.endswith(".npy")


def read_matrix(path: str) -> Float32s:
    """Return the vectors of questions, of shape (questions, dimension).

    Raises:
        QueryError: there are none, or one is not of finite numbers.
        SourceError: the file is no matrix of numbers.
    """
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(map_matrix(path), np.float32)
    if not len(vectors):
        raise QueryError(f"{path}: has no vectors; write one for each question, or leave `queries` out of the index")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise QueryError(
            f"{path}: row {np.argmin(finite) + 1}: the vector holds NaN, infinity or what float32 cannot hold; encode "
            "the question again"
        )
    return vectors


def question_texts(path: str, index: str) -> list[str]:
    """Return the questions of a query file as an index of a type encodes them.

    A `QueryError` says that the file is missing, or is none.
    """
    indexer: type[Indexer] = load(KINDS.find(index).indexer)
    return [indexer.asked(query.question) for query in read_queries(Path(path))]
