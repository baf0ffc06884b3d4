"""Single operations of ggml on the CPU, on memory of our own, as llama.cpp would run them.

Tensors may share memory and hold any bytes: what is computed is thrown away, only its time counts.
"""

import ctypes
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from edgellm.closing import Closing
from edgellm.errors import RuntimeFailure
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.library import ENGINE, load_library

F32, F16 = 0, 1  # enum ggml_type
_CPU = 0  # enum ggml_backend_dev_type
_WEIGHTS = 1  # enum ggml_backend_buffer_usage
_GRAPH_NODES = 16
_CONTEXT_BYTES = 1 << 15  # a graph and the descriptions of its tensors
_ALIGNMENT = 64  # bytes; ggml asks for at most so much

_Pointer = ctypes.c_void_p
_BASE: dict[str, tuple[object, list[object]]] = {
    "ggml_build_forward_expand": (None, [_Pointer] * 2),
    "ggml_cast": (_Pointer, [_Pointer, _Pointer, ctypes.c_int]),
    "ggml_flash_attn_ext": (_Pointer, [_Pointer] * 5 + [ctypes.c_float] * 3),
    "ggml_free": (None, [_Pointer]),
    "ggml_mul_mat": (_Pointer, [_Pointer] * 3),
    "ggml_new_graph_custom": (_Pointer, [_Pointer, ctypes.c_size_t, ctypes.c_bool]),
    "ggml_new_tensor_3d": (_Pointer, [_Pointer, ctypes.c_int, *[ctypes.c_int64] * 3]),
    "ggml_nbytes": (ctypes.c_size_t, [_Pointer]),
    "ggml_permute": (_Pointer, [_Pointer] * 2 + [ctypes.c_int] * 4),
    "ggml_backend_buffer_free": (None, [_Pointer]),
    "ggml_backend_buffer_get_base": (_Pointer, [_Pointer]),
    "ggml_backend_buffer_set_usage": (None, [_Pointer, ctypes.c_int]),
    "ggml_backend_buft_alloc_buffer": (_Pointer, [_Pointer, ctypes.c_size_t]),
    "ggml_backend_buft_get_alloc_size": (ctypes.c_size_t, [_Pointer] * 2),
    "ggml_backend_dev_backend_reg": (_Pointer, [_Pointer]),
    "ggml_backend_dev_buffer_type": (_Pointer, [_Pointer]),
    "ggml_backend_dev_init": (_Pointer, [_Pointer, ctypes.c_char_p]),
    "ggml_backend_dev_supports_op": (ctypes.c_bool, [_Pointer] * 2),
    "ggml_backend_free": (None, [_Pointer]),
    "ggml_backend_graph_compute": (ctypes.c_int, [_Pointer] * 2),
    "ggml_backend_reg_get_proc_address": (_Pointer, [_Pointer, ctypes.c_char_p]),
    "ggml_backend_tensor_alloc": (ctypes.c_int, [_Pointer] * 3),
    "ggml_backend_view_init": (ctypes.c_int, [_Pointer]),
}
_SET_THREADS = ctypes.CFUNCTYPE(None, _Pointer, ctypes.c_int)
_EXTRA_BUFFERS = ctypes.CFUNCTYPE(ctypes.POINTER(_Pointer), _Pointer)


class _InitParams(ctypes.Structure):
    """struct ggml_init_params."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", _Pointer),
        ("no_alloc", ctypes.c_bool),
    )


@dataclass(frozen=True, slots=True)
class Region:
    """Memory of one buffer type."""

    kind: int  # ggml_backend_buffer_type_t
    buffer: int
    address: int
    bytes: int


class Processor(Closing):
    """ggml's CPU backend with so many threads; a context manager that frees what it gave."""

    def __init__(self, threads: int) -> None:
        load_library()
        self._base = _open("ggml-base")
        for name, (result, arguments) in _BASE.items():
            _declare(self._base, name, result, arguments)
        _declare(self._base, "ggml_init", _Pointer, [_InitParams])
        registry = _open("ggml")
        _declare(registry, "ggml_backend_dev_by_type", _Pointer, [ctypes.c_int])
        self._device: int = registry.ggml_backend_dev_by_type(_CPU)
        self._undo = ExitStack()
        self._backend: int = self._base.ggml_backend_dev_init(self._device, None)
        self._undo.callback(self._base.ggml_backend_free, self._backend)
        set_threads = self._proc(b"ggml_backend_set_n_threads")
        assert set_threads is not None
        _SET_THREADS(set_threads)(self._backend, threads)

    def close(self) -> None:
        self._undo.close()

    def plain(self, size_bytes: int) -> Region:
        """Memory as it comes."""
        return self._region(self._base.ggml_backend_dev_buffer_type(self._device), size_bytes)

    def rearranging(self, size_bytes: int) -> list[Region]:
        """Memory whose tensors lie as the processor wants them, in llama.cpp's order."""
        address = self._proc(b"ggml_backend_dev_get_extra_bufts")
        kinds = _EXTRA_BUFFERS(address)(self._device) if address else None
        found: list[Region] = []
        while kinds and (kind := kinds[len(found)]):
            found.append(self._region(kind, size_bytes))
        return found

    def product(
        self, ggml_type: int, rows: int, columns: int, regions: Sequence[Region], at: int
    ) -> "Graph":
        """y = W x, where W lies `at` bytes into the first of the regions that can hold it.

        regions: rearranging ones, a plain one for W, and a plain one for x and y.
        """
        *choices, scratch = regions
        graph = Graph(self._base, self._backend, self._undo)
        for region in choices:
            weights = graph.tensor(ggml_type, columns, rows)
            needed = self._base.ggml_backend_buft_get_alloc_size(region.kind, weights)
            if at + needed > region.bytes:
                continue
            graph.place(weights, region, at)
            inputs = graph.place(graph.tensor(F32, columns), scratch, 0)
            product = self._base.ggml_mul_mat(graph.context, weights, inputs)
            if self._base.ggml_backend_dev_supports_op(self._device, product):
                graph.finish(product, scratch, _up(4 * columns))
                return graph
        raise RuntimeFailure(ENGINE, f"no product with weights of ggml type {ggml_type}")

    def attention(
        self,
        types: tuple[int, int],
        heads: tuple[int, int, int],
        tokens: int,
        regions: tuple[Region, Region],
        at: int,
    ) -> "Graph":
        """Attention of one token to `tokens` cached ones, `at` bytes into the first region.

        types: ggml types of K and V. heads: query heads, KV heads, elements of each. The second
        region holds everything else, and zeros where the mask is.
        """
        query_heads, kv_heads, head_dim = heads
        cache, scratch = regions
        graph = Graph(self._base, self._backend, self._undo)
        query = graph.place(graph.tensor(F32, head_dim, 1, query_heads), scratch, 0)
        mask = graph.place(graph.tensor(F16, tokens), scratch, scratch.bytes // 2)
        reached, used, caches = at, _up(4 * head_dim * query_heads), []
        for ggml_type in types:
            stored = graph.tensor(ggml_type, head_dim, kv_heads, tokens)
            graph.place(stored, cache, reached)
            reached += _up(self._base.ggml_nbytes(stored))
            view = self._base.ggml_permute(graph.context, stored, 0, 2, 1, 3)
            self._base.ggml_backend_view_init(view)
            if ggml_type == F32:
                # llama.cpp's attention reads float32 caches as float16.
                view = self._base.ggml_cast(graph.context, view, F16)
                graph.finish(view, scratch, used)
                used += _up(self._base.ggml_nbytes(view))
            caches.append(view)
        scale = head_dim**-0.5
        out = self._base.ggml_flash_attn_ext(graph.context, query, *caches, mask, scale, 0.0, 0.0)
        graph.finish(out, scratch, used)
        return graph

    def _proc(self, name: bytes) -> int | None:
        registry = self._base.ggml_backend_dev_backend_reg(self._device)
        address: int | None = self._base.ggml_backend_reg_get_proc_address(registry, name)
        return address

    def _region(self, kind: int, size_bytes: int) -> Region:
        buffer = self._base.ggml_backend_buft_alloc_buffer(kind, size_bytes)
        if not buffer:
            raise RuntimeFailure(ENGINE, f"no memory for {size_bytes} bytes of measurements")
        self._undo.callback(self._base.ggml_backend_buffer_free, buffer)
        self._base.ggml_backend_buffer_set_usage(buffer, _WEIGHTS)
        address = self._base.ggml_backend_buffer_get_base(buffer)
        return Region(kind, buffer, address, size_bytes)


class Graph:
    """Operations to run in one go."""

    def __init__(self, base: ctypes.CDLL, backend: int, undo: ExitStack) -> None:
        self._base = base
        self._backend = backend
        self.context: int = base.ggml_init(_InitParams(_CONTEXT_BYTES, None, True))
        undo.callback(base.ggml_free, self.context)
        self._graph: int = base.ggml_new_graph_custom(self.context, _GRAPH_NODES, False)

    def tensor(self, ggml_type: int, columns: int, rows: int = 1, planes: int = 1) -> int:
        found: int = self._base.ggml_new_tensor_3d(self.context, ggml_type, columns, rows, planes)
        return found

    def place(self, tensor: int, region: Region, at: int) -> int:
        """Put a tensor `at` bytes into a region; ggml would abort where it does not fit."""
        needed = self._base.ggml_backend_buft_get_alloc_size(region.kind, tensor)
        assert at + needed <= region.bytes, (at, needed, region.bytes)
        self._base.ggml_backend_tensor_alloc(region.buffer, tensor, region.address + at)
        return tensor

    def finish(self, result: int, region: Region, at: int) -> None:
        """Let the graph compute `result` into a region."""
        self.place(result, region, at)
        self._base.ggml_build_forward_expand(self._graph, result)

    def seconds(self) -> float:
        """Run it once and say how long that took."""
        started = perf_counter()
        status = self._base.ggml_backend_graph_compute(self._backend, self._graph)
        elapsed = perf_counter() - started
        if status != 0:
            raise RuntimeFailure(ENGINE, f"measuring failed with status {status}")
        return elapsed


def _up(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT


def _open(stem: str) -> ctypes.CDLL:
    """A library of the installed llama.cpp, next to libllama. Raises RuntimeFailure."""
    names = {"win32": f"{stem}.dll", "darwin": f"lib{stem}.dylib"}
    path = Path(llama._lib._name).with_name(names.get(sys.platform, f"lib{stem}.so"))
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise RuntimeFailure(ENGINE, f"{path} cannot be used: {error}") from error


def _declare(library: ctypes.CDLL, name: str, result: object, arguments: Sequence[object]) -> None:
    try:
        function = getattr(library, name)
    except AttributeError as error:
        raise RuntimeFailure(ENGINE, f"{library._name} lacks {name}") from error
    function.restype, function.argtypes = result, arguments
