"""What is done to text before llama.cpp tokenizes it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken as LibraryToken
from tokenizers import Tokenizer, models, normalizers

from edgellm.errors import FormatError
from edgellm.tokenizer.added_tokens import AddedToken, TokenFinder, overlapping
from edgellm.tokenizer.text_rules import FORMS, METADATA_KEY, SpacePrefix, TextRules

END = AddedToken(7, "<|end|>", special=True)
RULES = TextRules(
    added_tokens=(END, AddedToken(8, "\u00e9", special=False, left_strip=True, normalized=True)),
    unicode_form="NFC",
    remove_extra_spaces=True,
    escape_spaces=True,
    space_prefix=SpacePrefix.FIRST_UNSPACED,
    spellings=((3, (4, 5)),),
)


def fragments(rules: TextRules, text: str, parse_special: bool = True) -> list[int | str]:
    return list(rules.fragments(text, parse_special))


def test_rules_survive_json() -> None:
    assert TextRules.from_json(RULES.to_json(), "x.gguf") == RULES


def test_no_rules_are_found_where_there_are_none() -> None:
    assert TextRules.from_metadata({}, "x.gguf") is None


def test_special_tokens_are_text_unless_they_are_parsed() -> None:
    rules = TextRules(added_tokens=(END,))
    assert fragments(rules, "a<|end|>b") == ["a", 7, "b"]
    assert fragments(rules, "a<|end|>b", parse_special=False) == ["a<|end|>b"]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (SpacePrefix.NONE, ["a", 7, " b", 7, "c"]),
        (SpacePrefix.EACH, [" a", 7, "  b", 7, " c"]),
        (SpacePrefix.UNSPACED, [" a", 7, " b", 7, " c"]),
        (SpacePrefix.FIRST_UNSPACED, [" a", 7, " b", 7, "c"]),
    ],
)
def test_a_space_is_put_where_the_prefix_says(prefix: SpacePrefix, expected: list[object]) -> None:
    rules = TextRules(added_tokens=(END,), space_prefix=prefix)
    assert fragments(rules, "a<|end|> b<|end|>c") == expected


def test_extra_spaces_go_and_the_rest_become_u2581() -> None:
    rules = TextRules(remove_extra_spaces=True, escape_spaces=True, space_prefix=SpacePrefix.EACH)
    assert fragments(rules, "  a   b \u2581") == ["\u2581a\u2581b"]
    assert fragments(rules, "   ") == []


def test_ids_that_plain_text_never_has_are_spelled_out() -> None:
    rules = TextRules(added_tokens=(END,), spellings=((7, (1, 2)),))
    assert rules.token_ids("x<|end|>", True, lambda part: [7, 3]) == [1, 2, 3, 7]


TEXT = st.text(alphabet="ab _<>\t\u00e9e\u0301\u00a0", max_size=30)
FLAGS = st.fixed_dictionaries({k: st.booleans() for k in ("lstrip", "rstrip", "single_word")})


@example(["<", " "], {"lstrip": True, "rstrip": True, "single_word": False}, "< ")
@given(texts=st.lists(st.text("ab <", min_size=1, max_size=3), unique=True), flags=FLAGS, text=TEXT)
def test_tokens_are_found_as_the_tokenizers_library_finds_them(
    texts: list[str], flags: dict[str, bool], text: str
) -> None:
    library = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    library.add_tokens([LibraryToken(t, normalized=False, **flags) for t in texts])
    expected = [i for i in library.encode(text).ids if i]
    strips = (flags["lstrip"], flags["rstrip"], flags["single_word"])
    tokens = [AddedToken(i, t, False, *strips) for i, t in enumerate(texts, start=1)]
    found = [piece for _, piece in TokenFinder(tokens).split(text, True)]
    assert [piece for piece in found if isinstance(piece, int)] == expected


@given(text=st.text(max_size=20), form=st.sampled_from(FORMS))
def test_unicode_forms_are_those_of_the_tokenizers_library(text: str, form: str) -> None:
    usable = "".join(c for c in text if c < "\U00010000")
    expected = getattr(normalizers, form)().normalize_str(usable)
    assert TextRules(unicode_form=form).normalize(usable) == expected


def test_tokens_overlap_when_one_ends_as_another_begins() -> None:
    assert overlapping([AddedToken(1, "ab", False), AddedToken(2, "bc", False)])
    assert not overlapping([END, AddedToken(1, "<|user|>", True)])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (7, "is not a string"),
        ("[", "Expecting value"),
        ("[]", "expected an object"),
        ("{}", "missing"),
        (RULES.to_json().replace("NFC", "NFX"), "NFX"),
        (RULES.to_json().replace("first unspaced", "all"), "all"),
        (RULES.to_json().replace('"charsmap": ""', '"charsmap": "/////w=="'), "charsmap|INTERNAL"),
        (RULES.to_json().replace("[[3, [4, 5]]]", "[[3, [-4]]]"), "token id"),
    ],
)
def test_rules_from_a_hostile_file_are_refused(written: object, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        TextRules.from_metadata({METADATA_KEY: written}, "x.gguf")
