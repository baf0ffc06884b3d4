"""Vectors of texts against transformers' hidden states, and what embedding refuses."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor

from edgellm.errors import Cancelled, InputError, RuntimeFailure, UnsupportedError
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp import embedding
from edgellm.runtimes.llama_cpp.embedding import LOGITS_BYTES, EmbeddingSettings
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import LoadOptions
from tests.runtimes.conftest import LoadTiny
from tests.support.checkpoints import BUNDLED
from tests.support.conversions import convert_folder, tiny_checkpoint
from tests.support.gguf import TinyLlama
from tests.support.stateful_models import TinyGemma, TinyHybrid, TinyMamba

TEXTS = ["She opened the letter at once.", "No.", "It was a truth " * 30, "Elinor", "her sister"]
Vectors = NDArray[np.float64]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    return tiny_checkpoint(folder, vocab_size=4096, hidden_size=64, head_dim=16)


@pytest.fixture(scope="module")
def f32(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_folder(checkpoint, tmp_path_factory.mktemp("f32") / "out", "f32").gguf


@pytest.fixture(scope="module")
def hidden_states(checkpoint: Path) -> list[Vectors]:
    """transformers' last hidden states, [tokens, width] for each text, tokenized on its own."""
    model = transformers.LlamaModel.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    )
    tokenizer = SentencePieceProcessor(str(BUNDLED / "tokenizer.model"))
    states = []
    with torch.no_grad():
        for text in TEXTS:
            tokens = torch.tensor([[1, *tokenizer.encode(text)]])
            states.append(model(tokens).last_hidden_state[0].double().numpy())
    return states


def with_pooling(source: Path, target: Path, pooling: int) -> Path:
    """A copy of a GGUF file that names a pooling."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(str(target), "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], kind)
    writer.add_uint32("llama.pooling_type", pooling)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def load(path: Path, **options: object) -> LlamaCppModel:
    asked = replace(LoadOptions(threads=1, context=512), **options)  # type: ignore[arg-type]
    return LlamaCppRuntime().load(path, asked)


@pytest.mark.parametrize(("name", "tolerance"), [("f32", 5e-4), ("f16", 2e-3)])
def test_without_a_pooling_vectors_are_the_unit_mean_of_hidden_states(
    checkpoint: Path,
    hidden_states: list[Vectors],
    tmp_path: Path,
    name: str,
    tolerance: float,
) -> None:
    means = np.stack([states.mean(axis=0) for states in hidden_states])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    with load(convert_folder(checkpoint, tmp_path / "out", name).gguf) as model:
        found = model.embed(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert np.abs(expected[0] - expected[1]).max() > 0.05, "equal vectors would agree"


@pytest.mark.parametrize(
    ("pooling", "pick"), [(2, lambda states: states[0]), (3, lambda states: states[-1])]
)
def test_the_file_s_pooling_takes_the_first_or_the_last_token(
    f32: Path,
    hidden_states: list[Vectors],
    tmp_path: Path,
    pooling: int,
    pick: Callable[[Vectors], Vectors],
) -> None:
    picked = np.stack([pick(states) for states in hidden_states])
    expected = picked / np.linalg.norm(picked, axis=1, keepdims=True)
    with load(with_pooling(f32, tmp_path / "pooled.gguf", pooling)) as model:
        np.testing.assert_allclose(model.embed(TEXTS), expected, atol=5e-4)


def test_batches_change_nothing(f32: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with load(f32) as model:
        together = model.embed(TEXTS)
        alone = np.concatenate([model.embed([text]) for text in TEXTS])
    monkeypatch.setattr(embedding, "TEXTS_AT_ONCE", 2)
    with load(f32, ubatch=16) as model:
        small = model.embed(TEXTS)
    np.testing.assert_allclose(together, alone, atol=5e-4)
    np.testing.assert_allclose(together, small, atol=5e-4)


@pytest.mark.parametrize("kind", [TinyGemma, TinyHybrid, TinyMamba])
def test_models_with_windows_and_states_embed_each_text_by_itself(
    load_tiny: LoadTiny, kind: type[TinyLlama]
) -> None:
    model = load_tiny(LoadOptions(ubatch=64), kind)
    alone = np.concatenate([model.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(model.embed(TEXTS), alone, atol=2e-3)


def test_the_logits_of_a_batch_stay_within_their_bound() -> None:
    settings = EmbeddingSettings(pooling=None, context=4096, ubatch=512, threads=1)
    assert settings.batch(4096) == 512
    assert 8 * 151_936 * settings.batch(151_936) <= LOGITS_BYTES
    assert settings.batch(10**7) == 16


def test_no_texts_are_no_vectors(tiny: LlamaCppModel) -> None:
    assert tiny.embed([]).shape == (0, 64)


def test_special_tokens_in_a_text_are_letters(tiny: LlamaCppModel) -> None:
    assert 6 in tiny.tokenize("<|end|>")
    assert 6 not in tiny._vocabulary.embedding_tokens("<|end|>")


def test_a_model_that_wants_an_eos_gets_one(load_tiny: LoadTiny) -> None:
    model = load_tiny(extra=(("tokenizer.ggml.add_eos_token", True),))
    assert model._vocabulary.embedding_tokens("a")[-1] == 2


def test_a_text_beyond_the_context_is_refused_with_both_numbers(tiny: LlamaCppModel) -> None:
    assert tiny.embed(["x" * 510]).shape == (1, 64)
    with pytest.raises(InputError, match="text 1 has 513 tokens, the context holds 512"):
        tiny.embed(["x", "x" * 511])


def test_an_empty_text_without_bos_is_refused(load_tiny: LoadTiny) -> None:
    with pytest.raises(InputError, match="text 0 is empty"):
        load_tiny(add_bos=False).embed([""])


def test_a_model_that_ranks_is_refused(load_tiny: LoadTiny) -> None:
    with pytest.raises(UnsupportedError, match="this model ranks texts"):
        load_tiny(extra=(("llama.pooling_type", 4),)).embed(["a"])


def test_an_encoder_is_refused_at_loading(load_tiny: LoadTiny) -> None:
    with pytest.raises(UnsupportedError, match="an encoder, which writes no text"):
        load_tiny(extra=(("llama.attention.causal", False),))


def test_cancelling_stops_inside_a_batch_and_the_model_goes_on(load_tiny: LoadTiny) -> None:
    big = LoadOptions(ubatch=2048, context=2048)
    model = load_tiny(big, context=2048, hidden=256, heads=4, ffn=1024, layers=8)
    cancel = CancelToken()
    threading.Timer(0.05, cancel.cancel).start()
    with pytest.raises(Cancelled):
        model.embed(["x" * 2000] * 20, cancel)
    assert model.embed(["x"]).shape == (1, 256)


def test_closing_the_model_ends_the_call(load_tiny: LoadTiny) -> None:
    big = LoadOptions(context=2048)
    model = load_tiny(big, context=2048, hidden=256, heads=4, ffn=1024, layers=8)
    threading.Timer(0.05, model.close).start()
    with pytest.raises(RuntimeFailure, match="closed"):
        model.embed(["x" * 2000] * 20)
