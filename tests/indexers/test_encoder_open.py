"""Opening encoders: those of the recipe, those of plug-ins, and those that a Python caller passes."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pytest

from mnemodex.indexers.encoders import EncodeStats, Window, encoder_hash, open_encoder
from mnemodex.indexers.encoders.local import Encoder
from mnemodex.indexers.models.hashes import model_hash
from mnemodex.schemas.errors import ModelError, RecipeError
from mnemodex.schemas.kinds import ENCODERS, Component
from mnemodex.schemas.passed import PassedEmbedding
from mnemodex.schemas.sections import DEFAULT_MODEL, Embedding, ServedEmbedding, TextEmbedding
from mnemodex.schemas.spec import ModelRef


class Plain:
    """Counts letters; the vector of a text without any is zero."""

    dimension = 4

    def __init__(self, change=lambda vectors: vectors):
        self.asked = []
        self.change = change

    def encode(self, texts):
        self.asked.append(list(texts))
        return self.change(np.array([[text.count(letter) for letter in "abcd"] for text in texts], np.float64))


class PlugInSettings(TextEmbedding):
    encoder: Literal["letters"] = "letters"
    model: Annotated[str | None, ModelRef()] = None


class Whole(Plain):
    """An encoder that has all that a `TextEncoder` has."""

    def __init__(self, settings, *, threads=None):
        super().__init__()
        self.settings, self.threads, self.stats = settings, threads, EncodeStats()


class Part(Plain):
    def __init__(self, settings, *, threads=None):
        super().__init__()


def passed(plain, **settings):
    made = PassedEmbedding(name="mine", identity_of="letters", **{"normalize": False, **settings})
    return open_encoder(made, objects={"embed/mine": plain})


def rows_of(parts, window, count, dimension=4):
    """The vectors of one window, each of which must have come once."""
    found, vectors = [], np.full((count, dimension), np.nan, np.float32)
    for part in parts:
        if part.window == window:
            found += part.rows.tolist()
            vectors[part.rows] = part.vectors
    assert len(found) == len(set(found))
    return found, vectors


def test_texts_come_to_a_plain_encoder_as_they_are_and_questions_with_their_prefix():
    plain = Plain()
    opened = passed(plain, query_prefix="ask: ", passage_prefix="passage: ")
    assert opened.encode(["a", "b b"]).tolist() == [[1, 0, 0, 0], [0, 2, 0, 0]]
    assert opened.encode_queries(["b"]).tolist() == [[1, 1, 0, 0]]
    assert plain.asked == [["a", "b b"], ["ask: b"]]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda vectors: vectors, id="double"),
        pytest.param(lambda vectors: vectors.astype(np.float16), id="half"),
        pytest.param(lambda vectors: vectors.tolist(), id="lists"),
        pytest.param(np.asfortranarray, id="columns"),
    ],
)
def test_any_matrix_of_numbers_becomes_one_of_single_precision(change):
    found = passed(Plain(change)).encode(["abc", "dd", ""])
    assert found.dtype == np.float32 and found.flags.c_contiguous
    assert found.tolist() == [[1, 1, 1, 0], [0, 0, 0, 2], [0, 0, 0, 0]]


def test_vectors_get_length_one_and_those_of_zeros_stay():
    found = passed(Plain(), normalize=True).encode(["aab", "", "cccc"])
    np.testing.assert_allclose(found, [np.array([2, 1, 0, 0]) / 5**0.5, [0] * 4, [0, 0, 1, 0]], rtol=1e-6)
    assert found.dtype == np.float32


def test_no_texts_give_no_vectors_and_ask_nobody():
    plain = Plain()
    opened = passed(plain)
    assert opened.encode([]).shape == opened.encode_queries([]).shape == (0, 4)
    assert list(opened.stream([])) == list(opened.stream([Window([])])) == [] == plain.asked


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda vectors: vectors[1:], r"of shape \(2, 4\) for 3 texts and dimension 4", id="a row less"),
        pytest.param(lambda vectors: vectors[:, :3], r"of shape \(3, 3\) for 3 texts and dimension 4", id="narrow"),
        pytest.param(lambda vectors: vectors[None], r"of shape \(1, 3, 4\)", id="deep"),
        pytest.param(lambda vectors: vectors.ravel(), r"of shape \(12,\)", id="flat"),
        pytest.param(lambda vectors: None, r"of shape \(\)", id="nothing"),
        pytest.param(lambda vectors: [[1.0], [1.0, 2.0], []], "no matrix of vectors", id="ragged"),
        pytest.param(lambda vectors: [["a"] * 4] * 3, "no matrix of vectors", id="words"),
        pytest.param(lambda vectors: [[{}] * 4] * 3, "no matrix of vectors", id="objects"),
    ],
)
def test_what_is_no_vector_a_text_is_refused_with_the_encoders_name(change, message):
    with pytest.raises(ModelError, match=rf"encoder Plain .*{message}.*; correct it"):
        passed(Plain(change)).encode(["a", "b", "c"])


def test_what_an_encoder_itself_raises_is_not_hidden():
    def fail(vectors):
        raise ValueError("out of ink")

    with pytest.raises(ValueError, match=r"^out of ink$"):
        passed(Plain(fail)).encode(["a"])


def test_windows_are_encoded_in_batches_of_a_bounded_size():
    plain = Plain()
    opened = passed(plain)
    windows = [["a" * (number % 7) for number in range(600)], [], ["b"]]
    parts = list(opened.stream(map(Window, windows)))
    assert [part.window for part in parts] == [0, 0, 0, 2]
    assert max(map(len, plain.asked)) == 256 and sum(map(len, plain.asked)) == 601
    for number, texts in enumerate(windows):
        found, vectors = rows_of(parts, number, len(texts))
        assert sorted(found) == list(range(len(texts)))
        assert np.array_equal(vectors, Plain().encode(texts).reshape(-1, 4))
    assert opened.stats == EncodeStats(texts=601)


def test_after_an_interruption_what_is_missing_is_encoded_in_the_same_batches():
    def batchwise(vectors):
        # As with real models, the last bits of a vector depend on what else is in its batch.
        return vectors + vectors.sum() / 1000

    texts = ["abcd"[number % 4] * (number % 9) for number in range(700)]
    whole = rows_of(passed(Plain(batchwise)).stream([Window(texts)]), 0, 700)[1]
    for done in (np.arange(700) < 256, np.arange(700) >= 512, np.arange(700) % 2 == 0, np.ones(700, np.bool_)):
        plain = Plain(batchwise)
        found, vectors = rows_of(passed(plain).stream([Window(texts, done)]), 0, 700)
        assert set(found) >= set(np.flatnonzero(~done).tolist())
        assert np.array_equal(vectors[found], whole[found])
        batches = [slice(0, 256), slice(256, 512), slice(512, 700)]
        assert plain.asked == [texts[batch] for batch in batches if not done[batch].all()]


def test_its_limit_is_known_where_it_says_so():
    limited = Plain()
    limited.max_length = 77
    assert (passed(Plain()).max_length, passed(limited).max_length) == (None, 77)
    assert passed(limited).dimension == 4


@pytest.mark.parametrize("objects", [None, {}, {"embed/other": Plain()}])
def test_an_object_that_was_not_passed_again_is_asked_for(objects):
    with pytest.raises(ModelError, match=r"embedding 'mine' .*pass it again: encoders=\{'mine': encoder\}"):
        open_encoder(PassedEmbedding(name="mine", identity_of="letters"), objects=objects)


def test_the_settings_of_a_recipe_open_the_local_model():
    opened = open_encoder(Embedding(max_length=16), threads=1)
    assert isinstance(opened, Encoder) and (opened.dimension, opened.max_length) == (384, 16)


def test_an_encoder_of_a_plug_in_is_completed_where_it_is_a_plain_one(monkeypatch):
    for name in ("Whole", "Part"):
        made = Component(f"{__name__}:PlugInSettings", f"{__name__}:{name}")
        monkeypatch.setitem(ENCODERS._built_in, "letters", made)
        opened = open_encoder(PlugInSettings(query_prefix="a"), threads=3)
        if name == "Whole":
            assert isinstance(opened, Whole) and (opened.settings.query_prefix, opened.threads) == ("a", 3)
        else:
            assert opened.encode_queries(["b"]) == pytest.approx(np.array([[0.5**0.5, 0.5**0.5, 0, 0]]))


def test_an_unknown_encoder_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="unknown encoder 'letters'; known: sentence_transformers, openai"):
        open_encoder(PlugInSettings())


def test_the_hash_is_that_of_the_models_files_or_of_what_decides_the_vectors():
    assert encoder_hash(Embedding()) == encoder_hash(Embedding(query_prefix="q")) == model_hash(DEFAULT_MODEL)
    served = {"encoder": "openai", "model": "small", "base_url": "http://one/v1"}
    first = encoder_hash(ServedEmbedding(**served))
    assert first == encoder_hash(ServedEmbedding(**{**served, "base_url": "http://other/v1", "batch": 3}))
    assert first != encoder_hash(ServedEmbedding(**{**served, "model": "large"}))
    assert first != encoder_hash(ServedEmbedding(**served, dimensions=3))
    mine = PassedEmbedding(name="mine", identity_of="letters")
    assert encoder_hash(mine) != encoder_hash(mine.model_copy(update={"identity_of": "words"}))
    assert encoder_hash(PlugInSettings()) != encoder_hash(PlugInSettings(model=DEFAULT_MODEL))
    assert encoder_hash(PlugInSettings(model=DEFAULT_MODEL)) == model_hash(DEFAULT_MODEL)


def test_a_model_that_is_not_there_has_no_hash():
    with pytest.raises(ModelError, match="no package 'nothing_here' is installed"):
        encoder_hash(Embedding(model="pkg:nothing_here/model"))


def plain(answer):
    """A plain encoder that gives the same for any texts."""
    return type("Plain", (), {"dimension": 2, "encode": lambda _, texts: answer[: len(texts)]})()


def opened(encoder):
    settings = PassedEmbedding(name="mine", identity_of="it")
    return open_encoder(settings, objects={"embed/mine": encoder})


@pytest.mark.parametrize("answer", [np.ones((3, 2), np.complex64), [[1j, 1]] * 3])
def test_complex_vectors_are_refused(answer):
    with pytest.raises(ModelError, match=r"encoder Plain gives no matrix of vectors .*complex.*; correct it"):
        opened(plain(answer)).encode(["a", "b", "c"])


def test_an_encoder_that_gives_zeros_for_all_passages_is_refused():
    zeros = np.zeros((3, 2), np.float32)
    with pytest.raises(ModelError, match="encoder Plain gives zeros for 3 texts; correct it"):
        list(opened(plain(zeros)).stream([Window(["a", "b", "c"])]))
    zeros[1] = 1
    assert len(list(opened(plain(zeros)).stream([Window(["a", "b", "c"])]))) == 1
