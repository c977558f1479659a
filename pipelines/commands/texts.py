"""What commands have in common: texts that may begin with a dash, and the snapshot that is read."""

from __future__ import annotations

import re
from itertools import islice
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typing_extensions import override

MemoryArgument = Annotated[str, typer.Argument(help="The memory's folder, or its URL in an object store.")]
SnapshotOption = Annotated[
    str | None, typer.Option("--snapshot", help="A snapshot's number; the current one by default.")
]
"""Of every command that reads a memory."""

_OPTION = re.compile(r"--?[a-z][\w-]*(=.*)?", re.IGNORECASE | re.DOTALL)


class TextCommand(TyperCommand):
    """Takes a word that cannot be an option (`-5 degrees`, `- or +`, `-- a comment`) as the text that it is."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options: list[str] = []
        texts: list[str] = []
        words = iter(args)
        for word in words:
            if word == "--":
                texts += words
            elif _OPTION.fullmatch(word):
                options += [word, *islice(words, word in self._options_with_values())]
            else:
                texts.append(word)
        return super().parse_args(ctx, [*options, "--", *texts])

    def _options_with_values(self) -> set[str]:
        return {name for option in self.params if not getattr(option, "is_flag", True) for name in option.opts}
