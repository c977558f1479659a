"""The program: `mnemodex`, or `python -m mnemodex`."""

from mnemodex.demo.command import demo
from mnemodex.deploy.commands import keys, serving
from mnemodex.pipelines.cli import app, main

app.command()(demo)
for module in (serving, keys):
    module.register(app)

if __name__ == "__main__":
    main()
