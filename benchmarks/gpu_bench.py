"""What the parts of `gpu.py` share: sizes, the device and its rates, clocks, and rows that are measured or checked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

Row = dict[str, Any]

DTYPES = {"cuda": torch.bfloat16, "cpu": torch.float32}

DATASHEET = {"H200": 989e12, "H100 80GB HBM3": 989e12}
"""Dense bf16 FLOP/s that the vendor names for a device, by a part of its name."""

_PRODUCTS = 10


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        product: rows and columns of the matrices whose product gives the device's rate.
        passages: texts that an encoder is timed with.
        checked: texts and windows whose results are compared with float32.
        encoders: what the configurations of encoders with made-up weights differ in.
        language_models: the same of language models, and the tokens that each reads.
        window: tokens of a window, and those of them that the window before had read.
        generated: tokens that are generated after a prompt.
        vectors: rows of a vector index, their dimension, and its inverted lists.
    """

    product: int
    passages: int
    checked: tuple[int, int]
    encoders: dict[str, dict[str, int]]
    language_models: dict[str, tuple[dict[str, int], int]]
    window: tuple[int, int]
    generated: int
    vectors: tuple[int, int, int]


def bert(layers: int, width: int, heads: int) -> dict[str, int]:
    """The shape of a BERT."""
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }


def llama(layers: int, width: int, heads: tuple[int, int], inner: int, vocabulary: int = 49152) -> dict[str, int]:
    """The shape of a Llama; heads of queries, and of keys and values."""
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "intermediate_size": inner,
        "vocab_size": vocabulary,
    }


SIZES = {
    "cuda": Sizes(
        product=8192,
        passages=20_000,
        checked=(256, 40),
        encoders={"BERT base": bert(12, 768, 12), "BERT large": bert(24, 1024, 16)},
        language_models={
            "135M": (llama(30, 576, (9, 3), 1536), 1 << 18),
            "1.7B": (llama(24, 2048, (32, 32), 8192), 1 << 17),
        },
        window=(1024, 256),
        generated=64,
        vectors=(1_000_000, 384, 4096),
    ),
    "cpu": Sizes(
        product=256,
        passages=24,
        checked=(24, 24),
        encoders={"BERT tiny": bert(2, 64, 2)},
        language_models={"tiny": (llama(2, 64, (2, 1), 128, vocabulary=512), 1 << 11)},
        window=(128, 32),
        generated=4,
        vectors=(2000, 16, 8),
    ),
}
"""By the device's kind; those of a CPU only try the script."""


@dataclass(frozen=True)
class Bench:
    """Where and how much is measured.

    Attributes:
        device: `cuda` or `cpu`.
        folder: for models that are made up.
        minilm: the name of a small encoder with real weights.
        peak: FLOP/s of a product of large matrices, in bf16 on a GPU.
    """

    device: str
    folder: Path
    minilm: str
    peak: float

    @property
    def sizes(self) -> Sizes:
        return SIZES[self.device]

    @property
    def dtype(self) -> Any:
        """What models compute with: bf16 on a GPU."""
        return DTYPES[self.device]

    def rates(self, flops: float, seconds: float) -> Row:
        """The rate of so much arithmetic, and its share of what the device can do."""
        rate = flops / seconds
        shares: Row = {"TFLOP/s": rate / 1e12, "of product %": rate / self.peak * 100}
        if datasheet := _datasheet(self.device):
            shares["of datasheet %"] = rate / datasheet * 100
        return shares

    def memory(self) -> Row:
        """The most bytes that tensors took on the GPU since this was last asked for."""
        if self.device == "cpu":
            return {}
        most = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return {"GPU GB": most / 1e9}


@dataclass
class ForwardClock:
    """While it is entered, the time that the forward passes of a module, or of an encoder's, take on their device."""

    module: Any
    device: str
    _marks: list[Any] = field(default_factory=list)
    _forward: Any = None

    def __enter__(self) -> ForwardClock:
        self._forward = self.module.forward
        self.module.forward = self._measured
        return self

    def _measured(self, *given: Any, **named: Any) -> Any:
        self._mark()
        result = self._forward(*given, **named)
        self._mark()
        return result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.module.forward = self._forward

    def _mark(self) -> None:
        if self.device == "cpu":
            self._marks.append(time.perf_counter())
            return
        self._marks.append(torch.cuda.Event(enable_timing=True))
        self._marks[-1].record()

    @property
    def seconds(self) -> float:
        """The sum over all passes."""
        _synchronize()
        pairs = zip(self._marks[::2], self._marks[1::2], strict=True)
        if self.device == "cpu":
            return sum(end - start for start, end in pairs)
        return sum(start.elapsed_time(end) for start, end in pairs) / 1e3


def check(what: str, found: float, *, most: float, **more: Any) -> Row:
    """A row of a check: it is met where the number found is at most the one given; NaN never is."""
    return {"check": what, **more, "found": found, "at most": most, "met": bool(found <= most)}


def timed(run: Callable[[], object], *, repeats: int = 1) -> float:
    """The least wall time of some runs, the device's work included."""
    return min(_once(run) for _ in range(repeats))


def _once(run: Callable[[], object]) -> float:
    _synchronize()
    started = time.perf_counter()
    run()
    _synchronize()
    return time.perf_counter() - started


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ceilings(device: str) -> tuple[float, Row]:
    """FLOP/s of a matrix product, and a row with it and with the rate of copies."""
    size = SIZES[device].product
    left, right = (torch.randn(size, size, device=device, dtype=DTYPES[device]) for _ in range(2))
    source = torch.randn(4 * size * size, device=device)
    target = torch.empty_like(source)
    runs = [lambda: [left @ right for _ in range(_PRODUCTS)], lambda: [target.copy_(source) for _ in range(_PRODUCTS)]]
    product, copy = (timed(run, repeats=4) / _PRODUCTS for run in runs)
    peak = 2 * size**3 / product
    row: Row = {"product": f"{size}³, {DTYPES[device]}".replace("torch.", ""), "TFLOP/s": peak / 1e12}
    if datasheet := _datasheet(device):
        row["datasheet TFLOP/s"] = datasheet / 1e12
    # It is read once and written once.
    return peak, {**row, "copy GB/s": 2 * source.nbytes / copy / 1e9}


def _datasheet(device: str) -> float | None:
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    return next((rate for part, rate in DATASHEET.items() if part in name), None)
