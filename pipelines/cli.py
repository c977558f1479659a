"""The command line: `mnemodex COMMAND`. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mnemodex import __version__
from mnemodex.pipelines.commands import (
    building,
    changing,
    evaluation,
    exporting,
    inspection,
    overlapping,
    planning,
    searching,
    snapshots,
)
from mnemodex.pipelines.commands.output import prepare_streams, say
from mnemodex.schemas.errors import MnemodexError, reason, shorten

if TYPE_CHECKING:
    from types import FrameType

_BUILDING = (["build"], ["demo"], ["add"], ["update"], ["delete"], ["compact"])
"""Commands whose work is kept where they are stopped."""

app = typer.Typer(
    name="mnemodex",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Turn a corpus into memory indexes on Ray; search, inspect and measure them.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"mnemodex {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and stop.")
    ] = False,
) -> None:
    """Turn a corpus into memory indexes on Ray; search, inspect and measure them."""


for module in (building, changing, snapshots, searching, inspection, evaluation, overlapping, exporting, planning):
    module.register(app)


def main() -> None:
    """Run a command: exit code 0 done, 1 failed, 2 the user's input is wrong, 130 or 143 stopped."""
    debug = "--debug" in sys.argv[1:]
    words = [word for word in sys.argv[1:] if word != "--debug"]
    received: list[int] = []
    former = signal.signal(signal.SIGTERM, partial(_interrupt, received))
    try:
        _run(words, debug=debug)
    except KeyboardInterrupt:
        kept = ": finished work is kept, and the next build continues from it" if words[:1] in _BUILDING else ""
        say(f"stopped{kept}", err=True)
        raise SystemExit(128 + (signal.SIGTERM if received else signal.SIGINT)) from None
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(received: list[int], number: int, frame: FrameType | None) -> None:
    """Stop as Ctrl-C does, which closes what is open; for another time the process is ended."""
    received.append(number)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt


def _run(words: list[str], *, debug: bool) -> None:
    prepare_streams()
    try:
        app(args=words, prog_name="mnemodex")
    except MnemodexError as error:
        if debug:
            raise
        _say_error(str(error))
        raise SystemExit(error.exit_code) from None
    except SystemExit as ended:
        # What Typer makes of an interrupt.
        if ended.code == 130:
            raise KeyboardInterrupt from None
        raise
    except OSError as error:
        if debug:
            raise
        _say_error(f"{error.filename or 'the system'}: {reason(error)}. Correct that and run the command again")
        raise SystemExit(1) from None
    except Exception as error:
        if debug:
            raise
        _say_error(f"{type(error).__name__}: {error} (internal error, please report it; --debug shows where)")
        raise SystemExit(1) from None


def _say_error(message: str) -> None:
    say(f"error: {shorten(' '.join(message.split()))}", err=True)
