"""What is installed here: found by files and metadata; llama.cpp's devices asked for outside."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edgellm.children import child_command, child_environment
from edgellm.runtimes.choosing.installed import (
    ask_devices,
    ggml_devices,
    look_installed,
    parse_devices,
)
from edgellm.runtimes.choosing.surroundings import Device

DEVICE = Device("CUDA", "Tesla T4", False, 15 << 30, 14 << 30)
WRITTEN = (
    b'[{"backend":"CUDA","name":"Tesla T4","shared_memory":false,'
    b'"memory_total_bytes":16106127360,"memory_free_bytes":15032385536}]'
)


@pytest.mark.parametrize(
    ("names", "devices"),
    [
        (["libggml.so", "libggml-cpu.so", "libggml-base.so.0", "libllama.so"], set()),
        (["libggml-cuda.so", "libggml-cuda.so.0.25.3", "libggml-cpu.so"], {"CUDA"}),
        (["ggml-cuda.dll", "ggml-vulkan.dll", "ggml.dll"], {"CUDA", "Vulkan"}),
        (["libggml-metal.dylib", "libggml-blas.dylib", "ggml-metal.metal"], {"Metal"}),
        (["libggml-hip.so", "libggml-cpu-haswell.so"], {"ROCm"}),
        (["ggml-cuda.h", "notggml-cuda.so", "libggml-cuda.so.bak", ""], set()),
    ],
)
def test_what_llama_cpp_was_built_for_shows_in_its_files(
    names: list[str], devices: set[str]
) -> None:
    assert set(ggml_devices(names)) == devices


def test_what_is_found_here_agrees_with_the_library_itself() -> None:
    from edgellm.runtimes.llama_cpp.bindings import llama

    found = look_installed()
    assert bool(found.built_with["llama.cpp"]) == llama.llama_supports_gpu_offload()
    assert (found.devices is None) == (not found.built_with["llama.cpp"])
    assert found.versions["llama-cpp-python"]
    assert "cupy-cuda12x" not in found.versions or found.versions["cupy-cuda12x"]


def test_a_library_elsewhere_is_looked_at_where_llama_cpp_python_would_load_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libggml-vulkan.so").touch()
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    monkeypatch.setattr("edgellm.runtimes.choosing.installed.ask_devices", lambda probe: (DEVICE,))
    found = look_installed()
    assert found.built_with["llama.cpp"] == {"Vulkan"}
    assert found.devices == (DEVICE,)


def test_looking_imports_no_engine() -> None:
    probe = (
        "import sys; from edgellm.runtimes.choosing import installed; installed.look_installed();"
        "print({'llama_cpp', 'onnxruntime', 'cupy', 'numpy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", probe]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "set()"


def test_the_devices_that_the_probe_wrote_are_read() -> None:
    assert parse_devices(WRITTEN) == (DEVICE,)


@pytest.mark.parametrize(
    "answer",
    [b"", b"{}", b"[5]", b"[" * 100_000, b"\xff", WRITTEN.replace(b"false", b"7"), WRITTEN[:-5]],
)
def test_any_other_answer_is_no_device(answer: bytes) -> None:
    assert parse_devices(answer) == ()


@pytest.mark.parametrize(
    "program",
    ["import os; os.abort()", "import sys; sys.exit(3)", "print('ggml: hello')", "1/0"],
)
def test_a_probe_that_dies_or_fails_finds_nothing(program: str) -> None:
    assert ask_devices((sys.executable, "-c", program)) == ()


def test_a_probe_that_is_missing_or_hangs_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgellm.runtimes.choosing.installed._PROBE_LIMIT_S", 0.3)
    late = f"import time; time.sleep(9); print({WRITTEN.decode()!r})"
    assert ask_devices((sys.executable, "-c", late)) == ()
    assert ask_devices(("/nowhere/python",)) == ()


def test_the_probe_itself_runs_and_answers_in_what_is_read() -> None:
    command = child_command("edgellm.runtimes.llama_cpp.devices")
    environment = child_environment()
    shown = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
    assert shown.stdout.strip() == b"[]" or parse_devices(shown.stdout)


def test_llama_cpps_list_of_devices_is_read_rightly() -> None:
    from edgellm.runtimes.llama_cpp.devices import find_devices

    (processor,) = find_devices(wanted=(0,))  # the one kind that every build has
    assert processor.backend == "CPU"
    assert processor.memory_total_bytes == psutil.virtual_memory().total
    assert 0 < processor.memory_free_bytes <= processor.memory_total_bytes
