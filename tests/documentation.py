"""What documentation tells people to type: its fenced blocks, and the commands in them, run as they are printed."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from commands import Ran
from markdown_it import MarkdownIt

from mnemodex.__main__ import main
from mnemodex.pipelines.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent
SETS_UP = {"make", "pip", ".", "ray", "export", "docker", "helm", "kubectl"}
"""Programs that make an environment or a cluster, which a test has already."""
_ENDLESS = {"serve", "mcp"}
"""Commands that end when they are stopped; what is typed is parsed."""
_SHOWN = {"text", "mermaid"}
"""Languages of blocks that are only looked at."""
_PLACEHOLDER = re.compile(r"\b[A-Z]{3,}:\d+")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, the file that its title names, its text."""

    page: str
    line: int
    language: str
    file: str | None
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        assert token.type != "code_block", f"{page.name} line {token.map[0] + 1}: fence this block, with its language"
        if token.type == "fence":
            title = _TITLE.search(token.info)
            language = token.info.split()[0] if token.info else ""
            yield Block(page.name, token.map[0] + 1, language, title and title[1], token.content)


def run_main(*words: str) -> Ran:
    """A command of the command line in this process."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["mnemodex", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return Ran(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@dataclass
class Typist:
    """Types what pages say into the working directory.

    Attributes:
        stand_ins: what is typed instead of the name of a large model, or of a server.
        names: the names that Python blocks have made.
    """

    stand_ins: Mapping[str, str]
    names: dict[str, Any] = field(default_factory=dict)

    def type(self, block: Block) -> None:
        """Write, run or skip a block; a language that nobody can run is a mistake."""
        text = self.replaced(block.text)
        where = f"{block.page} line {block.line}"
        if block.file is not None:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(text, encoding="utf-8")
        elif block.language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                self.run(line, where)
        elif block.language == "python":
            # Line numbers of a traceback are the page's.
            exec(compile("\n" * block.line + text, block.page, "exec"), self.names)
        else:
            assert block.language in _SHOWN, f"{where}: nothing runs {block.language!r}"

    def run(self, line: str, where: str) -> None:
        """Run one line of a shell."""
        program, *words = shlex.split(line, comments=True) or [""]
        if program == "mnemodex" and (_PLACEHOLDER.search(line) or words[0] in _ENDLESS):
            _parse(words)
        elif program == "mnemodex":
            ran = run_main(*words)
            assert ran.code == 0, f"{where}: {line}\n{ran.err}"
        elif program == "python":
            # Trained for a step, not for the hours that a real model takes.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", [*words, "--steps", "1", "--batch", "2"])
                runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        else:
            assert program in {"", *SETS_UP}, f"{where}: nothing runs {line!r}"

    def replaced(self, text: str) -> str:
        """A text with its stand-ins."""
        for name, stand_in in self.stand_ins.items():
            text = text.replace(name, stand_in)
        return text


def _parse(words: list[str]) -> None:
    """Check the options of a command whose values are placeholders."""
    group: Any = typer.main.get_command(app)
    with group.make_context("mnemodex", list(words), resilient_parsing=True) as context:
        name, command, rest = group.resolve_command(context, words)
        command.make_context(name, rest)


def commands_in_comments(text: str) -> Iterator[str]:
    """The commands in the comments of a YAML file; a comment may go on after a backslash."""
    comments = "\n".join(line.strip()[1:].strip() for line in text.splitlines() if line.strip().startswith("#"))
    for line in comments.replace("\\\n", " ").splitlines():
        if line.startswith(("mnemodex ", "python ")):
            yield line
