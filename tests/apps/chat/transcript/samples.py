"""A look without colours, texts that are hard to lay out, and ways to see lines."""

import re
from collections.abc import Sequence

from hypothesis import strategies as st
from rich.style import Style
from textual.strip import Strip

from edgellm.apps.chat.transcript.code import CODE
from edgellm.apps.chat.transcript.look import PARTS, Look
from edgellm.apps.chat.transcript.markdown import MarkdownLines

PLAIN = Look.of(Style(), {part: Style() for part in PARTS}, dark=True, ansi=False)
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

_MARKS = (
    *("\n", "\n", "\n\n", " ", "    ", "\t", "\r\n", "\r"),
    *("> ", ">", "- ", "* ", "+ ", "1. ", "2) ", "999999999. ", "# ", "###### "),
    *("```", "```\n", "~~~", "```py\n", "---", "***", "===", "=", "\\"),
    *("|", "\n|---|:-:|\n", "| a | b |\n", "--:|", "\\|"),
    *("*", "**", "_", "~~", "`", "``", "[", "]", "](u)", "![", "](http://x.y/z)", '](a "t")'),
    *("<http://a.b>", "<b>", "</b>", "<!--", "&amp;", "&#27;", "&#x202e;", "&#10;", "[l]: u\n"),
    *(
        "漢字",
        "👨\u200d👩\u200d👧",
        "e\u0301",
        "❤\ufe0f",
        "\u200d",
        "\ufe0f",
        "שלום",
        "\x1b[31m",
        "\u202e",
    ),
    *("a", "b c", "word ", "hello"),
)
pieces = st.one_of(st.sampled_from(_MARKS), st.text(max_size=5))
texts = st.lists(pieces, max_size=30).map("".join)
NESTED = {
    "quotes": "> " * 500 + "a",
    "lists": "".join("  " * depth + "- a\n" for depth in range(200)),
    "items in one line": "- " * 500 + "a",
    "emphasis": "*a **b " * 300 + "c** d*" * 300,
    "brackets": "[" * 2000 + "]" * 2000,
    "links": "[a](" * 700,
    "images": "![a" * 400 + "](b)" * 400,
    "code spans": "".join("`" * ticks + " " for ticks in range(1, 80)),
    "a table without a body": "| a | b |\n|---|---|",
    "a table of 60 columns": "|a" * 60 + "|\n" + "|-" * 60 + "|\n" + ("|b" * 60 + "|\n") * 40,
    "a table of 999 columns": "|a" * 999 + "|\n" + "|-" * 999 + "|\n" + ("|b" * 999 + "|\n") * 9,
    "a word": "a" * 20_000,
    "spaces": " " * 20_000 + "a",
    "empty rows": "```c\n" + "\n" * 5000 + "a",
    "spaces in code": "```c\na" + " " * 3000 + "b",
}


def shown(lines: Sequence[Strip]) -> list[str]:
    return [line.text.rstrip() for line in lines]


def laid_out(text: str, width: int = 60) -> list[str]:
    return shown(MarkdownLines(text).lines(PLAIN, width))


def squeezed(text: str) -> str:
    """Without spaces, and without the line breaks that laying out brings."""
    return "".join(text.split())


def copied_numbers(lines: Sequence[Strip]) -> list[object]:
    """Of the blocks of code that the buttons on these lines copy."""
    metas = [segment.style.meta for line in lines for segment in line if segment.style]
    return [meta[CODE] for meta in metas if CODE in meta]
