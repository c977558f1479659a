"""The words of texts, as BM25 counts them."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.schemas.store.columns import numbers, to_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int32s, Int64s

STOP_WORDS = frozenset(
    """
    a about above after again against ain all am an and any are aren aren't as at be because been before being below
    between both but by can couldn couldn't d did didn didn't do does doesn doesn't doing don don't down during each few
    for from further had hadn hadn't has hasn hasn't have haven haven't having he her here hers herself him himself his
    how i if in into is isn isn't it it's its itself just ll m ma me mightn mightn't more most mustn mustn't my myself
    needn needn't no nor not now o of off on once only or other our ours ourselves out over own re s same shan shan't
    she she's should should've shouldn shouldn't so some such t than that that'll the their theirs them themselves then
    there these they this those through to too under until up ve very was wasn wasn't we were weren weren't what when
    where which while who whom why will with won won't wouldn wouldn't y you you'd you'll you're you've your yours
    yourself yourselves
    """.split()  # noqa: SIM905 - as a list, they would take a line each
)
"""Lucene's, and the common question words and auxiliaries: `english_plus` of bm25s."""


class Words(NamedTuple):
    """The words of some texts.

    Attributes:
        names: the different words, strings of shape (words,).
        ids: the place in `names` of each word of the first text, then of the second, and so on, int64.
        lengths: words of each text, int32 of shape (texts,).
    """

    names: pa.StringArray
    ids: Int64s
    lengths: Int32s


def split_words(texts: Sequence[str]) -> Words:
    """Return the words of texts: two or more letters or digits, in lower case, stemmed, without accents.

    Stop words are left out. The stems are Snowball's for English.
    """
    import Stemmer

    # Latin, Greek and Cyrillic accents go; the marks of other scripts make other letters and stay.
    decomposed = pc.utf8_normalize(to_column(texts, pa.string()), "NFKD")
    folded = pc.utf8_normalize(pc.replace_substring_regex(decomposed, "[\u0300-\u036f]+", ""), "NFC").to_pylist()
    found = [_pattern().findall(text.lower()) for text in folded]
    tokens = to_column(list(chain.from_iterable(found)), pa.string()).dictionary_encode()
    spelled = tokens.dictionary.to_pylist()
    meaningful = np.array([word not in STOP_WORDS for word in spelled], np.bool_)
    stemmer = Stemmer.Stemmer("english")
    stemmed = stemmer.stemWords([word for word in spelled if word not in STOP_WORDS])
    stems = to_column(stemmed, pa.string()).dictionary_encode()
    number = np.full(len(spelled), -1)
    number[meaningful] = numbers(stems.indices)
    ids = number[numbers(tokens.indices)]
    text = np.repeat(np.arange(len(found)), list(map(len, found)))
    lengths = np.bincount(text[ids >= 0], minlength=len(found)).astype(np.int32)
    return Words(stems.dictionary, ids[ids >= 0], lengths)


@cache
def _pattern() -> re.Pattern[str]:
    # The vowel signs of Indic scripts are marks, which Python's `\w` leaves out: words would fall into single letters.
    marks = "".join(mark for mark in map(chr, range(0x370, 0x20000)) if unicodedata.category(mark) in {"Mn", "Mc"})
    return re.compile(rf"\w[\w{marks}]+")
