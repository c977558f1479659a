"""Settings of a graph index, as the recipe gives them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.spec import ReadBy, Ref, SearchOnly, Spec

GraphMethod = Literal["hipporag1", "hipporag2", "bridge", "bridge-lite"]


class ChatModel(Spec):
    """A language model, by its name at an OpenAI-compatible server, whose key an environment variable holds."""

    model: str
    base_url: str = Field(pattern=r"^https?://")
    api_key_env: str = "OPENAI_API_KEY"


class GraphSettings(IndexSettings):
    """Settings of a graph index.

    Attributes:
        embed: the embedding of passages, facts and names.
        method: how passages are ranked; `hipporag1`, `hipporag2` and `bridge` read the same files.
        synonymy: the cosine from which on two names count as synonyms; null for no such edges, which saves embedding
            all names. All graph indexes of a recipe have one.
        recognition: for hipporag2, the model that says which facts serve the question; none is asked by default.
        of: for bridge-lite, a dense index: then nothing is built, and nothing walked.
    """

    type: Literal["graph"] = "graph"
    embed: Annotated[str | None, Ref("embed")] = None
    method: Annotated[GraphMethod, SearchOnly()] = "bridge"
    synonymy: Annotated[float | None, ReadBy("synonyms")] = Field(default=0.8, gt=0, le=1)
    recognition: Annotated[ChatModel | None, SearchOnly()] = None
    of: Annotated[str | None, Ref("index", type="dense", default="none")] = None

    @model_validator(mode="after")
    def _only_where_they_count(self) -> Self:
        if self.of is not None and self.method != "bridge-lite":
            raise ValueError(
                f"of is for the method bridge-lite; {self.method} reads the graph of the section `triples`"
            )
        if self.recognition is not None and self.method != "hipporag2":
            raise ValueError("recognition is for the method hipporag2")
        return self

    @property
    def has_facts(self) -> bool:
        """Whether it needs the triples of the recipe."""
        return self.method != "bridge-lite"
