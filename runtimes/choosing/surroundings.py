"""What a choice of engine depends on, as data: what is installed, and what a model needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Device:
    """A device as llama.cpp itself sees it."""

    backend: str  # "CUDA", "Metal", "Vulkan", ...
    name: str
    shared_memory: bool
    memory_total_bytes: int
    memory_free_bytes: int


@dataclass(frozen=True, slots=True)
class Installed:
    """The packages of this Python that have to do with running models."""

    versions: Mapping[str, str]  # by the name that pip knows
    # By engine: the GPUs its libraries have code for, such as "CUDA".
    built_with: Mapping[str, frozenset[str]] = field(default_factory=dict)
    devices: tuple[Device, ...] | None = None  # GPUs that llama.cpp found; None: was not asked
    broken: Mapping[str, str] = field(default_factory=dict)  # by engine: why it does not load


@dataclass(frozen=True, slots=True)
class ModelNeeds:
    """What a model asks of an engine and a device."""

    format: str  # "gguf", "onnx" or "t4"
    weight_formats: frozenset[str]
    key_format: str
    value_format: str
    needs_flash_attention: bool  # as a quantized V does in llama.cpp
    head_dim: int
    layers: int
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int  # the device's scratch for one ubatch

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes
