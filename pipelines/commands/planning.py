"""`plan`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnemodex.pipelines.commands.output import print_json, print_table, say, size

if TYPE_CHECKING:
    from mnemodex.pipelines.planner.laws import Estimate
    from mnemodex.pipelines.planner.plan import CapacityPlan


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: mnemodex plan recipe.yaml --documents 1000000 --seconds 10")(plan)


def plan(
    recipe: Annotated[Path, typer.Argument(help="The recipe, whose own source is sampled.")],
    documents: Annotated[int, typer.Option(help="Documents to plan for; pairs, of a recipe without documents.", min=1)],
    queries_per_second: Annotated[
        float, typer.Option(help="Questions a second that each index is to answer.", min=0.0)
    ] = 0.0,
    machine: Annotated[
        str | None, typer.Option(help="The machines, as cores=32,memory=256GiB,gpus=1,disk=2TiB; by default this one.")
    ] = None,
    gpu_tflops: Annotated[
        float, typer.Option(help="What a GPU computes in models, an assumption: 10^12 operations a second.", min=0.1)
    ] = 100.0,
    seconds: Annotated[
        float, typer.Option(help="CPU seconds that the calibration takes, roughly; longer on a busy machine.", min=1.0)
    ] = 120.0,
    calibration: Annotated[
        Path | None, typer.Option(help="A file that keeps the calibration; one that is there is used.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell what a memory of N documents takes: bytes, memory, CPU and GPU hours, machines, and what breaks first.

    A calibration builds a small sample of the recipe's source in a temporary folder. Every figure has an interval.
    """
    from mnemodex.pipelines.planner.machine import Machine
    from mnemodex.pipelines.planner.plan import PlanOptions, make_plan

    size_of = None if machine is None else Machine.parse(machine)
    options = PlanOptions(size_of, queries_per_second, gpu_tflops, seconds)
    made = make_plan(recipe, documents, options, keep=calibration, progress=lambda line: say(line, err=True))
    if as_json:
        print_json(made.to_json())
    else:
        report(made)


def report(made: CapacityPlan) -> None:
    """Print a plan for people."""
    build = made.build
    calibration = made.calibration
    say(f"A plan of {build.documents:,} documents, on machines of {made.machine}")
    say(
        f"from {calibration.drawn}, {build.extrapolation:,.0f} times fewer, on {calibration.machine} "
        f"(load {calibration.load:.1f})"
    )
    say()
    rows = [
        (
            part.name,
            part.rows or None,
            part.units or None,
            _sizes(part.bytes),
            _times(part.cpu),
            size(part.memory) if part.memory else "-",
            part.layout or "",
        )
        for part in build.parts
        if part.kind != "intermediate"
    ]
    rows.append(
        ("intermediate results", None, None, _sizes(made.intermediate[0]), _times(made.intermediate[1]), "-", "")
    )
    rows.append(("all", None, None, _sizes(build.bytes), _times(build.cpu), "-", ""))
    print_table("Build", ("part", "rows", "units", "size", "CPU time", "memory of a unit", ""), rows)
    say()
    _report_machines(made)
    say()
    say(("What breaks first", "bold"))
    for limit in made.limits:
        if not math.isinf(limit.documents):
            beyond = "within this plan" if limit.documents <= build.documents else "beyond this plan"
            say(f"at about {_rounded(limit.documents):,} documents, {beyond}: {limit.what}", indent=2)


def _report_machines(made: CapacityPlan) -> None:
    hours = made.build_hours
    say(f"Built by one machine in {hours.value:,.2g} h ({hours.low:,.2g} to {hours.high:,.2g}), all of its cores busy.")
    for label, found in made.gpu_seconds.items():
        cpu = next(part.cpu for part in made.build.parts if part.name == label)
        taken = f"{label}: {_times(found)} of a GPU instead of {_times(cpu)} of a CPU"
        say(f"{taken}, if the GPU computes {made.gpu_tflops:,.0f} x 10^12 operations a second, an assumption.")
    if made.demands:
        say()
        rows = [
            (demand.index, _milliseconds(demand.seconds), round(demand.rate, 1), _sizes(demand.bytes), demand.machines)
            for demand in made.demands
        ]
        columns = ("index", "CPU ms of a question, in batches", "questions/s of a core", "in memory", "machines")
        print_table(f"Questions, {made.rate:,.0f} a second to each index" if made.rate else "Questions", columns, rows)
    machines = "1 machine" if made.machines == 1 else f"{made.machines:,} machines"
    say(f"All indexes: {_sizes(made.searched_bytes)}, in the memory of {machines}.")


def _milliseconds(found: Estimate) -> str:
    value, low, high = (_digits(1000 * end) for end in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def _rounded(value: float) -> int:
    """Return a number of documents with two digits that count."""
    digits = max(0, len(str(int(value))) - 2)
    return int(round(value, -digits))


def _sizes(found: Estimate) -> str:
    return f"{size(round(found.value))} ({size(round(found.low))} to {size(round(found.high))})" if found.value else "-"


def _times(found: Estimate) -> str:
    if not found.value:
        return "-"
    unit, name = next(
        (unit, name)
        for unit, name in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
        if found.value >= 2 * unit or unit == 1
    )
    return f"{_digits(found.value / unit)} {name} ({_digits(found.low / unit)} to {_digits(found.high / unit)})"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
