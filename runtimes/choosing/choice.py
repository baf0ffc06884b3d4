"""From a model's file to the engine and device that run it here."""

from pathlib import Path

from edgellm.gguf_file import GGUFFile, read_gguf
from edgellm.hardware import detect_hardware
from edgellm.plan import DEFAULT_CONTEXT
from edgellm.quant_tables import load_tables
from edgellm.runtimes import RUNTIMES
from edgellm.runtimes.choosing.installed import look_installed
from edgellm.runtimes.choosing.selection import Candidate, select_runtime
from edgellm.runtimes.choosing.surroundings import ModelNeeds
from edgellm.runtimes.llama_cpp.preconditions import ModelFacts, choose_kv_formats, read_facts
from edgellm.runtimes.options import LoadOptions

_F32_BYTES, _F16_BYTES = 4, 2
# Types of strangers' files that quant_tables has no row for; the same for every version of ggml.
_OTHER_TYPES = {19: "iq1_s", 29: "iq1_m", 34: "tq1_0", 35: "tq2_0", 40: "nvfp4", 41: "q1_0"}
_VOCABULARIES = ("token_embd.weight", "output.weight")


def choose_runtime(path: Path, options: LoadOptions, runtime: str = "auto") -> Candidate:
    """The engine for a GGUF file here, its device, and the layers to put there.

    runtime: a name in RUNTIMES, or "auto". Raises FormatError for a bad file, UnsupportedError with
    every reason where nothing can run it.
    """
    installed = look_installed()
    # Where llama.cpp was built for no GPU, finding one would change nothing.
    hardware = detect_hardware(gpus=bool(installed.built_with["llama.cpp"]))
    engines = RUNTIMES if runtime == "auto" else (runtime,)
    return select_runtime(hardware, installed, needs_of_gguf(read_gguf(path), options), engines)


def needs_of_gguf(file: GGUFFile, options: LoadOptions) -> ModelNeeds:
    """What the model in a file needs, loaded with these options. Raises FormatError."""
    facts = read_facts(file)
    formats = choose_kv_formats(options.key_format, options.value_format, facts, on_gpu=False)
    context = min(options.context or DEFAULT_CONTEXT, facts.trained_context)
    cells = load_tables().engines["llama.cpp"].padded_context(context)
    widths = _kv_widths(file, facts)
    return ModelNeeds(
        format="gguf",
        weight_formats=_weight_formats(file),
        key_format=formats.key.name,
        value_format=formats.value.name,
        needs_flash_attention=formats.value.needs_flash_attention_for_v,
        head_dim=facts.key_head_dim,
        layers=facts.layers,
        weights_bytes=sum(tensor.bytes for tensor in file.tensors),
        kv_cache_bytes=cells
        * sum(formats.key.row_bytes(k) + formats.value.row_bytes(v) for k, v in widths),
        compute_bytes=_compute_bytes(file, facts, max(widths), min(options.ubatch, cells), cells),
    )


def _weight_formats(file: GGUFFile) -> frozenset[str]:
    """ggml's names of the formats of the matrices; of a type too new for a name, its number."""
    rows = load_tables().weight_formats.items()
    names = {**_OTHER_TYPES, **{row.ggml_type: name for name, row in rows}}
    kinds = {tensor.ggml_type for tensor in file.tensors if len(tensor.shape) > 1}
    return frozenset(names.get(kind, f"ggml type {kind}") for kind in kinds)


def _kv_widths(file: GGUFFile, facts: ModelFacts) -> list[tuple[int, int]]:
    """Elements of K and of V that a token adds, layer by layer."""
    heads = _sizes(file, facts, "attention.head_count_kv")
    heads = heads or _sizes(file, facts, "attention.head_count")
    per_layer = heads if len(heads) == facts.layers else heads[:1] * facts.layers
    return [(count * facts.key_head_dim, count * facts.value_head_dim) for count in per_layer]


def _compute_bytes(
    file: GGUFFile, facts: ModelFacts, widest: tuple[int, int], tokens: int, cells: int
) -> int:
    """A device's scratch, rather too much: one block's values, the mask, logits, K and V in f16.

    CUDA reads a quantized cache of one layer as f16 for a prompt (ggml-cuda/fattn-common.cuh).
    """
    hidden = max(_sizes(file, facts, "embedding_length"), default=0)
    ffn = max(_sizes(file, facts, "feed_forward_length"), default=0)
    query = max(_sizes(file, facts, "attention.head_count")) * facts.key_head_dim
    values_bytes = _F32_BYTES * tokens * (3 * ffn + 4 * hidden + 3 * query + sum(widest))
    cache_bytes = _F16_BYTES * cells * sum(widest)
    vocabulary = max((t.shape[0] for t in file.tensors if t.name in _VOCABULARIES), default=0)
    return values_bytes + _F16_BYTES * tokens * cells + cache_bytes + 2 * _F32_BYTES * vocabulary


def _sizes(file: GGUFFile, facts: ModelFacts, key: str) -> tuple[int, ...]:
    """A size, or one for each layer; empty where the file does not say."""
    value = file.metadata.get(f"{facts.architecture}.{key}")
    values = value if isinstance(value, tuple) else (value,)
    return tuple(size for size in values if isinstance(size, int) and size >= 0)
