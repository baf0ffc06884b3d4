"""What a GGUF file needs, against what llama.cpp takes for it; and the choice that follows."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgellm.errors import UnsupportedError
from edgellm.gguf_file import read_gguf
from edgellm.runtimes.choosing.choice import choose_runtime, needs_of_gguf
from edgellm.runtimes.choosing.surroundings import Installed, ModelNeeds
from edgellm.runtimes.options import LoadOptions
from tests.runtimes.conftest import LoadTiny
from tests.support.gguf import TinyLlama
from tests.support.machines import llama_cpp, machine


def needs(path: Path, **options: object) -> ModelNeeds:
    return needs_of_gguf(read_gguf(path), LoadOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(("key", "value"), [("f32", "f16"), ("q8_0", "q4_0")])
@pytest.mark.parametrize("ubatch", [32, 512])
def test_memory_is_at_least_what_llama_cpp_takes(
    key: str, value: str, ubatch: int, load_tiny: LoadTiny, tmp_path: Path
) -> None:
    options = LoadOptions(context=1000, key_format=key, value_format=value, ubatch=ubatch)
    shape = {"context": 2048, "hidden": 128, "heads": 2}
    taken = load_tiny(options, **shape).memory()
    file = read_gguf(TinyLlama(**shape).write(tmp_path / "same.gguf"))  # type: ignore[arg-type]
    told = needs_of_gguf(file, options)
    hundredth = (1 << 20) // 100  # llama.cpp tells MiB to two places
    assert told.kv_cache_bytes == pytest.approx(taken.kv_cache_bytes, abs=hundredth)
    assert told.weights_bytes == pytest.approx(taken.weights_bytes, rel=0.02)
    assert taken.compute_bytes <= told.compute_bytes < 4 * taken.compute_bytes + (1 << 20)


def test_formats_layers_and_heads_are_the_files(tiny_gguf: Path) -> None:
    told = needs(tiny_gguf)
    assert (told.format, told.layers, told.head_dim) == ("gguf", 2, 32)
    assert told.weight_formats == {"f32"}
    assert (told.key_format, told.value_format, told.needs_flash_attention) == (
        "q8_0",
        "q8_0",
        True,
    )
    assert not needs(tiny_gguf, key_format="f16", value_format="f16").needs_flash_attention


def test_a_file_is_run_by_llama_cpp_here(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgellm.runtimes.choosing.choice.look_installed", llama_cpp)
    chosen = choose_runtime(tiny_gguf, LoadOptions())
    assert (chosen.engine, chosen.gpu_layers) == ("llama.cpp", 0)


def test_a_build_for_a_gpu_that_is_here_is_used(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgellm.runtimes.choosing.choice.look_installed", lambda: llama_cpp("CUDA")
    )
    report = machine("linux_t4")
    monkeypatch.setattr(
        "edgellm.runtimes.choosing.choice.detect_hardware", lambda gpus: gpus and report
    )
    # The V cache is in q8_0 otherwise, which needs flash attention, and CUDA's has no heads of 32.
    chosen = choose_runtime(tiny_gguf, LoadOptions(value_format="f16"))
    assert (chosen.name, chosen.device, chosen.gpu_layers) == ("llama.cpp CUDA", "Tesla T4", -1)


def test_choosing_loads_no_engine_into_this_process(tiny_gguf: Path) -> None:
    probe = (
        "import sys; from pathlib import Path; from edgellm.runtimes.options import LoadOptions;"
        "from edgellm.runtimes.choosing.choice import choose_runtime;"
        "choose_runtime(Path(sys.argv[1]), LoadOptions());"
        "print({'llama_cpp', 'llama_cpp.llama_cpp', 'numpy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", probe, str(tiny_gguf)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "set()"


def test_without_an_engine_the_error_says_what_to_install(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Installed({}, {"llama.cpp": frozenset()})
    monkeypatch.setattr("edgellm.runtimes.choosing.choice.look_installed", lambda: nothing)
    with pytest.raises(UnsupportedError, match="pip install llama-cpp-python"):
        choose_runtime(tiny_gguf, LoadOptions())
