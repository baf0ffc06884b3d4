"""What is known of batches of a model on this machine, found once and kept."""

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from edgellm.errors import FormatError
from edgellm.files import keep_json
from edgellm.gguf_file import GGUFFile
from edgellm.hardware import detect_hardware
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.preconditions import KVFormats
from edgellm.runtimes.llama_cpp.speculation.trial import SIZES, BatchTrial, try_batches

_METHOD = 1  # what a trial does; another one makes what it found void
# ggml shares a single token's attention out to the threads from so many cells on, but not that of
# a batch, in caches of these formats; a context is padded to a multiple of 256.
_SHARED_OUT_CELLS = 512
_SHARED_OUT_FORMATS = ("f16", "f32")


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft model's file, which fits the model, and the threads for it."""

    file: GGUFFile
    threads: int


@dataclass(frozen=True, slots=True)
class Guessing:
    """How a model is loaded whose tokens are to be guessed."""

    file: GGUFFile
    formats: KVFormats
    context_tokens: int
    ubatch: int
    threads: int
    gpu_layers: int
    extra_buffers: bool
    weights: str  # one of WEIGHT_PLACES
    draft: Draft | None  # None guesses from the text itself
    cache_dir: Path | None  # where findings are kept; None keeps none

    @property
    def is_exact_at_any_depth(self) -> bool:
        """Whether batches that round like single tokens in a short context do so in a long one."""
        if self.gpu_layers:
            return False  # how kernels there split attention is a matter of depth
        key, value = self.formats.key.name, self.formats.value.name
        shared_out = key == value and key in _SHARED_OUT_FORMATS and self.threads > 1
        return not shared_out or self.context_tokens <= _SHARED_OUT_CELLS - 256

    @property
    def has_experts(self) -> bool:
        return any(name.endswith(".expert_count") for name in self.file.metadata)

    def digest(self) -> str:
        """Of everything that a trial's findings depend on."""
        hardware = detect_hardware()
        machine = (hardware.processor, hardware.machine, hardware.logical_cores)
        system = llama.llama_print_system_info().decode("utf-8", "replace")
        engine = (version("llama-cpp-python"), system)
        tensors = [(tensor.name, tensor.shape, tensor.ggml_type) for tensor in self.file.tensors]
        facts = sorted(
            (name, value)
            for name, value in self.file.metadata.items()
            if isinstance(value, int | float | str) and not name.startswith("tokenizer.")
        )
        options = (self.formats, self.threads, self.gpu_layers, self.extra_buffers)
        everything = (_METHOD, SIZES, machine, engine, tensors, facts, options)
        return hashlib.sha256(repr(everything).encode()).hexdigest()


def find_trial(
    context: Context, n_vocab: int, guessing: Guessing, cancel: CancelToken
) -> BatchTrial:
    """What is known of this machine and model; what is missing is tried now.

    Takes seconds the first time. Raises StatusError, OutputError.
    """
    folder = guessing.cache_dir
    path = None if folder is None else folder / "batches" / f"{guessing.digest()}.json"
    known = None if path is None else _read(path)
    missing = [size for size in SIZES if known is None or size not in known.seconds]
    if missing:
        one_token = guessing.has_experts
        found = try_batches(context, n_vocab, cancel, sizes=missing, one_token=one_token)
        known = found if known is None else known.joined(found)
        if path is not None and not cancel.cancelled:
            keep_json(path, known.to_json())
    assert known is not None
    return known if guessing.is_exact_at_any_depth else known.without_exact()


def _read(path: Path) -> BatchTrial | None:
    """A trial kept before; one that is damaged counts as none."""
    try:
        return BatchTrial.from_json(json.loads(path.read_bytes()), str(path))
    except (OSError, ValueError, FormatError):
        return None
