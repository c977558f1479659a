"""The example of a package: installed as a user installs it, and used by real programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from commands import Ran, assert_refused

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"

LAMP = "The keeper of the lighthouse climbs two hundred steps every evening to wind the clockwork of the lamp"
MESSAGES = [
    ("lamp@olme", "The lamp", f"{LAMP}.\n\nAda Olsen is a keeper of lamps. Olme was the harbour of copper."),
    ("copy@olme", "Fwd: The lamp", f"{LAMP} again.\n\nNothing else is in this message, which goes on and on."),
    ("rye@olme", "Bread", "Rye bread from the old bakery is baked twice, in the morning and after the bells.\n\nBye."),
    (None, "Nobody's", "This one has no id."),
    ("tide@olme", "Tides", "The harbour master keeps two logs: one of the ships that come in, one of the tides."),
]
NEW = ("moss@olme", "Moss", "Moss grows on the north side of the mill, and the miller scrapes it off in spring.")

RECIPE = {
    "source": {"path": "box.mbox", "format": "mbox"},
    "memory": "memory",
    "chunks": {"by": "paragraphs", "least": 40},
    "embed": {"words": {"encoder": "hashing", "dimension": 64}},
    "triples": {"extractor": "pattern"},
    "indexes": {"near": {"type": "copies", "words": 2}, "dense": {"type": "dense", "factory": "Flat"}},
}


def mailbox(messages) -> str:
    parts = []
    for key, subject, body in messages:
        names = ["From: Olme <post@olme>", f"Subject: {subject}", *([f"Message-ID: <{key}>"] if key else [])]
        parts.append("\n".join(["From post@olme Mon Jan  1 00:00:00 2024", *names, "", body, "", ""]))
    return "".join(parts)


class Place(NamedTuple):
    """A folder with a recipe, and what runs `mnemodex` in it."""

    folder: Path
    run: Callable[..., Ran]

    def rows(self, query: str) -> list[tuple]:
        """Rows of a statement, asked in this process: tables can be read without the package."""
        return mnemodex.open(self.folder / "memory").sql(query).fetchall()

    def build(self, *options: str) -> dict:
        return self.run("build", "recipe.yaml", "--json", *options).json

    def search(self, index: str, question: str, *options: str) -> list[tuple[str, float]]:
        (hits,) = self.run("search", "memory", index, question, "--json", *options).json["hits"]
        return [(hit["key"], hit["score"]) for hit in hits]


def computed(result: dict) -> dict[str, int]:
    """Units that a build computed, by step; planning left out, which looks at copied files again."""
    steps = (step for step in result["steps"] if step["computed"] and not step["name"].startswith("source: "))
    return {step["name"]: step["computed"] for step in steps}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder into which the example is installed, from a copy, so that nothing is left in the tree."""
    copy, target = (tmp_path_factory.mktemp(name) for name in ("source", "site"))
    shutil.copytree(EXAMPLE, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", *options, str(copy)]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    return target


@pytest.fixture(scope="module")
def place(site):
    """Makes a folder with the recipe and a mailbox, or a copy of another such folder."""

    def run_in(folder: Path) -> Callable[..., Ran]:
        def run(*arguments: str) -> Ran:
            env = {**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"}
            command = [sys.executable, "-m", "mnemodex", *arguments]
            ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=180, check=False)
            return Ran(ran.returncode, ran.stdout, ran.stderr)

        return run

    def make(folder: Path, *, of: Place | None = None, messages=MESSAGES) -> Place:
        if of is not None:
            shutil.copytree(of.folder, folder, dirs_exist_ok=True)
        (folder / "recipe.yaml").write_text(json.dumps(RECIPE))
        (folder / "box.mbox").write_text(mailbox(messages))
        return Place(folder, run_in(folder))

    return make


@pytest.fixture(scope="module")
def built(place, tmp_path_factory):
    """The memory that most tests read, and what its build said."""
    there = place(tmp_path_factory.mktemp("built"))
    return there, there.build("--local")


@pytest.fixture
def copied(built, place, tmp_path):
    return place(tmp_path, of=built[0])


class TestParts:
    def test_a_build_makes_everything_and_tells_of_the_bad_message(self, built):
        there, result = built
        assert result["committed"] and result["engine"] == "this process"
        rows = {step["name"]: step["rows"] for step in result["steps"] if not step["cache"]}
        assert rows["documents"] == 4
        assert rows["chunks"] == rows["signatures/near"] == rows["near"] == rows["embeddings/words"] == rows["dense"]
        line = mailbox(MESSAGES[:3]).count("\n") + 2
        assert result["warnings"][0].startswith(
            f"1 row left out: box.mbox line {line}: a message has no Message-ID or no plain text"
        )
        ((stage, source, at, content),) = there.rows("SELECT stage, source, line, content FROM errors")
        assert (stage, source, at) == ("documents", "box.mbox", line) and "This one has no id." in content

    def test_a_message_is_a_document(self, built):
        rows = built[0].rows("SELECT key, title, trim(text, chr(10)), metadata->>'from' FROM documents ORDER BY line")
        assert rows == [(key, title, text, "Olme <post@olme>") for key, title, text in MESSAGES if key]

    def test_chunks_end_at_blank_lines_and_short_ones_are_joined(self, built):
        query = "SELECT key, trim(c.text, chr(10)) FROM chunks c JOIN documents d USING (doc_id) ORDER BY line, ordinal"
        cut = [(key, text.split("\n\n")) for key, _, text in MESSAGES if key]
        # "Bye." ends the document, and so is a chunk although it is short.
        assert built[0].rows(query) == [(key, part) for key, parts in cut for part in parts]

    def test_triples_are_those_of_the_pattern(self, built):
        rows = built[0].rows("SELECT subject, predicate, object FROM triples ORDER BY subject")
        assert rows == [("Ada Olsen", "is", "keeper of lamps"), ("Olme", "was", "harbour of copper")]

    def test_the_encoder_embeds_and_a_dense_search_finds(self, built):
        there, _ = built
        assert there.rows("SELECT DISTINCT len(vector) FROM embeddings_words") == [(64,)]
        assert there.search("dense", "bread from the bakery", "-k", "1")[0][0] == "rye@olme"

    def test_sql_sees_the_table_of_the_kind(self, built):
        query = "SELECT count(*), min(len(signature)), count(DISTINCT signature) FROM signatures_near JOIN chunks"
        ((rows, numbers, distinct),) = built[0].run("sql", "memory", f"{query} USING (chunk_id)", "--json").json["rows"]
        (made,) = [step["rows"] for step in built[1]["steps"] if step["name"] == "near"]
        assert rows == distinct == made and numbers == 64


class TestKind:
    def test_a_search_ranks_the_text_then_its_near_copy(self, built):
        hits = built[0].search("near", f"{LAMP}.", "-k", "9")
        assert [key for key, _ in hits[:2]] == ["lamp@olme", "copy@olme"]
        assert hits[0][1] == 1 and 0.6 < hits[1][1] < 1 and all(0.1 <= score < 0.4 for _, score in hits[2:])

    def test_a_search_can_be_filtered_and_finds_nothing_in_what_is_unlike(self, built):
        assert built[0].search("near", f"{LAMP}.", "--where", "d.key <> 'lamp@olme'")[0][0] == "copy@olme"
        assert built[0].search("near", "xyzzy") == []

    def test_show_tells_of_it(self, built):
        shown = built[0].run("show", "memory").out
        assert "signatures/near" in shown and "copies" in shown
        entry = built[0].run("show", "memory", "near", "--json").json
        assert entry["settings"] == {"type": "copies", "words": 2, "hashes": 64, "least": 0.1}
        assert [file["path"].rpartition("/")[2] for file in entry["shards"][0]["files"]][-1] == "signatures.npy"

    def test_verify_reads_its_files_and_finds_a_flipped_byte(self, copied):
        sound = copied.run("verify", "memory")
        assert sound.code == 0 and sound.out.endswith("sound\n")
        (path,) = (copied.folder / "memory" / "indexes" / "near").glob("*/signatures.npy")
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        damaged = copied.run("verify", "memory")
        assert damaged.code == 1 and f"{path.relative_to(copied.folder)}" in damaged.err
        assert_refused(copied.run("search", "memory", "near", LAMP), code=1, saying="signatures.npy")


class TestRebuild:
    def test_a_second_build_computes_nothing(self, built):
        planned = built[0].run("build", "recipe.yaml", "--dry-run")
        assert planned.code == 0 and planned.out.endswith("up to date: nothing to compute\n"), planned
        again = built[0].build()
        assert (computed(again), again["committed"], again["engine"]) == ({}, False, None)

    def test_one_more_document_computes_only_its_own_signatures(self, copied, place, tmp_path_factory):
        before = copied.rows("SELECT count(*) FROM chunks")[0][0]
        # In the midst of the only partition.
        messages = [*MESSAGES[:2], NEW, *MESSAGES[2:]]
        grown = place(copied.folder, messages=messages)
        (step,) = (step for step in grown.build("--local")["steps"] if step["name"] == "signatures/near")
        assert (step["computed"], step["rows"], step["rows_reused"]) == (1, before + 1, before)
        assert grown.search("near", NEW[2])[0] == (NEW[0], 1)
        fresh = place(tmp_path_factory.mktemp("fresh"), messages=messages)
        fresh.build("--local")
        query = "SELECT chunk_id, signature FROM signatures_near"
        assert grown.rows(query) == fresh.rows(query)

    def test_settings_decide_what_is_built_again(self, copied):
        for changed, steps in (
            ({"least": 0.5}, {}),
            ({"words": 3}, {"signatures/near": 1, "near": 1}),
        ):
            near = {**RECIPE["indexes"]["near"], **changed}
            recipe = {**RECIPE, "indexes": {**RECIPE["indexes"], "near": near}}
            (copied.folder / "recipe.yaml").write_text(json.dumps(recipe))
            assert computed(copied.build("--local")) == steps

    @pytest.mark.slow
    @pytest.mark.ray
    def test_workers_on_ray_load_the_package_too(self, built, place, tmp_path):
        there = place(tmp_path)
        result = there.build("--address", "local")
        assert result["engine"] == "Ray" and computed(result) == computed(built[1])
        for query in ("SELECT * FROM signatures_near", "SELECT * FROM embeddings_words", "SELECT * FROM triples"):
            assert there.rows(query) == built[0].rows(query)
        assert there.search("near", f"{LAMP}.")[0] == ("lamp@olme", 1)


class TestWithoutThePackage:
    """In this process, which does not have it."""

    @pytest.mark.parametrize(
        ("section", "message"),
        [
            (
                "source",
                "source: unknown source format 'mbox'; known: jsonl, text, json, csv, parquet, arrow, ",
            ),
            ("chunks", "chunks: unknown chunker 'paragraphs'; known: document, tokens, sentences, headings, events"),
            (
                "embed",
                "embed.words: unknown encoder 'hashing'; known: sentence_transformers, openai, file (other encoders",
            ),
            ("triples", "triples: unknown extractor 'pattern'; known: file, spacy, llm (other extractors come with"),
            (
                "indexes",
                "indexes.near: unknown index type 'copies'; known: dense, bm25, ngram, seal, graph, knn_lm, ",
            ),
        ],
    )
    def test_a_recipe_that_names_its_parts_is_refused(self, cli, tmp_path, section, message):
        path = tmp_path / "recipe.yaml"
        (tmp_path / "notes.jsonl").write_text('{"id": "a", "text": "a note"}\n')
        path.write_text(json.dumps({"source": "notes.jsonl", section: RECIPE[section]}))
        refused = cli("build", path)
        assert_refused(refused, saying=f"{path}: {message}")
        assert "come with packages that declare the entry point mnemodex." in refused.err
        assert not (tmp_path / "memories").exists()

    def test_its_index_cannot_be_searched_and_all_else_can_be_seen(self, cli, built):
        memory = built[0].folder / "memory"
        for index, message in (
            ("near", "index 'near' cannot be opened: unknown index type 'copies'; known: dense, "),
            ("dense", "embedding 'words' cannot be opened: unknown encoder 'hashing'; known: "),
        ):
            assert_refused(cli("search", memory, index, LAMP), saying=message)
        assert cli("show", memory, "--json").json["indexes"]["near"]["type"] == "copies"
        assert cli("sql", memory, "SELECT count(*) FROM signatures_near", "--json").code == 0
        checked = cli("verify", memory)
        assert checked.code == 1 and checked.err.count("\n") == 1
        assert "the tables of an index cannot be checked: recipe: source: unknown source format 'mbox'" in checked.err
