"""What a server answers: one operation a file, without HTTP. Routes and tools of assistants call the same functions."""

from mnemodex.deploy.operations.base import Operation
from mnemodex.deploy.operations.embed import EmbedForm, embed
from mnemodex.deploy.operations.fetch import FetchForm, fetch
from mnemodex.deploy.operations.search import SearchForm, search

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("search", SearchForm, search, "The best hits of questions in an index"),
        Operation("fetch", FetchForm, fetch, "Documents by their keys, or chunks by their ids"),
        Operation("embed", EmbedForm, embed, "The vectors of texts"),
    )
}
"""The operations of `POST /v1/NAME`, by their names."""
