"""Questions about several parts, and what is left out where a model reads less."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.models.chat import Answer
from mnemodex.retrievers.readers.asking import ask_about
from mnemodex.schemas.errors import NoAnswerError, TooLongError


class Narrow:
    """A model that reads some bytes, and says by how much a conversation is longer, or does not."""

    def __init__(self, reads, *, says=True):
        self.reads, self.says, self.asked = reads, says, 0

    def ask_many(self, conversations):
        self.asked += len(conversations)
        return [self._ask(conversation[0]["content"]) for conversation in conversations]

    def _ask(self, text):
        excess = len(text.encode()) - self.reads
        if excess > 0:
            return TooLongError("too long", excess=excess if self.says else None)
        return Answer(text, 1, 1)


def ask(model, parts):
    return ask_about(model, parts, lambda n, read: [{"role": "user", "content": "".join(parts[n][:read])}])


@given(
    parts=st.lists(st.lists(st.text(alphabet="aé日", min_size=1, max_size=6), min_size=1, max_size=9), max_size=4),
    reads=st.integers(0, 40),
)
def test_no_more_is_left_out_than_needed(parts, reads):
    for some, reply in zip(parts, ask(Narrow(reads), parts), strict=True):
        fitting = [n for n in range(1, len(some) + 1) if len("".join(some[:n]).encode()) <= reads]
        assert reply.read == max(fitting, default=1)
        assert isinstance(reply.answer, Answer) == bool(fitting)


def test_half_is_left_out_where_the_model_does_not_say_how_much():
    model = Narrow(3, says=False)
    (reply,) = ask(model, [list("abcdefgh")])
    assert (reply.read, reply.answer.text, model.asked) == (2, "ab", 3)
    (reply,) = ask(Narrow(0, says=False), [["ab", "cd"]])
    assert isinstance(reply.answer, TooLongError) and reply.read == 1


def test_another_failure_is_not_asked_again():
    class Broken(Narrow):
        def _ask(self, text):
            return NoAnswerError("no")

    model = Broken(9)
    (reply,) = ask(model, [["a", "b"]])
    assert (reply.read, model.asked) == (2, 1)
    assert ask(model, []) == []
