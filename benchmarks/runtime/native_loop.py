"""The C loop of native_loop.c, built against the llama.cpp that Python uses, and kept running."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import llama_cpp

from edgellm.closing import Closing

_SOURCE = Path(__file__).with_name("native_loop.c")
_PACKAGE = Path(llama_cpp.__file__).parent
_HEADERS, _LIBRARIES = _PACKAGE.parent / "include", _PACKAGE / "lib"


@dataclass(frozen=True, slots=True)
class Settings:
    """What both sides run with."""

    threads: int
    context: int
    ubatch: int
    key_type: int  # enum ggml_type
    value_type: int


def build(scratch: Path) -> Path:
    """Compile the loop with gcc against the installed headers and libraries."""
    program = scratch / "native_loop"
    link = [f"-L{_LIBRARIES}", f"-Wl,-rpath,{_LIBRARIES}", "-lllama", "-lggml", "-lggml-base"]
    warnings = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror"]
    command = ["gcc", "-O2", *warnings, f"-I{_HEADERS}", str(_SOURCE), "-o", str(program), *link]
    subprocess.run(command, check=True)
    return program


class NativeLoop(Closing):
    """A running loop; a context manager that ends it."""

    def __init__(self, program: Path, gguf: Path, settings: Settings) -> None:
        chosen = (
            settings.threads,
            settings.context,
            settings.ubatch,
            settings.key_type,
            settings.value_type,
        )
        self._process = subprocess.Popen(
            [str(program), str(gguf), *map(str, chosen)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def seconds(self, kind: str, depth: int, tokens: int) -> float:
        """What `tokens` took after `depth` earlier ones; kind: "prefill", "decode", "forward"."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind} {depth} {tokens}\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"native_loop ended with {self._process.wait()}")
        return line
