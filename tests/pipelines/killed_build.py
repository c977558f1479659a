"""A build that kills itself (SIGKILL) when a model's work has been kept so many times.

Run as a program: `killed_build.py RECIPE TIMES`. Batches are small, and each is kept at once, as `small_batches` has it
for the builds of a test too.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

import mnemodex
from mnemodex.indexers.encoders import local
from mnemodex.indexers.lm import reader
from mnemodex.pipelines.ops import checkpoint


def small_batches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoint, "SECONDS", 0)
    patch.setattr(local, "_CPU_TOKENS", 512)
    patch.setattr(reader, "_CPU_TOKENS", 128)


class Killed(checkpoint.Checkpoint):
    """Kills its process after some writes."""

    left = 0

    def _write(self) -> None:
        super()._write()
        Killed.left -= 1
        if Killed.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(recipe: Path, times: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small_batches(patch)
        patch.setattr("mnemodex.pipelines.ops.output.Checkpoint", Killed)
        Killed.left = times
        mnemodex.build(recipe, local=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
