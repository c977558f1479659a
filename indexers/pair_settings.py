"""Settings of indexes of question-answer pairs, as the recipe gives them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mnemodex.indexers.vector_settings import VectorSettings
from mnemodex.schemas.reranking import PairReranking  # noqa: TC001 - pydantic reads the annotation
from mnemodex.schemas.spec import RecipePath, Ref, SearchOnly, Spec


class AbstainSettings(Spec):
    """When an index of pairs declines to answer: by a threshold of confidence, chosen with questions of known answers.

    Attributes:
        queries: path of a query file with answers.
        coverage: the part of these questions that is answered, at least.
        risk: or the part of the answers that may be wrong.
    """

    queries: Annotated[str, RecipePath()]
    coverage: float | None = Field(default=None, gt=0, le=1)
    risk: float | None = Field(default=None, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if (self.coverage is None) == (self.risk is None):
            raise ValueError("give either `coverage`, the part that is answered, or `risk`, the part that may be wrong")
        return self


class QASettings(VectorSettings):
    """Settings of `type: qa`: those of any index over vectors, by inner product.

    Attributes:
        embed: the embedding of questions.
        queries: path of a query file to measure recall with, or of `.npy` with vectors of questions; without it, rows
            that are held out of the index are used.
        key: the text that is embedded of every question: itself, or with its answers.
        answer: which answer is given: that of most votes of the nearest pairs, or the first of the nearest pair. Votes
            of one round need the vectors of questions with their answers, which are made too.
        abstain: when it declines to answer; never by default.
        rounds: how often a question is asked; from the second time on with the answers so far, for questions whose
            answer takes several pairs; then votes weigh by the scores of pairs and chains alone.
        rerank: how the first pairs are scored again; not by default.
        fallback: the index of chunks whose passages are given where the pairs do not know the answer; none by default.
    """

    type: Literal["qa"] = "qa"
    embed: Annotated[str | None, Ref("embed")] = None
    queries: Annotated[str, RecipePath()] | None = None
    key: Literal["question", "question_answer"] = "question"
    rounds: Annotated[int, SearchOnly()] = Field(default=1, ge=1)
    fallback: Annotated[str | None, Ref("index", default="none")] = None
    metric: Literal["ip"] = "ip"
    answer: Annotated[Literal["votes", "nearest"], SearchOnly()] = "votes"
    abstain: Annotated[AbstainSettings, SearchOnly()] | None = None
    rerank: Annotated[PairReranking, SearchOnly()] | None = None

    @model_validator(mode="after")
    def _chains_have_their_own_scores(self) -> Self:
        if self.rerank is not None and self.rounds > 1:
            raise ValueError("`rerank` is for one round: pairs of later rounds are scored with those before; drop one")
        if self.rerank is not None and self.rerank.by == "similarity" and self.key == "question_answer":
            raise ValueError("`rerank` by similarity changes no score of `key: question_answer`; drop one of them")
        return self

    @property
    def compares_answers(self) -> bool:
        """Whether a search compares queries with questions and answers together, and its key is the question alone."""
        if self.rerank is not None:
            return self.rerank.by == "similarity"
        return self.key == "question" and self.answer == "votes" and self.rounds == 1
