"""What a saved conversation is bound to."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgellm.errors import IntegrityError
from edgellm.files import FileStamp, sha256_of
from edgellm.gguf_file import read_gguf
from edgellm.runtimes.llama_cpp import fingerprint as module
from edgellm.runtimes.llama_cpp.fingerprint import (
    VERIFIED,
    CacheSetup,
    ModelFile,
    fingerprint,
    rope_context,
)
from edgellm.verified import VerifiedFiles
from tests.support.gguf import TinyLlama

SETUP = CacheSetup("q8_0", "q8_0", "always", gpu_layers=0, extra_buffers=True, rope_context=0)


def test_models_with_equal_headers_differ(tmp_path: Path) -> None:
    one = TinyLlama(seed=1).write(tmp_path / "one.gguf")
    two = TinyLlama(seed=2).write(tmp_path / "two.gguf")
    head = read_gguf(one).data_offset
    assert one.read_bytes()[:head] == two.read_bytes()[:head]
    assert ModelFile.of(one).sha256(None) != ModelFile.of(two).sha256(None)


def test_a_model_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf = TinyLlama().write(tmp_path / "model.gguf")
    first = ModelFile.of(gguf).sha256(tmp_path)
    monkeypatch.setattr(module, "sha256_of", lambda path: pytest.fail("hashed again"))
    assert ModelFile.of(gguf).sha256(tmp_path) == first == sha256_of(gguf)


def test_a_verified_artifact_s_hash_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = TinyLlama().write(tmp_path / "model.gguf")
    sha256 = sha256_of(gguf)
    VerifiedFiles(tmp_path / VERIFIED).remember(gguf, FileStamp.of(gguf), sha256)
    monkeypatch.setattr(module, "sha256_of", lambda path: pytest.fail("hashed again"))
    assert ModelFile.of(gguf).sha256(tmp_path) == sha256


def test_a_file_that_changed_since_it_was_loaded_is_refused(tmp_path: Path) -> None:
    gguf = TinyLlama(seed=1).write(tmp_path / "model.gguf")
    loaded = ModelFile.of(gguf)
    TinyLlama(seed=2).write(gguf)
    with pytest.raises(IntegrityError, match="was changed after the model was loaded"):
        loaded.sha256(tmp_path)
    gguf.unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        loaded.sha256(tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("K cache", {"key_format": "f16"}),
        ("V cache", {"value_format": "f16"}),
        ("flash attention", {"flash_attention": "where it can"}),
        ("GPU layers", {"gpu_layers": 3}),
        ("rearranged weights", {"extra_buffers": False}),
        ("rope context", {"rope_context": 512}),
    ],
)
def test_each_setting_shows(name: str, change: dict[str, object]) -> None:
    before = fingerprint("0", SETUP)
    after = fingerprint("0", replace(SETUP, **change))  # type: ignore[arg-type]
    assert {key for key in before if before[key] != after[key]} == {name}


def test_a_switched_off_rotation_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint("0", SETUP)
    monkeypatch.setenv("LLAMA_ATTN_ROT_DISABLE", "1")
    after = fingerprint("0", SETUP)
    assert {key for key in before if before[key] != after[key]} == {"rotation of heads"}


def test_the_context_s_size_counts_only_for_longrope(tmp_path: Path) -> None:
    plain = read_gguf(TinyLlama().write(tmp_path / "plain.gguf"))
    scaled = TinyLlama(extra=(("llama.rope.scaling.type", "longrope"),))
    longrope = read_gguf(scaled.write(tmp_path / "longrope.gguf"))
    assert rope_context(plain, 4096) == 0
    assert rope_context(longrope, 4096) == 4096
