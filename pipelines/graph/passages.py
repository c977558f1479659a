"""The words and names of passages, partition by partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.indexers.graph.passages import write_passages
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats

if TYPE_CHECKING:
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


class PassagesOp(Op):
    """Writes the words and names of a partition of chunks."""

    seconds_per_megabyte = 1.0

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        output.rows = write_passages(inputs.partition(0).files["parquet"], output.folder)
        return Stats()
