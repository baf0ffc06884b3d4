"""Why an engine cannot run on a device here: one rule each, asked in order, first reason wins."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import MappingProxyType

from edgellm.backends import Backend
from edgellm.gpus.gpu import Gpu
from edgellm.hardware import Hardware
from edgellm.runtimes.choosing.surroundings import Device, Installed, ModelNeeds
from edgellm.units import format_bytes

_SYSTEM_NAMES = MappingProxyType({"Darwin": "macOS"})
_LIKELY_FREE = 0.9  # of a GPU's memory, where nobody tells how much of it is free


@dataclass(frozen=True, slots=True)
class Case:
    """One backend, in these surroundings, for this model."""

    backend: Backend
    hardware: Hardware
    installed: Installed
    engines: Collection[str]  # those this version of edgellm has
    needs: ModelNeeds | None  # None asks for any model's sake

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs of the right makers; where any has memory of its own, only such."""
        right = [gpu for gpu in self.hardware.gpus if gpu.vendor in self.backend.vendors]
        return tuple([gpu for gpu in right if not gpu.shared_memory] or right)

    @property
    def devices(self) -> tuple[Device, ...]:
        """The same, as the engine sees them; empty where it was not asked or is not llama.cpp."""
        if self.backend.engine != "llama.cpp":
            return ()
        known = self.installed.devices or ()
        right = [device for device in known if device.backend == self.backend.built_with]
        return tuple([device for device in right if not device.shared_memory] or right)

    @property
    def shares_memory(self) -> bool:
        found = self.devices or self.gpus
        return bool(found) and all(one.shared_memory for one in found)


@dataclass(frozen=True, slots=True)
class Room:
    """What a device, or several together, can give to a model."""

    name: str
    free_bytes: int | None  # what a model may take; None where nobody tells


def room_for(case: Case) -> Room:
    """The devices a model would lie on. Shared memory is the machine's, and not all of it."""
    found = case.devices or case.gpus
    name = " + ".join(dict.fromkeys(one.name for one in found))
    reserve_bytes = case.backend.reserve_bytes
    if case.shares_memory:
        return Room(name, max(0, _shared_bytes(case) - reserve_bytes))
    known = [free for one in found if (free := _free_bytes(one)) is not None]
    if not known:
        return Room(name, None)
    return Room(name, sum(max(0, free - reserve_bytes) for free in known))


def layers_that_fit(needs: ModelNeeds, free_bytes: int) -> int:
    """Decoder blocks with their part of the KV cache; `needs.layers` where the whole model fits.

    The embedding and the head count as parts of the blocks, which makes each a little too large.
    """
    if needs.total_bytes <= free_bytes:
        return needs.layers
    block_bytes = -(-(needs.weights_bytes + needs.kv_cache_bytes) // max(needs.layers, 1))
    fit = (free_bytes - needs.compute_bytes) // max(block_bytes, 1)
    return max(0, min(fit, needs.layers - 1))


def _shared_bytes(case: Case) -> int:
    """What the machine has free, up to what the engine says the GPU may take, or else its share."""
    share_bytes = int(case.hardware.memory_total_bytes * case.backend.shared_share)
    told_bytes = sum(device.memory_free_bytes for device in case.devices)
    return min(case.hardware.memory_available_bytes, told_bytes or share_bytes)


def _free_bytes(one: Gpu | Device) -> int | None:
    if one.memory_free_bytes is not None or one.memory_total_bytes is None:
        return one.memory_free_bytes
    return int(one.memory_total_bytes * _LIKELY_FREE)


def _engine_is_missing(case: Case) -> str | None:
    if case.backend.engine in case.engines:
        return None
    return f"this edgellm has no {case.backend.reads} engine; use a gguf file"


def _reads_other_models(case: Case) -> str | None:
    row, needs = case.backend, case.needs
    if needs is None or needs.format == row.reads:
        return None
    step = f"convert the checkpoint with --to {row.reads}"
    return f"it reads {row.reads} models, and this one is {needs.format}; {step}"


def _other_system(case: Case) -> str | None:
    row, system = case.backend, case.hardware.system
    if not row.systems or system in row.systems:
        return None
    needed = " or ".join(_SYSTEM_NAMES.get(name, name) for name in row.systems)
    return f"it needs {needed}; this is {_SYSTEM_NAMES.get(system, system)}"


def _no_gpu(case: Case) -> str | None:
    row = case.backend
    if not row.on_gpu or case.gpus or case.devices:
        return None
    others = ", ".join(gpu.name for gpu in case.hardware.gpus)
    return f"no {row.gpu} found" + (f", only {others}" if others else "")


def _gpu_is_too_old(case: Case) -> str | None:
    least = case.backend.least_capability
    known = [gpu for gpu in case.gpus if gpu.compute_capability is not None]
    if not least or not known or any(_capability(gpu) >= least for gpu in known):
        return None
    gpu = max(known, key=_capability)
    return f"{gpu.name} has compute capability {_capability(gpu)}; needed is {least} or more"


def _driver_is_missing(case: Case) -> str | None:
    """What begins with no number is another driver's name."""
    least = case.backend.least_driver
    if not least or case.devices or not case.gpus:
        return None
    versions = [version for gpu in case.gpus if (version := _numbers(gpu.driver or ""))]
    if any(version[0] >= least for version in versions):
        return None
    gpu, step = case.gpus[0], f"install NVIDIA's driver, {least} or newer"
    if not versions:
        return f"{gpu.name} has no NVIDIA driver; {step}"
    return f"{gpu.name} has driver {gpu.driver}, which is too old; {step}"


def _package_is_missing(case: Case) -> str | None:
    row, versions = case.backend, case.installed.versions
    found = [name for name in (*row.packages, *row.excludes) if name in versions]
    if len(found) > 1:
        clash = f"{' and '.join(found)} overwrite each other"
        return f"{clash}; pip uninstall {' '.join(found)}, then: {row.install}"
    if found and found[0] in row.excludes:
        return f"{found[0]} is in its place; pip uninstall {found[0]}, then: {row.install}"
    if not found:
        return f"{' or '.join(row.packages)} is not installed; try: {row.install}"
    version = versions[found[0]]
    if _numbers(version) < _numbers(row.least_version):
        return f"{found[0]} {version} is older than {row.least_version}; try: {row.install}"
    return None


def _library_is_broken(case: Case) -> str | None:
    return case.installed.broken.get(case.backend.engine)


def _built_without(case: Case) -> str | None:
    row = case.backend
    if not row.built_with or row.built_with in case.installed.built_with.get(row.engine, ()):
        return None
    return f"{row.engine} is installed without {row.built_with}; try: {row.install}"


def _engine_finds_no_device(case: Case) -> str | None:
    row = case.backend
    asked = row.engine == "llama.cpp" and case.installed.devices is not None
    if not row.on_gpu or not asked or case.devices:
        return None
    return f"{row.engine} has {row.built_with} and finds no device; reinstall the GPU's driver"


def _weights_do_not_run(case: Case) -> str | None:
    row, needs = case.backend, case.needs
    wrong = sorted(needs.weight_formats & set(row.no_weights)) if needs else []
    if not wrong:
        return None
    return f"it does not multiply weights in {wrong[0]}; convert to other formats"


def _cache_does_not_run(case: Case) -> str | None:
    row, needs = case.backend, case.needs
    if needs is None or not row.kv_formats:
        return None
    pair = (needs.key_format, needs.value_format)
    if wrong := [name for name in pair if name not in row.kv_formats]:
        return f"it does not run a KV cache in {wrong[0]}; it does in {', '.join(row.kv_formats)}"
    if row.same_kv and pair[0] != pair[1]:
        return f"K and V must have one format; this model's are {pair[0]} and {pair[1]}"
    return None


def _heads_do_not_run(case: Case) -> str | None:
    row, needs = case.backend, case.needs
    if needs is None or not needs.needs_flash_attention or not row.head_dims:
        return None
    if needs.head_dim in row.head_dims:
        return None
    return (
        f"its flash attention, which a V cache in {needs.value_format} needs, has no heads of "
        f"{needs.head_dim}; use a V cache in f16"
    )


def _does_not_fit(case: Case) -> str | None:
    row, needs = case.backend, case.needs
    if needs is None or not row.on_gpu:
        return None
    room = room_for(case)
    if room.free_bytes is None:
        return f"nobody tells how much memory {room.name} has free; say how many layers it gets"
    fit = layers_that_fit(needs, room.free_bytes)
    if fit == needs.layers or (fit > 0 and row.splits_layers):
        return None
    whole = format_bytes(needs.total_bytes)
    what = "not one layer fits" if row.splits_layers else f"it does not fit: all needs {whole}"
    return f"{what}; {room.name} has {format_bytes(room.free_bytes)} for it"


def _capability(gpu: Gpu) -> float:
    major, minor = gpu.compute_capability or (0, 0)
    return major + minor / 10


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version; empty where it begins with none."""
    match = re.match(r"\d{1,9}(\.\d{1,9})*", version, re.ASCII)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


RULES: tuple[Callable[[Case], str | None], ...] = (
    _engine_is_missing,
    _reads_other_models,
    _other_system,
    _no_gpu,
    _gpu_is_too_old,
    _driver_is_missing,
    _package_is_missing,
    _library_is_broken,
    _built_without,
    _engine_finds_no_device,
    _weights_do_not_run,
    _cache_does_not_run,
    _heads_do_not_run,
    _does_not_fit,
)
