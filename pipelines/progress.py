"""What a build says while it runs: bars on a terminal, lines elsewhere, always on stderr."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress as Bars

    from mnemodex.schemas.manifest import Artifact

_log = logging.getLogger("mnemodex")
_LINE_SECONDS = 10.0


@dataclass
class StageReport:
    """One line of the closing table.

    Attributes:
        name: the stage.
        partitions: partitions of its output.
        computed: how many of them this build computed; the others were there.
        rows: rows of the output.
        bytes: bytes of the output.
        seconds: wall time of this build's part.
        computed_rows: rows that this build computed.
        note: what else there is to say of it.
    """

    name: str
    partitions: int = 0
    computed: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    computed_rows: int = 0
    note: str = ""

    @property
    def rate(self) -> float | None:
        """Computed rows a second."""
        return self.computed_rows / self.seconds if self.computed_rows and self.seconds else None


@dataclass
class Progress:
    """Follows a build stage by stage.

    Args:
        bars: whether to draw bars; for a terminal.
    """

    bars: bool = False
    stages: list[StageReport] = field(default_factory=list)

    def stage(self, name: str, *, partitions: int, found: Sequence[Artifact], todo: int) -> StageProgress:
        """Begin a stage of which some partitions are there already and some are to be computed."""
        report = StageReport(name, partitions, 0, sum(a.rows for a in found), sum(a.bytes for a in found))
        self.stages.append(report)
        return StageProgress(report, todo, bars=self.bars and todo > 0)


class StageProgress:
    """One stage's bar, or its lines."""

    def __init__(self, report: StageReport, todo: int, *, bars: bool) -> None:
        self._report = report
        self._todo = todo
        self._bars = bars

    def __enter__(self) -> Self:
        self._started = self._said = time.perf_counter()
        self._bar = self._make_bar() if self._bars else None
        return self

    def __exit__(self, *error: object) -> None:
        self._report.seconds = time.perf_counter() - self._started
        if self._bar is not None:
            self._bar.stop()
        elif self._report.computed:
            self._line()

    def done(self, artifact: Artifact) -> None:
        """Count one computed partition."""
        self._report.computed += 1
        self._report.rows += artifact.rows
        self._report.computed_rows += artifact.rows
        self._report.bytes += artifact.bytes
        if self._bar is not None:
            self._bar.advance(self._task)
        elif time.perf_counter() - self._said > _LINE_SECONDS and self._report.computed < self._todo:
            self._said = time.perf_counter()
            self._line()

    def _line(self) -> None:
        seconds = time.perf_counter() - self._started
        report = self._report
        _log.info(
            "%s: %d of %d partitions, %d rows, %.1f s",
            report.name,
            report.computed,
            self._todo,
            report.computed_rows,
            seconds,
        )

    def _make_bar(self) -> Bars:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = bar.add_task(self._report.name, total=self._todo)
        bar.start()
        return bar
