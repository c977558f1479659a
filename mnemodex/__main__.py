"""The program: `mnemodex`, or `python -m mnemodex`."""

from mnemodex.demo.command import demo
from mnemodex.deploy.commands import keys, mcp, serving
from mnemodex.pipelines.cli import app, main

app.command()(demo)
for module in (serving, keys, mcp):
    module.register(app)

if __name__ == "__main__":
    main()
