"""Regular expressions of ours take time in proportion to the text, whatever it is."""

from __future__ import annotations

import ast
import importlib
import os
import re
import signal
import time
from functools import cache
from pathlib import Path
from re import _constants as ops
from re import _parser as parser
from typing import TYPE_CHECKING, Any

import pytest

import mnemodex
from mnemodex.indexers.graph.names import names_of, plain_title

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MEGABYTE = 1 << 20
SHORT = 8 << 10
LIMIT = 60
"""Seconds of CPU. A megabyte takes one at most where the time is linear, and an hour where it is quadratic."""
FUNCTIONS = {"compile", "match", "fullmatch", "search", "sub", "split", "findall", "finditer"}
CATEGORIES = {
    ops.CATEGORY_DIGIT: "1", ops.CATEGORY_NOT_DIGIT: "x", ops.CATEGORY_SPACE: " ", ops.CATEGORY_NOT_SPACE: "x",
    ops.CATEGORY_WORD: "x", ops.CATEGORY_NOT_WORD: "!",
}  # fmt: skip


@cache
def patterns() -> dict[str, tuple[re.Pattern[str], bool]]:
    """All patterns of text in the package, by where they are, and whether they begin where the text does."""
    found: dict[str, tuple[re.Pattern[str], bool]] = {}
    for root in map(Path, mnemodex.__path__):
        # The packages of a checkout are links.
        folders = os.walk(root, followlinks=True)
        for file in sorted(
            Path(folder, name) for folder, _, names in folders for name in names if name.endswith(".py")
        ):
            tree = ast.parse(file.read_text())
            if "re" not in {
                name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
            }:
                continue
            if file.parent.name == "retrievers" and file.name == "sql.py":
                # It reads a caller's statements, no corpus.
                continue
            name = ".".join(["mnemodex", *file.relative_to(root).with_suffix("").parts]).removesuffix(".__init__")
            module = vars(importlib.import_module(name))
            for function, call in calls(tree):
                for number, pattern in enumerate(compiled(module, function, call)):
                    if isinstance(pattern.pattern, str):
                        anchored = call.func.attr in {"match", "fullmatch"} or begins_only(tree, call)
                        found[f"{name}:{call.lineno}:{number}"] = pattern, anchored
    return found


def calls(tree: ast.AST, function: str = "") -> Iterator[tuple[str, Any]]:
    """The calls of `re` functions, and the function around each."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef) else function
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=attr)) if attr in FUNCTIONS:
                yield inner, node
        yield from calls(node, inner)


def compiled(module: dict[str, Any], function: str, call: ast.Call) -> list[re.Pattern[str]]:
    try:
        arguments = [call.args[0], *call.args[1:2]] if call.func.attr == "compile" else call.args[:1]
        values = [eval(compile(ast.Expression(each), "pattern", "eval"), module) for each in arguments]
    except NameError:
        if any(isinstance(node, ast.Attribute) and node.attr == "escape" for node in ast.walk(call)):
            # A text of the caller's that is looked for as it is.
            return []
        # It is put together from local names.
        made = module[function]()
        return [each for each in (made if isinstance(made, tuple) else [made]) if isinstance(each, re.Pattern)]
    flags = [each.value for each in call.keywords if each.arg == "flags"]
    values += [eval(compile(ast.Expression(each), "flags", "eval"), module) for each in flags]
    return [re.compile(*values)]


def begins_only(tree: ast.AST, call: ast.Call) -> bool:
    """Whether a module's pattern is used at given positions only."""
    given = [node.targets[0] for node in ast.walk(tree) if isinstance(node, ast.Assign) and node.value is call]
    name = given[0].id if given and isinstance(given[0], ast.Name) else None
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    methods = [node.attr for node in uses if node.value.id == name]
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name]
    return bool(methods) and len(names) == len(methods) + 1 and set(methods) <= {"match", "fullmatch"}


def members(items: Sequence[Any]) -> list[str]:
    """Some characters of a class."""
    chars = []
    for op, value in items:
        if op is ops.LITERAL:
            chars.append(chr(value))
        elif op is ops.RANGE:
            chars.append(chr(value[0]))
        elif op is ops.CATEGORY:
            chars.append(CATEGORIES[value])
    if items and items[0][0] is ops.NEGATE:
        return [char for char in "x 1!\n(" if char not in chars][:2]
    return list(dict.fromkeys([*chars[:3], *chars[-2:]]))


def sample(items: Any) -> str:  # noqa: C901 - one case for each kind of node
    """A text that a sequence matches, as short as can be."""
    text = ""
    for op, value in items:
        match op:
            case ops.LITERAL:
                text += chr(value)
            case ops.NOT_LITERAL:
                text += "x" if value != ord("x") else "y"
            case ops.ANY:
                text += "x"
            case ops.IN:
                text += members(value)[0]
            case ops.BRANCH:
                text += sample(value[1][0])
            case ops.SUBPATTERN:
                text += sample(value[-1])
            case ops.ATOMIC_GROUP:
                text += sample(value)
            case ops.MAX_REPEAT | ops.MIN_REPEAT | ops.POSSESSIVE_REPEAT:
                text += sample(value[2]) * value[0]
            case ops.ASSERT if value[0] < 0:
                text += sample(value[1])
    return text


def pumps(items: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """What precedes each repetition of a pattern, and what it may repeat."""
    items = list(items)
    for number, (op, value) in enumerate(items):
        match op:
            case ops.MAX_REPEAT | ops.MIN_REPEAT | ops.POSSESSIVE_REPEAT:
                if value[1] > 100:
                    body = list(value[2])
                    units = members(body[0][1]) if len(body) == 1 and body[0][0] is ops.IN else [sample(body)]
                    yield from ((before, unit) for unit in units if unit)
                yield from pumps(value[2], before)
            case ops.BRANCH:
                for option in value[1]:
                    yield from pumps(option, before)
            case ops.SUBPATTERN:
                yield from pumps(value[-1], before)
            case ops.ATOMIC_GROUP:
                yield from pumps(value, before)
            case ops.ASSERT | ops.ASSERT_NOT:
                yield from pumps(value[1], before)
        before += sample(items[number : number + 1])


def attacks(pattern: re.Pattern[str]) -> Iterator[tuple[str, str, str]]:
    """What a pattern tries again and again, and fails: a beginning, what is repeated, an end."""
    for before, unit in sorted(set(pumps(parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)))):
        for tail in ("\0", "x", "%"):
            yield before, unit, tail
        yield "", before + unit, "\0"


def seconds(pattern: re.Pattern[str], attack: tuple[str, str, str], size: int, *, anchored: bool) -> float:
    """CPU seconds for so many characters."""
    begin, unit, tail = attack
    text = begin + unit * (size // len(unit)) + tail
    started = time.process_time()
    if anchored:
        pattern.match(text)
    else:
        for _ in pattern.finditer(text):
            pass
    return time.process_time() - started


def try_worst(pattern: re.Pattern[str], *, anchored: bool) -> None:
    """Try a megabyte of what takes longest of a shorter text."""

    def short(attack: tuple[str, str, str]) -> float:
        return seconds(pattern, attack, SHORT, anchored=anchored)

    worst = sorted(attacks(pattern), key=short, reverse=True)[:2]
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    for attack in worst:
        seconds(pattern, attack, MEGABYTE, anchored=anchored)


@pytest.fixture
def limit() -> Iterator[None]:
    def stop(signum: int, frame: Any) -> None:
        raise TimeoutError(f"more than {LIMIT} s of CPU for a megabyte")

    former = signal.signal(signal.SIGPROF, stop)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, former)


@pytest.mark.parametrize("place", patterns())
def test_a_megabyte_of_the_worst_text_takes_linear_time(place, limit):
    pattern, anchored = patterns()[place]
    try_worst(pattern, anchored=anchored)


@pytest.mark.parametrize("bad", [r"\s*\(", r"A(?: \d+(?![\d.]*\d)(?![\w%]))?", r"(?:<\w>\s*)+\Z"])
def test_a_pattern_of_quadratic_time_is_found(bad, limit, monkeypatch):
    monkeypatch.setitem(globals(), "LIMIT", 2)
    with pytest.raises(TimeoutError):
        try_worst(re.compile(bad), anchored=False)


@pytest.mark.parametrize(
    "unit", [" ", "(", "x", " (", "The ", "of ", "A 1", "1", '"', ". ", "\u201c", "-A", "國", "、"]
)
def test_names_of_a_megabyte_are_found_in_linear_time(unit, limit):
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    text = f"x{unit * (MEGABYTE // len(unit))}y%"
    plain_title(text)
    names_of("", text)
