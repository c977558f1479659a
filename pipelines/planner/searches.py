"""What a question takes of each index of a build of the sample: CPU seconds, in a process with one CPU."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.pipelines.planner.trials import run_alone
from mnemodex.schemas.errors import MnemodexError

if TYPE_CHECKING:
    from mnemodex.pipelines.planner.sample import Sample

_QUESTIONS = 32
_WORDS = 12
"""Words of a question: the first ones of a document."""
_K = 10


def search_alone(memory: Path, sample: Sample) -> dict[str, float]:
    """Return the CPU seconds of a question in a batch, by the index; one that cannot be asked is left out."""
    questions = [" ".join(_text(line).split()[:_WORDS]) for line in sample.lines[:_QUESTIONS]]
    path = memory.parent / "questions.json"
    path.write_text(json.dumps([question or "?" for question in questions]), encoding="utf-8")
    output, _, _ = run_alone(("mnemodex.pipelines.planner.searches", str(memory), str(path)), memory.parent)
    found: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    return found


def _text(line: str) -> str:
    row = json.loads(line)
    return str(row.get("mnemodex_text") or row.get("mnemodex_title") or row.get("question") or "")


def main() -> None:
    """Ask every index of a memory the questions of a JSON file, and print what one took, as JSON."""
    from mnemodex.retrievers.memory import Memory

    memory = Memory(sys.argv[1])
    questions: list[str] = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    found = {}
    for name in memory.indexes:
        try:
            retriever = memory.retriever(name)
            # What is compiled or opened by the first question is no question's.
            retriever.search(questions[:1], _K)
            began = time.process_time()
            retriever.search(questions, _K)
            found[name] = (time.process_time() - began) / len(questions)
        except MnemodexError:
            # Of an index that needs a server or a model that is not here, nothing is said.
            continue
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
