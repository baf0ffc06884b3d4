"""Runs one quantized batch through llama.cpp: the process that survives has working AMX code.

The model is one random layer in q8_0 and q4_0, written to a temporary folder.
"""

import tempfile
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize

from edgellm.runtimes.llama_cpp.library import StatusError, load_library

_HIDDEN, _FFN, _TOKENS, _HEADS = 256, 512, 512, 4
_BATCH = 64  # AMX code runs for batches only


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.gguf"
        write_model(path)
        decode_batch(path)


def write_model(path: Path) -> None:
    """A llama without a vocabulary."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(_BATCH)
    writer.add_embedding_length(_HIDDEN)
    writer.add_feed_forward_length(_FFN)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(_TOKENS)
    writer.add_tokenizer_model("no_vocab")
    rng = np.random.default_rng(0)
    for name, shape in _shapes().items():
        weights = rng.standard_normal(shape).astype(np.float32)
        kind = _format(name, shape)
        packed = weights if kind is None else quantize(weights, kind)
        writer.add_tensor(name, packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def decode_batch(path: Path) -> None:
    """Raises StatusError when llama.cpp says no; dies when its AMX code is broken."""
    from edgellm.runtimes.llama_cpp.bindings import llama

    load_library()
    model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    if model is None:
        raise StatusError("the probe model does not load")
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = _BATCH
    context = llama.llama_init_from_model(model, params)
    if context is None:
        raise StatusError("the probe context is refused")
    tokens = (llama.llama_token * _BATCH)(*range(_BATCH))
    status = llama.llama_decode(context, llama.llama_batch_get_one(tokens, _BATCH))
    llama.llama_free(context)
    llama.llama_model_free(model)
    if status != 0:
        raise StatusError(f"the probe batch failed with status {status}")


def _shapes() -> dict[str, tuple[int, ...]]:
    block = {
        "attn_norm": (_HIDDEN,),
        "attn_q": (_HIDDEN, _HIDDEN),
        "attn_k": (_HIDDEN, _HIDDEN),
        "attn_v": (_HIDDEN, _HIDDEN),
        "attn_output": (_HIDDEN, _HIDDEN),
        "ffn_norm": (_HIDDEN,),
        "ffn_gate": (_FFN, _HIDDEN),
        "ffn_up": (_FFN, _HIDDEN),
        "ffn_down": (_HIDDEN, _FFN),
    }
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (_TOKENS, _HIDDEN)}
    shapes |= {f"blk.0.{name}.weight": shape for name, shape in block.items()}
    return shapes | {"output_norm.weight": (_HIDDEN,)}


def _format(name: str, shape: tuple[int, ...]) -> gguf.GGMLQuantizationType | None:
    if len(shape) == 1:
        return None
    types = gguf.GGMLQuantizationType
    return types.Q4_0 if ".ffn_" in name else types.Q8_0


if __name__ == "__main__":
    main()
