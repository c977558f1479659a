"""Vectors that were made elsewhere, in the section `embed` of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from mnemodex.schemas.kinds import AnyEncoder
from mnemodex.schemas.spec import ReadBy, RecipePath, Spec

_COLUMNS = ("chunk_id", "key", "ordinal", "vector")
_Paths = Annotated[tuple[Annotated[str, RecipePath()], ...], Field(min_length=1)]


class VectorFile(Spec):
    """Vectors of chunks in files: `.npy` matrices with a file of ids for each, or Parquet.

    An id is the key of a document that has one chunk, or `KEY#ORDINAL`, the number of the chunk in its document from 0
    on. Parquet has the column `vector`, and `key` (with `ordinal`, where documents have several chunks) or `chunk_id`.

    Attributes:
        path: `from` in the recipe: a file, a pattern, or a list of these: `.npy` of float16, float32 or float64 and
            shape (rows, dimension), or `.parquet`.
        ids: of `.npy` files, as many as these: text with an id on each line, or `.npy` of strings or integers.
        fields: of Parquet files: our names (chunk_id, key, ordinal, vector) to those of the columns.
        normalize: whether vectors get length 1; needed where they have other lengths than 1, and else no matter.
        questions: the encoder that the vectors were made with, for questions in words; without it the indexes are
            searched by vectors only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    encoder: Literal["file"] = "file"
    path: _Paths = Field(alias="from")
    ids: _Paths | None = None
    fields: Annotated[dict[str, str], ReadBy("embeddings")] = Field(default_factory=dict)
    normalize: Annotated[bool | None, ReadBy("embeddings")] = None
    questions: Annotated[AnyEncoder | None, ReadBy("queries")] = None

    @field_validator("path", "ids", mode="before")
    @classmethod
    def _several(cls, paths: Any) -> Any:
        return (paths,) if isinstance(paths, str) else paths

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for name in fields:
            if name not in _COLUMNS:
                raise ValueError(f"unknown field {name!r}; the fields are {', '.join(_COLUMNS)}")
        return fields

    @model_validator(mode="after")
    def _whole(self) -> Self:
        matrices = [path.endswith(".npy") for path in self.path]
        for path, is_matrix in zip(self.path, matrices, strict=True):
            if not is_matrix and not path.endswith(".parquet"):
                raise ValueError(f"{path}: vectors are in files .npy or .parquet; convert it to one of these")
        if len(set(matrices)) > 1:
            raise ValueError("`from` names .npy and .parquet files; give them as two embeddings, or in one format")
        if matrices[0] and self.ids is None:
            raise ValueError(
                "a .npy file does not say whose vectors its rows are; add `ids: FILE`, with the key of a document (or "
                "KEY#ORDINAL, where it has several chunks) on each line"
            )
        if not matrices[0] and self.ids is not None:
            raise ValueError("Parquet files have their ids in a column; remove `ids`, and name it in `fields`")
        if matrices[0] and self.fields:
            raise ValueError("a .npy file has no columns; remove `fields`")
        if isinstance(self.questions, VectorFile):
            raise ValueError("`questions` names the model that encodes questions, and no file of vectors")
        return self

    def column(self, field: str) -> str:
        """Return the name of a column of Parquet files."""
        return self.fields.get(field, field)
