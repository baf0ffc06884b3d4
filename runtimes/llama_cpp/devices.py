"""The GPUs llama.cpp finds; run as a program it prints them as JSON.

Asking starts the GPU's driver in the process that asks, which takes memory and can take it down.
"""

import ctypes
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from edgellm.gpus.gpu import clean_name
from edgellm.runtimes.choosing.surroundings import Device
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.library import load_library

_GPU, _INTEGRATED_GPU = 1, 2  # enum ggml_backend_dev_type
GPUS = (_GPU, _INTEGRATED_GPU)
_METAL = "MTL"  # what ggml calls it
_FILES = ("libggml.so", "libggml.dylib", "ggml.dll", "libggml-base.so", "ggml-base.dll")


def main() -> None:
    import msgspec

    print(msgspec.json.encode(find_devices()).decode())


def find_devices(wanted: Collection[int] = GPUS) -> tuple[Device, ...]:
    """Every device of the wanted kinds (enum ggml_backend_dev_type), of every backend."""
    load_library()
    count = _function("ggml_backend_dev_count", ctypes.c_size_t)()
    get = _function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    kind_of = _function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    kinds = {device: kind_of(device) for device in map(get, range(count))}
    return tuple(_describe(device, kind) for device, kind in kinds.items() if kind in wanted)


def _describe(device: int, kind: int) -> Device:
    registry = _function("ggml_backend_dev_backend_reg", ctypes.c_void_p, ctypes.c_void_p)(device)
    backend = _text("ggml_backend_reg_name", registry)
    free_bytes, total_bytes = ctypes.c_size_t(), ctypes.c_size_t()
    memory = _function("ggml_backend_dev_memory", None, *[ctypes.c_void_p] * 3)
    memory(device, ctypes.byref(free_bytes), ctypes.byref(total_bytes))
    return Device(
        backend="Metal" if backend == _METAL else backend,
        name=clean_name(_text("ggml_backend_dev_description", device)),
        shared_memory=kind == _INTEGRATED_GPU or backend == _METAL,
        memory_total_bytes=total_bytes.value,
        memory_free_bytes=min(free_bytes.value, total_bytes.value),
    )


def _text(name: str, of: int) -> str:
    answer: bytes | None = _function(name, ctypes.c_char_p, ctypes.c_void_p)(of)
    return (answer or b"").decode("utf-8", "replace")


def _function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """llama-cpp-python binds none of these. Raises AttributeError where no library has it."""
    for library in _libraries():
        if hasattr(library, name):
            prototype = ctypes.CFUNCTYPE(result, *arguments)
            return prototype((name, library))
    raise AttributeError(name)


def _libraries() -> Iterator[ctypes.CDLL]:
    """On Linux and macOS a library finds its dependencies' functions; on Windows it does not."""
    yield llama._lib
    folder = Path(llama._lib._name).parent
    yield from (ctypes.CDLL(str(folder / name)) for name in _FILES if (folder / name).is_file())


if __name__ == "__main__":
    main()
