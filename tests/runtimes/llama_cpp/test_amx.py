"""The guard against broken AMX builds, each part of it where there is no AMX."""

import sys
from pathlib import Path

import pytest

from edgellm.children import child_command
from edgellm.events import EngineFallback
from edgellm.runtimes.llama_cpp import amx, amx_probe
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import LoadOptions

SAPPHIRE_RAPIDS = "processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 avx512_fp16 amx_tile amx_int8\n"
DIES = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
LIVES = (sys.executable, "-c", "pass")


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (SAPPHIRE_RAPIDS, True),
        ("flags : fpu avx2\n", False),
        ("flags : amx_tile\n", False),
        ("Features : asimd amx_tile amx_int8\n", False),
        ("", False),
    ],
)
def test_amx_is_found_in_the_processor_flags(cpuinfo: str, expected: bool) -> None:
    assert amx.cpu_has_amx(cpuinfo) is expected


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("CPU : SSE3 = 1 | AMX_INT8 = 1 | LLAMAFILE = 1 | ", True),
        ("CPU : SSE3 = 1 | AMX_INT8 = 0 | ", False),
        ("CPU : SSE3 = 1 | REPACK = 1 | ", False),
    ],
)
def test_amx_is_found_in_the_library_features(info: str, expected: bool) -> None:
    assert amx.library_uses_amx(info) is expected


def test_the_probe_survives_on_a_sound_build() -> None:
    assert amx.probe_survives(child_command(amx_probe.__name__))


@pytest.mark.parametrize("command", [DIES, ("no-such-program",)])
def test_a_probe_that_dies_does_not_survive(command: tuple[str, ...]) -> None:
    assert not amx.probe_survives(command)


def test_the_verdict_is_remembered_for_the_same_library_file(tmp_path: Path) -> None:
    library = tmp_path / "libllama.so"
    library.write_bytes(b"one build")
    assert not amx.amx_works(library, tmp_path / "cache", DIES)
    assert not amx.amx_works(library, tmp_path / "cache", LIVES)
    library.write_bytes(b"another build")
    assert amx.amx_works(library, tmp_path / "cache", LIVES)


def test_an_unreadable_memory_is_an_empty_one(tmp_path: Path) -> None:
    library = tmp_path / "libllama.so"
    library.write_bytes(b"")
    (tmp_path / "llama-cpp-amx.json").write_text("[nonsense")
    assert amx.amx_works(library, tmp_path, LIVES)


def test_loading_on_a_broken_build_says_why_it_is_slower(
    monkeypatch: pytest.MonkeyPatch, tiny_gguf: Path
) -> None:
    monkeypatch.setattr(amx, "read_cpuinfo", lambda: SAPPHIRE_RAPIDS)
    monkeypatch.setattr(amx, "library_uses_amx", lambda info: True)
    monkeypatch.setattr(amx, "amx_works", lambda library, cache_dir: False)
    events: list[object] = []
    LlamaCppRuntime().load(tiny_gguf, LoadOptions(), events.append).close()
    reasons = [event.reason for event in events if isinstance(event, EngineFallback)]
    assert len(reasons) == 1
    assert "-mno-amx-tile" in reasons[0]
