"""The command line: commands, JSON, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import assert_refused
from library import records, words_recipe, write_jsonl, write_parts

import mnemodex
from mnemodex.pipelines import cli as cli_module
from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.store.store import open_store

KEPT = "stopped: finished work is kept, and the next build continues from it\n"


class TestJourney:
    def test_from_a_file_to_an_answer(self, cli, inline, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_jsonl(tmp_path / "notes.jsonl", records()[:12])
        written = cli("init", "notes.jsonl")
        assert (written.code, written.out) == (0, "") and "mnemodex build recipe.yaml" in written.err
        assert "# " in (tmp_path / "recipe.yaml").read_text()
        built = cli("build", "recipe.yaml")
        assert built.code == 0 and "snapshot 000001 committed" in built.out
        assert "embeddings/minilm" in built.out and "recall@10" in built.out
        again = cli("build", "recipe.yaml")
        assert "was up to date: nothing computed" in again.out
        found = cli("search", "memories/notes", "both", "apples in straw", "-k", 2)
        assert found.code == 0 and "Orchard in the north" in found.out and "[orchard-1]" in found.out
        counted = cli("sql", "memories/notes", "SELECT count(*) AS n FROM chunks")
        assert counted.out.split() == ["n", "12"]
        shown = cli("show", "memories/notes")
        assert all(name in shown.out for name in ("documents", "dense", "words", "both", "000001", "minilm"))
        dense = cli("show", "memories/notes", "dense").out
        assert "auto" in dense and "Flat" in dense, "what was asked for and what it became"
        checked = cli("verify", "memories/notes")
        assert checked.code == 0 and "sound" in checked.out

    def test_init_does_not_overwrite(self, cli, tmp_path):
        source = write_jsonl(tmp_path / "notes.jsonl", records()[:2])
        target = tmp_path / "mine.yaml"
        target.write_text("mine")
        assert_refused(cli("init", source, "--output", target), saying="mine.yaml: already exists")
        assert target.read_text() == "mine"

    def test_init_into_a_folder_that_is_not_there(self, cli, tmp_path):
        source = write_jsonl(tmp_path / "notes.jsonl", records()[:2])
        assert_refused(cli("init", source, "-o", tmp_path / "no" / "recipe.yaml"), saying="its folder does not exist")

    @pytest.mark.parametrize(
        ("rows", "given", "fields", "said"),
        [
            (
                [{"role": "user", "content": "one", "ts": 1}, {"role": "user", "content": "two", "ts": 2}],
                [],
                {"key": "$row"},
                ["its fields: role, content, ts", "text: content", "rows are numbered", "metadata: role, ts"],
            ),
            (
                [{"page_content": text, "metadata": {"source": "a", "page": 1}} for text in ("one", "two")],
                [],
                {"key": "$row"},
                ["page_content, metadata.source, metadata.page", "text: page_content"],
            ),
            (
                [{"m": {"uid": 1, "words": "the longest"}, "lang": "en", "name": "A"},
                 {"m": {"uid": 2, "words": "of all"}, "lang": "de", "name": "B"}],
                [],
                {"key": "m.uid", "title": "name", "text": "m.words"},
                ["key: m.uid; title: name; text: m.words; metadata: lang"],
            ),
            (
                [{"m": {"uid": 1, "words": "the longest"}, "lang": "en"}],
                ["--fields", "text=lang", "--fields", "key=$row"],
                {"key": "$row", "text": "lang"},
                ["text: lang; metadata: m.uid, m.words"],
            ),
            ([{"id": 1, "text": "t"}, {"id": 1, "text": "u"}], ["--fields", "key=id,text=text"], {}, ["key: id;"]),
            ([{"id": "a", "text": "t", "title": "T"}], [], {}, ["key: id; title: title; text: text; metadata: none"]),
        ],
    )  # fmt: skip
    def test_init_says_the_fields_and_guesses_the_mapping(self, cli, inline, tmp_path, rows, given, fields, said):
        source = write_jsonl(tmp_path / "rows.jsonl", rows)
        written = cli("init", source, "-o", tmp_path / "recipe.yaml", *given)
        assert written.code == 0 and all(part in written.err for part in said), written.err
        from mnemodex.pipelines.sources import open_source
        from mnemodex.pipelines.sources.base import Record
        from mnemodex.schemas.recipe import load_recipe

        recipe = load_recipe(tmp_path / "recipe.yaml")
        assert recipe.source.fields == fields
        opened = open_source(recipe.source)
        read = [row for split in opened.plan() for row in opened.read(split)]
        assert len(read) == len(rows) and all(isinstance(row, Record) for row in read)

    @pytest.mark.parametrize(
        ("given", "saying"),
        [
            ([], "no field of its first 1 rows is a text (its fields: n); name one with --fields text=FIELD"),
            (["--fields", "text=words"], "has a field 'words' (its fields: n)"),
            (["--fields", "txt=n"], "unknown field 'txt'; did you mean 'text'?"),
            (["--fields", "text"], "--fields text: says no field"),
        ],
    )
    def test_init_of_fields_that_are_not_there(self, cli, tmp_path, given, saying):
        source = write_jsonl(tmp_path / "rows.jsonl", [{"n": 1}])
        assert_refused(cli("init", source, "-o", tmp_path / "r.yaml", *given), saying=saying)
        assert not (tmp_path / "r.yaml").exists()

    def test_init_of_rows_that_are_no_json_says_why(self, cli, tmp_path):
        (tmp_path / "rows.jsonl").write_text("{'id': 1}\n")
        assert_refused(cli("init", tmp_path / "rows.jsonl", "-o", tmp_path / "r.yaml"), saying="line 1: is not JSON")

    def test_init_of_what_is_no_source(self, cli, tmp_path):
        (tmp_path / "notes.xyz").write_text("x")
        assert_refused(cli("init", tmp_path / "notes.xyz", "-o", tmp_path / "r.yaml"), saying="no known format")
        assert_refused(cli("init", tmp_path / "nowhere", "-o", tmp_path / "r.yaml"), saying="no such file or folder")
        assert not (tmp_path / "r.yaml").exists()

    @pytest.mark.parametrize("title", ["plain", 'quote " and {brace}', "# hash: 'x'\n  second"])
    def test_the_written_recipe_is_read_again_whatever_the_source_holds(self, cli, inline, tmp_path, title):
        source = write_jsonl(tmp_path / "a b: c.jsonl", [{"id": title, "title": title, "text": "ships " * 500}])
        assert cli("init", source, "-o", tmp_path / "recipe.yaml").code == 0
        from mnemodex.schemas.recipe import load_recipe

        recipe = load_recipe(tmp_path / "recipe.yaml")
        assert recipe.source.path == str(source) and recipe.chunks.by == "tokens"
        assert list(recipe.indexes) == ["dense", "words", "both"]


class TestBuild:
    @pytest.fixture
    def recipe(self, tmp_path):
        write_parts(tmp_path / "notes", records()[:6], 2)
        path = tmp_path / "notes.yaml"
        path.write_text("source: notes\nindexes:\n  words: {type: bm25}\n")
        return path

    def test_json_is_one_object_and_progress_goes_to_stderr(self, cli, inline, recipe, tmp_path):
        made = cli("build", recipe, "--memory", tmp_path / "m", "--json").json
        assert set(made) == {
            "memory", "snapshot", "committed", "seconds", "start_seconds", "engine", "steps", "warnings",
        }  # fmt: skip
        assert (made["memory"], made["snapshot"], made["committed"]) == (str(tmp_path / "m"), "000001", True)
        assert made["engine"] == "this process"
        assert set(made["steps"][0]) == {
            "name", "partitions", "computed", "rows", "rows_computed", "rows_reused", "bytes", "seconds", "cache",
        }  # fmt: skip
        kept = [step["name"] for step in made["steps"] if not step["cache"]]
        assert kept == ["documents", "chunks", "words"]
        again = cli("build", recipe, "--memory", tmp_path / "m", "--json").json
        assert (again["committed"], sum(step["computed"] for step in again["steps"])) == (False, 0)
        assert again["engine"] is None

    def test_warnings_are_shown_and_listed(self, cli, inline, recipe, tmp_path):
        (tmp_path / "notes" / "bad.jsonl").write_text("broken\n")
        ran = cli("build", recipe)
        assert ran.code == 0 and "warning: 1 row left out: bad.jsonl line 1: is not JSON" in ran.err
        (warning,) = cli("build", recipe, "--json").json["warnings"]
        assert warning.startswith("1 row left out")

    @pytest.mark.parametrize(
        ("text", "saying"),
        [
            ("source: notes\nindexs: {}\n", "unknown key 'indexs'; did you mean 'indexes'?"),
            ("indexes: {}\n", "the key 'source' is missing"),
            ("source: nowhere\n", "nowhere: no such file or folder"),
            ("source: [\n", "is not valid YAML"),
            ("source: notes\nsource: notes\n", "is not valid YAML: duplicate key 'source' on line 2"),
            ("5\n", "a recipe is a mapping"),
            ("source: notes\nchunks: {by: token}\n", "chunks: unknown chunker 'token'; did you mean 'tokens'?"),
            ("source: notes\nindexes:\n  a: {type: dens}\n", "did you mean 'dense'"),
            ("source: notes\nembed:\n  e: {model: pkg:nope/x}\nindexes:\n  a: {type: dense}\n", "no package 'nope'"),
        ],
    )
    def test_a_wrong_recipe_is_one_line_with_the_remedy(self, cli, inline, recipe, text, saying):
        recipe.write_text(text)
        assert_refused(cli("build", recipe), saying=saying)

    def test_a_recipe_that_is_not_there(self, cli, tmp_path):
        assert_refused(cli("build", tmp_path / "no.yaml"), saying="no.yaml: cannot be read as a recipe")

    def test_another_build_at_work_is_exit_code_1(self, cli, inline, recipe, tmp_path):
        from mnemodex.schemas.store.store import Store

        assert cli("build", recipe, "--memory", tmp_path / "m").code == 0
        with Store(tmp_path / "m").lock():
            ran = cli("build", recipe, "--memory", tmp_path / "m")
        assert_refused(ran, code=1, saying="another build is writing to this memory")

    def test_debug_shows_the_traceback_wherever_it_stands(self, cli, recipe, monkeypatch, capsys):
        for arguments in (["--debug", "build", "no.yaml"], ["build", "no.yaml", "--debug"]):
            monkeypatch.setattr(sys, "argv", ["mnemodex", *arguments])
            with pytest.raises(mnemodex.UserError, match=r"no\.yaml"):
                cli_module.main()

    def test_what_nobody_foresaw_is_one_line_too(self, cli, inline, recipe, monkeypatch):
        from mnemodex.pipelines import build

        def break_down(*_, **__):
            raise ZeroDivisionError("by\nzero")

        monkeypatch.setattr(build, "build", break_down)
        ran = cli("build", recipe)
        assert ran.code == 1 and ran.err.startswith("error: ZeroDivisionError: ") and "--debug shows where" in ran.err

    def test_a_stop_by_hand_says_what_is_kept(self, cli, recipe, monkeypatch):
        from mnemodex.pipelines import build

        def interrupt(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(build, "build", interrupt)
        ran = cli("build", recipe)
        assert (ran.code, ran.err) == (130, KEPT)

    def test_a_termination_says_so_too_when_everything_is_closed(self, cli, recipe, monkeypatch):
        from mnemodex.pipelines import build

        closed = []

        def terminated(*_, **__):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(20)
            finally:
                closed.append(True)

        monkeypatch.setattr(build, "build", terminated)
        former = signal.getsignal(signal.SIGTERM)
        ran = cli("build", recipe)
        assert (ran.code, ran.err, closed) == (143, KEPT, [True])
        assert signal.getsignal(signal.SIGTERM) == former

    def test_a_stop_of_what_builds_nothing_keeps_nothing(self, cli, library, monkeypatch):
        def interrupt(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(Memory, "retriever", interrupt)
        ran = cli("search", library, "words", "build")
        assert (ran.code, ran.out, ran.err) == (130, "", "stopped\n")


class TestSearch:
    def test_json_is_as_the_api_has_it(self, cli, library, memory):
        questions = ["apples in straw", "маяк", ""]
        answer = cli("search", library, "words", *questions, "-k", 3, "--json").json
        assert set(answer) == {"index", "hits"} and answer["index"] == "words"
        expected = memory.retriever("words").search(questions, 3).chunks()
        assert answer["hits"] == [
            [
                {
                    "rank": c.rank,
                    "score": c.score,
                    "chunk_id": str(c.chunk_id),
                    "doc_id": str(c.doc_id),
                    "key": c.key,
                    "title": c.title,
                    "text": c.text,
                    "start": c.start,
                    "end": c.end,
                    "metadata": c.metadata,
                }
                for c in chunks
            ]
            for chunks in expected
        ]

    def test_a_filter_narrows(self, cli, library):
        answer = cli("search", library, "both", "the lamp", "--where", "metadata->>'lang' = 'ja'", "--json").json
        assert [hit["key"] for hit in answer["hits"][0]] == ["ja"]
        assert cli("search", library, "words", "the of", "zzzz", "", "--json").json["hits"] == [[], [], []]
        none = cli("search", library, "words", "the lamp", "--where", "false")
        assert none.code == 0 and "no hits" in none.out

    def test_people_see_rank_score_title_key_and_the_beginning(self, cli, library):
        ran = cli("search", library, "words", "apples in straw", "-k", 1)
        lines = [line.strip() for line in ran.out.splitlines() if line.strip()]
        assert lines[0] == "apples in straw"
        assert lines[1].startswith("1 ") and lines[1].endswith("]") and "Orchard" in lines[1]
        assert "straw" in lines[2]

    @pytest.mark.parametrize(
        ("arguments", "saying"),
        [
            (["nope", "a"], "no index 'nope'; there are: flat, "),
            (["words", "a", "-k", "0"], "k is 0; ask for at least 1 hit"),
            (["words", "a", "--where", "titel = 1"], "where 'titel = 1' is not a boolean expression"),
            (["words", "a\udcff"], "question 0 holds a lone surrogate"),
        ],
    )
    def test_a_wrong_question_is_one_line(self, cli, library, arguments, saying):
        assert_refused(cli("search", library, *arguments), saying=saying)

    @pytest.mark.parametrize("command", [["search", "words", "a"], ["sql", "SELECT 1"], ["show"], ["verify"]])
    def test_a_memory_that_is_not_there_is_one_line(self, cli, tmp_path, command):
        name, *rest = command
        assert_refused(cli(name, tmp_path / "nowhere", *rest), saying="nowhere: no such memory; build one with")
        (tmp_path / "empty").mkdir()
        assert_refused(cli(name, tmp_path / "empty", *rest), saying="its first build has not finished")

    @pytest.mark.parametrize(
        "arguments",
        [["search"], ["nonsense"], ["search", "m", "i", "q", "--nonsense"], ["search", "m", "i", "q", "-k", "x"]],
    )
    def test_wrong_usage_is_exit_code_2(self, cli, arguments):
        ran = cli(*arguments)
        assert ran.code == 2 and ran.out == "" and "Traceback" not in ran.err

    def test_the_version_is_printed(self, cli):
        ran = cli("--version")
        assert (ran.code, ran.out) == (0, f"mnemodex {mnemodex.__version__}\n")

    def test_help_names_every_command(self, cli):
        ran = cli("--help")
        assert ran.code == 0
        for command in ("init", "build", "search", "sql", "show", "verify", "eval", "demo"):
            assert f" {command} " in ran.out
            assert cli(command, "--help").code == 0


class TestTextsThatBeginWithADash:
    @pytest.mark.parametrize("text", ["-5 degrees", "-5", "- or +", "-k things", "-", "--where to go", "-ö"])
    def test_it_is_a_question(self, cli, library, text):
        hits = cli("search", library, "words", text, "apples", "-k", 2, "--json").json["hits"]
        assert hits == cli("search", library, "words", "-k", "2", "--json", "--", text, "apples").json["hits"]
        assert len(hits) == 2 and len(hits[1]) == 2

    def test_it_is_a_statement(self, cli, library):
        assert cli("sql", library, "-- how many?\nSELECT count(*) AS n FROM chunks WHERE -1 < 0", "--json").code == 0

    def test_the_value_of_an_option_stays_with_it(self, cli, library):
        assert_refused(cli("search", library, "words", "a", "-k", "-5"), saying="k is -5")
        found = cli("search", library, "words", "-1", "--where", "-1 < 0 AND key = 'ja'", "--json")
        assert found.code == 0
        assert cli("search", library, "words", "a", "--where=key = 'ja'", "-k3", "--json").code == 0

    @pytest.mark.parametrize("word", ["--nonsense", "-x"])
    def test_an_unknown_option_is_refused(self, cli, library, word):
        ran = cli("search", library, "words", "a", word)
        assert ran.code == 2 and word in ran.err


class TestShowAndVerify:
    def test_show_json_is_the_manifest_with_its_history(self, cli, library):
        shown = cli("show", library, "--json").json
        manifest = open_store(library)[1]
        assert shown == {**manifest.model_dump(mode="json"), "decontaminated": 0, "history": ["000001"]}

    def test_show_of_an_index_is_its_entry(self, cli, library):
        shown = cli("show", library, "hnsw", "--json").json
        entry = open_store(library)[1].indexes["hnsw"]
        assert shown == {
            **entry.model_dump(mode="json"),
            "shards": [shard.model_dump(mode="json") for shard in entry.shards],
        }
        text = cli("show", library, "hnsw").out
        assert "None" not in cli("show", library, "flat").out, "an index without a search parameter"
        assert "efSearch" in text and "held-out rows" in text and "Shards" in text
        assert_refused(cli("show", library, "nope"), saying="no index 'nope'")

    def test_verify_json_counts_what_was_read(self, cli, library):
        checked = cli("verify", library, "--json").json
        assert checked["problems"] == [] and checked["files"] > 10 and checked["bytes"] > 10_000

    def test_a_damaged_file_is_a_problem_by_name_and_exit_code_1(self, cli, inline, tmp_path):
        source = write_jsonl(tmp_path / "notes.jsonl", records()[:5])
        mnemodex.build(words_recipe(source, tmp_path / "m"))
        file = next((tmp_path / "m" / "tables" / "chunks").glob("*.parquet"))
        data = bytearray(file.read_bytes())
        data[100] ^= 1
        file.write_bytes(data)
        ran = cli("verify", tmp_path / "m")
        assert ran.code == 1 and f"problem: {file}" in ran.err and "1 problem" in ran.out
        ran = cli("verify", tmp_path / "m", "--json")
        assert ran.code == 1 and str(file) in json.loads(ran.out)["problems"][0]
        assert_refused(cli("sql", tmp_path / "m", "SELECT * FROM chunks"), code=1, saying="differs from its checksum")


class TestProcess:
    """As a shell sees it."""

    def run(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "mnemodex", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def test_stdout_is_json_and_nothing_else(self, library):
        ran = self.run("search", library, "words", "apples in straw", "-k", 1, "--json")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert json.loads(ran.stdout)["hits"][0][0]["title"].startswith("Orchard")

    def test_an_error_is_one_line_and_exit_code_2(self, tmp_path):
        ran = self.run("search", tmp_path / "nowhere", "words", "a")
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.startswith("error: ") and ran.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        ("typed", "offered"), [("mnemodex ver", "verify"), ("mnemodex search --expl", "--explain")]
    )
    def test_the_shell_completes(self, typed, offered):
        words = {"_MNEMODEX_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
        ran = subprocess.run(
            [sys.executable, "-m", "mnemodex"], env={**os.environ, **words}, capture_output=True, text=True, check=False
        )
        assert ran.stdout.split() == [offered], ran

    def test_debug_prints_the_traceback(self, tmp_path):
        ran = self.run("show", tmp_path / "nowhere", "--debug")
        assert ran.returncode == 1 and "Traceback" in ran.stderr and "MemoryNotFoundError" in ran.stderr
