"""Fine-tune a language model to write n-grams of the documents that answer a question.

The recipe makes the pairs (see seal.yaml), `mnemodex build` writes them into the memory, and then:

    python examples/finetune_seal.py memories/seal train --model MODEL --output models/seal

MODEL is a causal or encoder-decoder model of transformers, and must have the tokenizer that the pairs were made with.
Needs `accelerate`, as transformers' Trainer does.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mnemodex
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.tokenizers import tokenizer_hash
from mnemodex.pipelines.stages.pairs import PairStats
from mnemodex.retrievers.readers.seal_decoder import end_of_title, prompts_for
from mnemodex.schemas.errors import ModelError, QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from transformers import Trainer

IGNORED = -100
"""The label of tokens that the loss leaves out."""


def read_pairs(memory: str | Path, name: str, model: str) -> pa.Table:
    """Return the pairs of a memory: columns query, field and tokens, in an order without meaning but always the same.

    Raises:
        QueryError: the memory has no such pairs.
        ModelError: they were made with another tokenizer than the model's.
    """
    opened = mnemodex.open(memory)
    tables = opened.snapshot.manifest.tables
    if f"ngram_pairs/{name}" not in tables:
        found = [table.removeprefix("ngram_pairs/") for table in tables if table.startswith("ngram_pairs/")]
        raise QueryError(f"{memory}: no pairs {name!r}; there are: {', '.join(found) or 'none'}")
    for part in tables[f"ngram_pairs/{name}"].partitions:
        if part.stats.of(PairStats).tokenizer_sha256 != tokenizer_hash(model):
            raise ModelError(
                f"{memory}: the pairs {name!r} are in the tokens of another tokenizer than {model!r} has; set "
                f"`ngram_pairs.{name}.tokenizer` to it in the recipe and build again"
            )
    return opened.sql(f'SELECT query, field, tokens FROM "ngram_pairs_{name}" ORDER BY pair_id').to_arrow_table()  # noqa: S608


class Examples:
    """The pairs as a model is trained on them: `input_ids` and `labels` each.

    The loss is of the target's tokens only. A title is whole, so the token that ends one belongs to it; an n-gram of
    the text goes on, and has none.
    """

    def __init__(self, pairs: pa.Table, lm: LanguageModel, prompts: dict[str, str]) -> None:
        self._pairs = pairs
        self._tokenizer = lm.tokenizer
        self._prompts = prompts
        end = end_of_title(lm)
        self._end = [] if end is None else [end]
        self._with_encoder = lm.is_encoder_decoder

    def __len__(self) -> int:
        return int(self._pairs.num_rows)

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        query, field, tokens = (self._pairs[name][row].as_py() for name in ("query", "field", "tokens"))
        # Not `format`, for a question may have braces.
        prompt = self._tokenizer.encode(self._prompts[field].replace("{question}", query)).ids
        target = tokens + (self._end if field == "title" else [])
        if self._with_encoder:
            return {"input_ids": prompt, "labels": target}
        return {"input_ids": prompt + target, "labels": [IGNORED] * len(prompt) + target}


def collate(examples: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
    """One batch of tensors of shape (examples, longest example); what was filled up is not attended to."""
    import torch

    def filled(name: str, value: int) -> Any:
        rows = [example[name] for example in examples]
        array = np.full((len(rows), max(map(len, rows))), value)
        for row, tokens in zip(array, rows, strict=True):
            row[: len(tokens)] = tokens
        return torch.from_numpy(array)

    mask = [{"mask": [1] * len(example["input_ids"])} for example in examples]
    longest = max(len(example["mask"]) for example in mask)
    attended = torch.tensor([example["mask"] + [0] * (longest - len(example["mask"])) for example in mask])
    return {"input_ids": filled("input_ids", 0), "attention_mask": attended, "labels": filled("labels", IGNORED)}


def train(
    lm: LanguageModel, examples: Examples, *, steps: int, batch: int, rate: float, log_steps: int = 10
) -> Trainer:
    """Train so many steps; the trainer's `state.log_history` has the losses."""
    import torch
    from transformers import Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as scratch:
        options = TrainingArguments(
            output_dir=scratch,
            max_steps=steps,
            per_device_train_batch_size=batch,
            learning_rate=rate,
            warmup_steps=steps // 10,
            logging_steps=log_steps,
            save_strategy="no",
            report_to="none",
            remove_unused_columns=False,
            bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=0,
        )
        # Trainer asks a dataset for its length and its items only.
        dataset: Any = examples
        trainer = Trainer(model=lm.model, args=options, train_dataset=dataset, data_collator=collate)
        trainer.train()
    return trainer


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the pairs, train, save, and say how the model is put into a recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("memory", help="the memory's folder")
    parser.add_argument("pairs", help="the name of the pairs below ngram_pairs in the recipe")
    parser.add_argument("--model", required=True, help="a folder, a hub id, or pkg:MODULE/FOLDER")
    parser.add_argument("--output", required=True, type=Path, help="the folder of the trained model")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32, help="pairs of a step")
    parser.add_argument("--rate", type=float, default=3e-5, help="learning rate")
    parser.add_argument("--body-prompt", help="what comes before an n-gram of the text; {question} is the question")
    parser.add_argument("--title-prompt", help="what comes before a title")
    given = parser.parse_args(arguments)

    pairs = read_pairs(given.memory, given.pairs, given.model)
    lm = LanguageModel(given.model)
    # Shorter numbers lose the small steps of fine-tuning.
    lm.model.float()
    prompts = prompts_for(lm, given.body_prompt, given.title_prompt)
    print(f"{pairs.num_rows} pairs, {given.steps} steps of {given.batch}")
    train(lm, Examples(pairs, lm, prompts), steps=given.steps, batch=given.batch, rate=given.rate)
    lm.save(given.output)
    print(f"{given.output} written. In a recipe, with an n-gram index `ngrams` in the tokens of this model:")
    print(f"  seal: {{type: seal, of: ngrams, model: {given.output}}}")


if __name__ == "__main__":
    main()
