"""What breaks first: for each limit the number of documents at which it is reached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnemodex.pipelines.planner.machine import USABLE

if TYPE_CHECKING:
    from mnemodex.pipelines.planner.estimate import BuildPlan
    from mnemodex.pipelines.planner.machine import Machine

_WEEK = 7 * 24 * 3600
_RISK = 0.05
_BESIDES = 1.1
_IDS = 2.0**63


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit.

    Attributes:
        documents: at which it is reached, if costs grow with the documents from those that are planned.
        what: is reached, and the remedy.
    """

    documents: float
    what: str


def limits(plan: BuildPlan, machine: Machine) -> list[Limit]:
    """Return the limits of a plan on machines of a size, the first one to break first."""
    documents, memory = plan.documents, machine.memory * USABLE
    found = []
    if machine.disk is not None:
        # Files of a build are written before others that they replace are gone.
        room = documents * machine.disk / max(plan.bytes.value * _BESIDES, 1)
        found.append(Limit(room, "the disk is full; build on a larger one"))
    searched = sum(part.bytes.value for part in plan.of("index"))
    if searched:
        what = f"the indexes fill the memory of one machine ({machine}), and searches read the disk"
        found.append(Limit(documents * memory / searched, f"{what}; spread them over several machines"))
    largest = max(plan.parts, key=lambda part: part.memory)
    # Partitions and shards are bounded: what fits now fits for any number of documents.
    grows = not largest.bounded or largest.memory > memory
    what = f"building {largest.name} takes the memory of one machine ({machine})"
    remedy = (
        "a smaller shard_rows, or machines with more" if largest.bounded else "machines with more, or several memories"
    )
    found.append(Limit(documents * memory / max(largest.memory, 1) if grows else math.inf, f"{what}; {remedy}"))
    units = [part for part in plan.parts if part.kind != "start"]
    seconds = sum(part.cpu.value for part in units) / machine.cores
    slowest = max(units, key=lambda part: part.cpu.value)
    share = slowest.cpu.value / machine.cores / max(seconds, 1e-9)
    what = f"one machine builds for a week, {share:.0%} of it {slowest.name}"
    found.append(Limit(documents * _WEEK / max(seconds, 1e-9), f"{what}; build on a cluster, or models on GPUs"))
    rows = max((part.rows for part in plan.of("table")), default=documents)
    collision = math.sqrt(2 * _IDS * -math.log(1 - _RISK))
    found.append(
        Limit(
            documents * collision / max(rows, 1),
            f"two ids of 63 bits are equal with a chance of {_RISK:.0%}: the build refuses them; set id_salt",
        )
    )
    return sorted(found, key=lambda limit: limit.documents)
