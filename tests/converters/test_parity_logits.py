"""Logits of converted files in llama.cpp against transformers in float32."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor

from tests.support.checkpoints import BUNDLED, NOVELIST_VOCAB
from tests.support.conversions import convert_folder
from tests.support.llama_cpp_reference import llama_cpp_logits

Logits = NDArray[np.float32]
POSITIONS = 256
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@dataclass(frozen=True)
class Case:
    """A random checkpoint as transformers makes it."""

    name: str
    family: str
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    tied: bool = False
    dtype: torch.dtype = torch.bfloat16
    shard: str = "1GB"
    vocab: int = NOVELIST_VOCAB
    options: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("llama", "Llama", kv_heads=4),
    Case("llama-gqa-4-tied-sharded", "Llama", kv_heads=1, tied=True, shard="300KB"),
    Case("llama-wide-heads", "Llama", head_dim=64, dtype=torch.float16),
    Case("llama-linear-rope", "Llama", options={"rope_parameters": LINEAR}),
    Case("llama-3-rope", "Llama", options={"rope_parameters": LLAMA3}),
    Case("llama-biases", "Llama", options={"attention_bias": True, "mlp_bias": True}),
    Case("llama-padded-vocabulary", "Llama", vocab=4160, dtype=torch.float32),
    Case("mistral", "Mistral", kv_heads=1, options={"sliding_window": None}),
    Case("mistral-wide-heads-tied", "Mistral", head_dim=48, tied=True, dtype=torch.float16),
    Case("qwen2", "Qwen2", kv_heads=4, tied=True),
    Case("qwen2-gqa-4-sharded", "Qwen2", kv_heads=1, shard="300KB", dtype=torch.float16),
    Case("qwen3", "Qwen3", head_dim=64),
    Case("qwen3-gqa-4-tied", "Qwen3", kv_heads=1, head_dim=16, tied=True, dtype=torch.float16),
]


def make_checkpoint(folder: Path, case: Case) -> None:
    """Save a random model with logits far from flat, norms far from 1 and biases far from 0."""
    torch.manual_seed(len(case.name))
    config = getattr(transformers, f"{case.family}Config")(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=case.heads,
        num_key_value_heads=case.kv_heads,
        head_dim=case.head_dim,
        vocab_size=case.vocab,
        tie_word_embeddings=case.tied,
        max_position_embeddings=512,
        initializer_range=0.09,
        bos_token_id=1,
        eos_token_id=2,
        **case.options,
    )
    model = getattr(transformers, f"{case.family}ForCausalLM")(config)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.endswith(("norm.weight", "bias")):
                values += 0.2 * torch.randn_like(values)
    model.to(case.dtype).save_pretrained(folder, max_shard_size=case.shard)
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(BUNDLED / name, folder / name)


def transformers_logits(folder: Path, family: str, tokens: list[int]) -> Logits:
    model = getattr(transformers, f"{family}ForCausalLM").from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        logits: Logits = model(torch.tensor([tokens])).logits[0].numpy()
    return logits


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def mean_kl_divergence(reference: Logits, other: Logits) -> float:
    p, q = log_softmax(reference), log_softmax(other)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def top_gaps_where_different(reference: Logits, other: Logits) -> Logits:
    """How much the reference prefers its top token to the other's, where the two differ."""
    rows, mine, theirs = np.arange(len(reference)), reference.argmax(axis=1), other.argmax(axis=1)
    gaps = reference[rows, mine] - reference[rows, theirs]
    return np.asarray(gaps[mine != theirs])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_logits_equal_those_of_transformers(tmp_path: Path, case: Case) -> None:
    folder = tmp_path / "checkpoint"
    make_checkpoint(folder, case)
    tokens = np.random.default_rng(1).integers(3, NOVELIST_VOCAB, POSITIONS).tolist()
    expected = transformers_logits(folder, case.family, tokens)
    assert expected.std(axis=1).mean() > 0.5, "flat logits would agree by themselves"

    f32 = llama_cpp_logits(convert_folder(folder, tmp_path / "f32", "f32").gguf, tokens)
    assert mean_kl_divergence(expected, f32) < 1e-9
    assert top_gaps_where_different(expected, f32).size == 0

    f16 = llama_cpp_logits(convert_folder(folder, tmp_path / "f16", "f16").gguf, tokens)
    assert mean_kl_divergence(expected, f16) < 1e-5
    # llama.cpp rounds activations to f16 here, so random weights leave a few ties to chance.
    assert (top_gaps_where_different(expected, f16) < 0.01).all()


def test_a_trained_model_in_f16_agrees_on_every_top_token(tmp_path: Path) -> None:
    text = "She opened the letter at once, and was glad that nobody was in the room to see her. "
    tokens = SentencePieceProcessor(str(BUNDLED / "tokenizer.model")).encode(text * 20)[:POSITIONS]
    expected = transformers_logits(BUNDLED, "Llama", tokens)
    found = llama_cpp_logits(convert_folder(BUNDLED, tmp_path / "f16", "f16").gguf, tokens)
    assert mean_kl_divergence(expected, found) < 1e-5
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.999


def test_sharded_cases_are_sharded(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, next(case for case in CASES if "sharded" in case.name))
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text(encoding="utf-8"))
    assert len(set(index["weight_map"].values())) > 2
