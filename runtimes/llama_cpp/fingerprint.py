"""What the bytes of a KV cache depend on: they mean nothing to another model, build or set-up."""

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edgellm.errors import InputError, IntegrityError
from edgellm.files import FileStamp, sha256_of
from edgellm.gguf_file import GGUFFile
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.verified import VerifiedFiles

VERIFIED = "verified"  # folder of the cache where hashes of untouched files are noted


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The file a model was loaded from, as it was then."""

    path: Path
    stamp: FileStamp

    @classmethod
    def of(cls, path: Path) -> "ModelFile":
        return cls(path, FileStamp.of(path))

    def sha256(self, cache_dir: Path | None) -> str:
        """Of the whole file: two models may share their header and most of their tensors.

        Known without reading where the file was verified before, else noted for the next time.
        Raises IntegrityError when the file is no longer the one that was loaded.
        """
        try:
            return self._sha256(cache_dir)
        except InputError as error:
            raise IntegrityError(str(error)) from error

    def _sha256(self, cache_dir: Path | None) -> str:
        verified = VerifiedFiles(cache_dir / VERIFIED if cache_dir else None)
        known = verified.known(self.path, self.stamp)
        sha256 = known or sha256_of(self.path)
        if FileStamp.of(self.path) != self.stamp:
            raise InputError(f"{self.path}: was changed after the model was loaded; load it again")
        if known is None:
            verified.remember(self.path, self.stamp, sha256)
        return sha256


@dataclass(frozen=True, slots=True)
class CacheSetup:
    """How a context was made; what only moves rounding, as threads and batches do, is left out."""

    key_format: str
    value_format: str
    flash_attention: str  # "always", or "where it can": the same build decides the same
    gpu_layers: int
    extra_buffers: bool
    rope_context: int  # tokens of the context where rotations depend on it, else 0


@dataclass(frozen=True, slots=True)
class Origin:
    """All that a saved conversation is bound to, and where findings about files are kept."""

    file: ModelFile
    setup: CacheSetup
    cache_dir: Path | None

    def fingerprint(self) -> dict[str, str]:
        """Raises IntegrityError when the model's file is no longer the one that was loaded."""
        return fingerprint(self.file.sha256(self.cache_dir), self.setup)


def rope_context(file: GGUFFile, context_tokens: int) -> int:
    """LongRoPE turns keys by factors that the size of the context chooses; no other scaling does.

    Ding et al., "LongRoPE", 2024, section 3.2.
    """
    architecture = file.metadata.get("general.architecture")
    scaling = file.metadata.get(f"{architecture}.rope.scaling.type")
    has_factors = any(tensor.name.startswith("rope_factors_") for tensor in file.tensors)
    return context_tokens if scaling == "longrope" or has_factors else 0


def fingerprint(model_sha256: str, setup: CacheSetup) -> dict[str, str]:
    """Texts by name, as an error shows them."""
    from importlib.metadata import version

    build = f"{version('llama-cpp-python')} ({_build_sha256(Path(llama._lib._name))[:16]})"
    return {
        "model": model_sha256,
        "llama.cpp": build,
        "processor": f"{platform.machine()}, {_system_info()}",
        "K cache": setup.key_format,
        "V cache": setup.value_format,
        "flash attention": setup.flash_attention,
        # llama.cpp reads it for itself when it makes a context.
        "rotation of heads": _or_default(os.environ.get("LLAMA_ATTN_ROT_DISABLE")),
        "rope context": str(setup.rope_context),
        "GPU layers": str(setup.gpu_layers),
        "rearranged weights": "yes" if setup.extra_buffers else "no",
    }


def _or_default(value: str | None) -> str:
    return "as usual" if value in (None, "", "0") else f"disabled by {value!r}"


def _system_info() -> str:
    info: bytes = llama.llama_print_system_info()
    return info.decode("ascii", "replace").strip(" |")


def _build_sha256(library: Path) -> str:
    """Of the library and the list of those beside it: its version alone does not tell builds."""
    beside = sorted((file.name, file.stat().st_size) for file in library.parent.glob("*ggml*"))
    return hashlib.sha256(library.read_bytes() + repr(beside).encode()).hexdigest()
