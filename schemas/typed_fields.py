"""Fields of documents' metadata as values of the types of their columns."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic_core import SchemaValidator, ValidationError, core_schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INT64 = 1 << 63

metadata_text = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode
"""Returns metadata as the column `metadata` holds it."""


class TypedFields:
    """Converts fields of metadata to the types of their columns, and counts what it finds in one partition.

    Args:
        types: the names of the types by those of the fields; `a.b` is the field b of the object a.
        strict: whether a value that does not fit is refused; else it is missing in the column.

    Attributes:
        filled: fields that some row has.
        misfits: how many values of each field do not fit.
        zones: how many times of each field have no zone, and how many have one.
    """

    def __init__(self, types: Mapping[str, str], *, strict: bool) -> None:
        self._types = types
        self._strict = strict
        self._dotted = [name for name in types if "." in name]
        self._validator = self._make_validator()
        self._times: list[tuple[str, bool]] = []
        self.filled: set[str] = set()
        self.misfits: Counter[str] = Counter()
        self.zones: dict[str, list[int]] = {}

    def convert(self, metadata: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the values of a row, None where there is none.

        Raises:
            ValueError: strict, and a value does not fit.
        """
        if not self._types:
            return ()
        row = dict(metadata)
        for name in self._dotted:
            if (inner := object_of(row, name)) is not None:
                row[name] = inner[0][inner[1]]
        self._times.clear()
        try:
            values = self._validator.validate_python(row)
        except ValidationError as error:
            problems = {str(problem["loc"][0]): problem for problem in error.errors(include_url=False)}
            if self._strict:
                name, problem = next(iter(problems.items()))
                raise ValueError(
                    f"the metadata field {name!r} is {problem['input']!r:.100}, no {self._types[name]} "
                    f"({problem['msg']}); correct it, or its type in source.metadata"
                ) from error
            self.misfits.update(list(problems))
            self._times.clear()
            values = self._validator.validate_python({name: row[name] for name in row if name not in problems})
        for name, has_zone in self._times:
            self.zones.setdefault(name, [0, 0])[has_zone] += 1
        if len(self.filled) < len(self._types):
            self.filled.update(name for name, value in values.items() if value is not None)
        return tuple(map(values.get, self._types))

    def _make_validator(self) -> SchemaValidator:
        fields = {
            name: core_schema.typed_dict_field(_nullable(kind, self._schema(name, kind)), required=False)
            for name, kind in self._types.items()
        }
        return SchemaValidator(core_schema.typed_dict_schema(fields, extra_behavior="ignore"))

    def _schema(self, name: str, kind: str) -> core_schema.CoreSchema:
        """Return the schema of the values of a field, without a list around them."""
        if _inner(kind) != "timestamp":
            return _SCHEMAS[_inner(kind)]

        def to_utc(moment: datetime) -> datetime:
            self._times.append((name, moment.tzinfo is not None))
            return _to_utc(moment)

        return core_schema.no_info_after_validator_function(to_utc, core_schema.datetime_schema())


def _inner(kind: str) -> str:
    return kind.removeprefix("list<").removesuffix(">")


def _nullable(kind: str, value: core_schema.CoreSchema) -> core_schema.CoreSchema:
    inner = _inner(kind)
    schema = core_schema.nullable_schema(value)
    return schema if inner == kind else core_schema.nullable_schema(core_schema.list_schema(schema))


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError as error:
        raise ValueError("in UTC it is not in the years 1 to 9999") from error


_SCHEMAS: dict[str, core_schema.CoreSchema] = {
    "bool": core_schema.bool_schema(),
    "int": core_schema.int_schema(ge=-_INT64, lt=_INT64),
    "float": core_schema.float_schema(allow_inf_nan=False),
    "string": core_schema.str_schema(coerce_numbers_to_str=True),
    "date": core_schema.date_schema(),
    "timestamp": core_schema.no_info_after_validator_function(_to_utc, core_schema.datetime_schema()),
}


def fits(values: Sequence[Any], kind: str) -> bool:
    """Return whether all values can be converted to a type."""
    try:
        SchemaValidator(core_schema.list_schema(_SCHEMAS[kind])).validate_python(values)
    except ValidationError:
        return False
    return True


def object_of(row: dict[str, Any], name: str) -> tuple[dict[str, Any], str] | None:
    """Return the object that holds a field, and the field's name in it; `a.b` is in the object a."""
    if name in row:
        return row, name
    outer, _, inner = name.partition(".")
    return object_of(row[outer], inner) if inner and isinstance(row.get(outer), dict) else None
