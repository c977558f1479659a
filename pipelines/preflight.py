"""What a recipe names is looked for before any work: models, tokenizers, query files, extractors, generators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.encoders.configuration import stated_dimension
from mnemodex.indexers.encoders.own import with_own
from mnemodex.indexers.models.locate import locate, need, spacy_folder
from mnemodex.indexers.models.tokenizers import tokenizer
from mnemodex.pipelines.documents.contamination import EvaluationTexts
from mnemodex.pipelines.qa.calibration import answered_queries
from mnemodex.pipelines.qa.reading import check_filter
from mnemodex.pipelines.qa.rows import check_file
from mnemodex.pipelines.stages.pairs import answered
from mnemodex.pipelines.vectors.encode import used_encoders
from mnemodex.pipelines.vectors.files import read_headers
from mnemodex.pipelines.vectors.queries import is_matrix, read_matrix
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.errors import ModelError, QueryError, RecipeError
from mnemodex.schemas.kinds import EXTRACTORS, GENERATORS, load
from mnemodex.schemas.pair_sections import PairFile
from mnemodex.schemas.sections import Embedding, SentenceChunks
from mnemodex.schemas.spec import ModelRef
from mnemodex.schemas.vector_sections import VectorFile

if TYPE_CHECKING:
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.spec import Spec


def _spacy(name: str) -> None:
    need("spacy", extra="openie")
    spacy_folder(name)


_LOOK = {"weights": locate, "tokenizer": tokenizer, "spacy": _spacy}


def check_inputs(recipe: Recipe) -> Recipe:
    """Look for everything that the recipe names; return it with what its encoders' models say of themselves.

    Raises:
        ModelError: a model or tokenizer is not there.
        QueryError: a query file is not there, is none, or has no gold ids where these are needed.
        SourceError: the file of triples or of question-answer pairs is not there, or is empty.
        MissingExtraError: the extra of a chunker, an extractor or a generator is not installed.
    """
    if isinstance(recipe.chunks, SentenceChunks):
        need("sentencex", extra="documents")
    _check_evaluation(recipe)
    _check_models(recipe)
    for index, settings in recipe.indexes.items():
        queries: str | None = getattr(settings, "queries", None)
        if queries is not None:
            _check_asked(index, settings, recipe)
        abstain = getattr(settings, "abstain", None)
        if abstain is not None:
            answered_queries(abstain.queries, at=f"indexes.{index}.abstain.queries")
    for name, pairs in recipe.ngram_pairs.items():
        if pairs.queries is not None and not answered(pairs):
            raise QueryError(
                f"{pairs.queries}: no query has `gold_ids`, the keys of the documents that answer it; add them, or "
                f"take `queries` out of ngram_pairs.{name} and give `unsupervised`"
            )
    triples: Any = recipe.triples
    if triples is not None:
        with EXTRACTORS.calling(triples.extractor) as entry:
            load(entry.make).check(triples)
    if isinstance(recipe.qa_pairs, PairFile):
        check_file(Path(recipe.qa_pairs.path))
    elif recipe.qa_pairs is not None:
        with GENERATORS.calling(recipe.qa_pairs.generator) as entry:
            load(entry.make).check(recipe.qa_pairs)
        check_filter(recipe.qa_pairs)
    own = {name: _with_own(f"embed.{name}", recipe.embed[name]) for name in used_encoders(recipe)}
    return recipe.model_copy(update={"embed": {**recipe.embed, **own}})


def _with_own(at: str, settings: Spec) -> Spec:
    if isinstance(settings, VectorFile):
        _check_vectors(at, settings)
    try:
        return with_own(settings)
    except ModelError as error:
        raise ModelError(f"{at}: {error}") from error


def _check_evaluation(recipe: Recipe) -> None:
    clean = getattr(recipe.source, "decontaminate", None)
    if clean is not None:
        EvaluationTexts(clean)


def _check_asked(index: str, settings: Any, recipe: Recipe) -> None:
    """Look at the questions of an index; refuse those in words for vectors whose model is not known."""
    spec = recipe.embed.get(getattr(settings, "embed", ""))
    if is_matrix(settings.queries):
        asked, dimension = read_matrix(settings.queries).shape[1], _dimension(spec)
        if dimension not in (0, asked):
            raise QueryError(
                f"{settings.queries}: its vectors have {asked} dimensions, and those of embed.{settings.embed} have "
                f"{dimension}; encode the questions with the model that made these"
            )
        return
    read_queries(Path(settings.queries))
    if isinstance(spec, VectorFile) and spec.questions is None:
        raise RecipeError(
            f"indexes.{index}.queries: are texts, and embed.{settings.embed} names no model for questions; add "
            "`questions: {model: FOLDER}` to it, give vectors of questions as `.npy`, or leave `queries` out: held-out "
            "rows then measure recall"
        )


def _dimension(spec: Spec | None) -> int:
    """Return how many numbers a vector of an embedding has, where files or a model's configuration say so; else 0."""
    if isinstance(spec, VectorFile):
        return max(header.dimension for header in read_headers(spec))
    return stated_dimension(locate(spec.model)) or 0 if isinstance(spec, Embedding) else 0


def _check_vectors(at: str, spec: VectorFile) -> None:
    """Look at the files of vectors, and whether the model for questions makes such ones."""
    dimension = _dimension(spec)
    if isinstance(spec.questions, Embedding):
        stated = _dimension(spec.questions)
        if stated and dimension not in (0, stated):
            raise ModelError(
                f"{at}: the model for questions, {spec.questions.model!r}, makes vectors of {stated} "
                f"dimensions, and those of the files have {dimension}; name the model that made them"
            )


def _check_models(recipe: Recipe) -> None:
    used = {f"embed.{name}" for name in used_encoders(recipe)}
    seen = set()
    for key, spec in recipe.sections().items():
        # An extractor says what it misses in its own words.
        if (key.startswith("embed.") and key not in used) or key == "triples":
            continue
        for leaf in spec.leaves():
            ref: ModelRef | None = leaf.marker(ModelRef)
            if ref is not None and leaf.value is not None and (leaf.value, ref) not in seen:
                seen.add((leaf.value, ref))
                _LOOK[ref.part](leaf.value)
