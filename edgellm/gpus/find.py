"""Asks the system which graphics processors there are; whatever goes wrong, there are none.

Nothing is imported or started that a machine without a GPU would not need: an NVIDIA driver's
nvidia-smi where there is one, files on Linux, the registry on Windows, system_profiler on macOS.
"""

import platform
import shutil
from pathlib import Path

from edgellm.gpus import drm, macos, nvidia, registry
from edgellm.gpus.gpu import Gpu

_LIMIT_S = 5.0  # a driver that hangs holds nobody up for longer
_WSL_NVIDIA_SMI = Path("/usr/lib/wsl/lib/nvidia-smi")  # not on every shell's path


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine; empty where none was found."""
    system = platform.system()
    if system == "Darwin":
        return macos.parse_displays(_output([macos.PROGRAM, *macos.ARGUMENTS]))
    others = drm.read_cards() if system == "Linux" else registry.read_adapters()
    return merge_nvidia(_ask_nvidia(), others)


def merge_nvidia(told: tuple[Gpu, ...], others: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """What NVIDIA's own tool tells takes the place of what the system knows of those GPUs."""
    if not told:
        return others
    return told + tuple(gpu for gpu in others if gpu.vendor != "nvidia")


def _ask_nvidia() -> tuple[Gpu, ...]:
    program = shutil.which("nvidia-smi")
    if program is None and _WSL_NVIDIA_SMI.is_file():
        program = str(_WSL_NVIDIA_SMI)
    if program is None:
        return ()
    for query in nvidia.QUERIES:
        text = _output([program, f"--query-gpu={','.join(query)}", *nvidia.LAYOUT])
        if gpus := nvidia.parse_rows(text, query):
            return gpus
    return ()


def _output(command: list[str]) -> str:
    """What the command prints; nothing where it is missing, fails or takes too long."""
    import subprocess  # takes longer than everything else here, and mostly there is no command

    # Without it a console window would flash up over a Windows program that has none.
    flags: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_LIMIT_S,
            creationflags=flags,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
