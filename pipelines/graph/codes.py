"""Short codes of the vectors of facts and passages: training, and one partition after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from mnemodex.indexers.dense.vectors import Vectors
from mnemodex.indexers.graph.codes import train_codes, write_codes
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec

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


class WriteCodesOp(Op):
    """Writes the codes of a partition of vectors; the inputs are the partition and what was trained."""

    version: ClassVar[int] = 2

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        vectors = _vectors(inputs)
        write_codes(inputs.folder(1), vectors, output.folder, cpus=self.work.cpus)
        output.rows = len(vectors)
        return Stats()


def _vectors(inputs: Inputs) -> Vectors:
    parts = inputs.partitions(0)
    return Vectors.of(parts, dimension=parts[0].stats.dimension)
