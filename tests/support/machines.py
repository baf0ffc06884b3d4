"""Machines, installations and models for tests of selection."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgellm.hardware import Hardware
from edgellm.runtimes.choosing.surroundings import Device, Installed, ModelNeeds

FOLDER = Path(__file__).parent / "hardware"
MACHINES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
EVERY_ENGINE = ("llama.cpp", "onnx", "t4")
GIB = 2**30


def machine(name: str) -> Hardware:
    """A report of tests/support/hardware, each of which says what it is modelled on."""
    report = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Hardware.from_json(report["hardware"], name)


def llama_cpp(*built_with: str, devices: tuple[Device, ...] | None = None) -> Installed:
    """llama-cpp-python alone, built for these GPUs."""
    versions = {"llama-cpp-python": "0.3.36"}
    return Installed(versions, {"llama.cpp": frozenset(built_with)}, devices)


def onnx(versions: Mapping[str, str], *built_with: str) -> Installed:
    return Installed(versions, {"onnx": frozenset(built_with)})


def everything() -> Installed:
    """A llama.cpp built for every GPU, CuPy, and ONNX Runtime for CUDA with the WebGPU plugin."""
    built = {
        "llama.cpp": frozenset({"CUDA", "ROCm", "Metal", "Vulkan"}),
        "onnx": frozenset({"CUDA", "WebGPU"}),
    }
    packages = ("llama-cpp-python", "cupy-cuda12x", "onnxruntime-gpu")
    return Installed(dict.fromkeys(packages, "1.31.1"), built)


def model(**changes: object) -> ModelNeeds:
    """A model of 8 billion weights at 4.5 bits, 4096 tokens of context, with what is named changed.

    format="onnx" also gives it an ONNX model's formats.
    """
    needs = ModelNeeds(
        format="gguf",
        weight_formats=frozenset({"q4_K", "q6_K"}),
        key_format="q8_0",
        value_format="q8_0",
        needs_flash_attention=True,
        head_dim=128,
        layers=32,
        weights_bytes=4_500_000_000,
        kv_cache_bytes=285_212_672,
        compute_bytes=300_000_000,
    )
    if changes.get("format") in ("onnx", "t4"):
        formats = {"weight_formats": frozenset({"int4"}), "needs_flash_attention": False}
        needs = replace(needs, **formats, key_format="int8", value_format="int8")  # type: ignore[arg-type]
    return replace(needs, **changes)  # type: ignore[arg-type]
