"""The page's files: what may be loaded and run, and colours that people can read."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mnemodex.retrievers.graph.drawing.palette import PALETTE

FOLDER = Path(__file__).parents[2] / "deploy" / "page"
SCRIPTS = sorted(FOLDER.glob("*.js"))
# What makes a text HTML, a script or an address.
SINKS = r"(inner|outer|Adjacent)HTML|document\.write|DOMParser|createContextualFragment|srcdoc|\beval\b|Function\("


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def tags():
    return Tags((FOLDER / "index.html").read_text()).found


class TestServed:
    def test_the_policy_lets_nothing_run_but_the_servers_own_scripts(self, client):
        answer = client.get("/")
        assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["connect-src"] == "'self'" and policy["img-src"] == "'self' blob:"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert not any("unsafe" in rule or "http" in rule or "data:" in rule for rule in policy.values())

    def test_all_that_the_page_loads_is_there(self, client, tags):
        loaded = {
            attributes.get("src") or attributes["href"] for tag, attributes in tags if tag in {"link", "script", "img"}
        }
        loaded |= {f"page/{name}" for path in SCRIPTS for name in re.findall(r'from "\./(.+?)"', path.read_text())}
        assert {"page/page.css", "page/page.js", "page/dom.js", "page/icon.svg"} <= loaded
        for address in loaded:
            answer = client.get(f"/{address}")
            assert answer.status_code == 200 and answer.headers["x-content-type-options"] == "nosniff"
        assert client.get("/page/page.js").headers["content-type"] == "text/javascript; charset=utf-8"

    def test_nothing_else_of_the_folder_is_there(self, client):
        for name in ("routes.py", "__init__.py", "../app.py", "..%2fapp.py", "none.js"):
            assert client.get(f"/page/{name}").status_code == 404


class TestSource:
    def test_no_script_and_no_style_is_in_the_html(self, tags):
        assert all(attributes.get("src") for tag, attributes in tags if tag == "script")
        assert not any(tag == "style" for tag, _ in tags)
        assert not any(name == "style" or name.startswith("on") for _, attributes in tags for name in attributes)

    def test_every_field_has_a_label(self, tags):
        labels = {attributes.get("for") for tag, attributes in tags if tag == "label"}
        fields = [a for tag, a in tags if tag in {"input", "select", "textarea"} and a.get("type") != "checkbox"]
        assert fields and all(attributes["id"] in labels for attributes in fields)

    @pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
    def test_no_script_reads_texts_as_html(self, path):
        source = path.read_text()
        assert not re.search(SINKS, source)
        # A key in an address would be in histories and logs.
        assert not re.search(r"location|URLSearchParams|localStorage|document\.cookie", source)

    def test_pages_ask_the_server_that_they_are_from(self):
        for path in (*SCRIPTS, FOLDER / "page.css", FOLDER / "index.html"):
            source = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert "://" not in source and not re.search(r'"/v1', source)


def colours():
    """The two blocks of variables: those on a light ground, and those on a dark one."""
    light, dark = re.findall(r":root \{(.*?)\}", (FOLDER / "page.css").read_text(), re.DOTALL)[:2]
    return [dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in (light, dark)]


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


class TestColours:
    def test_they_are_those_of_the_pictures(self):
        for way, block in enumerate(colours()):
            shared = block.keys() & PALETTE.keys()
            assert len(shared) > 8 and {name: PALETTE[name][way] for name in shared} == {n: block[n] for n in shared}

    @pytest.mark.parametrize("way", [0, 1], ids=["light", "dark"])
    def test_texts_can_be_read_on_their_grounds(self, way):
        block = colours()[way]
        tints = [("ink", f"{name}-tint") for name in ("entity", "fact", "passage", "wrong")]
        pairs = [("ink", "paper"), ("quiet", "paper"), ("quiet", "ground"), ("entity", "paper"), ("entity", "ground")]
        pairs += [("ink", "mark"), ("wrong", "wrong-tint"), ("passage", "paper"), ("fact", "paper"), *tints]
        for pair in pairs:
            dark, light = sorted(luminance(block[name]) for name in pair)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, pair
