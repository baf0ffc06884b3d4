"""An engine on one kind of device: what it reads, needs and cannot do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backend:
    """One row of quant_tables/backends.toml, which says what each field means."""

    name: str  # such as "llama.cpp CUDA"
    engine: str  # as edgellm.runtimes.RUNTIMES names it
    reads: str  # "gguf", "onnx" or "t4"
    rank: int  # among those that work, the lowest comes first
    rank_shared: int  # the same, on a GPU that shares the machine's memory
    vendors: tuple[str, ...]  # of edgellm.gpus.gpu.VENDORS; empty for the processor
    gpu: str  # what to call such a GPU
    systems: tuple[str, ...]
    least_capability: float
    least_driver: int
    packages: tuple[str, ...]
    excludes: tuple[str, ...]
    least_version: str
    built_with: str
    no_weights: tuple[str, ...]
    kv_formats: tuple[str, ...]
    same_kv: bool
    head_dims: tuple[int, ...]
    splits_layers: bool
    shared_share: float
    reserve_bytes: int
    install: str

    @property
    def on_gpu(self) -> bool:
        return bool(self.vendors)
