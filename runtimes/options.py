"""How to load a model and how to answer: options, checked where they are made."""

import math
from dataclasses import dataclass

from edgellm.errors import UsageError

MAX_SEED = (1 << 32) - 2  # 2^32 - 1 means "any seed" to llama.cpp
# Private memory, rearranged for this processor; the file's own pages, shared and given up under
# pressure; those, kept resident. Pages are used as they lie, so that prompts are read slower.
WEIGHT_PLACES = ("read", "mapped", "locked")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load a model."""

    context: int | None = None  # tokens the KV cache holds; None is DEFAULT_CONTEXT at most
    key_format: str | None = None  # rows of quant_tables/kv_formats.toml; None is q8_0 where
    value_format: str | None = None  # the model's heads divide into its blocks, else f16
    ubatch: int = 512  # prompt tokens computed at once
    threads: int | None = None  # None is one for each physical core
    gpu_layers: int = 0  # -1 is all of them
    weights: str = "read"  # one of WEIGHT_PLACES
    speculate: str | None = None  # "ngram", or the path of a draft model's GGUF file

    def __post_init__(self) -> None:
        _at_least(1, context=self.context, ubatch=self.ubatch, threads=self.threads)
        _at_least(-1, gpu_layers=self.gpu_layers)
        if self.weights not in WEIGHT_PLACES:
            raise UsageError(f"weights is {self.weights!r}; expected {', '.join(WEIGHT_PLACES)}")


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How to pick the next token: penalty, top-k, top-p, min-p, temperature, in this order."""

    temperature: float = 0.7  # 0 always takes the likeliest token
    top_k: int = 40  # 0 keeps every token
    top_p: float = 0.95  # 1 keeps every token
    min_p: float = 0.05  # 0 keeps every token
    repeat_penalty: float = 1.1  # 1 is none
    repeat_last_n: int = 64  # tokens the penalty looks back on
    seed: int | None = None  # the same seed gives the same text; None draws one
    max_tokens: int | None = None  # None goes on until the model ends or the context is full
    stop: tuple[str, ...] = ()  # texts that end the answer and are not shown
    ignore_end: bool = False  # go on where the model would end, as measuring speed needs

    def __post_init__(self) -> None:
        _finite(0, math.inf, temperature=self.temperature, repeat_penalty=self.repeat_penalty)
        _finite(0, 1, top_p=self.top_p, min_p=self.min_p)
        _at_least(0, top_k=self.top_k, repeat_last_n=self.repeat_last_n, seed=self.seed)
        _at_least(1, max_tokens=self.max_tokens)
        if self.repeat_penalty == 0:
            raise UsageError(f"repeat_penalty is {self.repeat_penalty}; expected more than 0")
        if self.seed is not None and self.seed > MAX_SEED:
            raise UsageError(f"seed is {self.seed}; expected at most {MAX_SEED}")
        if "" in self.stop:
            raise UsageError("a stop text is empty; leave it out")


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """How to load a model whose predictions are to be judged."""

    window: int  # tokens the KV cache holds
    first: int  # position in a window from which on predictions are wanted
    key_format: str = "f16"  # rows of quant_tables/kv_formats.toml; f16 shows the weights alone
    value_format: str = "f16"
    threads: int | None = None  # None is one for each physical core

    def __post_init__(self) -> None:
        _at_least(2, window=self.window)
        _at_least(1, threads=self.threads)
        if not 0 <= self.first < self.window - 1:
            raise UsageError(f"first is {self.first}; expected 0 to {self.window - 2}")

    @property
    def predictions(self) -> int:
        """Predictions of each window: the last token's is none that the window could judge."""
        return self.window - 1 - self.first


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is None:
            continue
        if not isinstance(value, int):
            raise UsageError(f"{name} is {value!r}; expected a whole number")
        if value < least:
            raise UsageError(f"{name} is {value}; expected at least {least}")


def _finite(least: float, most: float, **values: float) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, float)):
            raise UsageError(f"{name} is {value!r}; expected a number")
        if not (least <= value <= most and math.isfinite(value)):
            raise UsageError(f"{name} is {value}; expected {least} to {most}")
