"""An encoder behind a server: what is asked, what is tried again, and what is no answer."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from chat_server import Reply
from embedding_server import MODEL, EmbeddingServer, vector_of

from mnemodex.indexers.encoders import Window, open_encoder
from mnemodex.indexers.encoders import served as served_module
from mnemodex.indexers.encoders.served import ServedEncoder
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.sections import ServedEmbedding

TEXTS = [f"text number {number}" for number in range(23)]
HTML = {"Content-Type": "text/html"}


def encoder(server, **options):
    settings = {"model": MODEL, "normalize": False, "batch": 5, "timeout": 5.0, "max_retries": 2, **options}
    return ServedEncoder(ServedEmbedding(encoder="openai", base_url=server.url, **settings))


def vectors(texts, dimension=8):
    return np.stack([vector_of(text, dimension) for text in texts])


def unit(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def refused(server, message, texts=("a", "b"), **options):
    """The one error of a question; what it says is for people, on one line."""
    with pytest.raises(ModelError, match=message) as caught:
        encoder(server, **options).encode(texts)
    assert server.url in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_the_settings_of_a_recipe_open_it():
    with EmbeddingServer() as server:
        settings = ServedEmbedding(encoder="openai", model=MODEL, base_url=server.url)
        opened = open_encoder(settings)
        assert isinstance(opened, ServedEncoder) and not server.requests
        np.testing.assert_allclose(opened.encode(TEXTS), unit(vectors(TEXTS)), atol=1e-6)


def test_vectors_are_in_the_order_of_the_texts_and_batches_are_of_the_size_that_is_set():
    with EmbeddingServer() as server:
        found = encoder(server).encode(TEXTS)
    assert found.dtype == np.float32 and np.array_equal(found, vectors(TEXTS))
    asked = sorted(texts for texts in server.texts if len(texts) > 1)
    assert asked == sorted(TEXTS[start : start + 5] for start in range(0, 23, 5))
    assert all(request["model"] == MODEL and request["encoding_format"] == "float" for request in server.requests)


def test_an_answer_in_another_order_is_put_right_by_its_indexes():
    rng = np.random.default_rng(3)
    with EmbeddingServer(change=lambda data: rng.permutation(data).tolist()) as server:
        assert np.array_equal(encoder(server).encode(TEXTS), vectors(TEXTS))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data[:-1], id="one missing"),
        pytest.param(lambda data: [*data, data[0]], id="one twice"),
        pytest.param(lambda data: [*data[:-1], data[0]], id="one for another"),
        pytest.param(lambda data: [{**item, "index": item["index"] + 1} for item in data], id="from one"),
        pytest.param(lambda data: [{**item, "index": None} for item in data], id="no index"),
        pytest.param(lambda data: [{**item, "index": str(item["index"])} for item in data], id="strings"),
        pytest.param(lambda data: [{**item, "index": [0]} for item in data], id="a list"),
        pytest.param(lambda data: [{"embedding": item["embedding"]} for item in data], id="index left out"),
        pytest.param(lambda data: ["text"] * len(data), id="no objects"),
        pytest.param(lambda data: [], id="nothing"),
        pytest.param(lambda data: None, id="null"),
        pytest.param(lambda data: 5, id="a number"),
        pytest.param(lambda data: [{**item, "embedding": None} for item in data], id="no vector"),
        pytest.param(lambda data: [{**item, "embedding": []} for item in data], id="empty vectors"),
        pytest.param(lambda data: [{**item, "embedding": "AAAA"} for item in data], id="base64"),
        pytest.param(lambda data: [{**item, "embedding": [item["embedding"]]} for item in data], id="a matrix"),
        pytest.param(lambda data: [{**item, "embedding": [float("nan")] * 8} for item in data], id="not finite"),
        pytest.param(lambda data: [{**item, "embedding": [1e300] * 8} for item in data], id="too large"),
        pytest.param(
            lambda data: [{**item, "embedding": [1.0] * (8 + item["index"])} for item in data], id="of many lengths"
        ),
    ],
)
def test_what_is_no_vector_for_each_text_is_refused(change):
    keep = lambda data: data if len(data) == 1 else change(data)  # noqa: E731 - the dimension is asked for first
    with EmbeddingServer(change=keep) as server:
        refused(server, "not of the protocol of /v1/embeddings .*; check base_url and model")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body="<html>hello</html>", headers=HTML),
        Reply(body='{"data": ['),
        Reply(body="[]"),
        Reply(body="{}"),
        Reply(body='"text"'),
    ],
    ids=["html", "cut", "list", "empty", "string"],
)
def test_what_is_no_answer_is_refused(reply):
    with EmbeddingServer(script=(reply,) * 9) as server:
        refused(server, "not of the protocol of /v1/embeddings .*; check base_url and model")


def test_a_vector_of_another_length_than_the_ones_before_is_refused():
    change = lambda data: [{**item, "embedding": item["embedding"][: 10 - len(data)]} for item in data]  # noqa: E731
    with EmbeddingServer(change=change) as server:
        refused(server, r"vectors of 5 numbers after ones of 8\); check", texts=TEXTS[:5])


def test_dimensions_are_asked_for_and_must_be_given():
    with EmbeddingServer() as server:
        served = encoder(server, dimensions=3)
        assert served.dimension == 3
        assert np.array_equal(served.encode(TEXTS), vectors(TEXTS, 3))
        assert all(request["dimensions"] == 3 for request in server.requests)
    ignored = lambda data: [{**item, "embedding": [1.0] * 8} for item in data]  # noqa: E731
    with EmbeddingServer(change=ignored) as server:
        refused(server, "vectors of 8 numbers, although it is asked for 3; correct dimensions", dimensions=3)
    with EmbeddingServer() as server:
        encoder(server).encode(TEXTS)
        assert not any("dimensions" in request for request in server.requests)


def test_vectors_have_length_one_where_that_is_asked_for():
    with EmbeddingServer() as server:
        np.testing.assert_allclose(encoder(server, normalize=True).encode(TEXTS), unit(vectors(TEXTS)), atol=1e-6)
    with EmbeddingServer(change=lambda data: [{**item, "embedding": [0.0] * 8} for item in data]) as server:
        assert np.array_equal(encoder(server, normalize=True).encode(TEXTS), np.zeros((23, 8))), "nothing to divide by"


def test_the_query_prefix_stands_before_questions_only():
    with EmbeddingServer() as server:
        served = encoder(server, query_prefix="query: ", passage_prefix="passage: ")
        assert np.array_equal(served.encode_queries(["apples"]), vectors(["query: apples"]))
        assert np.array_equal(served.encode(["apples"]), vectors(["apples"]))


def test_an_empty_text_is_asked_for_as_a_space():
    with EmbeddingServer() as server:
        assert np.array_equal(encoder(server).encode(["", "apples"]), vectors([" ", "apples"]))


def test_no_texts_give_no_vectors():
    with EmbeddingServer() as server:
        assert encoder(server).encode([]).shape == (0, 8)


def test_a_vector_is_asked_for_its_dimension_once():
    with EmbeddingServer(dimension=6) as server:
        served = encoder(server)
        assert (served.dimension, served.dimension, served.max_length) == (6, 6, None)
        assert [len(texts) for texts in server.texts] == [1]


def test_texts_and_the_tokens_that_the_server_tells_are_counted():
    with EmbeddingServer() as server:
        served = encoder(server)
        assert (served.dimension, served.stats.tokens) == (8, 0)
        served.encode(TEXTS)
        assert (served.stats.texts, served.stats.tokens) == (23, 3 * 23)
    with EmbeddingServer(usage=False) as server:
        served = encoder(server)
        served.encode(TEXTS)
        assert (served.stats.texts, served.stats.tokens) == (23, 0)


def test_several_requests_are_under_way_but_not_more_than_allowed():
    texts = [f"text {number}" for number in range(40)]
    with EmbeddingServer(delay=0.03) as server:
        assert np.array_equal(encoder(server, batch=2, concurrency=3).encode(texts), vectors(texts))
        assert server.most == 3
    with EmbeddingServer(delay=0.01) as server:
        encoder(server, batch=5, concurrency=1).encode(texts)
        assert server.most == 1


def test_windows_come_in_order_and_may_be_empty():
    windows = [TEXTS[:7], [], TEXTS[7:8], TEXTS[8:]]
    with EmbeddingServer() as server:
        parts = list(encoder(server).stream(map(Window, windows)))
    numbers = [part.window for part in parts]
    assert numbers == sorted(numbers) and set(numbers) == {0, 2, 3}
    for number, texts in enumerate(windows):
        found = [part for part in parts if part.window == number]
        rows = [row for part in found for row in part.rows.tolist()]
        assert sorted(rows) == list(range(len(texts)))
        assert all(np.array_equal(part.vectors, vectors([texts[row] for row in part.rows])) for part in found)


def test_what_is_done_is_not_asked_for_again_and_batches_stay_those_of_a_run_without_interruption():
    done = np.zeros(23, np.bool_)
    done[[*range(5, 15), 20, 22]] = True
    with EmbeddingServer() as server:
        served = encoder(server)
        parts = list(served.stream([Window(TEXTS, done), Window(TEXTS, np.ones(23, np.bool_))]))
        assert [part.rows.tolist() for part in parts] == [[0, 1, 2, 3, 4], [15, 16, 17, 18, 19], [20, 21, 22]]
        assert {part.window for part in parts} == {0}
        assert all(np.array_equal(part.vectors, vectors([TEXTS[row] for row in part.rows])) for part in parts)
        assert sorted(map(len, (texts for texts in server.texts if len(texts) > 1))) == [3, 5, 5]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_or_failing_server_is_asked_again_after_times_that_grow(status):
    with EmbeddingServer(script=(Reply(status=status), Reply(status=status))) as server:
        assert np.array_equal(encoder(server, dimensions=8).encode(TEXTS[:3]), vectors(TEXTS[:3]))
    first, second = (later - earlier for earlier, later in pairwise(server.times))
    assert 0.3 < first < second


def test_a_rate_limit_is_waited_for_as_long_as_the_server_says():
    with EmbeddingServer(script=(Reply(status=429, headers={"Retry-After": "0.7"}),)) as server:
        encoder(server, dimensions=8).encode(TEXTS[:3])
    first, second = server.times
    assert 0.7 <= second - first < 5


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, r"answers 400 .*as scripted.*; a text may be too long for the model: use smaller chunks"),
        (413, r"answers 413 .*; a text may be too long for the model: use smaller chunks"),
        (422, r"answers 422 .*; a text may be too long for the model: use smaller chunks"),
        (401, r"answers 401 .*; put its key into the environment variable OPENAI_API_KEY"),
        (403, r"answers 403 .*; put its key into the environment variable OPENAI_API_KEY"),
        (404, r"answers 404 .*; check base_url, which often ends in /v1, and model 'small'"),
        (429, r"answers 429 .*, asked 1 times; lower concurrency or raise max_retries"),
        (500, r"answers 500 .*, asked 1 times; look at the server's log"),
        (503, r"answers 503 .*, asked 1 times; look at the server's log"),
    ],
)
def test_a_refusal_says_what_to_do(status, message):
    with EmbeddingServer(script=(Reply(status=status),) * 9) as server:
        refused(server, message, max_retries=0)


@pytest.mark.parametrize(("status", "asked"), [(400, 1), (401, 1), (404, 1), (429, 2), (500, 2)])
def test_only_what_may_pass_is_tried_again(status, asked):
    with EmbeddingServer(script=(Reply(status=status),) * 9) as server:
        refused(server, f"answers {status}", dimensions=8, max_retries=1)
        assert len(server.requests) == asked


def test_a_key_is_sent_and_a_wrong_one_is_named_by_its_variable(monkeypatch):
    monkeypatch.setenv("MY_KEY", "open sesame\n")
    monkeypatch.setenv("OTHER_KEY", "open barley")
    with EmbeddingServer(key="open sesame") as server:
        assert np.array_equal(encoder(server, api_key_env="MY_KEY").encode(["a"]), vectors(["a"]))
        said = refused(server, r"401.*environment variable OTHER_KEY", api_key_env="OTHER_KEY")
        assert "barley" not in said
        refused(server, r"401.*environment variable NO_KEY", api_key_env="NO_KEY")


def test_what_can_be_no_key_is_refused_and_not_shown(monkeypatch):
    for key in ("open\nsesame", "sésame", "sesame\x7f"):
        monkeypatch.setenv("MY_KEY", key)
        with EmbeddingServer() as server:
            with pytest.raises(ModelError, match=r"environment variable MY_KEY .*; set it to the key alone") as caught:
                encoder(server, api_key_env="MY_KEY")
            assert "same" not in str(caught.value) and not server.requests


def test_another_path_and_another_model_are_told():
    with EmbeddingServer() as server:
        refused(server, r"404.*does not exist.*model 'large'", model="large")
        with pytest.raises(ModelError, match=r"404.*base_url, which often ends in /v1"):
            settings = ServedEmbedding(encoder="openai", model=MODEL, base_url=server.url.removesuffix("/v1"))
            ServedEncoder(settings).encode(["a"])


def test_an_answer_that_takes_too_long_is_given_up():
    with EmbeddingServer(delay=3) as server:
        began = time.monotonic()
        refused(server, r"no answer within 0\.2 s; raise embed timeout or lower batch", timeout=0.2, max_retries=0)
        assert time.monotonic() - began < 3


def test_an_answer_that_never_ends_is_given_up():
    with EmbeddingServer(script=(Reply(body="{}", drip=0.05),) * 9) as server:
        began = time.monotonic()
        refused(server, r"no answer within 0\.4 s", timeout=0.4, max_retries=0)
        assert time.monotonic() - began < 2


def test_no_more_is_read_of_an_answer_than_any_answer_has(monkeypatch):
    monkeypatch.setattr(served_module, "_MOST", 2 << 20)
    with EmbeddingServer(script=(Reply(body="x" * (3 << 20)),)) as server:
        refused(server, "larger than 2 MiB")


def test_a_redirect_is_not_followed():
    with EmbeddingServer() as other:
        reply = Reply(status=307, headers={"Location": f"{other.url}/embeddings"})
        with EmbeddingServer(script=(reply,) * 9) as server:
            refused(server, "answers 307, a redirect to .*; if that is right, set base_url so")
        assert other.requests == []


def test_an_error_with_a_good_status_is_said():
    with EmbeddingServer(script=(Reply(body='{"error": {"message": "out of credit"}}'),) * 9) as server:
        refused(server, "out of credit")


def test_a_server_that_is_not_there_is_told():
    with EmbeddingServer() as server:
        pass
    refused(server, r"cannot be reached \(.*\); start the server, or check base_url", max_retries=0)


def test_one_refused_batch_ends_everything():
    texts = [f"text {number}" for number in range(100)]
    with EmbeddingServer(most_texts=1, delay=0.05) as server:
        refused(server, r"answers 400.*input is of 2 texts", texts=texts, batch=2, concurrency=2)
        assert len(server.requests) < 10


def test_who_stops_listening_ends_the_requests():
    with EmbeddingServer(delay=0.02) as server:
        parts = encoder(server, batch=1, concurrency=2).stream([Window(TEXTS)])
        next(parts)
        parts.close()
        # Those that were sent come in.
        time.sleep(0.5)
        asked = len(server.requests)
        assert asked < 10
        time.sleep(0.2)
        assert len(server.requests) == asked
