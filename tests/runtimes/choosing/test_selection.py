"""Which engine and device is chosen, on reports of nine machines, and every reason against one."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.errors import UnsupportedError
from edgellm.hardware import Hardware
from edgellm.quant_tables import load_tables
from edgellm.runtimes.choosing import refusals, selection, surroundings
from edgellm.runtimes.choosing.refusals import RULES, Case, layers_that_fit
from edgellm.runtimes.choosing.selection import rank_runtimes, select_runtime
from edgellm.runtimes.choosing.surroundings import Device, Installed, ModelNeeds
from tests.support.machines import (
    EVERY_ENGINE,
    GIB,
    MACHINES,
    everything,
    llama_cpp,
    machine,
    model,
    onnx,
)
from tests.test_imports import imported_modules


@pytest.mark.parametrize("name", MACHINES)
def test_a_build_for_the_processor_alone_runs_there_on_every_machine(name: str) -> None:
    chosen = select_runtime(machine(name), llama_cpp(), model())
    assert (chosen.name, chosen.engine, chosen.gpu_layers) == ("llama.cpp CPU", "llama.cpp", 0)


@pytest.mark.parametrize(
    ("name", "best", "device"),
    [
        ("apple_m2_pro", "llama.cpp Metal", "Apple M2 Pro"),
        ("windows_igpu", "llama.cpp CPU", "Intel64 Family 6 Model 154 Stepping 3, GenuineIntel"),
        ("windows_rtx", "llama.cpp CUDA", "NVIDIA GeForce RTX 4070"),
        ("linux_t4", "llama.cpp CUDA", "Tesla T4"),
        ("colab_t4", "llama.cpp CUDA", "Tesla T4"),
        ("linux_apu_and_radeon", "llama.cpp ROCm", "AMD GPU 1002:7480"),
        ("raspberry_pi_5", "llama.cpp CPU", "aarch64"),
        ("cpu_server", "llama.cpp CPU", "AMD EPYC 7763 64-Core Processor"),
        ("virtual_epyc", "llama.cpp CPU", "AMD EPYC"),
    ],
)
def test_a_build_for_every_gpu_runs_where_it_is_fastest(name: str, best: str, device: str) -> None:
    chosen = select_runtime(machine(name), everything(), model())
    assert (chosen.name, chosen.device) == (best, device)
    assert chosen.gpu_layers == (0 if best == "llama.cpp CPU" else -1)


@pytest.mark.parametrize(
    ("name", "ranking"),
    [
        ("windows_igpu", ["llama.cpp CPU", "llama.cpp Vulkan"]),
        ("windows_rtx", ["llama.cpp CUDA", "llama.cpp Vulkan", "llama.cpp CPU", "llama.cpp ROCm"]),
        ("linux_apu_and_radeon", ["llama.cpp ROCm", "llama.cpp Vulkan", "llama.cpp CPU"]),
        ("apple_m2_pro", ["llama.cpp Metal", "llama.cpp CPU"]),
        ("raspberry_pi_5", ["llama.cpp CPU"]),
    ],
)
def test_those_that_work_come_first_and_best_first(name: str, ranking: list[str]) -> None:
    ranked = rank_runtimes(machine(name), everything(), model())
    assert [one.name for one in ranked if one.usable] == ranking
    assert [one.usable for one in ranked] == sorted((one.usable for one in ranked), reverse=True)


@pytest.mark.parametrize(
    ("name", "reads", "ranking"),
    [
        ("linux_t4", "t4", ["T4 kernels"]),
        ("linux_t4", "onnx", ["ONNX Runtime CUDA", "ONNX Runtime WebGPU", "ONNX Runtime CPU"]),
        ("colab_t4", "onnx", ["ONNX Runtime WebGPU", "ONNX Runtime CPU"]),
        ("apple_m2_pro", "onnx", ["ONNX Runtime CPU", "ONNX Runtime WebGPU"]),
        ("cpu_server", "onnx", ["ONNX Runtime CPU"]),
    ],
)
def test_engines_of_other_models_are_ranked_by_the_same_rules(
    name: str, reads: str, ranking: list[str]
) -> None:
    ranked = rank_runtimes(machine(name), everything(), model(format=reads), EVERY_ENGINE)
    assert [one.name for one in ranked if one.usable] == ranking


ONE_GPU = machine("linux_t4").gpus[0]
HEALTHY = replace(machine("linux_t4"), gpus=(ONE_GPU,))


def with_gpu(**changes: Any) -> Hardware:
    return replace(HEALTHY, gpus=(replace(ONE_GPU, **changes),))


CUDA, METAL, VULKAN = "llama.cpp CUDA", "llama.cpp Metal", "llama.cpp Vulkan"
MAC, DESKTOP, ORT = machine("apple_m2_pro"), machine("windows_rtx"), "1.31.1"
DIRECTML = {"onnxruntime-directml": "1.24.4"}
REASONS: list[tuple[str, Hardware, Installed, ModelNeeds | None, str]] = [
    ("llama.cpp CPU", HEALTHY, everything(), model(format="onnx"), "reads gguf.* is onnx; convert"),
    ("T4 kernels", HEALTHY, everything(), model(), "reads t4 models.* gguf; .*--to t4"),
    (METAL, HEALTHY, everything(), None, "it needs macOS; this is Linux"),
    (CUDA, MAC, everything(), None, "it needs Linux or Windows; this is macOS"),
    (CUDA, machine("cpu_server"), everything(), None, "^no NVIDIA GPU found$"),
    (
        CUDA,
        machine("windows_igpu"),
        everything(),
        None,
        r"no NVIDIA GPU found, only Intel\(R\) Iris",
    ),
    (VULKAN, machine("raspberry_pi_5"), everything(), None, "found, only VideoCore"),
    (CUDA, with_gpu(compute_capability=(3, 7)), everything(), None, "capability 3.7; .* 5.0 or"),
    ("T4 kernels", with_gpu(compute_capability=(7, 0)), everything(), None, "7.0; .* 7.5 or more"),
    (CUDA, with_gpu(driver="470.82.01"), everything(), None, "470.82.01, which is too old; .* 525"),
    (
        CUDA,
        with_gpu(driver="nouveau"),
        everything(),
        None,
        "Tesla T4 has no NVIDIA driver; install",
    ),
    (CUDA, with_gpu(driver=None), everything(), None, "Tesla T4 has no NVIDIA driver; install"),
    ("ONNX Runtime CUDA", machine("colab_t4"), everything(), None, "550.54.15, .* 580 or newer"),
    ("llama.cpp CPU", HEALTHY, Installed({}), None, "not installed; try: pip install llama-cpp"),
    ("T4 kernels", HEALTHY, llama_cpp(), None, "cupy-cuda12x or cupy-cuda13x is not installed"),
    (
        "T4 kernels",
        HEALTHY,
        Installed({"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"}),
        None,
        "cupy-cuda12x and cupy-cuda13x overwrite each other; pip uninstall",
    ),
    (
        "ONNX Runtime CPU",
        HEALTHY,
        onnx({"onnxruntime": ORT, "onnxruntime-gpu": ORT}, "CUDA"),
        None,
        "onnxruntime and onnxruntime-gpu overwrite each other",
    ),
    ("ONNX Runtime CUDA", HEALTHY, onnx({"onnxruntime": ORT}), None, "onnxruntime is in its place"),
    ("ONNX Runtime DirectML", HEALTHY, onnx(DIRECTML, "DirectML"), None, "needs Windows"),
    ("ONNX Runtime DirectML", DESKTOP, onnx({}), None, "pip install onnxruntime-directml"),
    (
        "ONNX Runtime DirectML",
        DESKTOP,
        onnx(DIRECTML, "DirectML"),
        model(format="onnx"),
        "KV cache in int8; it does in f32, f16",
    ),
    (
        "ONNX Runtime DirectML",
        DESKTOP,
        onnx(DIRECTML, "DirectML"),
        model(format="onnx", weight_formats=frozenset({"int2", "int4"})),
        "does not multiply weights in int2",
    ),
    (
        "ONNX Runtime WebGPU",
        DESKTOP,
        onnx({"onnxruntime": "1.23.2"}, "WebGPU"),
        None,
        "onnxruntime 1.23.2 is older than 1.24.4; try: pip install",
    ),
    ("ONNX Runtime WebGPU", DESKTOP, onnx({"onnxruntime": ORT}), None, "without WebGPU; try: pip"),
    (
        "llama.cpp CPU",
        HEALTHY,
        replace(llama_cpp(), broken={"llama.cpp": "libllama.so is gone"}),
        None,
        "libllama.so is gone",
    ),
    (CUDA, HEALTHY, llama_cpp("Vulkan"), None, "installed without CUDA; try: CMAKE_ARGS"),
    (CUDA, HEALTHY, llama_cpp("CUDA", devices=()), None, "has CUDA and finds no device"),
    (CUDA, HEALTHY, everything(), model(weight_formats=frozenset({"tq1_0"})), "weights in tq1_0"),
    (CUDA, HEALTHY, everything(), model(value_format="iq4_nl"), "KV cache in iq4_nl; it does in"),
    (CUDA, HEALTHY, everything(), model(key_format="q2_0"), "KV cache in q2_0"),
    (VULKAN, HEALTHY, everything(), model(value_format="q2_0"), "KV cache in q2_0"),
    (METAL, MAC, everything(), model(value_format="iq4_nl"), "KV cache in iq4_nl"),
    (METAL, MAC, everything(), model(value_format="q4_0"), "one format; .* q8_0 and q4_0"),
    (CUDA, HEALTHY, everything(), model(head_dim=192), "heads of 192; use a V cache in f16"),
    (
        CUDA,
        with_gpu(memory_free_bytes=GIB + 400_000_000),
        everything(),
        model(),
        "not one layer fits; Tesla T4 has 381.47 MiB for it",
    ),
    (
        "T4 kernels",
        with_gpu(memory_free_bytes=4 * GIB),
        everything(),
        model(format="t4"),
        "it does not fit: all needs 4.74 GiB; Tesla T4 has 3.75 GiB",
    ),
    (
        CUDA,
        with_gpu(memory_free_bytes=None, memory_total_bytes=None),
        everything(),
        model(),
        "nobody tells how much memory Tesla T4 has free",
    ),
]


@pytest.mark.parametrize(("name", "hardware", "installed", "needs", "reason"), REASONS)
def test_each_refusal_says_what_is_missing(
    name: str, hardware: Hardware, installed: Installed, needs: ModelNeeds | None, reason: str
) -> None:
    ranked = rank_runtimes(hardware, installed, needs, EVERY_ENGINE)
    (refused,) = [one for one in ranked if one.name == name]
    assert not refused.usable
    assert re.search(reason, refused.reason), refused.reason


def test_the_table_of_reasons_reaches_every_rule() -> None:
    rows = load_tables().backends
    fired = {RULES[0]}  # an engine this version does not have: the test below
    for name, hardware, installed, needs, _ in REASONS:
        case = Case(rows[name], hardware, installed, EVERY_ENGINE, needs)
        fired.add(next(rule for rule in RULES if rule(case) is not None))
    assert fired == set(RULES)


def test_engines_that_this_version_lacks_are_refused_saying_so() -> None:
    ranked = rank_runtimes(HEALTHY, everything(), model(format="onnx"))
    reasons = {one.reason for one in ranked if one.engine == "onnx"}
    assert reasons == {"this edgellm has no onnx engine; use a gguf file"}


def test_layers_that_do_not_fit_stay_on_the_processor() -> None:
    chosen = select_runtime(with_gpu(memory_free_bytes=4 * GIB), everything(), model())
    # (3 GiB - 300e6) / ((4_500_000_000 + 285_212_672) / 32) = 19.5
    assert (chosen.name, chosen.gpu_layers) == (CUDA, 19)
    assert chosen.reason == "19 of 32 layers on Tesla T4, 3.00 GiB for a model; all need 4.74 GiB"


@pytest.mark.parametrize(
    ("hardware", "built", "needs", "fallback"),
    [
        (HEALTHY, (), model(), None),
        (HEALTHY, ("CUDA",), model(), None),
        (machine("cpu_server"), ("CUDA",), model(), None),
        (
            HEALTHY,
            ("CUDA",),
            model(value_format="iq4_nl"),
            "llama.cpp CPU instead of llama.cpp CUDA: it does not run a KV cache in iq4_nl",
        ),
        (
            HEALTHY,
            ("CUDA", "Vulkan"),
            model(value_format="iq4_nl"),
            "llama.cpp Vulkan instead of llama.cpp CUDA: it does not run",
        ),
        (with_gpu(memory_free_bytes=4 * GIB), ("CUDA",), model(), "19 of 32 layers on Tesla T4"),
    ],
)
def test_a_model_that_misses_what_the_machine_has_says_so(
    hardware: Hardware, built: tuple[str, ...], needs: ModelNeeds, fallback: str | None
) -> None:
    found = select_runtime(hardware, llama_cpp(*built), needs).fallback
    assert (found or "").startswith(fallback or "")
    assert (found is None) == (fallback is None)


def test_what_llama_cpp_says_of_its_devices_counts_more_than_the_systems_word() -> None:
    device = Device("CUDA", "Tesla T4", False, 15 * GIB, 3 * GIB)
    chosen = select_runtime(HEALTHY, llama_cpp("CUDA", devices=(device,)), model())
    assert "of 32 layers on Tesla T4, 2.00 GiB" in chosen.reason


def test_a_gpu_that_only_llama_cpp_sees_is_used() -> None:
    device = Device("Vulkan", "Some GPU", False, 24 * GIB, 23 * GIB)
    chosen = select_runtime(machine("cpu_server"), llama_cpp("Vulkan", devices=(device,)), model())
    assert (chosen.name, chosen.device, chosen.gpu_layers) == (VULKAN, "Some GPU", -1)


def test_memory_shared_with_the_machine_is_never_more_than_is_free_there() -> None:
    busy = replace(MAC, memory_available_bytes=3 * GIB)
    chosen = select_runtime(busy, everything(), model())
    assert chosen.name == METAL
    assert ", 2.00 GiB for a model; all need" in chosen.reason


def test_a_card_with_memory_of_its_own_goes_before_the_processors_own_gpu() -> None:
    ranked = rank_runtimes(machine("windows_rtx"), everything())
    (vulkan,) = [one for one in ranked if one.name == VULKAN]
    assert vulkan.device == "NVIDIA GeForce RTX 4070"


def test_where_nothing_works_the_error_holds_every_reason() -> None:
    with pytest.raises(UnsupportedError) as caught:
        select_runtime(HEALTHY, Installed({}), model())
    names = [row.name for row in load_tables().backends.values() if row.engine == "llama.cpp"]
    assert all(f"{name}: " in str(caught.value) for name in names)
    assert "\n" not in str(caught.value)


SUBSETS = st.frozensets(st.sampled_from(["CUDA", "ROCm", "Metal", "Vulkan", "WebGPU", "DirectML"]))
PACKAGES = sorted({n for row in load_tables().backends.values() for n in row.packages})
INSTALLATIONS = st.builds(
    Installed,
    st.dictionaries(st.sampled_from(PACKAGES), st.sampled_from(["0.3.36", "1.31.1", "odd", ""])),
    SUBSETS.map(lambda built: {"llama.cpp": built, "onnx": built}),
    st.sampled_from([None, (), (Device("CUDA", "a GPU", False, GIB, GIB),)]),
)
NEEDS = st.builds(
    model,
    format=st.sampled_from(["gguf", "onnx", "t4"]),
    layers=st.integers(1, 200),
    weights_bytes=st.integers(0, 2**40),
    head_dim=st.sampled_from([64, 100, 128]),
    key_format=st.sampled_from(["f16", "q8_0", "int8"]),
)


@given(st.sampled_from(MACHINES), INSTALLATIONS, st.none() | NEEDS)
def test_every_backend_is_ranked_once_with_a_reason(
    name: str, installed: Installed, needs: ModelNeeds | None
) -> None:
    ranked = rank_runtimes(machine(name), installed, needs, EVERY_ENGINE)
    assert ranked == rank_runtimes(machine(name), installed, needs, EVERY_ENGINE)
    assert sorted(one.name for one in ranked) == sorted(load_tables().backends)
    assert all(one.reason and one.reason.isprintable() for one in ranked)
    assert [one.usable for one in ranked] == sorted((one.usable for one in ranked), reverse=True)
    if needs is not None and ranked[0].usable:
        chosen = select_runtime(machine(name), installed, needs, EVERY_ENGINE)
        assert replace(chosen, fallback=None) == ranked[0]
    most = needs.layers if needs else 1
    assert all(
        -1 <= one.gpu_layers < most and (one.usable or one.gpu_layers == 0) for one in ranked
    )


@given(NEEDS, st.integers(0, 2**41))
def test_the_layers_that_fit_fit_and_one_more_would_not_be_sure_to(
    needs: ModelNeeds, free_bytes: int
) -> None:
    fit = layers_that_fit(needs, free_bytes)
    block_bytes = (needs.weights_bytes + needs.kv_cache_bytes) / needs.layers
    if fit:
        assert fit * block_bytes + needs.compute_bytes <= free_bytes
    if fit < needs.layers - 1:
        assert (fit + 1) * block_bytes + needs.compute_bytes > free_bytes - 2 * needs.layers


@pytest.mark.parametrize("module", [selection, refusals, surroundings])
def test_choosing_has_no_means_to_look_at_this_machine(module: ModuleType) -> None:
    means = {"os", "sys", "platform", "subprocess", "pathlib", "importlib", "psutil", "ctypes"}
    assert module.__file__
    assert not imported_modules(Path(module.__file__)) & means


def test_choosing_imports_no_engine() -> None:
    probe = (
        "import sys; from tests.support.machines import *;"
        "from edgellm.runtimes.choosing.selection import rank_runtimes;"
        "rank_runtimes(machine('linux_t4'), everything(), model(), EVERY_ENGINE);"
        "print({'llama_cpp', 'onnxruntime', 'cupy', 'numpy', 'torch'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", probe]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "set()"
