"""Names: their normal form, and those in a passage by how they are written, without a model."""

from __future__ import annotations

import functools
import re
import unicodedata
from itertools import dropwhile
from typing import TYPE_CHECKING

from mnemodex.indexers.scripts import HANGUL_PARTICLE, bound_marks
from mnemodex.schemas.ids import hash_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTICLES = "of|the|de|la|le|les|du|des|del|di|da|do|dos|das|van|von|der|den|ter|zu|al|el|bin|ibn|et|y|e|for"
"""Words between the capitals of one name, in English and its neighbours."""

_OPENERS = re.compile(
    r"(?:a|an|the|this|that|these|those|it|its|he|she|his|her|him|they|them|their|we|our|you|your|i|my|who|whom|"
    r"whose|which|what|when|where|why|how|in|on|at|by|for|from|with|of|to|as|and|or|but|if|while|after|before|"
    r"during|since|until|although|though|because|there|here|then|however|also|both|all|some|many|most|each|"
    r"one|two|three|other|another|despite|under|over|between|among|through|according|no|not|is|was|are|were|"
    r"has|had|have|do|does|did)$",
    re.IGNORECASE,
)
"""Words that begin a sentence, and so have a capital, and are no names."""

_SENTENCE_END = re.compile(
    r"(?<=[.!?\u2026])(?<!\b[A-Z]\.)(?<!\b(?:St|Mr|Dr|Ms|Jr|Sr|Mt|Ft|No|vs)\.)(?<!\bMrs\.)[\"'\u201d\u2019)\]]*"
    r"\s+(?=[^\s\da-z])|(?<=[\u3002\uff01\uff1f\uff61\u0964])|\n+"
)
_QUOTED = re.compile(
    r"[“「『《〈«]([^“”「」『』《》〈〉«»\n]{2,60})[”」』》〉»]"
    r"|``([^`'\n]{2,60})''|\"([^\"\n]{2,60})\""
)
_SUFFIX = re.compile(r"[(\uff08][^()\uff08\uff09]*[)\uff09]$")
_POSSESSIVE = re.compile(r"['\u2019]s$")
_ARTICLE = re.compile(r"^(?:the|an?) (?=.)", re.IGNORECASE)
_KATAKANA = re.compile(r"[\u30a1-\u30fa\u30fc・]{2,}")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff々]{2,}")
_HAN_FUNCTION = re.compile("[的是在了与與及于於为為被从從而也都就这這那其]|(?<!共)和")
"""Chinese words of one character that come between names, and seldom in them."""
_HANGUL = re.compile(r"[\uac00-\ud7a3]{2,}")
_HANGUL_PARTICLE = re.compile(f"(?<=..){HANGUL_PARTICLE}")
_LONGEST_TITLE = 8
"""Words of what is taken for the title of a work; what is longer is speech."""
_LONGEST_HAN = 10
_SHORT = 3
"""Letters of what is taken for a function word, where a script has spaces and no capitals."""
_LONGEST_PHRASE = 4


def is_opener(word: str) -> bool:
    """Return whether a word begins sentences and questions, so that its capital makes no name of it."""
    return _OPENERS.match(word) is not None


# Names occur again and again, and this goes letter by letter.
@functools.lru_cache(maxsize=1 << 16)
def normalize(name: str) -> str:
    """Return the normal form of a name: letters, marks and digits of any script in lower case, all else one space.

    HippoRAG keeps `[A-Za-z0-9 ]` only, so that names in other scripts become nothing; on names in ASCII both forms are
    equal but for runs of spaces.
    """
    folded = unicodedata.normalize("NFKC", bound_marks(name)).casefold()
    # Python's \w leaves out the vowel signs that Indic scripts write as marks.
    letters = [char if char.isalnum() or unicodedata.category(char).startswith("M") else " " for char in folded]
    return " ".join("".join(letters).split())


def entity_id(normalized: str, *, salt: str = "") -> int:
    """Return the id of an entity: a hash of its normal form, so that partitions need no coordination."""
    return hash_text("entity", normalized, salt=salt)


def fact_id(subject: str, predicate: str, object_: str, *, salt: str = "") -> int:
    """Return the id of a fact, from the normal forms of its three parts."""
    return hash_text("fact", subject, predicate, object_, salt=salt)


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return a run of words with capitals, and a run of words in a script that has spaces and no capitals."""
    kinds = [(chr(code), unicodedata.category(chr(code))) for code in range(0x20000)]
    capitals = "".join(letter for letter, kind in kinds if kind in {"Lu", "Lt"})
    # Vowel signs and accents, which Python's \w leaves out.
    marks = "".join(letter for letter, kind in kinds if kind.startswith("M"))
    capital = rf"[{capitals}][\w{marks}]*(?:[-'\u2019&.][\w{marks}]+)*"
    # A dot is inside a name only after an initial or a shortened word.
    between = rf"(?:(?:(?<=\b[A-Z])|(?<=\b(?:St|Mr|Dr|Ms|Jr|Mt|Ft)))\.)?[ \t]+(?:(?:{_PARTICLES})[ \t]+){{0,2}}"
    run = rf"(?<![\w{marks}]){capital}(?:{between}{capital})*(?:[ \t]\d++(?![\d.,:]*\d)(?![\w%]))?"
    # Hebrew, Arabic and its relatives, the scripts of India, Georgian and Ethiopic.
    uncased = "\u05d0-\u05f4\u0620-\u06d3\u06d5-\u08ff\u0900-\u0df6\u10d0-\u10ff\u1200-\u139f"
    word = rf"[{uncased}][{uncased}{marks}]*"
    return re.compile(run), re.compile(rf"{word}(?: {word})*")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, by the marks that end them in most scripts."""
    return [part for part in map(str.strip, _SENTENCE_END.split(text)) if part]


def names_of(title: str, text: str) -> list[str]:
    """Return the title without its bracketed suffix, and the names in the text, each once, in the passage's order."""
    names = [_ARTICLE.sub("", plain_title(title))]
    for sentence in sentences(text):
        names.extend(names_in(sentence))
    return list(dict.fromkeys(filter(None, names)))


def plain_title(title: str) -> str:
    """Return a title without the suffix in brackets that tells it from others: "Mercury" of "Mercury (planet)".

    A title without a letter or digit, such as "...", names nothing: the result is empty.
    """
    name = _SUFFIX.sub("", title.strip()).rstrip() or title.strip()
    return name if any(map(str.isalnum, name)) else ""


def names_in(sentence: str) -> list[str]:
    """Return the names in a sentence, as they are written; spaces and tabs between capitals become one space.

    They are runs of words with capitals, what is quoted, and in scripts without capitals what most resembles a name: a
    run of Katakana, the Han characters between function words, a Korean word without its particle, and elsewhere the
    words between short ones.
    """
    quoted = [_ARTICLE.sub("", next(filter(None, groups)).strip(" ,.")) for groups in _QUOTED.findall(sentence)]
    names = [name for name in quoted if not name[:1].islower() and name.count(" ") < _LONGEST_TITLE]
    if names:
        sentence = _QUOTED.sub(" | ", sentence)
    names += map(_strip, _patterns()[0].findall(sentence))
    if not sentence.isascii():
        names += _uncased(sentence)
    return [name for name in names if len(name) > 1]


def _strip(run: str) -> str:
    """Return a run of capitals without the words that only begin the sentence, and without a possessive's ending."""
    words = dropwhile(_OPENERS.match, run.split())
    return _POSSESSIVE.sub("", " ".join(dropwhile(set(_PARTICLES.split("|")).__contains__, words)))


def _uncased(sentence: str) -> Iterator[str]:
    yield from _KATAKANA.findall(sentence)
    for run in _HAN.findall(sentence):
        yield from (part for part in _HAN_FUNCTION.split(run) if len(part) <= _LONGEST_HAN)
    for word in _HANGUL.findall(sentence):
        yield _HANGUL_PARTICLE.sub("", word)
    for run in _patterns()[1].findall(sentence):
        phrase: list[str] = []
        for word in [*run.split(" "), ""]:
            if len(word) > _SHORT:
                phrase.append(word)
            elif phrase:
                yield " ".join(phrase[:_LONGEST_PHRASE])
                phrase = []
