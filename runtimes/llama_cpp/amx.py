"""Finds builds of llama.cpp whose AMX code kills the process, and keeps that code switched off.

gcc before 12.4 and 13.3 drops the stores that set up the tiles, so the first quantized batch on a
processor with AMX dies (ggml-org/llama.cpp#20824). A child process tries it, once per library.
"""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgellm.children import child_command, child_environment
from edgellm.runtimes.llama_cpp.bindings import llama

REMEDY = (
    "rebuild llama-cpp-python with CFLAGS and CXXFLAGS set to "
    '"-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"'
)
_CPUINFO = Path("/proc/cpuinfo")
_PROBE = "edgellm.runtimes.llama_cpp.amx_probe"
_PROBE_LIMIT_S = 60.0
_VERDICTS = "llama-cpp-amx.json"


def amx_fallback(cache_dir: Path | None) -> str | None:
    """Why AMX and weight repacking must stay off here; None where they may be used."""
    system_info = llama.llama_print_system_info().decode("utf-8", "replace")
    if not (cpu_has_amx(read_cpuinfo()) and library_uses_amx(system_info)):
        return None
    if amx_works(Path(llama._lib._name), cache_dir):
        return None
    return f"llama.cpp's AMX code crashes on this machine and stays off, which is slower; {REMEDY}"


def read_cpuinfo(path: Path = _CPUINFO) -> str:
    """Linux's description of the processor; empty elsewhere."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cpu_has_amx(cpuinfo: str) -> bool:
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return flags is not None and {"amx_tile", "amx_int8"} <= set(flags[1].split())


def library_uses_amx(system_info: str) -> bool:
    return re.search(r"\bAMX_INT8 = 1\b", system_info) is not None


def amx_works(library: Path, cache_dir: Path | None, probe: Sequence[str] = ()) -> bool:
    """Whether a quantized batch survives; asked once per library file, then remembered.

    probe: a command to ask in place of our own.
    """
    key = _identity(library)
    verdicts = _load_verdicts(cache_dir)
    if key not in verdicts:
        verdicts[key] = probe_survives(probe or child_command(_PROBE))
        _save_verdicts(cache_dir, verdicts)
    return verdicts[key]


def probe_survives(command: Sequence[str]) -> bool:
    """Run the probe; one that dies, fails or hangs does not survive."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
            timeout=_PROBE_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _identity(library: Path) -> str:
    found = library.stat()
    return f"{library}:{found.st_size}:{found.st_mtime_ns}"


def _load_verdicts(cache_dir: Path | None) -> dict[str, bool]:
    """What is remembered; an unreadable memory is an empty one."""
    if cache_dir is None:
        return {}
    try:
        verdicts = json.loads((cache_dir / _VERDICTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(verdicts, dict):
        return {}
    return {key: works for key, works in verdicts.items() if isinstance(works, bool)}


def _save_verdicts(cache_dir: Path | None, verdicts: dict[str, bool]) -> None:
    """Remember; not being able to only means asking again."""
    if cache_dir is None:
        return
    part = cache_dir / f"{_VERDICTS}.{os.getpid()}"
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(verdicts), encoding="utf-8")
        part.replace(cache_dir / _VERDICTS)
    except OSError:
        part.unlink(missing_ok=True)
