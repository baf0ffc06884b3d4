"""What llama.cpp's log says of a load that went otherwise than asked, in words for a user."""

import re
from collections.abc import Iterable, Iterator
from types import MappingProxyType

# Patterns of log lines, and the reason to give; {0} is the first group of the pattern.
_REASONS = MappingProxyType(
    {
        r": (.+) not supported, set to disabled": (
            "{0} is off, as this model cannot have it here: prompts are slower, buffers larger"
        ),
        r"flash_attn is not compatible with (\w+)": (
            "flash attention is off, as {0} models cannot have it: prompts are slower"
        ),
        r"failed to (?:mlock|VirtualLock) .*\): (.+)": (
            "the weights are not locked in memory ({0}); allow more, as with ulimit -l"
        ),
        r"mlock not supported": "the weights are not locked in memory: this system cannot",
        r"mmap is not (?:supported|available)": (
            "the weights are read into memory: files cannot be mapped here"
        ),
        r"retrying without pipeline parallelism": (
            "several GPUs take turns, as memory lacks for them to work at once"
        ),
        r"missing pre-tokenizer type": (
            "the file does not say how words are cut into tokens: answers may be worse; "
            "convert the model again"
        ),
    }
)
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")


def fallback_reasons(lines: Iterable[str], gpu_layers: int) -> tuple[str, ...]:
    """Each reason once, in the log's order.

    gpu_layers: how many were asked for, -1 being all of them.
    """
    return tuple(dict.fromkeys(_reasons(lines, gpu_layers)))


def _reasons(lines: Iterable[str], gpu_layers: int) -> Iterator[str]:
    for line in lines:
        for pattern, reason in _REASONS.items():
            if found := re.search(pattern, line):
                yield reason.format(*found.groups())
        if found := _OFFLOADED.search(line):
            done, possible = int(found[1]), int(found[2])
            asked = possible if gpu_layers < 0 else min(gpu_layers, possible)
            if done < asked:
                yield f"{done} of {asked} layers are on the GPU; the others run on the CPU"
