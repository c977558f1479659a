"""Tools of assistants (MCP): search and fetch in the form of connectors, reasons, phrases and SQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlsplit

from mcp.server import MCPServer
from mcp.server.mcpserver import Context  # noqa: TC002 - read at run time
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field, ValidationError

from mnemodex import __version__
from mnemodex.deploy.errors import problem_of
from mnemodex.deploy.operations.fetch import FetchForm
from mnemodex.deploy.operations.ngrams import NgramsForm
from mnemodex.deploy.operations.search import SearchForm
from mnemodex.deploy.operations.sql import SqlForm
from mnemodex.schemas.errors import MnemodexError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served
    from mnemodex.deploy.operations.base import Form
    from mnemodex.deploy.service import Service

_INSTRUCTIONS = (
    "Memories of documents. `search` finds documents, `fetch` reads one by its id, `explain` says why passages were "
    "found, `count_ngrams` counts exact phrases in the whole corpus, and `sql`, where it is on, reads the tables: SHOW "
    "TABLES lists them."
)
_PREFERRED = ("hybrid", "dense", "bm25")
"""Types of indexes that are searched where none is named; then others whose hits are chunks."""
Question = Annotated[str, Field(description="The question, or some words.")]
MemoryName = Annotated[str | None, Field(description="The memory's name; may be left out where there is one.")]
IndexName = Annotated[str | None, Field(description="The index's name; one that suits most questions by default.")]
Where = Annotated[
    str | None,
    Field(description="A boolean SQL expression over chunks c and documents d that the passages have to fulfil."),
]
Count = Annotated[int, Field(description="How many to return.", ge=1, le=100)]

_CHUNKS = 4
"""Chunks that are asked for per document: several may be of one."""
_DOCUMENTS = 10
_EXPLAINED = 5


def mcp_server(service: Service, access_of: Callable[[Context], Access]) -> MCPServer:
    """Return a server of the tools, for any transport.

    Args:
        service: answers them.
        access_of: returns what the sender of a call may do.
    """
    server: MCPServer = MCPServer("mnemodex", instructions=_INSTRUCTIONS, version=__version__, log_level="WARNING")
    tools = Tools(service, access_of)
    listed: list[Callable[..., Any]] = [tools.search, tools.fetch, tools.explain, tools.count_ngrams]
    if service.settings.sql:
        listed.append(tools.sql)
    for tool in listed:
        # An assistant's connector reads one item of text, which structured output would add another one to.
        server.add_tool(tool, annotations=ToolAnnotations(read_only_hint=True), structured_output=False)
    return server


class Tools:
    """The tools: what an operation answers, as one JSON text."""

    def __init__(self, service: Service, access_of: Callable[[Context], Access]) -> None:
        self._service = service
        self._access_of = access_of

    async def search(
        self,
        query: Question,
        context: Context,
        memory: MemoryName = None,
        index: IndexName = None,
        where: Where = None,
        k: Count = _DOCUMENTS,
    ) -> str:
        """Find the documents that answer a question best, in one memory or in all; `fetch` reads them."""
        with _refusing(self._service):
            access = self._access_of(context)
            asked = query, where, k
            found = await asyncio.gather(
                *(self._documents(served, index, asked, context) for served in self._memories(memory, access))
            )
        # Scores of different memories do not compare: the best of each come first.
        ranked = [one for one in chain(*zip_longest(*found)) if one is not None]
        return _text({"results": ranked[:k]})

    async def fetch(self, id: Annotated[str, Field(description="The id that a search gave.")], context: Context) -> str:
        """Read a document that a search has found."""
        with _refusing(self._service):
            name, key = self._parse(id, self._access_of(context))
            answer = await self._run("fetch", FetchForm(memory=name, keys=[key]), context)
            if not answer["documents"]:
                raise _unknown(id)
        document = answer["documents"][0]
        reference = _reference(name, document)
        return _text({**reference, "text": document["text"], "metadata": document["metadata"]})

    async def explain(
        self,
        query: Question,
        context: Context,
        memory: MemoryName = None,
        index: IndexName = None,
        k: Count = _EXPLAINED,
    ) -> str:
        """Find passages and say why each was found: words, facts, sentences or indexes, with their scores."""
        with _refusing(self._service):
            access = self._access_of(context)
            served = self._service.memories.get(memory, access)
            name = index or _default_index(served, access)
            form = SearchForm(memory=served.name, index=name, queries=[query], k=k, explain=True)
            answer = await self._run("search", form, context)
        return _text({"memory": served.name, "index": name, "hits": answer["hits"][0]})

    async def count_ngrams(
        self,
        phrases: Annotated[list[str], Field(description="Exact phrases.")],
        context: Context,
        memory: MemoryName = None,
        index: Annotated[str | None, Field(description="An index of type ngram; the first one by default.")] = None,
    ) -> str:
        """Count how often exact phrases occur in the whole corpus."""
        with _refusing(self._service):
            access = self._access_of(context)
            served = self._service.memories.get(memory, access)
            name = index or _first_index(served, access, "ngram")
            answer = await self._run("ngrams", NgramsForm(memory=served.name, index=name, phrases=phrases), context)
        counts = dict(zip(phrases, answer["counts"], strict=True))
        return _text({"memory": served.name, "index": name, "counts": counts})

    async def sql(
        self,
        query: Annotated[str, Field(description="One SELECT, in DuckDB's dialect.")],
        context: Context,
        memory: MemoryName = None,
    ) -> str:
        """Read the tables and indexes of a memory by SQL; SHOW TABLES lists them."""
        with _refusing(self._service):
            return _text(await self._run("sql", SqlForm(memory=memory, query=query), context))

    async def _run(self, name: str, form: Form, context: Context) -> dict[str, Any]:
        request = context.request_context.request
        if request is not None:
            # For the audit log.
            request.state.form = form
        return await self._service.run(name, form, self._access_of(context))

    def _memories(self, name: str | None, access: Access) -> list[Served]:
        """Return the memory of that name, or all that the access is for."""
        if name is not None:
            return [self._service.memories.get(name, access)]
        access.require("search")
        return [served for served in self._service.memories if access.sees_memory(served.name)]

    async def _documents(
        self, served: Served, index: str | None, asked: tuple[str, str | None, int], context: Context
    ) -> list[dict[str, Any]]:
        """Return the best documents of a memory, as connectors expect them; a document is as good as its best chunk."""
        query, where, k = asked
        name = index or _default_index(served, self._access_of(context))
        chunks = min(k * _CHUNKS, served.limits.k)
        form = SearchForm(memory=served.name, index=name, queries=[query], k=chunks, where=where, kind="chunk")
        hits = (await self._run("search", form, context))["hits"][0]
        documents: dict[str, dict[str, Any]] = {}
        for hit in hits:
            documents.setdefault(hit["key"], hit)
        return [_reference(served.name, hit) for hit in documents.values()][:k]

    def _parse(self, id_: str, access: Access) -> tuple[str, str]:
        """Return the memory and the key of an id."""
        names = [served.name for served in self._service.memories if access.sees_memory(served.name)]
        for name in sorted(names, key=len, reverse=True):
            if id_.startswith(f"{name}/"):
                return name, id_.removeprefix(f"{name}/")
        raise _unknown(id_)


@contextlib.contextmanager
def _refusing(service: Service) -> Iterator[None]:
    """Turn our errors into those that an assistant reads, without paths of this machine."""
    try:
        yield
    except (MnemodexError, ValidationError) as error:
        problem = problem_of(error, service.settings.memories)
        raise ToolError(f"{problem.message}. {problem.remedy}") from error


def _unknown(id_: str) -> QueryError:
    return QueryError(f"id: there is no document {id_!r}. Give one that a search returns")


def _default_index(served: Served, access: Access) -> str:
    """Return the index that is searched where none is named: the first of the type that suits most questions.

    Raises:
        QueryError: the memory has none whose hits are chunks.
    """
    entries = served.memory.snapshot.manifest.indexes.values()
    types = {
        entry.name: entry.type
        for entry in entries
        if entry.name not in served.refused
        and access.sees_index(entry.name)
        and served.memory.kind(entry.name).hits == "chunk"
    }
    for preferred in (*_PREFERRED, *types.values()):
        for name, type_ in types.items():
            if type_ == preferred:
                return name
    raise QueryError(f"memory {served.name!r}: has no index of passages. Name another memory")


def _first_index(served: Served, access: Access, type_: str) -> str:
    for entry in served.memory.snapshot.manifest.indexes.values():
        if entry.type == type_ and access.sees_index(entry.name):
            return entry.name
    raise QueryError(f"memory {served.name!r}: has no index of type {type_}. Name another memory")


def _reference(memory: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return id, title and URL of a document: the URL is that of its metadata, or one that says where it is."""
    url = row["metadata"].get("url")
    is_url = isinstance(url, str) and urlsplit(url).scheme in ("http", "https")
    own = f"mnemodex://{quote(memory, safe='')}/{quote(row['key'], safe='')}"
    return {"id": f"{memory}/{row['key']}", "title": row["title"] or row["key"], "url": url if is_url else own}


def _text(answer: dict[str, Any]) -> str:
    return json.dumps(answer, allow_nan=False)
