"""What `edgellm bench` found, as JSON and for people."""

import statistics
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

from edgellm.apps.cli.speed_rounds import Course, Sample
from edgellm.apps.launching import ENGINE
from edgellm.gguf_file import read_gguf
from edgellm.runtimes import RUNTIMES
from edgellm.runtimes.protocol import ModelInfo, Settled
from edgellm.units import format_bytes

_WIDTH = 80
_COLUMNS = "{:<20}{:>11}{:>11}{:>11}  {}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity over the rounds."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def to_json(self) -> dict[str, Any]:
        lowest, highest = min(self.samples), max(self.samples)
        return {
            "median": self.median,
            "lowest": lowest,
            "highest": highest,
            "spread": (highest - lowest) / self.median if self.median else 0.0,
            "samples": list(self.samples),
        }

    def line(self, name: str, unit: str) -> str:
        figures = self.median, min(self.samples), max(self.samples)
        return _COLUMNS.format(name, *(f"{figure:.2f}" for figure in figures), unit)


@dataclass(frozen=True, slots=True)
class Report:
    """A model's speed, with what it was measured under."""

    gguf: Path
    course: Course
    isolation: str
    info: ModelInfo
    samples: Sequence[Sample]  # at least one for each depth

    def to_json(self) -> dict[str, Any]:
        """The documented keys, which hold medians at the first depth; then everything else."""
        first = self.course.depths[0]
        parameters, file_bytes = self._file()
        return {
            "load_s": self._figure("load_s").median,
            "first_token_s": self._figure("first_token_s", first).median,
            "prefill_tokens_per_s": self._figure("prefill_tokens_per_s", first).median,
            "decode_tokens_per_s": self._figure("decode_tokens_per_s", first).median,
            "rounds": len(self._at(first)),
            "load": self._figure("load_s").to_json(),
            "depths": [self._depth_json(depth) for depth in self.course.depths],
            "settings": self._settings(),
            "model": {"path": str(self.gguf), "bytes": file_bytes, "parameters": parameters},
            "llama_bench": " ".join(self._llama_bench()),
        }

    def lines(self) -> Iterator[str]:
        """A table that fits 80 columns, and how llama-bench measures the same."""
        settings, (parameters, file_bytes) = self._settings(), self._file()
        yield f"{self.gguf.name}: {format_bytes(file_bytes)}, {parameters / 1e6:.2f} M parameters"
        if self.info.settled is not None:
            yield from textwrap.wrap(settings["engine"], _WIDTH)
            yield (
                f"threads {settings['threads']}, ubatch {settings['ubatch']}, "
                f"KV cache {settings['key_format']}/{settings['value_format']}, "
                f"isolation {self.isolation}"
            )
        yield ""
        yield _COLUMNS.format(
            f"rounds: {len(self._at(self.course.depths[0]))}", "median", "lowest", "highest", ""
        )
        yield self._figure("load_s").line("load", "s")
        for depth in self.course.depths:
            yield from self._depth_lines(depth)
        yield ""
        yield "pp and tg are llama-bench's, which has no load and no first token:"
        program, model_option, path, *options = self._llama_bench()
        yield f"  {program} {model_option} {path} \\"
        yield f"    {' '.join(options)}"

    def _depth_lines(self, depth: int) -> Iterator[str]:
        read, written = self.course.prompt_tokens, self.course.generate_tokens
        behind = f" @ d{depth}" if depth else ""
        yield self._figure("first_token_s", depth).line(f"first token{behind}", "s")
        yield self._figure("prefill_tokens_per_s", depth).line(f"pp{read}{behind}", "tokens/s")
        yield self._figure("decode_tokens_per_s", depth).line(f"tg{written}{behind}", "tokens/s")

    def _depth_json(self, depth: int) -> dict[str, Any]:
        names = (
            "first_token_s",
            "prefill_tokens_per_s",
            "decode_tokens_per_s",
            "engine_decode_tokens_per_s",
        )
        return {"depth": depth} | {name: self._figure(name, depth).to_json() for name in names}

    def _settings(self) -> dict[str, Any]:
        settled = {} if self.info.settled is None else _with_version(self.info.settled)
        course = {
            "prompt_tokens": self.course.prompt_tokens,
            "generate_tokens": self.course.generate_tokens,
            "context": self.info.context,
            "isolation": self.isolation,
        }
        return course | settled

    def _llama_bench(self) -> list[str]:
        """The command whose pp and tg mean the same."""
        course = self.course
        depths = ",".join(map(str, course.depths))
        tokens = ["-p", course.prompt_tokens, "-n", course.generate_tokens, "-d", depths]
        command = ["llama-bench", "-m", self.gguf, *tokens, "-r", course.rounds]
        if (settled := self.info.settled) is not None:
            command += ["-t", settled.threads, "-ub", settled.ubatch, "-ngl", settled.gpu_layers]
            command += ["-fa", 1, "-ctk", settled.key_format, "-ctv", settled.value_format]
        return [str(word) for word in command]

    def _file(self) -> tuple[int, int]:
        """Weights in the file, and its bytes."""
        tensors = read_gguf(self.gguf).tensors
        return sum(prod(tensor.shape) for tensor in tensors), self.gguf.stat().st_size

    def _figure(self, name: str, depth: int | None = None) -> Figure:
        return Figure(tuple(getattr(sample, name) for sample in self._at(depth)))

    def _at(self, depth: int | None) -> list[Sample]:
        return [sample for sample in self.samples if depth in (None, sample.depth)]


def _with_version(settled: Settled) -> dict[str, Any]:
    """What was settled, with the engine's package and version in front of what it uses."""
    package = RUNTIMES[ENGINE].package
    return asdict(settled) | {"engine": f"{package} {version(package)}, {settled.engine}"}
