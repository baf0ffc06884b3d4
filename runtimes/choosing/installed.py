"""What is installed here for running models: packages, what they were built with, their devices.

No engine is imported: packages are found by their metadata, what they were built with by the files
they brought. llama.cpp's devices are asked for in a process of its own, and only where it was built
for some.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from edgellm.children import child_command, child_environment
from edgellm.runtimes.choosing.surroundings import Device, Installed

_PROBE = "edgellm.runtimes.llama_cpp.devices"
_PROBE_LIMIT_S = 30.0  # the first look at a CUDA device takes seconds
_MAX_DEVICES = 64
# Files, by what they are code for. Where a library was built in one piece, none has such a name.
_LLAMA_CPP = MappingProxyType({"cuda": "CUDA", "hip": "ROCm", "metal": "Metal", "vulkan": "Vulkan"})
_GGML_FILE = re.compile(r"(?:lib)?ggml-(\w+)\.(?:so|dll|dylib)(?:\.\d+)*")
_ONNX = MappingProxyType({"onnxruntime_providers_cuda": "CUDA", "directml": "DirectML"})


def look_installed() -> Installed:
    """Look at this Python's packages; a fresh look each time, as pip may have been at work.

    Raises UnsupportedError where llama.cpp was built for a GPU and Python cannot be started.
    """
    llama_cpp = llama_cpp_gpus()
    built_with = {"llama.cpp": llama_cpp, "onnx": frozenset(_onnx_devices())}
    devices = ask_devices(child_command(_PROBE)) if llama_cpp else None
    return Installed(_versions(), MappingProxyType(built_with), devices)


def llama_cpp_gpus() -> frozenset[str]:
    """The GPUs that llama.cpp was built for here; empty where all it has is the processor."""
    return frozenset(ggml_devices(_file_names(_llama_cpp_folders())))


def ggml_devices(names: Iterable[str]) -> Iterator[str]:
    """The GPUs that llama.cpp was built for, from the names of its library's files."""
    for name in names:
        match = _GGML_FILE.fullmatch(name.lower())
        if match and match[1] in _LLAMA_CPP:
            yield _LLAMA_CPP[match[1]]


def ask_devices(probe: Sequence[str]) -> tuple[Device, ...]:
    """The GPUs llama.cpp finds; none where asking fails, hangs or takes the process down.

    probe: the command that prints them.
    """
    import subprocess

    try:
        done = subprocess.run(
            probe,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_LIMIT_S,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_devices(done.stdout) if done.returncode == 0 else ()


def parse_devices(answer: bytes) -> tuple[Device, ...]:
    """Devices from the probe's JSON; none where it is not what the probe writes."""
    import msgspec

    try:
        return msgspec.json.decode(answer, type=tuple[Device, ...])[:_MAX_DEVICES]
    except msgspec.DecodeError:
        return ()


def _versions() -> MappingProxyType[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    from edgellm.quant_tables import load_tables

    found = {}
    rows = load_tables().backends.values()
    for name in sorted({name for row in rows for name in (*row.packages, *row.excludes)}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return MappingProxyType(found)


def _llama_cpp_folders() -> Iterator[Path]:
    if chosen := os.environ.get("LLAMA_CPP_LIB_PATH"):  # llama-cpp-python's own variable
        yield Path(chosen)
        return
    yield from (folder / "lib" for folder in _package_folders("llama_cpp"))


def _onnx_devices() -> Iterator[str]:
    for name in _file_names(folder / "capi" for folder in _package_folders("onnxruntime")):
        stem = name.lower().removeprefix("lib").partition(".")[0]
        if stem in _ONNX:
            yield _ONNX[stem]
    if any(_package_folders("onnxruntime_ep_webgpu")):
        yield "WebGPU"


def _package_folders(package: str) -> Iterator[Path]:
    """Where a package lies; nowhere when it is not installed. Imports nothing."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return
    locations = spec.submodule_search_locations if spec else None
    yield from map(Path, locations or ())


def _file_names(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        try:
            yield from [entry.name for entry in folder.iterdir()]
        except OSError:
            continue
