"""Short codes of the vectors of facts and passages: training, and one partition after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from typing_extensions import override

from mnemodex.indexers.arrays import find_ids, map_array
from mnemodex.indexers.dense.vectors import Vectors
from mnemodex.indexers.graph.codes import KnownCodes, train_codes, write_codes
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


class CodeSettings(Spec):
    """Settings of codes.

    Attributes:
        lists: whether they are in inverted lists, of which a search looks at some.
    """

    lists: bool


class TrainCodesOp(Op):
    """Trains codes with the vectors that came first."""

    version: ClassVar[int] = 2
    Settings: ClassVar[type[Spec]] = CodeSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        train_codes(_vectors(inputs), output.folder, lists=self.settings.lists)
        return Stats()


class KnownSettings(Spec):
    """The labels of what codes are made of, which decide nothing."""

    vectors: Annotated[str, RunOnly()]
    trained: Annotated[str, RunOnly()]


class WriteCodesOp(Op):
    """Writes the codes of a partition of vectors; the inputs are the partition and what was trained.

    Those that the current snapshot has of the partition are taken over, where the same was trained.
    """

    version: ClassVar[int] = 2
    Settings: ClassVar[type[Spec]] = KnownSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        vectors = _vectors(inputs)
        known = self._known(inputs)
        write_codes(inputs.folder(1), vectors, output.folder, cpus=self.work.cpus, known=known)
        output.rows = len(vectors)
        return Stats(reused=len(known.rows) if known is not None else 0)

    def _known(self, inputs: Inputs) -> KnownCodes | None:
        former, label = inputs.former, inputs.unit.label
        if not former or inputs.former_of(self.settings.trained).places != inputs.places(1):
            return None
        before = inputs.former_of(self.settings.vectors).file(label, ".parquet")
        codes = former.file(label, ".npy")
        if before is None or codes is None:
            return None
        ids, column = inputs.ids(0, former.column), parquet.column(before, former.column)
        if not len(column):
            return None
        places = find_ids(column, ids)
        rows = np.flatnonzero(column[places] == ids)
        return KnownCodes(rows, map_array(codes)[places[rows]])


def _vectors(inputs: Inputs) -> Vectors:
    parts = inputs.partitions(0)
    return Vectors.of(parts, dimension=parts[0].stats.dimension)
