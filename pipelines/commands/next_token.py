"""`eval` of a next-token datastore: what it does to its language model's predictions of a text."""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mnemodex.pipelines.commands.output import on_terminal, print_json
from mnemodex.schemas.errors import SourceError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnemodex.indexers.arrays import Int32s
    from mnemodex.retrievers.datastore import DatastoreInfo
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
    from mnemodex.retrievers.readers.knn_lm_report.evaluation import Evaluation
    from mnemodex.retrievers.readers.knn_lm_report.generation import Generation

_log = logging.getLogger("mnemodex")
_LINE_SECONDS = 10.0

_MIXING = ("weight", "temperature", "gate", "rescore", "pointers")
_TEXTS = 256
"""Documents that are tokenised at once."""


class TextEvaluator:
    """Measures what a datastore does to its language model's predictions of a text."""

    options: ClassVar = frozenset({"text", "k", *_MIXING, "settings", "tune", "save", "generate"})
    required: ClassVar = "text"
    measured_with: ClassVar = "a text that its language model reads"

    def __init__(self, memory: Memory, index: str, options: dict[str, Any]) -> None:
        self._memory = memory
        self._index = index
        self._options = options

    def print(self, *, as_json: bool) -> None:
        """Print the measures, or the report of what was generated, and write the fitted settings.

        Raises:
            UserError: the text, an option, or a file to write is not as it should be.
        """
        from mnemodex.pipelines.commands.next_token_tables import print_evaluation, print_generation

        self._check()
        mixing = self._mixing()
        retriever: Any = self._memory.retriever(self._index)
        text = self._options["text"]
        tokens = read_tokens(text, retriever.info)
        if "generate" in self._options:
            report = _generate(retriever, text, tokens, mixing, self._options["generate"])
            print_json(report.to_json()) if as_json else print_generation(report)
            return
        result = _evaluate(retriever, tokens, mixing, tuned="tune" in self._options)
        if "save" in self._options and result.tuned is not None:
            result.tuned.buckets.settings.save(self._options["save"])
        print_json(result.to_json()) if as_json else print_evaluation(result)

    def _check(self) -> None:
        """Refuse options that do not go together, before anything is computed."""
        path: Path | None = self._options.get("save")
        tune = "tune" in self._options
        if path is not None and not tune:
            raise UserError("--save writes fitted settings: give --tune too")
        if "generate" in self._options and (tune or self._options["generate"] < 2):
            raise UserError("--generate is a report of its own: give it 2 tokens or more, and leave --tune out")
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise UserError(f"{path}: cannot be written there; name a file in a folder that exists with --save")

    def _mixing(self) -> Mixing:
        from mnemodex.retrievers.readers.knn_lm.mixing import Mixing

        base = Mixing.load(self._options["settings"]) if "settings" in self._options else Mixing()
        return replace(base, **{name: self._options[name] for name in ("k", *_MIXING) if name in self._options})


def _evaluate(retriever: Any, tokens: list[Int32s], mixing: Mixing, *, tuned: bool) -> Evaluation:
    from mnemodex.retrievers.readers.knn_lm_report.evaluation import evaluate
    from mnemodex.retrievers.readers.knn_lm_report.reading import predictable

    lm = retriever.prompt_keys.model
    with (
        tempfile.TemporaryDirectory(prefix="mnemodex-eval-") as scratch,
        _counting("tokens read", predictable(retriever.info, tokens)) as advance,
    ):
        return evaluate(retriever, lm, tokens, mixing, Path(scratch), tuned=tuned, advance=advance)


def _generate(retriever: Any, text: Path, tokens: list[Int32s], mixing: Mixing, count: int) -> Generation:
    from mnemodex.retrievers.readers.knn_lm_report.generation import PROMPT, generate

    if max(map(len, tokens)) < PROMPT:
        raise SourceError(f"{text}: has no text of {PROMPT} tokens, from which the model would go on; give longer ones")
    with tempfile.TemporaryDirectory(prefix="mnemodex-eval-") as scratch:
        return generate(retriever, retriever.prompt_keys.model, tokens, mixing, Path(scratch), tokens=count)


def read_tokens(text: Path, info: DatastoreInfo) -> list[Int32s]:
    """Return the tokens of each document of a file or folder, by the datastore's tokenizer.

    Raises:
        SourceError: it cannot be read, or none of its documents has enough tokens to predict one.
    """
    from mnemodex.indexers.models.tokenizers import tokenize, tokenizer
    from mnemodex.retrievers.readers.knn_lm_report.reading import predictable

    cut = tokenizer(info.model)
    found: list[Int32s] = []
    batch: list[str] = []
    for document in _documents(text):
        # As the datastore's own texts are read.
        batch.append(document if document.strip() else "")
        if len(batch) == _TEXTS:
            found += [tokens.ids for tokens in tokenize(cut, batch)]
            batch = []
    found += [tokens.ids for tokens in tokenize(cut, batch)]
    if not predictable(info, found):
        needed = "1 token" if info.prefix else "2 tokens"
        raise SourceError(
            f"{text}: has no text of {needed} or more, so there is nothing to predict; give another --text"
        )
    return found


def _documents(text: Path) -> Iterator[str]:
    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources import open_source
    from mnemodex.schemas.source_sections import Source

    if not text.exists():
        raise SourceError(f"{text}: no such file or folder; name a text with --text")
    source = open_source(Source(path=str(text)))
    for split in source.plan():
        for record in source.read(split):
            if isinstance(record, BadRow):
                raise SourceError(f"{text}: {record.source} line {record.line}: {record.reason}")
            yield record.text


@contextmanager
def _counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Say how far a count is: a bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    done, said = 0, time.perf_counter()
    with Progress(console=Console(stderr=True), transient=True, disable=not on_terminal()) as bars:
        bar = bars.add_task(what, total=total)

        def advance(count: int) -> None:
            nonlocal done, said
            done += count
            bars.advance(bar, count)
            if not on_terminal() and time.perf_counter() - said > _LINE_SECONDS:
                said = time.perf_counter()
                _log.info("%s: %d of %d", what, done, total)

        yield advance
