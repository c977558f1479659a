"""The program: `mnemodex`, or `python -m mnemodex`."""

import os
import sys

from mnemodex.demo.command import demo
from mnemodex.deploy.commands import keys, mcp, serving
from mnemodex.pipelines.cli import app
from mnemodex.pipelines.cli import main as run
from mnemodex.retrievers.deadline import any_left_behind

app.command()(demo)
for module in (serving, keys, mcp):
    module.register(app)


def main() -> None:
    """Run a command, see `mnemodex.pipelines.cli.main`, and end the process with it."""
    try:
        run()
    except SystemExit as ended:
        if not any_left_behind():
            raise
        # A statement that cannot be stopped would hold up the end of the process until it is done.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 1)


if __name__ == "__main__":
    main()
