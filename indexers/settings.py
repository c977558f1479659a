"""Settings of the types of indexes, as the recipe gives them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ByteSize, Field, field_validator, model_validator

from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.reranking import PairReranking  # noqa: TC001 - pydantic reads the annotation
from mnemodex.schemas.sections import DEFAULT_MODEL, ChatModel
from mnemodex.schemas.spec import ModelRef, ReadBy, RecipePath, Ref, RunOnly, SearchOnly, Spec

Metric = Literal["ip", "l2"]
Order = Literal["shuffle", "lid_desc", "lid_asc", "cluster", "as_is"]
_MOST_REFINED = 1000
Refine = Literal["auto"] | Annotated[int, Field(ge=1, le=_MOST_REFINED)]
GraphMethod = Literal["hipporag1", "hipporag2", "bridge", "bridge-lite"]

Tokenizer = Literal["words", "whitespace"]
Language = Literal[
    "arabic",
    "armenian",
    "basque",
    "catalan",
    "czech",
    "danish",
    "dutch",
    "english",
    "esperanto",
    "estonian",
    "finnish",
    "french",
    "german",
    "greek",
    "hindi",
    "hungarian",
    "indonesian",
    "irish",
    "italian",
    "lithuanian",
    "nepali",
    "norwegian",
    "persian",
    "polish",
    "portuguese",
    "romanian",
    "russian",
    "serbian",
    "sesotho",
    "spanish",
    "swedish",
    "tamil",
    "turkish",
    "yiddish",
]
"""Snowball's."""


class VectorSettings(IndexSettings):
    """Settings of an index over vectors.

    Attributes:
        engine: the library that holds the graph or the lists.
        factory: `auto`, or any FAISS factory string whose index can be added to in batches.
        memory_budget: bytes that the index may take in memory while it is searched, as `2GB` or `500MiB`; then `auto`
            takes codes and `refine: auto` where vectors do not fit.
        refine: compare so many times as many hits as are wanted by the vectors on disk, and give the best of them; for
            a factory over codes. `auto` tunes it to the target recall together with the search parameter.
        metric: inner product or squared Euclidean distance (its score is negated, so that higher is better).
        m: links a node of an hnswlib graph.
        ef_construction: candidates kept while an hnswlib graph is built.
        order: insertion order of a graph (HNSW, hnswlib). Flat and inverted-list indexes answer alike in any order, so
            they keep the rows as they are, which reads the vectors from front to back.
        seed: of every sample and shuffle.
        target_recall: recall@10 that the search parameter is tuned to.
        shard_rows: rows of a shard, at most, where more than one partition goes into it. By default as many more of
            codes that a memory budget asks for as these are smaller than vectors.
    """

    engine: Literal["faiss", "hnswlib"] = "faiss"
    factory: str = "auto"
    # Both decide files, but only where they are given: see `DenseIndexer.identity`.
    memory_budget: Annotated[ByteSize, Field(gt=0), RunOnly()] | None = None
    refine: Annotated[Refine, RunOnly()] | None = None
    metric: Metric = "ip"
    m: Annotated[int, ReadBy("build")] = Field(default=16, ge=2, le=512)
    ef_construction: Annotated[int, ReadBy("build")] = Field(default=200, ge=1)
    order: Annotated[Order, ReadBy("build")] = "shuffle"
    seed: int = Field(default=0, ge=0)
    target_recall: Annotated[float, ReadBy("measure")] = Field(default=0.95, gt=0, le=1)
    shard_rows: Annotated[int, ReadBy("grouping")] = Field(default=1_000_000, ge=1)

    @field_validator("refine", mode="before")
    @classmethod
    def _factor_or_auto(cls, refine: Any) -> Any:
        # Before the union: each of its types would have a message of its own.
        number = isinstance(refine, int) and not isinstance(refine, bool) and 1 <= refine <= _MOST_REFINED
        if refine is not None and refine != "auto" and not number:
            raise ValueError(f"should be `auto`, or a whole number from 1 to {_MOST_REFINED}")
        return refine

    @model_validator(mode="after")
    def _options_fit_the_factory(self) -> Self:
        if self.memory_budget is not None and self.factory != "auto":
            raise ValueError("`memory_budget` is for factory auto, which chooses by it; leave one of them out")
        if self.refine is not None and self.factory == "auto" and self.engine == "faiss":
            raise ValueError("auto refines where `memory_budget` asks for it; leave `refine` out, or name a factory")
        return self

    @model_validator(mode="after")
    def _options_fit_the_engine(self) -> Self:
        # Values are compared with the defaults, not `model_fields_set`: settings that went through a manifest name
        # every field.
        faiss = self.engine == "faiss"
        remedy = "write M into the factory string, as in HNSW32" if faiss else "use m and ef_construction"
        for name in ("m", "ef_construction") if faiss else ("factory", "memory_budget", "refine"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}` is no option of engine {self.engine}: {remedy}")
        return self


class DenseSettings(VectorSettings):
    """Settings of `type: dense`.

    Attributes:
        queries: path of a query file to measure recall with, or of `.npy` with vectors of questions; without it, rows
            that are held out of the index are used.
    """

    type: Literal["dense"] = "dense"
    embed: Annotated[str | None, Ref("embed")] = None
    queries: Annotated[str, RecipePath()] | None = None


class KnnLmSettings(VectorSettings):
    """Settings of `type: knn_lm`: those of any index over vectors, by squared Euclidean distance.

    Attributes:
        lm: name of the recipe's language model; the first one by default.
    """

    type: Literal["knn_lm"] = "knn_lm"
    lm: Annotated[str | None, Ref("lm")] = None
    metric: Literal["l2"] = "l2"


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


class BM25Settings(IndexSettings):
    """Settings of a BM25 index.

    Attributes:
        k1: how fast repeated words saturate.
        b: how much long chunks are discounted.
        with_title: whether the title is searched too.
        language: that words are stemmed by, and whose stop words are left out (English, Danish, Dutch, French, German,
            Italian, Norwegian, Portuguese, Russian, Spanish, Swedish, Turkish; of others none are). Words in another
            script are stemmed by a language of theirs.
        tokenizer: `words`, or `whitespace` for texts in which words are set apart by spaces already: no stems, no stop
            words.
    """

    type: Literal["bm25"] = "bm25"
    k1: Annotated[float, SearchOnly()] = Field(default=1.2, ge=0)
    b: Annotated[float, SearchOnly()] = Field(default=0.75, ge=0, le=1)
    with_title: bool = True
    language: Language = "english"
    tokenizer: Tokenizer = "words"

    @model_validator(mode="after")
    def _the_tokenizer_stems(self) -> Self:
        if self.tokenizer != "words" and self.language != "english":
            raise ValueError(
                f"`language` is for tokenizer words: {self.tokenizer} knows no stems; leave one of them out"
            )
        return self


class HybridSettings(IndexSettings):
    """Settings of a hybrid index.

    Attributes:
        of: the names of at least two other indexes of the recipe; one of pairs gives the chunks of these.
        constant: the k of reciprocal rank fusion; larger values flatten the weight of the first ranks.
        depth: how many hits of each index are fused, or k where that is more.
    """

    type: Literal["hybrid"] = "hybrid"
    of: tuple[Annotated[str, Ref("index", default="none", hits=("chunk", "pair"))], ...] = Field(min_length=2)
    constant: Annotated[float, SearchOnly()] = Field(default=60.0, gt=0)
    depth: Annotated[int, SearchOnly()] = Field(default=100, ge=1)


class NgramSettings(IndexSettings):
    """Settings of an n-gram index.

    Attributes:
        tokenizer: the model whose `tokenizer.json` makes the tokens: a path, a hub id, or `pkg:MODULE/FOLDER`.
        document_array: keep the document of every token's row (two bytes a token): with it documents are counted some
            hundred times as fast, and occurrences limited to the first few are found without locating all.
    """

    type: Literal["ngram"] = "ngram"
    tokenizer: Annotated[str, ModelRef("tokenizer")] = DEFAULT_MODEL
    document_array: bool = True


class SealSettings(IndexSettings):
    """Settings of a SEAL index.

    Attributes:
        of: the n-gram index that is searched; the recipe's only one by default.
        model: the language model that writes keys: a path, a hub id, or `pkg:MODULE/FILE`. Its tokenizer is the n-gram
            index's. Without one, the n-grams of the question are the keys.
        score: `lm`, `lm_fm` or `intersective`, see `retrievers.seal.keys`.
        beams: of the search for keys.
        length: tokens of the longest key from a text.
        body_prompt: what the model continues with keys from texts; `{question}` is replaced by the question. By default
            what the model's kind suggests, see `retrievers.readers.seal_decoder.prompts_for`.
        title_prompt: what it continues with titles.
    """

    type: Literal["seal"] = "seal"
    of: Annotated[str | None, Ref("index", type="ngram", default="only")] = None
    model: Annotated[str | None, ModelRef(), SearchOnly()] = None
    score: Annotated[Literal["lm", "lm_fm", "intersective"], SearchOnly()] = "intersective"
    beams: Annotated[int, SearchOnly()] = Field(default=15, ge=1)
    length: Annotated[int, SearchOnly()] = Field(default=10, ge=1)
    body_prompt: Annotated[str | None, SearchOnly()] = None
    title_prompt: Annotated[str | None, SearchOnly()] = None

    @field_validator("body_prompt", "title_prompt")
    @classmethod
    def _has_the_question(cls, prompt: str | None) -> str | None:
        if prompt is not None and "{question}" not in prompt:
            raise ValueError("a prompt must contain {question} in the place of the question")
        return prompt

    @model_validator(mode="after")
    def _the_model_scores(self) -> Self:
        if self.score == "lm" and self.model is None:
            raise ValueError("score lm needs a language model: set `model`, or use score intersective")
        return self


class GraphSettings(IndexSettings):
    """Settings of a graph index.

    Attributes:
        embed: the embedding of passages, facts and names.
        method: how passages are ranked; `hipporag1`, `hipporag2` and `bridge` read the same files.
        synonymy: the cosine from which on two names count as synonyms; null for no such edges, which saves embedding
            all names. All graph indexes of a recipe have one.
        recognition: for hipporag2, the model that says which facts serve the question; none is asked by default.
        of: for bridge-lite, a dense index: then nothing is built, and nothing walked.
    """

    type: Literal["graph"] = "graph"
    embed: Annotated[str | None, Ref("embed")] = None
    method: Annotated[GraphMethod, SearchOnly()] = "bridge"
    synonymy: Annotated[float | None, ReadBy("synonyms")] = Field(default=0.8, gt=0, le=1)
    recognition: Annotated[ChatModel | None, SearchOnly()] = None
    of: Annotated[str | None, Ref("index", type="dense", default="none")] = None

    @model_validator(mode="after")
    def _only_where_they_count(self) -> Self:
        if self.of is not None and self.method != "bridge-lite":
            raise ValueError(
                f"of is for the method bridge-lite; {self.method} reads the graph of the section `triples`"
            )
        if self.recognition is not None and self.method != "hipporag2":
            raise ValueError("recognition is for the method hipporag2")
        return self

    @property
    def has_facts(self) -> bool:
        """Whether it needs the triples of the recipe."""
        return self.method != "bridge-lite"
