"""Settings of kNN-LM as a file: what was tuned on some texts, for others."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from mnemodex.retrievers.readers.knn_lm.mixing import Buckets, Mixing
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from pathlib import Path


def to_json(mixing: Mixing) -> dict[str, Any]:
    """The settings as JSON has them; buckets are `{"edges", "weights"}`."""
    return asdict(mixing)


def save(mixing: Mixing, path: Path) -> None:
    """Write settings as one JSON object."""
    path.write_text(json.dumps(to_json(mixing), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def load(path: Path) -> Mixing:
    """Read settings that `save` wrote, or that were written by hand; what is left out has its default.

    Raises:
        QueryError: the file cannot be read, or has a setting that is unknown or out of its range.
    """
    try:
        given: Any = json.loads(path.read_text(encoding="utf-8-sig"))
        _check_names(given)
        return TypeAdapter(Mixing).validate_json(json.dumps(given), strict=True)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise QueryError(msg) from error
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        name = ".".join(map(str, found["loc"])) or "the whole"
        msg = f"{path}: {name}: {found['msg']}"
        raise QueryError(msg) from error
    except (QueryError, ValueError) as error:
        msg = f"{path}: {error}"
        raise QueryError(msg) from error


def _check_names(given: Any) -> None:
    """Refuse settings that there are not; validation of standard dataclasses passes over them."""
    weight = given.get("weight") if isinstance(given, dict) else None
    for names, kind in ((given, Mixing), (weight, Buckets)):
        known = [field.name for field in fields(kind)]
        if isinstance(names, dict) and (unknown := sorted(set(names) - set(known))):
            msg = f"no setting {unknown[0]!r}; there are {', '.join(known)}"
            raise QueryError(msg)
