"""Metrics, limits and the log."""

from __future__ import annotations

import json
import logging
import sys
import threading
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from mnemodex.deploy.app import http_app
from mnemodex.deploy.log import JsonLines, log_to, printed
from mnemodex.deploy.metrics import exposition
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import Limits, ServerSettings


def values(client):
    text = client.get("/metrics").text
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_searches_and_batches_are_counted(client):
    before = values(client)
    client.post("/v1/search", json={"index": "words", "queries": ["a", "b"]})
    client.post("/v1/search", json={"index": "none", "queries": ["a"]})
    after = values(client)

    def more(name, **labels):
        key = (name, *sorted({**labels, "replica": "0"}.items()))
        return after[key] - before.get(key, 0)

    assert more("mnemodex_requests_total", operation="/v1/search", status="200") == 1
    assert more("mnemodex_requests_total", operation="/v1/search", status="404") == 1
    assert more("mnemodex_search_seconds_count", memory="library", index="words") == 1
    assert more("mnemodex_batch_questions_sum", memory="library", index="words") == 2
    assert after["mnemodex_snapshot", ("memory", "library"), ("replica", "0")] == 1
    assert not any("none" in str(key) for key in after), "a name that is not there makes no series"


def test_the_metrics_of_replicas_are_one_text(service):
    families = json.loads(json.dumps(service.metrics.families()))
    text = exposition({"a": families, "b": families}).decode()
    assert text.count("# TYPE mnemodex_snapshot gauge") == 1
    assert 'mnemodex_snapshot{memory="library",replica="b"} 1.0' in text


def test_more_requests_than_the_queue_takes_are_told_to_come_later(library):
    service = Service(ServerSettings(memories={"library": library}, limits=Limits(queued=1)))
    opened, begun = threading.Event(), threading.Event()

    def wait(served, form, access):
        begun.set()
        assert opened.wait(60)
        return {}

    service.operations["embed"] = replace(service.operations["embed"], run=wait)
    with TestClient(http_app(service.settings, service), base_url="http://127.0.0.1") as client:
        thread = threading.Thread(target=lambda: client.post("/v1/embed", json={"texts": ["a"]}))
        thread.start()
        assert begun.wait(60)
        refused = client.post("/v1/search", json={"index": "words", "queries": ["a"]})
        assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"]["code"] == "busy"
        opened.set()
        thread.join()
        assert client.post("/v1/search", json={"index": "words", "queries": ["a"]}).status_code == 200


def test_a_line_of_the_log_is_one_object():
    try:
        raise ValueError("x" * 100_000)
    except ValueError:
        record = logging.LogRecord("mnemodex.server", logging.ERROR, "", 1, "why", (), sys.exc_info())
    line = JsonLines().format(record)
    assert json.loads(line)["message"] == "why" and "\n" not in line and len(line) <= 4000


def test_a_log_through_the_pipe_is_printed(capsys):
    logger = logging.getLogger("mnemodex")
    former = logger.level, logger.propagate, list(logger.handlers)
    try:
        with printed() as path:
            log_to(path)
            logging.getLogger("mnemodex.server").info("hello", extra={"request": {"id": "1"}})
    finally:
        logger.level, logger.propagate, logger.handlers = former
    assert json.loads(capsys.readouterr().err)["id"] == "1"
