"""Language models by name: any transformers encoder-decoder or causal model, on one device."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models.locate import locate, need, refuse_pickled
from mnemodex.indexers.models.tokenizers import text_prefix, tokenizer
from mnemodex.schemas.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


class LanguageModel:
    """A language model with its tokenizer, whose truncation and padding are off.

    Args:
        name: a folder, a hub id, or `pkg:MODULE/FILE`; weights are safetensors, or a GGUF file, which is dequantised.
        threads: torch's CPU threads; all that torch finds by default.

    Attributes:
        model: the torch module, in evaluation mode: float32 on a CPU, bf16 (else fp16) on a GPU.
        is_encoder_decoder: whether it reads its prompt with an encoder.
        device: where its weights are.

    Raises:
        ModelError: there is no such model, or it is not a language model.
        ImportError: it is a GGUF file, and what reads those is not installed.
    """

    def __init__(self, name: str, *, threads: int | None = None) -> None:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self.name = name
        self.tokenizer: Tokenizer = tokenizer(name)
        path = locate(name)
        self.device, dtype = choose_device()
        try:
            refuse_pickled(path)
            with silence():
                loaded = _load(path, dtype)
        except MissingExtraError:
            raise
        except Exception as error:
            # Libraries raise what they like at a damaged or strange model.
            raise ModelError(f"model {name!r} ({path}) cannot be loaded as a language model: {error}") from error
        self.model: Any = loaded.to(self.device).eval()
        self.is_encoder_decoder = bool(self.model.config.is_encoder_decoder)

    @property
    def size(self) -> int:
        """The number of tokens that it gives probabilities to."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    @property
    def end(self) -> int | None:
        """The token that ends a text, if it has one."""
        tokens: int | list[int] | None = self.model.generation_config.eos_token_id
        return tokens[0] if isinstance(tokens, list) else tokens

    @property
    def prefix(self) -> tuple[int, ...]:
        """The tokens that come before every text that it reads, often none."""
        return text_prefix(self.tokenizer)

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), configuration and `tokenizer.json`: a model that can be named by its folder."""
        self.model.save_pretrained(folder)
        self.tokenizer.save(str(folder / "tokenizer.json"))


def load_model(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return a model and its tokenizer, as a reader (`KnnLM`) takes them: a datastore's own model, by its name.

    Args:
        name: as the recipe names it: a folder, a hub id, or `pkg:MODULE/FILE`.

    Raises:
        ModelError: there is no such model, or it is not a language model.
        ImportError: it is a GGUF file, and what reads those is not installed.
    """
    from transformers import PreTrainedTokenizerFast

    loaded = LanguageModel(name)
    end = None if loaded.end is None else loaded.tokenizer.id_to_token(loaded.end)
    fast: Any = PreTrainedTokenizerFast
    tokens = fast(tokenizer_object=loaded.tokenizer, name_or_path=name, eos_token=end, pad_token=end)
    return loaded.model, tokens


def _load(path: Path, dtype: Any) -> Any:
    """Return the model with its weights, on the CPU."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    if path.is_file():
        # Reading the configuration alone would parse the whole file once more; those that are in use are causal.
        need("gguf", extra="lm")
        need("accelerate", extra="lm")
        from transformers import GgufConfig

        # Otherwise it counts as quantized: it could not be saved, and a GPU with a kernel for it keeps it packed.
        unpacked = GgufConfig(dequantize=True)
        return AutoModelForCausalLM.from_pretrained(
            str(path.parent), gguf_file=path.name, quantization_config=unpacked, dtype=dtype, **_LOCAL
        )
    config = AutoConfig.from_pretrained(str(path), **_LOCAL)
    return load_weights(AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM, path, dtype)


def choose_device() -> tuple[torch.device, torch.dtype]:
    """Return where a model is computed, and in which numbers: float32 on a CPU, bf16 (else fp16) on a GPU."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu"), torch.float32
    return torch.device("cuda"), torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def load_weights(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """Return a model of one of transformers' `Auto` classes from a folder, on the CPU.

    Raises:
        ValueError: the weights lack some of the model's.
    """
    loaded, info = kind.from_pretrained(
        str(folder), use_safetensors=True, output_loading_info=True, dtype=dtype, **_LOCAL
    )
    if info["missing_keys"]:
        # An encoder, for example: transformers would make up what the model has beyond it.
        raise ValueError(f"its weights lack {min(info['missing_keys'])} and {len(info['missing_keys']) - 1} more")
    return loaded


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep transformers' progress bars and advice off the terminal while a model is loaded."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call] # transformers leaves it without types
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        # Dequantising a GGUF file shows its progress in any case.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
