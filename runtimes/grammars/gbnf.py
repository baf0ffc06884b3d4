"""Reads a grammar in llama.cpp's GBNF and refuses what would hurt the engine.

llama.cpp prints grammars it cannot parse, overruns its stack on deep nesting (ggml-org/llama.cpp
issue 26600), takes exponential time over harmless looking alternatives, and never returns from some
left recursion. So a grammar is understood here first, expanded as llama.cpp expands it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgellm.errors import UsageError
from edgellm.runtimes.grammars.gbnf_reader import NAME_CHARACTERS, GBNFReader

MAX_BYTES = 256 << 10
MAX_NESTING = 64  # groups inside groups
MAX_REPEATS = 2000  # llama.cpp's own; it takes a larger maximum for none
MAX_PARTS = 200_000  # elements after expansion, and a few for each rule that it makes
MAX_DEPTH = 2500  # rules entered before a character is read: frames on the engine's stack
MAX_BRANCHES = 5_000  # ways to enter one rule: places the engine follows at once
MAX_WALK = 20_000_000  # steps of llama.cpp's own search for left recursion

_TEXT = -1  # an element that reads characters; others are the number of a rule
_RULE_PARTS = 4  # a rule's own cost, in elements
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}

Rules = list[list[list[int]]]  # by number: alternatives of elements


@dataclass(frozen=True, slots=True)
class _Symbol:
    """A literal, class, group or rule in a sequence, or a repetition of one."""

    elements: list[int]
    parts: int  # elements that llama.cpp keeps for it
    rules: int  # that a repetition of it is counted as


def check_grammar(grammar: str) -> None:
    """Raises UsageError for what is no grammar, or one that the engine could not bear."""
    _check_text(grammar)
    parser = _Parser(grammar)
    parser.read()
    rules, names = parser.rules, parser.spelled
    ends = _derivable(rules, text=True)
    if not ends[parser.numbers["root"]]:
        raise UsageError("grammar: rule root never ends; give each of its loops a way out")
    _check_entries(rules, names)


def _check_text(grammar: str) -> None:
    try:
        length = len(grammar.encode())
    except UnicodeEncodeError:
        raise UsageError("the grammar is not valid Unicode: it has half a surrogate") from None
    if length > MAX_BYTES:
        raise UsageError(f"the grammar has {length} bytes; at most {MAX_BYTES}")
    if "\0" in grammar:
        raise UsageError("the grammar has a NUL character; write it as \\x00")


class _Parser(GBNFReader):
    """Recursive descent; the recursion is bounded by MAX_NESTING."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._parts = 0
        self.rules: Rules = []
        self.spelled: list[str] = []  # by number: the name of the rule, or of the one it lies in
        self.numbers: dict[str, int] = {}
        self._uses: dict[int, int] = {}  # where a rule was first used

    def read(self) -> None:
        self.skip_space(lines=True)
        while self.peek():
            self._rule()
        if "root" not in self.numbers or not self.rules[self.numbers["root"]]:
            raise UsageError("the grammar has no rule root, where every answer begins")
        for number, at in self._uses.items():
            if not self.rules[number]:
                self.at = at
                raise self.error(f"rule {self.spelled[number]} is not defined")

    def _rule(self) -> None:
        start = self.at
        name = self.take_name()
        self.skip_space(lines=False)
        if not self.take("::="):
            raise self.error("expected ::=")
        number = self._number(name)
        if self.rules[number]:
            self.at = start
            raise self.error(f"rule {name} is defined twice")
        self.skip_space(lines=True)
        self.rules[number] = self._alternatives(name, 0)
        if self.peek() and not (self.take("\r\n") or self.take("\n") or self.take("\r")):
            raise self.error("expected the end of the line")
        self.skip_space(lines=True)

    def _alternatives(self, name: str, depth: int) -> list[list[int]]:
        found = [self._sequence(name, depth)]
        while self.take("|"):
            self.skip_space(lines=True)
            found.append(self._sequence(name, depth))
        return found

    def _sequence(self, name: str, depth: int) -> list[int]:
        elements: list[int] = []
        last = _Symbol([], 0, 1)  # what a quantifier would repeat
        while True:
            before = self.at
            if (times := self._quantifier(depth)) is not None:
                if not last.elements:
                    self.at = before
                    raise self.error("nothing here to repeat")
                del elements[len(elements) - len(last.elements) :]
                last = self._repeat(name, last, *times)
            elif (symbol := self._symbol(name, depth)) is not None:
                last = symbol
                self._count(last.parts)
            else:
                return elements
            elements += last.elements
            self.skip_space(lines=depth > 0)

    def _symbol(self, name: str, depth: int) -> "_Symbol | None":
        """One literal, class, group or rule; None at the end."""
        first = self.peek()
        if first == '"':
            characters = self._literal()
            return _Symbol([_TEXT] * (characters > 0), characters, 1)
        if first == "[":
            return _Symbol([_TEXT], self._class(), 1)
        if first == ".":
            self.at += 1
            return _Symbol([_TEXT], 1, 1)
        if first == "(":
            before = len(self.rules)
            return _Symbol([self._group(name, depth + 1)], 1, len(self.rules) - before)
        if first and first in NAME_CHARACTERS:
            at = self.at
            number = self._number(self.take_name())
            self._uses.setdefault(number, at)
            return _Symbol([number], 1, 1)
        if first and first in "<!":
            raise self.error("tokens are not supported here; write their text")
        return None

    def _group(self, name: str, depth: int) -> int:
        if depth > MAX_NESTING:
            raise self.error(f"groups nested more than {MAX_NESTING} deep")
        self.at += 1
        self.skip_space(lines=True)
        number = self._new_rule(name)
        self.rules[number] = self._alternatives(name, depth)
        if not self.take(")"):
            raise self.error("expected )")
        return number

    def _repeat(self, name: str, last: "_Symbol", least: int, most: int | None) -> "_Symbol":
        """As llama.cpp does: copies, then one rule for each more that may follow."""
        times = most or least or 1
        if last.rules * times > MAX_REPEATS:
            raise self.error(f"more than {MAX_REPEATS} repetitions of what is inside")
        self._count(last.parts * times)
        item, rest = last.elements, list[int]()
        if most is None:
            rest = [self._new_rule(name)]
            self.rules[rest[0]] = [item + rest, []]
        for _ in range((most or least) - least):
            number = self._new_rule(name)
            self.rules[number] = [item + rest, []]
            rest = [number]
        return _Symbol(item * least + rest, last.parts * times, last.rules * times)

    def _quantifier(self, depth: int) -> tuple[int, int | None] | None:
        if (mark := self.peek()) in _QUANTIFIERS:
            self.at += 1
            return _QUANTIFIERS[mark]
        if not self.take("{"):
            return None
        self.skip_space(lines=depth > 0)
        least = most = self._times()
        bounded: int | None = most
        if self.take(","):
            self.skip_space(lines=depth > 0)
            bounded = None if self.peek() == "}" else self._times()
        if not self.take("}"):
            raise self.error("expected }")
        if bounded is not None and bounded < least:
            raise self.error(f"at least {least} times but at most {bounded}")
        return least, bounded

    def _times(self) -> int:
        digits = self.take_while(lambda c: c in "0123456789")
        if not digits:
            raise self.error("expected a number")
        if len(digits) > 9 or int(digits) > MAX_REPEATS:
            raise self.error(f"more than {MAX_REPEATS} repetitions")
        self.skip_space(lines=False)
        return int(digits)

    def _literal(self) -> int:
        self.at += 1
        characters = 0
        while not self.take('"'):
            self.take_character()
            characters += 1
        return characters

    def _class(self) -> int:
        self.at += 1
        self.take("^")
        if self.peek() == "]":
            raise self.error("an empty class of characters")
        elements = 0
        while not self.take("]"):
            self.take_character()
            elements += 1
            if self.peek() == "-" and self._text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                self.take_character()
                elements += 1
        return elements

    def _number(self, name: str) -> int:
        if name not in self.numbers:
            self.numbers[name] = self._new_rule(name)
        return self.numbers[name]

    def _new_rule(self, name: str) -> int:
        self._count(_RULE_PARTS)
        self.rules.append([])
        self.spelled.append(name)
        return len(self.rules) - 1

    def _count(self, parts: int) -> None:
        self._parts += parts
        if self._parts > MAX_PARTS:
            raise self.error(f"too large: more than {MAX_PARTS} elements once expanded")


def _derivable(rules: Rules, *, text: bool) -> list[bool]:
    """Which rules can come to an end: at all, or, unless `text`, without reading a character."""
    waiting: dict[int, list[tuple[int, int]]] = {}
    missing: list[int] = []  # of each alternative: elements that are not known to end
    ends = [False] * len(rules)
    done: list[int] = []

    def settle(rule: int) -> None:
        if not ends[rule]:
            ends[rule] = True
            done.append(rule)

    for number, alternatives in enumerate(rules):
        for elements in alternatives:
            needs = [element for element in elements if element != _TEXT]
            blocked = not text and len(needs) < len(elements)
            missing.append(-1 if blocked else len(needs))
            for element in needs:
                waiting.setdefault(element, []).append((number, len(missing) - 1))
            if missing[-1] == 0:
                settle(number)
    while done:
        for number, alternative in waiting.get(done.pop(), ()):
            missing[alternative] -= 1
            if missing[alternative] == 0:
                settle(number)
    return ends


def _check_entries(rules: Rules, names: Sequence[str]) -> None:
    """Follow what each rule may begin with, down to the first character."""
    empty = _derivable(rules, text=False)
    first = [_first_rules(alternatives, empty) for alternatives in rules]
    depth, branches, walk = [0] * len(rules), [0] * len(rules), 0
    for number in _leaves_first(first, names):
        depth[number] = 1 + max((depth[below] for below in first[number]), default=0)
        branches[number] = len(rules[number]) + sum(branches[below] for below in first[number])
        walk += branches[number]
        if depth[number] > MAX_DEPTH:
            raise UsageError(f"grammar: rule {names[number]} leads through too many other rules")
        if branches[number] > MAX_BRANCHES or walk > MAX_WALK:
            raise UsageError(f"grammar: rule {names[number]} can begin in too many ways")


def _first_rules(alternatives: list[list[int]], empty: list[bool]) -> list[int]:
    found = []
    for elements in alternatives:
        for element in elements:
            if element == _TEXT:
                break
            found.append(element)
            if not empty[element]:
                break
    return found


def _leaves_first(first: list[list[int]], names: Sequence[str]) -> list[int]:
    """Rules after all that they begin with. Raises UsageError for left recursion."""
    above: list[list[int]] = [[] for _ in first]
    for number, below in enumerate(first):
        for other in below:
            above[other].append(number)
    waits = [len(below) for below in first]
    order = [number for number, count in enumerate(waits) if count == 0]
    for number in order:
        for other in above[number]:
            waits[other] -= 1
            if waits[other] == 0:
                order.append(other)
    if len(order) < len(first):
        stuck = next(number for number, count in enumerate(waits) if count)
        raise UsageError(
            f"grammar: rule {names[stuck]} can begin with itself; let it read something first"
        )
    return order
