"""The server's page in a browser, if there is one: all of it by keyboard, on a phone and on a screen."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import pytest
from hostile import TEXTS, build_hostile
from readability import CONTRAST, SIZES

from mnemodex.deploy.app import http_app
from mnemodex.deploy.key_file import Key, add_key, new_token, now
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import ServerSettings
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.errors import CorruptFileError

pytestmark = pytest.mark.slow

QUESTION = "Which river flows under the bridges?"
READY = "document.querySelector('#index').options.length > 0"
DONE = "document.querySelector('#answer').getAttribute('aria-busy') == 'false' && !!document.querySelector('#answer *')"
ACTIVE = "document.activeElement.id || document.activeElement.className"
WIDE = """(() => {
  const page = document.documentElement, box = e => e.getBoundingClientRect();
  const out = [...document.querySelectorAll("body *")].filter(e => e.getClientRects().length
    && !e.closest(".scroll, .picture, .hidden, .skip") && (box(e).left < -0.5 || box(e).right > innerWidth + 0.5));
  return [page.scrollWidth - page.clientWidth, ...out.map(e => e.outerHTML.slice(0, 200))];
})()"""
UNNAMED = """[...document.querySelectorAll("button, input, select, textarea, summary, a")].filter(e =>
  e.getClientRects().length && !(e.innerText || e.getAttribute("aria-label") || e.labels?.length))
  .map(e => e.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def feedback(tmp_path_factory):
    return tmp_path_factory.mktemp("feedback") / "feedback.jsonl"


@contextlib.contextmanager
def serving(settings, service):
    """The address of a server in a thread of this process."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(http_app(settings, service), log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def service(tmp_path_factory, feedback):
    """A service of a memory in which all texts are hostile."""
    memories = {"hostile": build_hostile(tmp_path_factory.mktemp("hostile"))}
    made = Service(ServerSettings(memories=memories, sql=True, feedback=feedback))
    made.warm()
    return made


@pytest.fixture(scope="module")
def address(service):
    """The page of the service, without keys."""
    with serving(service.settings, service) as made:
        yield made


@pytest.fixture
def page(browser, address):
    """Opens the page; afterwards the browser has complained of nothing."""
    browser.complaints.clear()

    def opened(width=1280, *, dark=False):
        browser.visit(address, width, dark=dark)
        browser.wait_for(READY)
        return browser

    yield opened
    browser.evaluate("sessionStorage.clear()")
    assert browser.complaints == []


def choose(browser, index):
    browser.evaluate(
        f"(e => {{ e.value = {index!r}; e.dispatchEvent(new Event('change')); }})(document.querySelector('#index'))"
    )


def ask(browser, index, question=QUESTION):
    """Ask an index by typing and pressing Enter; the text of the answer."""
    choose(browser, index)
    browser.evaluate("document.querySelector('#question').value = ''; document.querySelector('#question').focus()")
    browser.write(question)
    browser.press("Enter")
    browser.wait_for(DONE)
    if index == "walk":
        browser.wait_for("!!document.querySelector('.picture img')")
    return browser.evaluate("document.querySelector('#answer').innerText")


def show(browser, tab):
    browser.evaluate(f"document.querySelector('#tab-{tab}').click()")


class TestReading:
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("width", [390, 1280])
    @pytest.mark.parametrize("view", ["both", "walk", "asked", "ngrams", "sql", "memory"])
    def test_every_view_can_be_read(self, page, view, width, dark):
        browser = page(width, dark=dark)
        if view in {"sql", "memory"}:
            show(browser, view)
        else:
            ask(browser, view, "the old city" if view == "ngrams" else QUESTION)
        if view == "sql":
            browser.evaluate("document.querySelector('#sql-form').requestSubmit()")
            browser.wait_for("!!document.querySelector('#rows td')")
        browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        assert browser.evaluate(WIDE) == [0]
        assert browser.evaluate(SIZES) >= (11 if view == "memory" else 13)
        assert (
            browser.evaluate(CONTRAST.replace("seen.filter(own)", "seen.filter(own).filter(e => e.tagName != 'text')"))
            == []
        )
        assert browser.evaluate(UNNAMED) == []

    def test_hits_are_shown_with_their_evidence(self, page):
        browser = page()
        text = ask(browser, "words")
        marks = browser.evaluate("[...document.querySelectorAll('.hit:first-child mark')].map(e => e.textContent)")
        assert {"river", "flows", "bridges"} <= set(marks)
        assert "Words" in text and browser.evaluate("document.querySelectorAll('.hit').length") == 10
        ask(browser, "flat")
        assert browser.evaluate("[...document.querySelectorAll('.hit')].every(e => e.querySelector('.sentence'))")

    def test_a_long_text_is_cut_around_its_evidence_and_shown_on_demand(self, page):
        browser = page()
        ask(browser, "words")
        button = "document.querySelector('.hit button.link')"
        shown = f"{button}.closest('.hit').querySelector('.text').textContent.length"
        before = browser.evaluate(shown)
        browser.evaluate(f"{button}.click()")
        assert (
            browser.evaluate(shown) > before and browser.evaluate(f"{button}.getAttribute('aria-expanded')") == "true"
        )

    def test_the_picture_of_a_graph_is_an_image_and_its_facts_are_texts(self, page):
        browser = page()
        text = ask(browser, "walk")
        assert browser.evaluate("document.querySelector('.picture img').naturalWidth") > 1000
        assert "Facts linked to the question" in text and "hits are listed below" in browser.evaluate(
            "document.querySelector('.picture img').alt"
        )

    def test_a_phrase_is_shown_in_its_contexts_with_what_follows(self, page):
        browser = page()
        text = ask(browser, "ngrams", "the old city")
        assert "occurrences" in text and "What follows" in text
        marks = browser.evaluate("[...new Set([...document.querySelectorAll('.kwic mark')].map(e => e.textContent))]")
        assert marks == ["the old city"]

    def test_the_memory_shows_sizes_and_the_curve_of_recall(self, page):
        browser = page()
        show(browser, "memory")
        text = browser.evaluate("document.querySelector('#contents').innerText")
        assert "lists" in text and "KiB" in text and "target 0.95" in text
        assert browser.evaluate("document.querySelectorAll('.curve circle').length") >= 2

    def test_an_index_that_is_not_served_says_why_and_cannot_be_chosen(self, browser, service):
        refused = service.memories.get("hostile").refused
        refused["lists"] = CorruptFileError("a file is <b>damaged</b>; build again")
        try:
            with serving(service.settings, service) as address:
                browser.visit(address, 1280)
                browser.wait_for(READY)
                disabled = "[...document.querySelectorAll('#index option:disabled')].map(e => e.value)"
                assert browser.evaluate(disabled) == ["lists"]
                text = browser.evaluate("document.querySelector('#contents').textContent")
                assert "lists is not served." in text and "<b>damaged</b>" in text
        finally:
            del refused["lists"]


class TestSafety:
    @pytest.mark.parametrize("index", ["words", "flat", "both", "walk", "asked", "ngrams"])
    def test_no_text_of_a_corpus_becomes_more_than_text(self, page, index):
        browser = page()
        browser.evaluate("document.querySelector('#k').value = 12")
        text = ask(browser, index, "the old city" if index == "ngrams" else QUESTION)
        assert "<script>window.ran = 1</script>" in text
        assert browser.evaluate("window.ran === undefined && document.scripts.length == 1")
        made = "main script, main style, main iframe, main [onerror], main img:not([src^=blob])"
        assert browser.evaluate(f"document.querySelectorAll('{made}').length") == 0
        # What turns the direction of the rest is written as an escape.
        assert "\u202e" not in text and "\\u202e" in text

    def test_hostile_names_of_tables_and_rows_stay_texts(self, page):
        browser = page()
        show(browser, "sql")
        browser.evaluate("document.querySelector('#query').value = 'SELECT title AS \"<b>\", title FROM documents'")
        browser.evaluate("document.querySelector('#query').focus()")
        browser.press("Enter", modifiers=2)
        browser.wait_for("!!document.querySelector('#rows td')")
        assert browser.evaluate("document.querySelector('#rows th').textContent") == "<b>"
        cells = browser.evaluate("[...document.querySelectorAll('#rows td:last-child')].map(e => e.textContent)")
        assert set(TEXTS[:5]) <= set(cells)

    def test_a_script_that_gets_in_does_not_run(self, page):
        browser = page()
        for sink in ("setAttribute('onclick', 'window.ran = 7')", "innerHTML = '<img src=x onerror=window.ran=8>'"):
            caught = f"try {{ document.body.{sink}; }} catch (error) {{ return error.name; }}"
            assert browser.evaluate(f"(() => {{ {caught} }})()") == "TypeError"
        assert browser.evaluate("window.ran === undefined")
        assert any("TrustedScript" in json.dumps(complaint) for complaint in browser.complaints)
        browser.complaints.clear()


class TestKeyboard:
    def test_a_question_is_asked_and_judged_without_a_mouse(self, page, feedback):
        browser = page()
        before = len(feedback.read_text().splitlines())
        for _ in range(20):
            browser.press("Tab")
            if browser.evaluate(ACTIVE) == "question":
                break
        browser.write(QUESTION)
        browser.press("Enter")
        browser.wait_for(DONE)
        assert "10 hits" in browser.evaluate("document.querySelector('#ask-status').textContent")
        for _ in range(20):
            browser.press("Tab")
            if browser.evaluate(ACTIVE) == "thumb up":
                break
        browser.press("Space")
        browser.wait_for("document.querySelector('.thumbs').textContent.includes('Noted')")
        assert browser.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
        query = read_queries(feedback)[before]
        assert query.question == QUESTION and len(query.gold) == 1

    def test_what_has_the_focus_is_seen(self, page):
        browser = page()
        ask(browser, "walk")
        for _ in range(25):
            browser.press("Tab")
            outline = "(e => [getComputedStyle(e).outlineStyle, parseFloat(getComputedStyle(e).outlineWidth)])"
            style, pixels = browser.evaluate(f"{outline}(document.activeElement)")
            assert style != "none" and pixels >= 2, browser.evaluate(ACTIVE)

    def test_arrows_walk_along_the_tabs(self, page):
        browser = page()
        browser.evaluate("document.querySelector('#tab-ask').focus()")
        seen = []
        for _ in range(3):
            browser.press("ArrowRight")
            seen.append(
                browser.evaluate("[...document.querySelectorAll('[role=tabpanel]:not([hidden])')].map(e => e.id)")
            )
        assert seen == [["sql"], ["contents"], ["ask"]]
        assert browser.evaluate(ACTIVE) == "tab-ask"


class TestKeys:
    def test_a_key_is_asked_for_and_sent_in_a_header_alone(self, browser, service, tmp_path):
        token, digest = new_token()
        add_key(tmp_path / "keys.json", Key(name="reader", sha256=digest, created=now(), scopes=["search"]))
        settings = service.settings.model_copy(update={"keys": tmp_path / "keys.json"})
        with serving(settings, service) as address:
            browser.visit(address, 1280)
            browser.wait_for("document.querySelector('#key-dialog').open")
            for typed in ("mnx_wrong", token):
                browser.evaluate("document.querySelector('#key').value = ''; document.querySelector('#key').focus()")
                browser.write(typed)
                browser.press("Enter")
                if typed != token:
                    browser.wait_for("document.querySelector('#key-error').textContent.includes('unknown or revoked')")
            browser.wait_for(READY)
            assert not browser.evaluate("document.querySelector('#key-dialog').open")
            ask(browser, "words")
            assert browser.evaluate("document.querySelectorAll('.hit').length") == 10
            # Its scope is not that of SQL.
            assert browser.evaluate("document.querySelector('#tab-sql').hidden")
            seen = "[location.href, document.cookie, document.body.innerHTML, JSON.stringify({...localStorage})].join()"
            assert token not in browser.evaluate(seen)
            browser.visit(address, 1280)
            browser.wait_for(READY)
            browser.evaluate(
                "document.querySelector('#key-open').click(); document.querySelector('#key-forget').click()"
            )
            browser.wait_for("document.querySelector('#key-dialog').open")
            assert browser.evaluate("sessionStorage.length") == 0
        browser.complaints.clear()


class TestRefusals:
    def test_an_error_says_what_to_do(self, page):
        browser = page()
        browser.evaluate("document.querySelector('#where').value = 'nothing = 1'")
        choose(browser, "words")
        browser.evaluate("document.querySelector('#question').value = 'river'")
        browser.evaluate("document.querySelector('#ask-form').requestSubmit()")
        text = browser.wait_for("document.querySelector('#ask-error').innerText")
        assert "nothing" in text and "Request" in text
        assert browser.evaluate("document.querySelector('#answer').children.length") == 0
        browser.complaints.clear()

    def test_a_server_that_is_gone_is_said_to_be_so(self, page):
        browser = page()
        browser.ask("Network.enable")
        offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.ask("Network.emulateNetworkConditions", offline=True, **offline)
        browser.evaluate("document.querySelector('#question').value = 'x'")
        browser.evaluate("document.querySelector('#ask-form').requestSubmit()")
        text = browser.wait_for("document.querySelector('#ask-error').innerText")
        browser.ask("Network.emulateNetworkConditions", offline=False, **offline)
        assert "does not answer" in text
        browser.complaints.clear()


def test_the_answer_of_a_slow_question_does_not_replace_that_of_the_next(page):
    browser = page()
    choose(browser, "walk")
    browser.evaluate("document.querySelector('#question').value = 'slow'")
    browser.evaluate("document.querySelector('#ask-form').requestSubmit()")
    ask(browser, "words", "keeper")
    time.sleep(2)
    assert not browser.evaluate("!!document.querySelector('.picture')")
    assert "10 hits" in browser.evaluate("document.querySelector('#ask-status').textContent")
