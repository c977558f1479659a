"""How commands print: tables for people on the terminal, one JSON object for programs."""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.schemas.printable import printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType


def prepare_streams() -> None:
    """Let nothing that is printed act on a terminal, or fail for a letter that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("mnemodex").setLevel(logging.INFO)
    sys.excepthook = _print_traceback


class _PrintableFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _print_traceback(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    sys.stderr.write(printable_lines("".join(traceback.format_exception(kind, error, place))))


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on stdout, in printable ASCII."""
    sys.stdout.write(json.dumps(value, allow_nan=False).replace("\x7f", "\\u007f") + "\n")


def say(*parts: str | tuple[str, str], err: bool = False, indent: int = 0) -> None:
    """Print one line: its parts are texts, or texts with their styles.

    With an indent, a terminal shows what follows the first so many letters wrapped, and as far to the right as these.
    """
    from rich.console import Console
    from rich.text import Text

    styled = [(part, "") if isinstance(part, str) else part for part in parts]
    line = Text.assemble(*((printable(text), style) for text, style in styled))
    console = Console(stderr=err, soft_wrap=True)
    if indent and console.is_terminal:
        first, rest = line.divide([indent])
        wrapped = rest.wrap(console, max(console.width - indent, 1))
        line = first + Text(f"\n{' ' * indent}").join(wrapped)
    console.print(line)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; numbers to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    listed = [list(row) for row in rows]
    table = Table(header_style="dim", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        numeric = bool(listed) and all(isinstance(row[place], int | float | None) for row in listed)
        table.add_column(Text(printable(column)), justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*(Text(printable_lines(_cell(value))) for value in row))
    console = Console()
    if not console.is_terminal:
        # Rich assumes 80 columns there, and would fold what a script or a log wants in one line.
        console = Console(width=240)
    if title:
        # Not as the table's title, which is folded to the table's width.
        say((title, "bold"))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def counted(count: int, noun: str) -> str:
    """Return a number and what it counts, whose plural ends in s."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Return bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def on_terminal() -> bool:
    """Return whether stderr is a terminal."""
    return sys.stderr.isatty()


def program() -> str:
    """Return what calls this program from the working directory: its name, or its path where that is on no PATH."""
    if shutil.which("mnemodex"):
        return "mnemodex"
    path = Path(sys.executable).with_name("mnemodex")
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
