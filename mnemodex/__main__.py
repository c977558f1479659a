"""`python -m mnemodex`."""

from mnemodex.pipelines.cli import main

main()
