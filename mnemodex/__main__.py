"""The program: `mnemodex`, or `python -m mnemodex`."""

from mnemodex.demo.command import demo
from mnemodex.pipelines.cli import app, main

app.command()(demo)

if __name__ == "__main__":
    main()
