"""`demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    full: Annotated[bool, typer.Option("--full", help="The whole manual, not only a part of it.")] = False,
    lm: Annotated[
        bool, typer.Option("--lm", help="A next-token memory with SmolLM2 too, which takes some minutes on a CPU.")
    ] = False,
    memory: Annotated[Path, typer.Option(help="Where to build it.")] = Path("memories/python-manual"),
) -> None:
    """Build the memory of the Python manual and ask it a few questions."""
    from mnemodex.demo.manual import run

    run(memory, full=full, lm=lm)
