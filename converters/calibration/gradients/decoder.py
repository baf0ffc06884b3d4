"""One decoder layer of any supported family, in torch, as transformers computes it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn.functional import linear, scaled_dot_product_attention, silu

from edgellm.spec import ModelSpec, Role, RopeScaling

Tensors = Mapping[Role, torch.Tensor]
Rotation = tuple[torch.Tensor, torch.Tensor]  # cosines and sines: [tokens, head_dim] each


@dataclass(frozen=True, slots=True)
class Product:
    """One linear at work."""

    role: Role
    inputs: torch.Tensor  # [tokens, columns]
    outputs: torch.Tensor  # [tokens, rows]; after a backward pass with their gradient


class DecoderLayer:
    """The layer on one window, whose every token attends to all before it; one use."""

    def __init__(self, spec: ModelSpec, tensors: Tensors, rotation: Rotation) -> None:
        self._spec = spec
        self._tensors = tensors
        self._rotation = rotation
        self.products: list[Product] = []

    def run(self, hidden: torch.Tensor) -> torch.Tensor:
        """[tokens, hidden_size] to the same; fills `products`."""
        hidden = hidden + self._attention(self._normed(hidden, Role.ATTN_NORM))
        return hidden + self._feed_forward(self._normed(hidden, Role.FFN_NORM))

    def _attention(self, hidden: torch.Tensor) -> torch.Tensor:
        query = self._rotated(self._heads(hidden, Role.ATTN_Q), Role.ATTN_Q_NORM)
        key = self._rotated(self._heads(hidden, Role.ATTN_K), Role.ATTN_K_NORM)
        value = self._heads(hidden, Role.ATTN_V)
        sharers = self._spec.heads // self._spec.kv_heads
        mixed = scaled_dot_product_attention(
            query[None],
            key.repeat_interleave(sharers, dim=0)[None],
            value.repeat_interleave(sharers, dim=0)[None],
            is_causal=True,
        )[0]
        return self._product(mixed.transpose(0, 1).flatten(1), Role.ATTN_OUTPUT)

    def _feed_forward(self, hidden: torch.Tensor) -> torch.Tensor:
        gate = silu(self._product(hidden, Role.FFN_GATE))
        return self._product(gate * self._product(hidden, Role.FFN_UP), Role.FFN_DOWN)

    def _heads(self, hidden: torch.Tensor, role: Role) -> torch.Tensor:
        """[heads, tokens, head_dim]."""
        return self._product(hidden, role).unflatten(1, (-1, self._spec.head_dim)).transpose(0, 1)

    def _rotated(self, heads: torch.Tensor, norm: Role) -> torch.Tensor:
        if norm in self._tensors:
            heads = self._normed(heads, norm)
        cosines, sines = self._rotation
        left, right = heads.chunk(2, dim=-1)
        return heads * cosines + torch.cat((-right, left), dim=-1) * sines

    def _normed(self, hidden: torch.Tensor, role: Role) -> torch.Tensor:
        return normed(hidden, self._tensors[role], self._spec)

    def _product(self, inputs: torch.Tensor, role: Role) -> torch.Tensor:
        bias = self._tensors.get(Role(f"{role.value}_bias"))
        outputs = linear(inputs, self._tensors[role], bias)
        if outputs.requires_grad:
            outputs.retain_grad()
        self.products.append(Product(role, inputs.detach(), outputs))
        return outputs


def normed(hidden: torch.Tensor, weight: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """RMSNorm over the last dimension."""
    power = hidden.square().mean(dim=-1, keepdim=True)
    return weight * hidden * torch.rsqrt(power + spec.norm_epsilon)


def rotation(spec: ModelSpec, tokens: int, precision: torch.dtype) -> Rotation:
    """How each position turns each half of a head."""
    exponents = torch.arange(0, spec.head_dim, 2, dtype=torch.float64) / spec.head_dim
    frequencies = _scaled(spec.rope_theta**-exponents, spec.rope_scaling)
    angles = torch.arange(tokens, dtype=torch.float64)[:, None] * frequencies
    both = torch.cat((angles, angles), dim=-1)
    return both.cos().to(precision), both.sin().to(precision)


def _scaled(frequencies: torch.Tensor, scaling: RopeScaling | None) -> torch.Tensor:
    """Llama 3 stretches low frequencies, keeps high ones and blends in between."""
    if scaling is None:
        return frequencies
    stretched = frequencies / scaling.factor
    if scaling.kind == "linear":
        return stretched
    turns = scaling.original_context * frequencies / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    share = ((turns - low) / (high - low)).clamp(0, 1)
    return share * frequencies + (1 - share) * stretched
