from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.indexers.models.tokenizers import token_offsets, tokenizer
from mnemodex.pipelines.chunkers import make_chunker
from mnemodex.schemas.errors import MissingExtraError
from mnemodex.schemas.sections import DEFAULT_MODEL, HeadingChunks, SentenceChunks

MANUAL = """Intro without a heading.

# Beetles
## Wings

Two pairs of wings.

They fold.

```sh
# no heading

ls
```

Legs
----
Six legs, all of them at the thorax.
- a
- b
---
####Not a heading
###### End
"""
PARTS = st.sampled_from(
    ["One sentence. ", "Dr. Who? ", "你好。", "世界。", "यह है। ", "هذه جملة؟ ", "\n\n", "\n# Head\n",
     "# A\n", "Set\n===\n", "```\n", " ", "\t", "😀", "e\u0301", "\u200d", "word ", "\r\n", "long " * 9, "x" * 30, "\0"]
)  # fmt: skip
TEXTS = st.lists(PARTS | st.text(max_size=5), max_size=25).map("".join)


def cut(kind, text, **options):
    (spans,) = make_chunker(kind(**options), {}).spans([text])
    return [text[start:end] for start, end in spans.tolist()]


def check(kind, text, size):
    """Chunks are in order, have no more tokens than they may, begin and end with no space, and lose nothing else."""
    (spans,) = make_chunker(kind(size=size), {}).spans([text])
    assert spans.dtype == np.int64 and spans.shape[1:] == (2,)
    (tokens,) = token_offsets(tokenizer(DEFAULT_MODEL), [text])
    if not text:
        assert spans.tolist() == [[0, 0]]
        return
    if not len(tokens):
        assert not len(spans)
        return
    rows = spans.tolist()
    assert all(0 <= start < end <= len(text) for start, end in rows)
    assert all(end <= start for (_, end), (start, _) in pairwise(rows))
    assert all(text[start:end] == text[start:end].strip() for start, end in rows)
    kept = "".join("".join(text[start:end].split()) for start, end in rows)
    assert kept == "".join(text.split())
    for start, end in rows:
        inside = (tokens[:, 0] >= start) & (tokens[:, 0] < end)
        assert inside.sum() <= size


class TestSentences:
    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("sentencex")

    def test_whole_sentences_are_packed(self):
        text = "Dr. Smith came by 3.15 trains. He said “Stop!” and left.\n\nA new paragraph  \n has a break. Short."
        assert cut(SentenceChunks, text, size=20) == [
            "Dr. Smith came by 3.15 trains. He said “Stop!” and left.",
            "A new paragraph  \n has a break. Short.",
        ]

    @pytest.mark.parametrize(
        "sentences",
        [["你好。", "世界。", "“好。”", "他说。"], ["यह एक वाक्य है।", "यह दूसरा है।"], ["هذه جملة؟", "وهذه أخرى."],
         ["これは文です。", "次の文。"], ["Привет!", "Как дела?"], ["ሰላም።", "እንዴት ነህ፧"]],
    )  # fmt: skip
    def test_the_stops_of_any_script_end_sentences(self, sentences):
        text = " ".join(sentences)
        (tokens,) = token_offsets(tokenizer(DEFAULT_MODEL), sentences[:1])
        assert cut(SentenceChunks, text, size=max(len(tokens), 1))[0] == sentences[0]

    def test_a_sentence_that_is_too_long_is_cut_into_windows(self):
        chunks = cut(SentenceChunks, f"Short one. {'word ' * 25}and end. Last one.", size=10)
        assert chunks[0] == "Short one."
        assert chunks[1] == " ".join(["word"] * 10)
        assert chunks[-1] == "Last one."

    def test_abbreviations_are_those_of_the_language(self):
        text = "Das ist z.B. Dr. Maier. Und mehr."
        assert cut(SentenceChunks, text, size=14, language="de")[0] == "Das ist z.B. Dr. Maier."

    @settings(max_examples=60)
    @given(text=TEXTS, size=st.integers(1, 12))
    def test_any_text_is_cut_exactly(self, text, size):
        check(SentenceChunks, text, size)


def test_a_missing_splitter_is_one_error(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'sentencex': pip install 'mnemodex\[documents\]'"):
        make_chunker(SentenceChunks(), {})


class TestHeadings:
    def test_a_section_begins_at_its_heading_and_code_has_none(self):
        assert cut(HeadingChunks, MANUAL) == [
            "Intro without a heading.",
            "# Beetles\n## Wings\n\nTwo pairs of wings.\n\nThey fold.\n\n```sh\n# no heading\n\nls\n```",
            "Legs\n----\nSix legs, all of them at the thorax.\n- a\n- b\n---\n####Not a heading",
            "###### End",
        ]

    def test_a_long_section_is_cut_between_paragraphs_but_not_in_code(self):
        text = f"# A\n\n{'one ' * 8}\n\n{'two ' * 8}\n\n```\n{'x ' * 4}\n\n{'y ' * 4}\n```\n"
        chunks = cut(HeadingChunks, text, size=15)
        assert chunks[:2] == ["# A\n\n" + "one " * 7 + "one", "two " * 7 + "two"]
        assert chunks[2].startswith("```\nx") and chunks[2].endswith("```")

    def test_a_long_paragraph_is_cut_into_windows(self):
        assert cut(HeadingChunks, "word " * 25, size=10) == ["word " * 9 + "word"] * 2 + ["word " * 4 + "word"]

    def test_line_ends_of_windows_are_line_ends(self):
        text = "# A\r\n\r\none\r\n\r\n## B\r\ntwo\r\n"
        assert cut(HeadingChunks, text) == ["# A\r\n\r\none", "## B\r\ntwo"]

    @settings(max_examples=60)
    @given(text=TEXTS, size=st.integers(1, 12))
    def test_any_text_is_cut_exactly(self, text, size):
        check(HeadingChunks, text, size)
