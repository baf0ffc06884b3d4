"""Lines of text that are hard to tokenize."""

import random

SPECIAL_TEXT = ("<s>", "</s>", "<unk>", "<|user|>", "<|end|>", "<|im_start|>", "[PAD300]", "<0x0A>")

_SCRIPTS = (
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "\u00e0\u00e9\u00ee\u00f5\u00fc\u00df\u0153\u0111\u0142\u017f\u0130\u0131 \u00c5\u00d1",
    "\u0430\u0431\u0432\u0433\u0434\u0435\u0451 \u0416\u0429\u042b",
    "\u03b1\u03b2\u03b3\u03c9\u03ac \u03a3\u03a9",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u200f\u200e\u202b\u202c",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\u1019\u103c\u1014\u103a\u1019\u102c \u0b95\u0bcd\u0bb7",
    "\u4e2d\u6587\u5b57\u7b26 \u3042\u308a\u304c\u3068\u3046 \u30ab\u30bf\u30ca \ud55c\uad6d\uc5b4",
    "e\u0301a\u0308o\u0302\u0323 n\u0303\u1ec7 \u0061\u030a",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f3fd\u2764\ufe0f\U0001f1eb\U0001f1f7",
    "0123456789 \u0663\u0664\u0966\u4e09\u00bd\u2167\u00b2\uff11",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \u2018\u2019\u201c\u201d\u2026\u2014\u3002\uff01",
    " \t\n\r\v\f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u3000\u200b\ufeff",
    "\x00\x01\x07\x08\x1b\x1c\x1f\x7f\x80\x9f",
    "\u2581\u0120\u010a\u00ad\ufffd\ufffe\U0010ffff\ue000\U000e0041",
    "\u0378\u2fe0\U0001fae9\u0620\u2c5f",
)
_NEWER_LETTERS = (
    (0x1C89, 0x1C8A),
    (0xA7CB, 0xA7CD),
    (0xA7DA, 0xA7DC),
    (0x105C0, 0x105F3),
    (0x10D40, 0x10D65),
    (0x10D6F, 0x10D85),
    (0x10EC2, 0x10EC4),
    (0x11380, 0x113D3),
    (0x116D0, 0x116E3),
    (0x11BC0, 0x11BE0),
    (0x11BF0, 0x11BF9),
    (0x13460, 0x143FA),
    (0x16100, 0x1611D),
    (0x16130, 0x16139),
    (0x16D40, 0x16D6C),
    (0x16D70, 0x16D79),
    (0x18CFF, 0x18CFF),
    (0x1CCF0, 0x1CCF9),
    (0x1E5D0, 0x1E5FA),
)
_CODE = (
    "def f(x):\n    return x[1:]  # ok",
    "for (int i = 0; i < n; ++i) {\n\t\tsum += a[i];\n\t}",
    '{"key": [1, 2.50, -3e10], "o\u00f9": null}',
    "https://example.org/a?b=c&d=%20#e",
    "I'm, you're, WE'LL, he'D, it'\u017f; don't 'tis",
    "<html><s>old</s> <b>\u00a92024</b></html>",
    "SELECT * FROM t WHERE a<>'b''c';",
    "\u005cn \u005ct \u005cx00 C:\\Users\\n",
)


def awkward_lines(count: int, seed: int) -> list[str]:
    """Lines of many scripts, code, spaces, control characters and special-token text."""
    rng = random.Random(seed)
    return [_awkward_line(rng) for _ in range(count)]


def _awkward_line(rng: random.Random) -> str:
    kind = rng.randrange(10)
    if kind == 0:
        return rng.choice((" ", "\n", "\t", "a", "\u2581", "=", "\r\n")) * rng.randrange(40)
    if kind == 1:
        return "".join(rng.choices(rng.choice(_SCRIPTS[:7]).replace(" ", ""), k=200))
    parts = [_awkward_part(rng) for _ in range(rng.randrange(1, 9))]
    return rng.choice(("", "", " ", "\n")).join(parts)


def _awkward_part(rng: random.Random) -> str:
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice((" ", "  ", "\n", "\n\n", "\t", "\r\n", " \n ", "\u00a0"))
    if kind == 1:
        return rng.choice(_CODE)
    if kind == 2:
        return rng.choice(SPECIAL_TEXT)
    if kind == 3:
        return str(rng.randrange(10 ** rng.randrange(1, 14)))
    if kind == 4:
        return "".join(chr(_scalar(rng)) for _ in range(rng.randrange(1, 5)))
    return "".join(rng.choices(rng.choice(_SCRIPTS), k=rng.randrange(1, 12)))


def _scalar(rng: random.Random) -> int:
    """A Unicode scalar value, small ones likelier; no surrogate, no letter of Unicode 16 or later.

    llama.cpp's tables are of Unicode 15.1, so it splits words at letters newer than that.
    """
    while True:
        value = rng.randrange(rng.choice((0x100, 0x3000, 0xD800, 0x110000)))
        newer = any(low <= value <= high for low, high in _NEWER_LETTERS)
        if not 0xD800 <= value < 0xE000 and not newer:
            return value
