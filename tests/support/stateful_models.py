"""Tiny random models whose memory cannot go back: sliding windows, states, and both kinds mixed."""

from dataclasses import dataclass

import gguf
import numpy as np

from tests.support.gguf import SPECIAL_TOKENS, TinyLlama


@dataclass(frozen=True)
class TinyGemma(TinyLlama):
    """A gemma 3; every sixth layer sees all, the others `window` tokens."""

    architecture: str = "gemma3"
    window: int = 32

    def _write_facts(self, writer: gguf.GGUFWriter) -> None:
        super()._write_facts(writer)
        writer.add_sliding_window(self.window)

    def _shapes(self, n_tokens: int) -> dict[str, tuple[int, ...]]:
        shapes = super()._shapes(n_tokens)
        for layer in range(self.layers):
            norms = dict.fromkeys(("post_attention_norm", "post_ffw_norm"), (self.hidden,))
            norms |= dict.fromkeys(("attn_q_norm", "attn_k_norm"), (self.head_dim,))
            shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in norms.items()}
        return shapes


@dataclass(frozen=True)
class TinyHybrid(TinyLlama):
    """An LFM2: the first layer is a short convolution, the others attend."""

    architecture: str = "lfm2"

    def _write_facts(self, writer: gguf.GGUFWriter) -> None:
        super()._write_facts(writer)
        writer.add_shortconv_l_cache(3)

    def _kv_heads_by_layer(self) -> list[int]:
        return [0] + [self.kv_heads] * (self.layers - 1)

    def _shapes(self, n_tokens: int) -> dict[str, tuple[int, ...]]:
        shapes = super()._shapes(n_tokens)
        shapes["token_embd_norm.weight"] = shapes.pop("output_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            del shapes[f"blk.0.{name}.weight"]
        shapes["blk.0.shortconv.conv.weight"] = (self.hidden, 3)
        shapes["blk.0.shortconv.in_proj.weight"] = (3 * self.hidden, self.hidden)
        shapes["blk.0.shortconv.out_proj.weight"] = (self.hidden, self.hidden)
        for layer in range(1, self.layers):
            for name in ("attn_q_norm", "attn_k_norm"):
                shapes[f"blk.{layer}.{name}.weight"] = (self.head_dim,)
        return shapes


@dataclass(frozen=True)
class TinyMamba(TinyLlama):
    """A Mamba: every layer is a state."""

    architecture: str = "mamba"
    heads: int = 0
    kv_heads: int = 0
    state: int = 16

    @property
    def head_dim(self) -> int:
        return self.hidden

    def _write_facts(self, writer: gguf.GGUFWriter) -> None:
        super()._write_facts(writer)
        writer.add_ssm_conv_kernel(4)
        writer.add_ssm_inner_size(2 * self.hidden)
        writer.add_ssm_state_size(self.state)
        writer.add_ssm_time_step_rank(4)

    def _shapes(self, n_tokens: int) -> dict[str, tuple[int, ...]]:
        inner = 2 * self.hidden
        block = {
            "attn_norm.weight": (self.hidden,),
            "ssm_in.weight": (2 * inner, self.hidden),
            "ssm_conv1d.weight": (inner, 4),
            "ssm_conv1d.bias": (inner,),
            "ssm_x.weight": (4 + 2 * self.state, inner),
            "ssm_dt.weight": (inner, 4),
            "ssm_dt.bias": (inner,),
            "ssm_a": (inner, self.state),
            "ssm_d": (inner,),
            "ssm_out.weight": (self.hidden, inner),
        }
        shapes: dict[str, tuple[int, ...]] = {
            f"blk.{layer}.{name}": shape
            for layer in range(self.layers)
            for name, shape in block.items()
        }
        shapes["token_embd.weight"] = (n_tokens, self.hidden)
        return shapes | {"output_norm.weight": (self.hidden,)}

    def _weights(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        weights = super()._weights(name, shape)
        if name == "token_embd.weight":
            special = weights[: 3 + len(SPECIAL_TOKENS)]
            special += weights[-len(special) :] / 100  # a token of zeros leaves nothing of the text
        return -np.abs(weights) if name.endswith("ssm_a") else weights
