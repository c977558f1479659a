"""Questions that a language model of this machine asks about given answers (PAQ; Lewis et al., 2021)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from typing_extensions import override

from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.locate import locate, need
from mnemodex.indexers.models.tokenizers import tokenize
from mnemodex.indexers.text import length_buckets
from mnemodex.pipelines.kept_chat import conversation
from mnemodex.pipelines.qa.generators.base import Candidate, Generated, Generator
from mnemodex.retrievers.readers.chat_format import ChatFormat
from mnemodex.retrievers.readers.prompted import to_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.indexers.models.chat import Messages
    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.qa.generators.base import Passage, Span
    from mnemodex.schemas.pair_sections import ModelPairs

_TUNED = "answer: {answer} title: {title} context: {passage}"
"""What an encoder-decoder reads, which does nothing sensible unless it was tuned."""
_TASK = (
    "You write questions for a quiz. You get a passage and an answer, which is marked in it by **. Write one question "
    "that the passage answers by exactly these words. It must be understood by somebody who does not see the passage, "
    "and must not hold the answer. Write the question and nothing else."
)
_ASKED = "Passage: {passage}\nAnswer: {answer}\nQuestion:"
_EXAMPLE = (
    "Passage: Ottoline Marr: Ottoline Marr (1889-1961) was a novelist and a teacher of botany. She was born in ** "
    "Dunmarrow ** and moved to the capital when she was twenty.\nAnswer: Dunmarrow\nQuestion:",
    "Where was the novelist Ottoline Marr born?",
)
_PLACES = re.compile(r"\{(answer|title|passage)\}")
_TOKENS = {"cpu": 4096, "cuda": 65536}
"""Padded tokens of prompts that are read at once, over the beams."""
_BYTES = {"cpu": 1 << 28, "cuda": 1 << 32}
"""Of the scores of all tokens that are written at once."""


class _Prompt(NamedTuple):
    """What a model reads about an answer of a chunk."""

    chunk: int
    span: Span
    tokens: list[int]


class _Question(NamedTuple):
    """What a model wrote."""

    text: str
    score: float


class ModelGenerator(Generator):
    """Asks `questions` questions about each answer by beam search; the score is the mean log-probability of a token.

    What is written after the first question mark or line is left out, and counts for nothing. Where a prompt is longer
    than the model reads, the passage is cut to what is around the answer (counted as `cut`). Questions that have no
    letters or digits, or repeat the prompt, are none; an answer without a question is counted (`unasked`), and a chunk
    without any is a problem.

    Raises:
        ModelError: as `LanguageModel`.
    """

    def __init__(self, settings: ModelPairs, work: Work) -> None:
        self._settings = settings
        self._lm = LanguageModel(settings.model, threads=work.cpus)
        self._format = ChatFormat(self._lm)
        self._counts = Counter(cut=0, unasked=0)

    @override
    @classmethod
    def check(cls, settings: ModelPairs) -> None:
        need("transformers", extra="lm")
        locate(settings.model)

    @override
    def generate(self, passages: Sequence[Passage], answers: Sequence[Sequence[Span]]) -> list[Generated]:
        prompts: list[_Prompt] = []
        reasons = [Counter[str]() for _ in passages]
        for chunk, (passage, spans) in enumerate(zip(passages, answers, strict=True)):
            for span in spans:
                tokens = self._fit(passage, span)
                if tokens is None:
                    reasons[chunk]["it reads fewer tokens than the prompt has without the passage"] += 1
                else:
                    prompts.append(_Prompt(chunk, span, tokens))
        candidates: list[list[Candidate]] = [[] for _ in passages]
        for prompt, written in self._write(prompts):
            passage = passages[prompt.chunk]
            usable, reason = self._usable(written, passage, prompt.span)
            candidates[prompt.chunk] += [Candidate(question.text, prompt.span, question.score) for question in usable]
            if not usable:
                reasons[prompt.chunk][reason] += 1
        return list(map(self._finish, candidates, reasons))

    @override
    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def _finish(self, candidates: list[Candidate], reasons: Counter[str]) -> Generated:
        candidates.sort(key=lambda candidate: -(candidate.score or 0.0))
        if reasons and not candidates:
            said = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
            return Generated(problems=[f"the model asks about none of {reasons.total()} answers: {said}"])
        self._counts["unasked"] += reasons.total()
        return Generated(candidates)

    def _messages(self, passage: Passage, answer: str, text: str) -> Messages:
        """Return what the model reads about an answer, which is marked in the text."""
        if self._settings.prompt is not None or self._lm.is_encoder_decoder:
            asked = _fill(self._settings.prompt or _TUNED, answer=answer, title=passage.title, passage=text)
            return [{"role": "user", "content": asked}]
        titled = f"{passage.title}: {text}" if passage.title else text
        return conversation(_TASK, _EXAMPLE, _fill(_ASKED, answer=answer, passage=titled))

    def _fit(self, passage: Passage, span: Span) -> list[int] | None:
        """Return the tokens of a prompt, with the passage cut around the answer where needed; None without room."""
        text, answer = passage.text, passage.text[span.start : span.end]

        def encode(start: int, end: int) -> list[int]:
            marked = f"{text[start : span.start]}** {answer} **{text[span.end : end]}"
            return self._format.encode(self._messages(passage, answer, marked))

        tokens = encode(0, len(text))
        room = self._format.room(self._settings.max_tokens)
        if room is None or len(tokens) <= room:
            return tokens
        self._counts["cut"] += 1
        (_, offsets), *_ = tokenize(self._lm.tokenizer, [text])
        first = int(np.searchsorted(offsets[:, 1], span.start, side="right"))
        last = int(np.searchsorted(offsets[:, 0], span.end))
        around = len(offsets) - (last - first)
        while len(tokens) > room:
            if around <= 0:
                return None
            around = max(around - (len(tokens) - room), 0)
            begin = max(min(first - around // 2, len(offsets) - (last - first) - around), 0)
            end = min(begin + around + last - first, len(offsets))
            tokens = encode(min(int(offsets[begin, 0]), span.start), max(int(offsets[end - 1, 1]), span.end))
        return tokens

    def _write(self, prompts: Sequence[_Prompt]) -> Iterator[tuple[_Prompt, list[_Question]]]:
        """Yield what the model writes after each prompt, best first; prompts of like length are read together."""
        lengths = np.array([len(prompt.tokens) for prompt in prompts], np.int64)
        device = self._lm.device.type
        scores = self._settings.beams * self._settings.max_tokens * self._lm.size * 4
        rows = max(_BYTES[device] // scores, 1)
        for bucket in length_buckets(lengths, max_tokens=_TOKENS[device] // self._settings.beams):
            for start in range(0, len(bucket), rows):
                batch = [prompts[number] for number in bucket[start : start + rows]]
                yield from zip(batch, self._search([prompt.tokens for prompt in batch]), strict=True)

    def _search(self, prompts: list[list[int]]) -> list[list[_Question]]:
        import torch

        settings, model = self._settings, self._lm.model
        search = {"length_penalty": 1.0, "early_stopping": True} if settings.beams > 1 else {}
        ids, mask = to_tensors(prompts, self._lm)
        with torch.inference_mode():
            found = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self._format.writable(settings.max_tokens),
                do_sample=False,
                num_beams=settings.beams,
                num_return_sequences=settings.questions,
                pad_token_id=0 if self._lm.end is None else self._lm.end,
                return_dict_in_generate=True,
                output_scores=True,
                **search,
            )
            # Beams keep log-probabilities, and a search without them logits.
            beams = {"beam_indices": found.beam_indices} if settings.beams > 1 else {"normalize_logits": True}
            scores = model.compute_transition_scores(found.sequences, found.scores, **beams).cpu().numpy()
        tokens = found.sequences[:, found.sequences.shape[1] - scores.shape[1] :].tolist()
        questions = list(map(self._question, tokens, scores))
        return [questions[n : n + settings.questions] for n in range(0, len(questions), settings.questions)]

    def _question(self, tokens: list[int], scores: Float32s) -> _Question:
        """Return the question that tokens begin with, and the mean of its tokens' log-probabilities."""
        tokens = self._format.until_end(tokens)
        for count in range(1, len(tokens) + 1):
            text = self._format.decode(tokens[:count]).lstrip()
            mark = re.search(r"[?\uff1f\u061f\n]", text)
            if mark is not None or count == len(tokens):
                kept = text if mark is None else text[: mark.end()]
                return _Question(" ".join(kept.split()), float(scores[:count].mean()))
        return _Question("", 0.0)

    def _usable(self, written: list[_Question], passage: Passage, span: Span) -> tuple[list[_Question], str]:
        """Return the questions among what was written, each once; and why the first of the others is none."""
        answer = passage.text[span.start : span.end]
        alone = replace(passage, title="")
        asked = _fold(" ".join(turn["content"] for turn in self._messages(alone, answer, "")))
        about = _fold(" ".join(turn["content"] for turn in self._messages(passage, answer, passage.text)))
        usable: dict[str, _Question] = {}
        reason = ""
        for question in written:
            form = _fold(question.text)
            if not any(map(str.isalnum, form)):
                reason = reason or "it writes nothing"
            # Titles and passages may hold questions, which have a mark.
            elif form in (asked if question.text.endswith("?") else about):
                reason = reason or "it repeats its prompt"
            else:
                usable.setdefault(form, question)
        return list(usable.values()), reason


def _fill(prompt: str, **values: str) -> str:
    return _PLACES.sub(lambda place: values[place[1]], prompt)


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
