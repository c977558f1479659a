"""The tools of assistants, asked by the client of the `mcp` package."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from commands import assert_refused
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from small_memory import build_inline, write_corpus

from mnemodex.deploy.access import OPEN
from mnemodex.deploy.mcp_server import mcp_server
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import ServerSettings

MODES = ("legacy", "auto")
"""With a handshake, and by the present protocol without one."""


@pytest.fixture(scope="module")
def tools(library):
    return Service(ServerSettings(memories={"library": library}, sql=True))


@asynccontextmanager
async def connected(tools, mode="auto", access=OPEN):
    async with Client(mcp_server(tools, lambda context: access), mode=mode) as client:
        yield client


def call(tools, name, /, access=OPEN, mode="auto", **arguments):
    """Call a tool; its one item of text as JSON."""

    async def run():
        async with connected(tools, mode, access) as client:
            return read(await client.call_tool(name, arguments))

    return asyncio.run(run())


def refusal(tools, name, /, access=OPEN, **arguments):
    """Call a tool that refuses; what it says."""

    async def run():
        async with connected(tools, access=access) as client:
            return await client.call_tool(name, arguments)

    answer = asyncio.run(run())
    assert answer.is_error
    return answer.content[0].text


def read(answer):
    assert not answer.is_error, answer.content
    (item,) = answer.content
    assert item.type == "text" and answer.structured_content is None
    return json.loads(item.text)


@pytest.mark.parametrize("mode", MODES)
def test_a_search_and_a_fetch_are_those_of_connectors(tools, mode, memory):
    results = call(tools, "search", mode=mode, query="Who winds the lamp of the lighthouse?")["results"]
    assert len(results) == 10 and all(set(result) == {"id", "title", "url"} for result in results)
    assert len({result["id"] for result in results}) == 10
    first = results[0]
    assert first["id"].startswith("library/lighthouse") and first["title"].startswith("Lighthouse")
    document = call(tools, "fetch", mode=mode, id=first["id"])
    assert set(document) == {"id", "title", "text", "url", "metadata"}
    key = first["id"].removeprefix("library/")
    assert [(document["text"],)] == memory.sql(f"SELECT text FROM documents WHERE key = '{key}'").fetchall()
    assert {name: document[name] for name in first} == first and document["metadata"]["lang"] == "en"


def test_tools_say_what_they_are_and_that_they_only_read(tools):
    async def run():
        async with connected(tools) as client:
            return (await client.list_tools()).tools

    listed = {tool.name: tool for tool in asyncio.run(run())}
    assert set(listed) == {"search", "fetch", "explain", "count_ngrams", "sql"}
    assert listed["search"].input_schema["required"] == ["query"] and listed["fetch"].input_schema["required"] == ["id"]
    for tool in listed.values():
        assert tool.description and tool.annotations.read_only_hint and tool.output_schema is None
        assert all(field.get("description") for field in tool.input_schema["properties"].values())


def test_a_search_takes_an_index_a_filter_and_a_number(tools):
    results = call(tools, "search", query="keeper", index="words", where="d.key LIKE 'beehives%'", k=2)["results"]
    assert len(results) == 2 and all(result["id"].startswith("library/beehives") for result in results)


def test_reasons_are_explained(tools):
    answer = call(tools, "explain", query="lighthouse keeper", index="words", k=3)
    assert (answer["memory"], answer["index"], len(answer["hits"])) == ("library", "words", 3)
    assert {reason["text"] for reason in answer["hits"][0]["reasons"]} >= {"lighthouse", "keeper"}
    assert call(tools, "explain", query="lighthouse keeper")["index"] == "both"


def test_phrases_are_counted(tools, memory):
    phrases = ["the harbour", "no such phrase"]
    counts = memory.retriever("ngrams").count(phrases).tolist()
    answer = call(tools, "count_ngrams", phrases=phrases)
    assert answer == {"memory": "library", "index": "ngrams", "counts": dict(zip(phrases, counts, strict=True))}


def test_sql_is_answered_by_rows(tools):
    answer = call(tools, "sql", query="SELECT count(*) AS n FROM documents")
    assert (answer["columns"], answer["rows"], answer["truncated"]) == (["n"], [[56]], False)


def test_sql_is_a_tool_only_where_it_is_on(library):
    async def run():
        async with connected(Service(ServerSettings(memories={"library": library}))) as client:
            return {tool.name for tool in (await client.list_tools()).tools}

    assert "sql" not in asyncio.run(run())


def test_all_memories_are_searched_unless_one_is_named(library):
    two = Service(ServerSettings(memories={"a": library, "b/c": library}))
    results = call(two, "search", query="lighthouse", k=4)["results"]
    assert [result["id"].rpartition("/")[0] for result in results] == ["a", "b/c", "a", "b/c"]
    assert call(two, "fetch", id=results[1]["id"])["id"] == results[1]["id"]
    only = call(two, "search", query="lighthouse", memory="b/c", k=4)["results"]
    assert all(result["id"].startswith("b/c/") for result in only)
    assert "Name one of 'a', 'b/c'" in refusal(two, "explain", query="lighthouse")


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("search", {"query": "a", "index": "nothing"}, "no index 'nothing'"),
        ("search", {"query": "a", "index": "next"}, "hits of kind 'position'"),
        ("search", {"query": "a", "memory": "nothing"}, "none is called 'nothing'"),
        ("search", {"query": "a", "where": "1; DROP"}, "where"),
        ("search", {"query": "a", "k": 0}, "k"),
        ("search", {}, "query"),
        ("fetch", {"id": "library/none"}, "there is no document"),
        ("fetch", {"id": "nothing"}, "there is no document"),
        ("count_ngrams", {"phrases": [""]}, "has no token"),
        ("count_ngrams", {"phrases": []}, "Give one or more"),
        ("sql", {"query": "DROP VIEW chunks"}, "exactly one SELECT"),
        ("explain", {"query": "a", "index": "nothing"}, "no index 'nothing'"),
    ],
)
def test_what_cannot_be_answered_is_said_without_a_path(tools, library, name, arguments, says):
    said = refusal(tools, name, **arguments)
    assert says in said and str(library.parent) not in said and "Traceback" not in said


def test_an_access_bounds_the_tools(tools):
    searching = replace(OPEN, scopes=frozenset({"search"}))
    assert "scope" in refusal(tools, "sql", searching, query="SELECT 1")
    assert "library" in refusal(
        tools, "search", replace(OPEN, memories=frozenset({"other"})), query="a", memory="library"
    )
    assert call(tools, "search", replace(OPEN, memories=frozenset({"other"})), query="lighthouse") == {"results": []}
    some = replace(searching, where="d.key LIKE 'mill%'")
    results = call(tools, "search", some, query="lighthouse keeper")["results"]
    assert results and all(result["id"].startswith("library/mill") for result in results)
    assert "there is no document" in refusal(tools, "fetch", some, id="library/lighthouse-1")
    words = replace(OPEN, indexes=frozenset({"words"}))
    assert call(tools, "explain", words, query="lighthouse")["index"] == "words"
    assert "has no index of type ngram" in refusal(tools, "count_ngrams", words, phrases=["a"])


def test_an_assistant_of_this_machine_starts_the_command(library):
    async def run():
        command = StdioServerParameters(command=sys.executable, args=["-m", "mnemodex", "mcp", f"notes={library}"])
        async with Client(command) as client:
            found = read(await client.call_tool("search", {"query": "lighthouse keeper", "index": "words"}))
            return client.server_info.name, found, read(await client.call_tool("sql", {"query": "SELECT 1 AS one"}))

    name, found, rows = asyncio.run(run())
    assert name == "mnemodex" and found["results"][0]["id"].startswith("notes/lighthouse")
    assert rows["rows"] == [[1]]


def test_the_command_follows_new_snapshots(tmp_path):
    source, memory = tmp_path / "source", tmp_path / "towns"
    write_corpus(source, "a.jsonl", range(4))
    build_inline(source, memory, {"words": {"type": "bm25"}})

    async def run():
        command = StdioServerParameters(command=sys.executable, args=["-m", "mnemodex", "mcp", str(memory), "--follow"])
        async with Client(command) as client:

            async def found():
                results = read(await client.call_tool("search", {"query": "Town 5"}))["results"]
                return {result["id"] for result in results}

            assert "towns/d5" not in await found()
            write_corpus(source, "b.jsonl", range(4, 8))
            build_inline(source, memory, {"words": {"type": "bm25"}})
            for _ in range(300):
                if "towns/d5" in await found():
                    return
                await asyncio.sleep(0.1)
            raise AssertionError("the new snapshot was not served")

    asyncio.run(run())


def test_the_command_refuses_what_is_no_memory(cli, tmp_path):
    assert_refused(cli("mcp", tmp_path / "nothing"), saying="nothing")


def test_without_its_extra_the_command_names_it(cli, library, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_refused(cli("mcp", library), saying="pip install 'mnemodex[mcp]'")
