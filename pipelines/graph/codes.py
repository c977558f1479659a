"""Short codes of the vectors of facts: training, and one partition after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.indexers.dense.vectors import Vectors
from mnemodex.indexers.graph.codes import train_codes, write_codes
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats

if TYPE_CHECKING:
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


class TrainCodesOp(Op):
    """Trains codes with vectors of the facts that came first."""

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        train_codes(_vectors(inputs), output.folder)
        return Stats()


class WriteCodesOp(Op):
    """Writes the codes of a partition of vectors; the inputs are the partition and what was trained."""

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        vectors = _vectors(inputs)
        write_codes(inputs.folder(1), vectors, output.folder, cpus=self.work.cpus)
        output.rows = len(vectors)
        return Stats()


def _vectors(inputs: Inputs) -> Vectors:
    parts = inputs.partitions(0)
    return Vectors.of(parts, dimension=parts[0].stats.dimension)
