"""Models by name: where a model's folder is."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path

from mnemodex.schemas.errors import MissingExtraError, ModelError

MODEL_ENDINGS = (".safetensors", ".gguf", ".json", ".txt", ".model")
"""Weights, configuration and tokenizer. Pickled weights (`.bin`, `.pt`) are neither fetched nor read."""

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def locate(name: str) -> Path:
    """Return the folder (or GGUF file) of a model; where there is none, a `ModelError` says what was looked for.

    Its name is `pkg:MODULE/FOLDER` for what an installed package ships (it is found, never imported), a local path, or
    a hub id `org/name`, which is fetched unless `HF_HUB_OFFLINE` is set.
    """
    if name.startswith("pkg:"):
        return _in_package(name)
    local = Path(name).expanduser()
    if name and local.exists():
        return local.absolute()
    if _HUB_ID.fullmatch(name):
        return _from_hub(name)
    raise ModelError(f"model {name!r}: no such file or folder; give a path, a hub id (org/name) or pkg:MODULE/FOLDER")


def _in_package(name: str) -> Path:
    module, _, inside = name.removeprefix("pkg:").partition("/")
    # The parents of a dotted name would be imported by the search.
    if not module.isidentifier() or not inside:
        raise ModelError(
            f"model {name!r}: the form is pkg:MODULE/FOLDER, with the name of an installed top-level package"
        )
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        package = module.replace("_", "-")
        raise ModelError(f"model {name!r}: no package {module!r} is installed; `pip install {package}`")
    for location in spec.submodule_search_locations:
        root = Path(location).resolve()
        path = (root / inside).resolve()
        if path.exists() and path.is_relative_to(root):
            return path
    raise ModelError(
        f"model {name!r}: the package {module!r} ({root}) has no {inside!r} in it; check the name after the slash"
    )


def _from_hub(name: str) -> Path:
    import huggingface_hub

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    patterns = [f"*{ending}" for ending in MODEL_ENDINGS]
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns, local_files_only=offline))
    except Exception as error:
        # The library's errors, and those of the three transports below it, have no common base.
        source = "on the Hugging Face hub"
        remedy = "check the id and the network, and log in if it is private"
        if offline:
            source = "in the local cache only, for HF_HUB_OFFLINE is set"
            remedy = "unset HF_HUB_OFFLINE to fetch it"
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"model {name!r}: no such local path, and not found as a hub id ({source}: {first_line}); "
            f"{remedy}, or give a path or pkg:MODULE/FOLDER"
        ) from error


def model_files(root: Path) -> list[Path]:
    """Return all files of a model's folder, also those of folders that are links."""
    found, seen = [], set()
    for folder, below, names in os.walk(root, followlinks=True):
        state = Path(folder).stat()
        if (state.st_dev, state.st_ino) in seen:
            below.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        found += [path for name in names if (path := Path(folder, name)).is_file()]
    return found


def refuse_pickled(root: Path) -> None:
    """Refuse a model of which some library would read pickled weights, or weights of another place.

    Raises:
        ModelError: a folder of it has pickled weights and no safetensors, or it is an adapter of another model.
    """
    if root.is_file():
        return
    if (root / "adapter_config.json").exists():
        raise ModelError(
            f"{root} is an adapter, whose model lies elsewhere and is not hashed; merge them: "
            "PeftModel.merge_and_unload(), then save_pretrained(FOLDER)"
        )
    for file in model_files(root):
        if file.match("pytorch_model*.bin") and not any(file.parent.glob("*.safetensors")):
            raise ModelError(
                f"{file} is pickled, and is not read: that can run any code; save the model again as safetensors: "
                "load it where you trust it, then save_pretrained(FOLDER)"
            )
        if file.name.endswith(".index.json"):
            _check_index(file)


def _check_index(file: Path) -> None:
    shards = json.loads(file.read_text("utf-8")).get("weight_map", {}).values()
    outside = [name for name in shards if Path(name).name != name]
    if outside:
        raise ModelError(f"{file} names weights outside its folder ({outside[0]}); put them into the folder")


def need(module: str, *, extra: str) -> None:
    """Refuse a missing module by the name of its extra, before a library does in many sentences."""
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(f"this needs the package {module!r}: pip install 'mnemodex[{extra}]'")


def spacy_folder(name: str) -> Path:
    """Return the folder of a spaCy model: that folder, or one inside an installed package, which is not imported."""
    if (Path(name) / "meta.json").is_file():
        return _without_pickles(Path(name))
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    for location in (spec.submodule_search_locations if spec else None) or ():
        # The package has a folder of its name and version inside.
        for meta in sorted(Path(location).glob(f"{name}-*/meta.json")):
            return _without_pickles(meta.parent)
    raise ModelError(
        f"spaCy model {name!r}: is not installed and no folder; pip install 'mnemodex[openie]', or name a folder"
    )


def _without_pickles(root: Path) -> Path:
    for file in model_files(root):
        with file.open("rb") as opened:
            begin = opened.read(4)
        # A pickle of protocol 2 or later, and torch's archive of pickles; spaCy's own `.bin` files are msgpack.
        pickled = begin[:1] == b"\x80" and begin[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
        if pickled or begin == b"PK\x03\x04" or file.suffix in (".pkl", ".pickle", ".pt", ".pth"):
            raise ModelError(
                f"spaCy model {root}: {file.relative_to(root)} is pickled, and is not read: that can run any code; "
                "take a model without such files"
            )
    return root


def file_state(path: Path) -> tuple[Path, int, int]:
    """Return a file with its size and time of change, as the key of a cache."""
    state = path.stat()
    return path, state.st_size, state.st_mtime_ns
