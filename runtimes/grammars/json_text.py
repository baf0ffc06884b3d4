"""How JSON values are written, as GBNF: texts, whole numbers of a range, decimals of a range."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, takewhile
from types import MappingProxyType

MOST_WHOLE = 10**15 - 1  # every whole number up to here is exact in a double
_FRACTION = '("." [0-9]{1,6})?'
_FRACTION_ABOVE_0 = '"." [0-9]{0,5} [1-9]'
_SHARED_DEPTH = 16
_STEP = 1000  # characters in one rule of a long text; llama.cpp repeats at most 2000 times

# Written out, never as what they are not: only then are bytes that are no UTF-8 left out.
_PLAIN = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0x80, 0xD7FF), (0xE000, 0x10FFFF))


def plain_except(characters: str = "") -> str:
    """A class of the characters that stand for themselves in a JSON text, without some."""
    ranges = list(_PLAIN)
    for code in sorted(map(ord, characters)):
        ranges = [part for low, high in ranges for part in _without(low, high, code)]
    return "[" + "".join(f"{_escape(low)}-{_escape(high)}" for low, high in ranges) + "]"


def is_plain(character: str) -> bool:
    """Whether a character stands for itself in a JSON text."""
    return any(low <= ord(character) <= high for low, high in _PLAIN)


def literal(text: str) -> str:
    """A GBNF text that reads exactly this."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape(ord(c)) for c in escaped) + '"'


def constant(value: object) -> str:
    """GBNF of one JSON value, written the usual way."""
    return literal(_written(value))


def constants(values: Iterable[object]) -> str:
    """One of these JSON values. What they begin with in common is read once, which is quicker."""
    return _choice(sorted({_written(value) for value in values}), _SHARED_DEPTH)


def whole_numbers(low: int, high: int) -> str:
    """The whole numbers from low to high, both included, without leading zeros."""
    parts = []
    if low < 0:
        parts.append(f'"-" ({_magnitudes(max(1, -high), -low)})')
    if high >= 0:
        parts.append(_magnitudes(max(0, low), high))
    return " | ".join(parts)


def decimals(low: int, high: int, *, above: bool, below: bool) -> str:
    """Numbers between low and high with up to six decimals; "" where there are none.

    above, below: whether low and high themselves are left out.
    """
    parts = []
    if low < 0:
        least, is_open = (-high, below) if high < 0 else (0, True)
        parts += [f'"-" ({part})' for part in _parts(least, -low, is_open, above)]
    if high >= 0:
        parts += _parts(max(low, 0), high, above and low >= 0, below)
    return " | ".join(parts)


def repeated(item: str, least: int, most: int | None) -> str:
    """An item so many times, also more often than llama.cpp repeats one thing."""
    if most is not None and most - least > 2 * _STEP:
        steps, rest = divmod(most - least, _STEP)
        # So split that every count can be had: the tail alone covers more than one step.
        tail = f"({item}{{{_STEP}}}){{0,{steps - 1}}} {item}{{0,{_STEP + rest}}}"
    else:
        tail = f"{item}*" if most is None else f"{item}{{0,{most - least}}}"
    head = [f"{item}{{{_STEP}}}"] * (least // _STEP) + [f"{item}{{{least % _STEP}}}"]
    return " ".join([*(head if least % _STEP else head[:-1]), tail])


def _written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _choice(texts: Sequence[str], depth: int) -> str:
    """One of some texts in order; depth: how many groups may lie inside one another."""
    if len(texts) == 1 or depth == 0:
        return " | ".join(map(literal, texts))
    # Of texts in order, all share what the first and the last do.
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(texts[0], texts[-1], strict=False))
    if shared := sum(1 for _ in alike):
        rest = _choice([text[shared:] for text in texts], depth - 1)
        return f"{literal(texts[0][:shared])} ({rest})"
    groups = groupby(texts, key=lambda text: text[:1])
    return " | ".join(_choice(list(group), depth) for _, group in groups)


def _without(low: int, high: int, code: int) -> list[tuple[int, int]]:
    if not low <= code <= high:
        return [(low, high)]
    return [(a, b) for a, b in ((low, code - 1), (code + 1, high)) if a <= b]


def _escape(code: int) -> str:
    return f"\\U{code:08X}" if code > 0xFF else f"\\x{code:02X}"


def _parts(low: int, high: int, above: bool, below: bool) -> Sequence[str]:
    """Of decimals(), for numbers from 0 on."""
    if low == high:
        return [] if above or below else [f'"{low}"']
    parts = [f'"{low}" {_FRACTION_ABOVE_0 if above else _FRACTION}']
    if high - low > 1:
        parts.append(f"({_magnitudes(low + 1, high - 1)}) {_FRACTION}")
    return parts if below else [*parts, f'"{high}"']


def _magnitudes(low: int, high: int) -> str:
    """Whole numbers from 0 on, split by their count of digits."""
    parts = []
    for digits in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (digits - 1) if digits > 1 else 0)
        parts.append(_digits(str(first), str(min(high, 10**digits - 1))))
    return " | ".join(parts)


def _digits(low: str, high: str) -> str:
    """Digit strings of one length, from low to high."""
    rest = len(low) - 1
    if not rest:
        return f"[{low}-{high}]"
    if low[0] == high[0]:
        return f'"{low[0]}" ({_digits(low[1:], high[1:])})'
    first, last = int(low[0]), int(high[0])
    edges = []
    if set(low[1:]) != {"0"}:
        edges.append(f'"{first}" ({_digits(low[1:], "9" * rest)})')
        first += 1
    if set(high[1:]) != {"9"}:
        edges.append(f'"{last}" ({_digits("0" * rest, high[1:])})')
        last -= 1
    middle = [f"[{first}-{last}] [0-9]{{{rest}}}"] if first <= last else []
    return " | ".join([*edges, *middle])


# Single spaces alone: models that have lost the thread write spaces without end.
PRIMITIVES: Mapping[str, str] = MappingProxyType(
    {
        "space": '" "?',
        "null": '"null"',
        "boolean": '"true" | "false"',
        "whole": '"0" | [1-9] [0-9]{0,14}',
        "integer": '"-"? whole',
        "number": '"-"? whole ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?',
        "plain": plain_except(),
        # No halves of surrogates: they are text to JSON, and to nobody else.
        "code": "[0-9A-Ca-cE-Fe-f] [0-9A-Fa-f]{3} | [Dd] [0-7] [0-9A-Fa-f]{2}",
        "character": 'plain | "\\\\" (["\\\\/bfnrt] | "u" code)',
        "string": '"\\"" character* "\\""',
        "array": '"[" (value ("," space value)*)? "]"',
        "member": 'string ":" space value',
        "object": '"{" (member ("," space member)*)? "}"',
        "value": "object | array | string | number | boolean | null",
        "year": "[0-9]{4}",
        # The 29th of February is left out: whether there is one depends on the year.
        "month-day": '"02-" ("0" [1-9] | "1" [0-9] | "2" [0-8])'
        ' | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30")'
        ' | ("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])',
        "day-date": 'year "-" month-day',
        "hour": '[01] [0-9] | "2" [0-3]',
        "sixty": "[0-5] [0-9]",
        "day-time": 'hour ":" sixty ":" sixty ("." [0-9]{1,6})? ("Z" | [-+] hour ":" sixty)',
        "date": '"\\"" day-date "\\""',
        "time": '"\\"" day-time "\\""',
        "date-time": '"\\"" day-date "T" day-time "\\""',
        "hex": "[0-9a-f]{4}",
        "uuid": '"\\"" hex hex "-" hex "-4" variant "-" [89ab] variant "-" hex hex hex "\\""',
        "variant": "[0-9a-f]{3}",
    }
)
