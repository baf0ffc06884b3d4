"""Grammars are read before the engine reads them, and bad or hostile ones refused."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.errors import UsageError
from edgellm.runtimes.grammars.gbnf import check_grammar
from edgellm.runtimes.llama_cpp.constraint import Constraint
from edgellm.runtimes.llama_cpp.model import LlamaCppModel

LIST = r"""
# a list, with all that the language knows
root  ::= item (sep item)* "\n"?   # the last line may end
item  ::= "- " [^\r\n\x0b\u2028\U0001F600-\U0001F64F]{1,20} | number
number ::= [0-9]+ ("." [0-9]{2,})? | "\"" . "\""
sep   ::=
  "\n" |
  ("," [ \t]*
   | ";")
"""


def doubling(levels: int) -> str:
    """Rules that begin in two ways each: 2 ** levels in all, in a few hundred bytes."""
    rules = [f"r{n} ::= r{n + 1} | r{n + 1}" for n in range(levels)]
    return "root ::= r0\n" + "\n".join(rules) + f'\nr{levels} ::= "x"\n'


def chain(length: int) -> str:
    """Rules that begin with one another."""
    rules = [f"r{n} ::= r{n + 1}" for n in range(length)]
    return "root ::= r0\n" + "\n".join(rules) + f'\nr{length} ::= "x"\n'


def test_all_of_the_language_is_read(tiny: LlamaCppModel) -> None:
    check_grammar(LIST)
    Constraint(LIST, tiny._vocabulary, tiny._context).close()


@pytest.mark.parametrize(
    ("grammar", "problem"),
    [
        ("", "no rule root"),
        ('item ::= "a"', "no rule root"),
        ('root ::= "a', "line 1, column 12: the grammar ends inside"),
        ('root ::= "a"\nroot ::= "b"', "line 2, column 1: rule root is defined twice"),
        ('root = "a"', "column 6: expected ::="),
        ("root ::= item", "column 10: rule item is not defined"),
        ('root ::= ("a"', "expected )"),
        ('root ::= "a")', "expected the end of the line"),
        (r'root ::= "\q"', "unknown escape of 'q'"),
        (r'root ::= "\x4"', "expected 2 hexadecimal digits"),
        ("root ::= []", "an empty class"),
        ('root ::= * "a"', "nothing here to repeat"),
        ('root ::= "a"{x}', "expected a number"),
        ('root ::= "a"{2', "expected }"),
        ('root ::= "a"{3,2}', "at least 3 times but at most 2"),
        ("root ::= <think>", "tokens are not supported"),
        ('root ::= "a\0"', "NUL"),
        ('root ::= "\ud800"', "half a surrogate"),
    ],
)
def test_what_is_no_grammar_is_refused_with_the_place(grammar: str, problem: str) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)):
        check_grammar(grammar)


@pytest.mark.parametrize(
    ("grammar", "problem"),
    [
        ("root ::= " + "(" * 60_000 + '"a"' + ")" * 60_000, "nested more than 64 deep"),
        ('root ::= "a"{0,9999}', "more than 2000 repetitions"),
        ('root ::= (("a"{0,50}){0,50}){0,50}', "repetitions of what is inside"),
        ("root ::= " + "x{0,2000} " * 50 + '\nx ::= "x"', "too large"),
        (f'root ::= "{"a" * 2000}"{{2000}}', "too large"),
        ('root ::= "' + "a" * (256 << 10) + '"', "at most 262144"),
        (doubling(30), "can begin in too many ways"),
        ('root ::= root "a" | "b"', "can begin with itself"),
        ('root ::= e root "x" | "y"\ne ::= f\nf ::= ""', "rule root can begin with itself"),
        ('root ::= "a" root', "never ends"),
        (
            "\n".join(f"r{n} ::= r{n + 1}" for n in range(9000)) + '\nr9000 ::= "x"\nroot ::= r0',
            "too many other rules",
        ),
    ],
)
def test_what_would_hurt_the_engine_is_refused(grammar: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        check_grammar(grammar)


@given(st.text(alphabet='ab"[]()|*+?{}0,1 \n\\x.-^:=#', max_size=40))
@settings(max_examples=300, deadline=None)
def test_the_engine_reads_whatever_is_let_through(tiny: LlamaCppModel, body: str) -> None:
    grammar = f'root ::= {body}\na ::= "x"\nb ::= [y]\n'
    try:
        check_grammar(grammar)
    except UsageError:
        return
    Constraint(grammar, tiny._vocabulary, tiny._context).close()


def test_nothing_is_printed_about_a_bad_grammar(
    tiny: LlamaCppModel, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        Constraint('root ::= "a" |* ', tiny._vocabulary, tiny._context)
    assert capfd.readouterr() == ("", "")
