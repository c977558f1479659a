"""What a build says while it runs: bars on a terminal, lines elsewhere, always on stderr."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import rich.progress

    from mnemodex.pipelines.messages import Unit
    from mnemodex.schemas.manifest import Artifact

_log = logging.getLogger("mnemodex")
_LINE_SECONDS = 10.0


@dataclass
class StepReport:
    """One line of the closing table.

    Attributes:
        name: the step.
        partitions: partitions of its result.
        computed: how many of them this build computed; the others were there.
        rows: rows of the result.
        bytes: bytes of the result.
        seconds: wall time from its first computed unit to its last.
        rows_computed: rows that this build computed.
        rows_reused: rows of those that were taken over from the former snapshot.
        note: what else there is to say of it.
        cache: whether its result is an intermediate one.
    """

    name: str
    partitions: int = 0
    computed: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    rows_computed: int = 0
    rows_reused: int = 0
    note: str = ""
    cache: bool = False

    @property
    def rate(self) -> float | None:
        """Computed rows a second."""
        return self.rows_computed / self.seconds if self.rows_computed and self.seconds else None

    def to_json(self, *, planned: bool) -> dict[str, Any]:
        """Return it as `build --json` prints it; of a plan, the units that would be computed."""
        names = {"computed": "planned"} if planned else {}
        fields = {names.get(name, name): value for name, value in asdict(self).items()}
        if not self.note:
            del fields["note"]
        return fields


@dataclass
class _Running:
    """A step while it runs."""

    report: StepReport
    started: float = 0.0
    todo: int = 0
    begun: int = 0
    expected: int = 0
    partial: dict[str, int] = field(default_factory=dict)
    said: float = 0.0
    bar: Any = None

    @property
    def rows(self) -> int:
        return self.report.rows_computed + sum(self.partial.values())


class Progress:
    """Follows a build step by step, also within a partition; on a terminal with bars.

    Attributes:
        reports: the closing table, in the order of the steps.
        waiting: steps that are still to be declared.
    """

    def __init__(self, *, bars: bool = False) -> None:
        self._running: dict[str, _Running] = {}
        self._bars = bars
        self._display: rich.progress.Progress | None = None
        self.waiting = 0

    @property
    def reports(self) -> list[StepReport]:
        """The closing table."""
        return [step.report for step in self._running.values()]

    def begin(self, name: str, *, cache: bool = False) -> None:
        """Note a step of the plan."""
        self._running[name] = _Running(StepReport(name, cache=cache))

    def todo(self, name: str, left: int = 1, *, rows: int = 0) -> None:
        """Note a unit that is begun.

        Args:
            name: the step.
            left: units of it that are still to be computed, as far as that is known; this one is among them.
            rows: that the unit will have, if that is known.
        """
        step = self._running[name]
        if not step.todo:
            step.started = step.said = time.perf_counter()
            if self._bars:
                self._display = self._display or _start_bars()
                step.bar = self._display.add_task(self._title(name), total=None, rate="")
        step.todo = step.report.computed + left
        step.begun += 1
        step.expected += rows
        self._show(step)

    def plan(self, units: Mapping[str, int], waiting: Sequence[str]) -> None:
        """Note what would be computed: units by step, and what is not known before others are computed."""
        for step in self._running.values():
            # The source has been planned, to know the units.
            step.report.computed = 0
        for name, count in units.items():
            report = self._running[name].report
            report.computed = count
            report.partitions += count
        for name in waiting:
            self._running[name] = _Running(StepReport(name, 1, 1, note="known when what it reads is computed"))

    def rows(self, unit: Unit, rows: int) -> None:
        """Note how many rows of a unit are done."""
        step = self._running[unit.step]
        step.partial[unit.label] = rows
        self._show(step)
        self._say(step)

    def done(self, name: str, label: str, artifact: Artifact, *, computed: bool) -> None:
        """Note a finished unit."""
        step = self._running[name]
        report = step.report
        report.partitions += 1
        report.rows += artifact.rows
        report.bytes += artifact.bytes
        if not computed:
            return
        step.partial.pop(label, None)
        report.computed += 1
        report.rows_computed += artifact.rows
        report.rows_reused += artifact.stats.reused
        report.seconds = time.perf_counter() - step.started
        self._show(step)
        self._say(step)

    def end(self, name: str, note: str) -> None:
        """Note that a step is complete."""
        step = self._running[name]
        step.report.note = note
        if step.report.computed:
            self._line(step)
        if self._display is not None and step.bar is not None:
            self._display.remove_task(step.bar)

    def close(self) -> None:
        """Take the bars away."""
        if self._display is not None:
            self._display.stop()

    def _title(self, name: str) -> str:
        """Return the step's name with its number among those whose results are kept for themselves."""
        steps = [step for step, running in self._running.items() if not running.report.cache]
        if name not in steps:
            return name
        return f"stage {steps.index(name) + 1} of {len(steps) + self.waiting}: {name}"

    def _show(self, step: _Running) -> None:
        if self._display is not None and step.bar is not None:
            title, done = self._title(step.report.name), step.report.computed
            self._display.update(step.bar, description=title, completed=done, total=step.todo, rate=self._rate(step))

    def _rate(self, step: _Running) -> str:
        seconds = time.perf_counter() - step.started
        if not step.rows or seconds <= 0:
            return ""
        rate = step.rows / seconds
        text = f"{step.rows:,} rows, {f'{rate:,.0f}' if rate >= 10 else f'{rate:.2g}'} rows/s"
        done = step.report.computed
        # Partitions are of like size, so the others have as many rows as those that are done, or that are begun.
        known, units = (step.report.rows_computed, done) if done else (step.expected, step.begun)
        if known and done < step.todo:
            left = step.todo * known / units - step.rows
            text += f", about {max(left, 0) / rate:,.0f} s left"
        return text

    def _say(self, step: _Running) -> None:
        """Log a line now and then, where no bars are drawn."""
        if not self._bars and time.perf_counter() - step.said > _LINE_SECONDS:
            step.said = time.perf_counter()
            report = step.report
            rate = f", {rate}" if (rate := self._rate(step)) else ""
            _log.info("%s: %d of %d partitions%s", self._title(report.name), report.computed, step.todo, rate)

    def _line(self, step: _Running) -> None:
        if not self._bars:
            report = step.report
            counts = report.name, report.computed, step.todo, report.rows_computed, report.seconds
            _log.info("%s: %d of %d partitions, %d rows, %.1f s", *counts)


def _start_bars() -> rich.progress.Progress:
    """Return a display of bars, one a running step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    name, rate = (TextColumn(text, markup=False) for text in ("{task.description:<36}", "{task.fields[rate]}"))
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), rate)
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    bars.start()
    return bars
