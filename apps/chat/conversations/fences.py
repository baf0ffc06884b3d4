"""Code fences of Markdown: one that is long enough, and one that was left open."""

import re

_BACKTICKS = re.compile("`+")
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})(?P<rest>.*)", re.DOTALL)


def fence_around(text: str) -> str:
    """A fence that nothing in the text can close."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    return "`" * max(3, longest + 1)


def open_fence(text: str) -> str:
    """The fence that is still open where the text ends; empty when there is none."""
    fence = ""
    for line in text.split("\n"):
        if not (found := _FENCE.match(line)):
            continue
        run, rest = found["fence"], found["rest"]
        if not fence:
            fence = "" if run[0] in rest and run[0] == "`" else run
        elif run.startswith(fence) and not rest.strip():
            fence = ""
    return fence
