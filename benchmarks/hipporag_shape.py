"""Whether the `hipporag` package takes our hits: its `QuerySolution`, its question answering, its normal form.

python benchmarks/hipporag_shape.py [--cache DIR] [--json FILE]

The package pins torch and vllm, so it is installed without them in an environment of its own, and only what reads hits
is loaded from it. Its `qa` is run on our solutions with a model that repeats what it is asked: what it would ask is
compared with what HippoReader asks. Made-up answers are brought into its normal form and into ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
from report import publish

from mnemodex.retrievers.hits import Chunk
from mnemodex.retrievers.readers.answers import Answered, f1, normalize_answer, passage_text, to_query_solutions
from mnemodex.retrievers.readers.hippo_reader import parse, to_read

VERSION = "2.0.0a4"

PEER = """
import ast, importlib, json, pathlib, sys, types
from collections import Counter
import numpy as np

given = json.load(open(sys.argv[1]))
folder = next(pathlib.Path(path) / "hipporag" for path in sys.path if (pathlib.Path(path) / "hipporag").is_dir())
# A package that does nothing when it is imported, so that no model is.
for name, path in (("hipporag", folder), ("hipporag.utils", folder / "utils")):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(path)]
# What reads triples asks for a client of OpenAI's; hits have none.
stub = types.ModuleType("hipporag.utils.llm_utils")
stub.filter_invalid_triples = lambda triples: triples
sys.modules[stub.__name__] = stub
QuerySolution = importlib.import_module("hipporag.utils.misc_utils").QuerySolution
normalize = importlib.import_module("hipporag.utils.eval_utils").normalize_answer

solutions = [
    QuerySolution(**{**one, "doc_scores": np.array(one["doc_scores"], np.float32)}) for one in given["solutions"]
]
dicts = [one.to_dict() for one in solutions]

# The method `qa` alone: its module imports the graph, the embedding models and vllm.
tree = ast.parse((folder / "HippoRAG.py").read_text())
owner = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "HippoRAG")
method = next(node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == "qa")
import logging
from typing import Dict, List, Tuple
names = {"tqdm": lambda items, **_: items, "logger": logging.getLogger(), "QuerySolution": QuerySolution,
         "List": List, "Tuple": Tuple, "Dict": Dict}
exec(compile(ast.Module([method], []), "HippoRAG.py", "exec"), names)
asked = []
def infer(messages):
    asked.append(messages)
    return "Thus.\\nAnswer: " + str(len(asked)), {}, False
hippo = types.SimpleNamespace(
    global_config=types.SimpleNamespace(qa_top_k=5, dataset="musique"),
    prompt_template_manager=types.SimpleNamespace(
        is_template_name_valid=lambda name: True, render=lambda name, prompt_user: prompt_user),
    llm_model=types.SimpleNamespace(infer=infer),
)
answered, _, _ = names["qa"](hippo, solutions)

def overlap(gold, said):
    gold, said = normalize(gold).split(), normalize(said).split()
    same = sum((Counter(gold) & Counter(said)).values())
    return 2 * same / (len(gold) + len(said)) if same else 0.0

print(json.dumps({
    "dicts": dicts, "asked": asked, "answers": [one.answer for one in answered],
    "normal": [normalize(text) for text in given["texts"]],
    "f1": [overlap(gold, said) for gold, said in given["pairs"]],
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "mnemodex-hipporag")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    publish(f"Our hits in hipporag {VERSION}", [measure(options.cache)], json_path=options.json)


def measure(cache: Path) -> dict[str, Any]:
    """Give the package our solutions, and count where it agrees with us."""
    answered = examples()
    gold = [[f"{one.answer}", "another"] for one in answered]
    solutions = to_query_solutions(
        answered, gold_answers=gold, gold_docs=[[passage_text(one.hits[0])] for one in answered]
    )
    texts = answers(2000)
    pairs = list(zip(texts, reversed(texts), strict=True))
    given = {
        "solutions": [{**one, "doc_scores": one["doc_scores"].tolist()} for one in solutions],
        "texts": texts,
        "pairs": pairs,
    }
    peer = ask(cache, given)
    prompts = [to_read(one.question, one.hits)[-1]["content"] for one in answered]
    count = len(answered)
    return {
        "solutions constructed": f"{len(peer['dicts'])}/{count}",
        "questions and passages kept": agreeing([one["docs"] for one in peer["dicts"]], [s["docs"] for s in solutions]),
        "prompts equal": agreeing(peer["asked"], prompts),
        "answers equal": agreeing(peer["answers"], [parse(f"Thus.\nAnswer: {n + 1}").answer for n in range(count)]),
        "normal forms equal": agreeing(peer["normal"], [normalize_answer(text) for text in texts]),
        "F1 over its normal forms equal": agreeing(
            [round(one, 9) for one in peer["f1"]], [round(f1(said, [gold]), 9) for gold, said in pairs]
        ),
    }


def agreeing(one: list[Any], other: list[Any]) -> str:
    return f"{sum(a == b for a, b in zip(one, other, strict=True))}/{len(other)}"


def ask(cache: Path, given: dict[str, Any]) -> Any:
    """What the package says, in an environment of its own."""
    home = cache / f"venv-{VERSION}"
    python = home / "bin/python"
    if not python.exists():
        venv.create(home, with_pip=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", f"hipporag=={VERSION}"], check=True)
        subprocess.run([*pip, "numpy"], check=True)
    path = cache / "given.json"
    path.write_text(json.dumps(given), encoding="utf-8")
    done = subprocess.run([python, "-c", PEER, path], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def examples() -> list[Answered]:
    """Questions with five hits each, in several scripts, with braces and dollar signs in them."""
    titles = ("Olme", "Маяк", "港の灯台", "ميناء", "A ${prompt} of {braces}")
    hits = [
        Chunk(rank, 1 / rank, rank, rank, str(rank), title, f"{title} lies by the sea.\nIt has {rank} piers.", 0, 9)
        for rank, title in enumerate(titles, start=1)
    ]
    return [Answered(f"Which of {count} is {title}?", title, "", hits[:count]) for count, title in enumerate(titles, 1)]


def answers(count: int) -> list[str]:
    """Made-up answers with all that a normal form may be about."""
    chance = np.random.default_rng(7)
    words = [
        "the",
        "The",
        "a",
        "An",
        "an",
        "U.S.",
        "River",
        "river",
        "aske-Marr",
        "1862",
        "«да»",
        "港。",
        "naïve",
        "\tx",
        "!",
    ]
    return [" ".join(chance.choice(words, chance.integers(6)).tolist()) for _ in range(count)]


if __name__ == "__main__":
    main()
