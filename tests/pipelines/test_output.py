"""What commands print: nothing of a corpus acts on a terminal, and no letter makes a command fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from library import write_jsonl
from rich.cells import cell_len
from small_memory import build_inline

ACTING = "\x1b[2J \x1b]0;owned\x07 \x1b]52;c;eA==\x07 \x9b2J \u202egpj.exe \u2066x [/red] \r9\n  1  9.9  forged"
_SEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A memory whose keys, titles, texts and entities act on a terminal."""
    folder = tmp_path_factory.mktemp("hostile")
    text = f"The brown lamp {ACTING} stands on the pier. Nobody lights the brown lamp."
    rows = [{"id": f"{ACTING}{n}", "title": f"Lamp {ACTING}", "text": f"{n} {text}"} for n in range(3)]
    source = write_jsonl(folder / "notes.jsonl", rows)
    with source.open("a") as file:
        file.write(json.dumps({"id": ACTING, "title": f"bad {ACTING}"}) + "\n")
    triples = [{"id": row["id"], "triples": [[f"the lamp {ACTING}", f"is on {ACTING}", "pier"]]} for row in rows]
    indexes = {
        "words": {"type": "bm25"},
        "ngrams": {"type": "ngram"},
        "keys": {"type": "seal"},
        "graph": {"type": "graph"},
    }
    build_inline(source, folder / "m", indexes, triples={"from": str(write_jsonl(folder / "t.jsonl", triples))})
    return folder / "m"


COMMANDS = [
    ["search", "words", "brown lamp"],
    ["search", "ngrams", "brown lamp"],
    ["search", "keys", "brown lamp", "--explain"],
    ["search", "graph", "the lamp on the pier", "--explain"],
    ["sql", "SELECT key, title, text, [title] AS list FROM documents"],
    ["sql", f'SELECT 1 AS "{ACTING}" FROM documents LIMIT 1'],
    ["sql", "SELECT * FROM errors"],
    ["sql", "SELECT * FROM entities"],
    ["sql", f'SELECT * FROM "{ACTING}"'],
    ["search", "words", "lamp", "--where", f'"{ACTING}" = 1'],
    ["show"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_text_acts_on_a_terminal(cli, hostile, command):
    ran = cli(command[0], hostile, *command[1:])
    printed = ran.out + ran.err
    assert "internal error" not in printed and not _SEEN.search(printed), ran
    assert not re.search(r"^  1  9.9  forged", printed, re.MULTILINE) or command[0] == "sql"


@pytest.mark.parametrize("command", COMMANDS[:5], ids=" ".join)
def test_escapes_are_shown_where_the_characters_stand(cli, hostile, command):
    printed = cli(command[0], hostile, *command[1:]).out
    assert r"\x1b[2J" in printed and r"\x9b2J" in printed and r"\u202egpj" in printed and "[/red]" in printed


@pytest.mark.parametrize("command", COMMANDS[:5], ids=" ".join)
def test_json_is_ascii_and_keeps_every_character(cli, hostile, command):
    ran = cli(command[0], hostile, *command[1:], "--json")
    assert ran.out.isascii() and not _SEEN.search(ran.out)
    assert ACTING in _strings(ran.json)


def _strings(value):
    if isinstance(value, dict):
        value = list(value.values())
    return "".join(map(_strings, value)) if isinstance(value, list) else str(value)


def test_warnings_of_a_build_show_rows_without_their_effect(cli, inline, tmp_path):
    source = write_jsonl(tmp_path / "notes.jsonl", [{"id": "a", "text": "lamp"}, {"id": ACTING, "title": "no text"}])
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"source: {{path: {source}, fields: {{text: text}}}}\nindexes: {{words: {{type: bm25}}}}\n")
    ran = cli("build", recipe, "--memory", tmp_path / "m\x1b[2J")
    assert ran.code == 0 and "warning: 1 row left out" in ran.err
    assert not _SEEN.search(ran.out + ran.err) and r"m\x1b[2J: snapshot 000001" in ran.out


@pytest.mark.parametrize(
    "query", ["SELECT text LIKE '%[/INST]%' FROM documents", 'SELECT 1 AS "a[i]"', 'SELECT 1 AS "[bold]"']
)
def test_names_of_columns_are_text(cli, library, query):
    ran = cli("sql", library, query)
    assert ran.code == 0 and any(name in ran.out for name in ("[/INST]", "a[i]", "[bold]"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A memory of long texts whose letters take two columns, or none, and whose words are longer than a line."""
    folder = tmp_path_factory.mktemp("wide")
    fillers = [
        "港の夜は静かで船は来ない。" * 30,
        "👩\u200d👩\u200d👧👍🏽" * 60,
        "e\u0301\u0323" * 300,
        "https://" + "x" * 400,
    ]
    rows = [
        {"id": f"{number}", "title": filler[:30], "text": f"{filler} 灯台 lemon {filler}"}
        for number, filler in enumerate([*fillers, "किताबें मेज़ पर " * 30])
    ]
    source = write_jsonl(folder / "notes.jsonl", rows)
    build_inline(source, folder / "m", {"words": {"type": "bm25"}, "ngrams": {"type": "ngram"}})
    return folder / "m"


def plain(line):
    return re.sub(r"\x1b\[[\d;]*m", "", line)


@pytest.fixture
def lines(cli, monkeypatch):
    """The lines of a search in a terminal of some width."""

    def run(memory, width, *arguments):
        for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": str(width)}.items():
            monkeypatch.setenv(name, value)
        ran = cli("search", memory, *arguments)
        assert ran.code == 0, ran.err
        return ran.out.splitlines()

    return run


class TestTerminal:
    """As a terminal of a certain width shows hits."""

    @pytest.mark.parametrize("width", [80, 120])
    @pytest.mark.parametrize("index", ["words", "ngrams"])
    def test_hits_are_wrapped_and_indented(self, library, lines, width, index):
        shown = list(map(plain, lines(library, width, index, "slice of lemon")))
        assert max(map(len, shown)) <= width
        assert all(line.startswith(" " * 10) or re.match(r" *\d+  ", line) for line in shown[1:] if line)

    @pytest.mark.parametrize("width", [40, 80, 120])
    @pytest.mark.parametrize("index", ["words", "ngrams"])
    def test_no_line_is_wider_than_the_terminal_in_any_script(self, wide, lines, width, index):
        shown = list(map(plain, lines(wide, width, index, "lemon", "灯台", "--explain")))
        assert max(map(cell_len, shown)) <= width
        assert sum("[" in line for line in shown) >= 5 and any("灯台" in line for line in shown[1:])
        assert all(
            line.startswith(" ") for line in shown if line and line not in ("lemon", "灯台") and "  occ" not in line
        )

    def test_without_colours_words_are_bold_still(self, wide, lines, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        codes = set(re.findall(r"\x1b\[([\d;]*)m", "\n".join(lines(wide, 80, "words", "lemon", "--explain"))))
        assert codes == {"0", "1", "2"}

    def test_words_of_the_question_are_bold_in_any_form(self, library, lines):
        printed = "\n".join(lines(library, 80, "words", "the lemons"))
        assert re.search(r"\x1b\[1mlemon\x1b\[0m", printed) and not re.search(r"\x1b\[1mthe\x1b\[0m", printed)


class TestEncoding:
    def run(self, encoding, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "mnemodex", *map(str, arguments)],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            timeout=120,
            check=False,
        )

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
    def test_letters_that_a_terminal_lacks_are_replaced(self, library, encoding):
        ran = self.run(encoding, "sql", library, "SELECT 'lamp 灯台 ▁' AS v")
        assert (ran.returncode, ran.stderr) == (0, b"") and rb"lamp \u706f\u53f0" in ran.stdout

    def test_errors_too(self, library):
        ran = self.run("ascii", "search", library, "灯台", "a")
        assert ran.returncode == 2 and rb"no index '\u706f\u53f0'" in ran.stderr
        ran = self.run("ascii", "search", library, "灯台", "a", "--debug")
        assert ran.returncode == 1 and rb"UnknownIndexError" in ran.stderr
