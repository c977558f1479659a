"""What a worker needs of a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resources:
    """What one actor of a job is given.

    Attributes:
        cpus: at least so many CPUs; an actor gets more where there are fewer partitions than CPUs and `threads` is on.
        gpu: whether it takes a whole GPU where the cluster has one.
        threads: whether it can use several CPUs at once.
        alone: whether there is one actor in all: what it waits for is not the machine.
    """

    cpus: int = 1
    gpu: bool = False
    threads: bool = False
    alone: bool = False

    def __post_init__(self) -> None:
        if self.cpus < 1:
            msg = f"cpus is {self.cpus}; an actor needs at least 1"
            raise ValueError(msg)
