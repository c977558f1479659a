"""HippoReader: retrieval, steps of thought and answers, by a server's model and by a local one."""

from __future__ import annotations

import json
from itertools import chain

import pytest
from chat_server import ChatServer, Reply
from language_models import saved

from mnemodex.indexers.models.chat import Answer, Chat
from mnemodex.retrievers.readers.hippo_reader import HippoReader
from mnemodex.retrievers.readers.local_chat import LocalChat
from mnemodex.schemas.errors import ChatServerError, ModelError, NoAnswerError, QueryError

QUESTIONS = ["Who winds the clockwork of the lamp?", "What is baked twice?"]
DONE = "So the answer is: the keeper."


def chat(server, **options):
    return Chat(server.url, "small", **{"max_retries": 2, "timeout": 5.0, **options})


def last(request):
    return request["messages"][-1]["content"]


def is_step(request):
    return "next thought" in request["messages"][0]["content"]


def of(request):
    """The question that a request is about."""
    return last(request).rpartition("Question: ")[2].partition("\n")[0]


def test_the_model_reads_the_hits_and_the_question(memory):
    with ChatServer(lambda request: f"Thus.\nAnswer: {of(request)}") as server:
        answered = HippoReader(memory.retriever("words"), chat(server)).answer(QUESTIONS, k=2)
    expected = memory.retriever("words").search(QUESTIONS, 2).chunks()
    assert [one.answer for one in answered] == QUESTIONS
    assert [one.thought for one in answered] == ["Thus.", "Thus."]
    assert [one.hits for one in answered] == expected
    assert all(one.prompt_tokens > 100 and one.completion_tokens > 4 and not one.steps for one in answered)
    by_question = {of(request): last(request) for request in server.requests}
    for question, hits in zip(QUESTIONS, expected, strict=True):
        blocks = "".join(f"Wikipedia Title: {hit.title}\n{hit.text}\n\n" for hit in hits)
        assert by_question[question] == f"{blocks}Question: {question}\nThought: "
    assert json.dumps(answered[0].to_json())


def test_any_index_and_a_filter_serve(memory):
    with ChatServer(lambda request: "Answer: x") as server:
        for index in ("flat", "both"):
            (one,) = HippoReader(memory.retriever(index), chat(server)).answer(QUESTIONS[:1], k=3, where="d.key = 'ja'")
            assert [hit.key for hit in one.hits] == ["ja"]
        assert HippoReader(memory.retriever("words"), chat(server)).answer([]) == []


def test_each_thought_is_searched_for_until_the_answer_is_there(memory):
    thoughts = {
        QUESTIONS[0]: ["Rye bread comes from the old bakery. It is good.", "Bees winter in wooden hives.", DONE],
        QUESTIONS[1]: ["So the answer is: bread."],
    }

    def model(request):
        if not is_step(request):
            return f"Read.\nAnswer: of {of(request)}"
        return thoughts[of(request)].pop(0)

    words = memory.retriever("words")
    with ChatServer(model) as server:
        first, second = HippoReader(words, chat(server, concurrency=1), steps=5).answer(QUESTIONS, k=4)
    assert first.steps == ("Rye bread comes from the old bakery.", "Bees winter in wooden hives.")
    assert second.steps == ()
    assert first.answer == f"of {QUESTIONS[0]}"
    assert second.hits == words.search(QUESTIONS[1:], 4).chunks()[0]
    best = {}
    for hit in chain(*words.search([QUESTIONS[0], *first.steps], 4).chunks()):
        best[hit.chunk_id] = max(best.get(hit.chunk_id, 0.0), hit.score)
    assert [(hit.chunk_id, hit.score) for hit in first.hits] == sorted(best.items(), key=lambda one: (-one[1], one[0]))[
        :4
    ]
    assert [hit.rank for hit in first.hits] == [1, 2, 3, 4]
    steps = [last(request) for request in server.requests if is_step(request) and of(request) == QUESTIONS[0]]
    assert steps[1].endswith("Thought: Rye bread comes from the old bakery.")
    assert "Bakery" in steps[1] and "Bakery" not in steps[0]


def test_steps_end_at_their_maximum_and_where_a_thought_comes_again(memory):
    with ChatServer(lambda request: "Bees are kept.") as server:
        (one,) = HippoReader(memory.retriever("words"), chat(server), steps=9).answer(QUESTIONS[:1])
    assert one.steps == ("Bees are kept.",)
    number = iter(range(100))
    with ChatServer(lambda request: f"Thought number {next(number)}.") as server:
        (one,) = HippoReader(memory.retriever("words"), chat(server), steps=3).answer(QUESTIONS[:1])
    assert len(one.steps) == 2
    assert len(server.requests) == 3


def test_rate_limits_and_a_slow_answer_are_survived(memory):
    script = (Reply(status=429, headers={"Retry-After": "0.1"}), Reply("late", delay=1.5), Reply(status=503))
    with ChatServer(lambda request: "Answer: yes", script=script) as server:
        model = chat(server, timeout=0.7, max_retries=4)
        answered = HippoReader(memory.retriever("words"), model).answer(QUESTIONS)
    assert [one.answer for one in answered] == ["yes", "yes"]
    assert len(server.requests) == 5


def test_a_question_without_an_answer_does_not_end_the_others(memory):
    def model(request):
        if of(request) == QUESTIONS[0]:
            return Reply(status=400, message="the context is too long")
        return "Answer: bread"

    with ChatServer(model) as server:
        lost, found = HippoReader(memory.retriever("words"), chat(server), steps=2).answer(QUESTIONS)
    assert lost.answer is None and "the context is too long" in lost.error and lost.hits
    assert (found.answer, found.error) == ("bread", None)


def test_thinking_is_neither_searched_for_nor_the_answer(memory):
    def model(request):
        if is_step(request):
            return "<think>So the answer is: bread. Answer: no.</think>Bees winter in wooden hives."
        return "<think>Answer: bread? No.</think>It is said. Answer: Lyon"

    with ChatServer(model) as server:
        (one,) = HippoReader(memory.retriever("words"), chat(server), steps=2).answer(QUESTIONS[:1])
    assert (one.answer, one.thought, one.steps) == ("Lyon", "It is said.", ("Bees winter in wooden hives.",))


def test_thinking_alone_is_no_answer(memory):
    with ChatServer(lambda request: Reply("<think>The answer is Paris or", finish="length")) as server:
        (one,) = HippoReader(memory.retriever("words"), chat(server)).answer(QUESTIONS[:1])
    assert one.answer is None and "thinking alone" in one.error and "raise max_tokens" in one.error
    assert one.completion_tokens > 0


def test_a_server_that_answers_nobody_ends_it(memory):
    with ChatServer(key="secret") as server, pytest.raises(ChatServerError, match="answers 401"):
        HippoReader(memory.retriever("words"), chat(server)).answer(QUESTIONS)


def test_what_cannot_be_asked_is_refused(memory):
    with ChatServer() as server:
        with pytest.raises(QueryError, match="at least 1"):
            HippoReader(memory.retriever("words"), chat(server), steps=0)
        with pytest.raises(QueryError, match="list of questions"):
            HippoReader(memory.retriever("words"), chat(server)).answer("one")


SHORT = [[{"role": "user", "content": text}] for text in ("The harbour has moss", "To be or not to be", "日本語")]
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<me>{% endif %}"
)


@pytest.fixture(scope="module", params=["gpt2", "llama", "bart", "t5"])
def model(request, tmp_path_factory):
    made = LocalChat(saved(request.param, tmp_path_factory.mktemp(request.param)), max_tokens=6)
    made._lm.model.double()
    return made


class TestLocalModels:
    def test_answers_are_the_likeliest_words_and_the_same_alone_as_in_a_batch(self, model):
        together = model.ask_many(SHORT)
        assert all(isinstance(answer, Answer) for answer in together)
        assert together == [model.ask_many([one])[0] for one in SHORT]
        assert all(0 <= answer.completion_tokens <= 7 and answer.prompt_tokens > 0 for answer in together)

    def test_a_reader_answers_with_it(self, model, memory):
        (one,) = HippoReader(memory.retriever("words"), model).answer(QUESTIONS[:1], k=1)
        too_long = model._format.limit is not None
        assert (one.answer is None) == too_long
        assert not too_long or "ask for fewer hits" in one.error

    def test_a_prompt_that_is_too_long_is_told_and_the_others_are_answered(self, tmp_path):
        model = LocalChat(saved("gpt2", tmp_path), max_tokens=8)
        lost, found = model.ask_many([[{"role": "user", "content": "word " * 300}], SHORT[0]])
        assert isinstance(lost, NoAnswerError) and "reads 120 before an answer of 8" in str(lost)
        assert isinstance(found, Answer)

    def test_a_chat_template_is_followed(self, tmp_path):
        name = saved("llama", tmp_path)
        plain = LocalChat(name)
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Who?"}]
        assert plain._lm.tokenizer.decode(plain._format.encode(messages)) == "Be kind.\n\nWho?"
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        tuned = LocalChat(name)
        assert tuned._lm.tokenizer.decode(tuned._format.encode(messages)) == "<system>Be kind.<user>Who?<me>"

    def test_a_template_that_refuses_is_told(self, tmp_path):
        name = saved("llama", tmp_path)
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": "{{ raise_exception('no system role') }}",
        }
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match="chat template refuses the conversation: no system role"):
            LocalChat(name).ask_many(SHORT)
