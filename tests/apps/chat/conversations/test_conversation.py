"""The tree of turns, against a model of it that searches through everything."""

from hypothesis import given
from hypothesis import strategies as st

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.records import Cut, Turn

MANY = 50_000


@st.composite
def trees(draw: st.DrawFn) -> dict[int, Turn]:
    """Turns whose parents are any number at all: younger ones, themselves, or no turn."""
    ids = draw(st.lists(st.integers(1, 30), unique=True, min_size=1, max_size=12))
    parents = st.none() | st.sampled_from(ids) | st.integers(-2, 40)
    return {number: Turn(number, draw(parents), "user", "") for number in ids}


def parent_of(turns: dict[int, Turn], turn: int) -> int | None:
    """By the rule of the docstring."""
    parent = turns[turn].parent
    return parent if parent is not None and parent in turns and parent < turn else None


def children_of(turns: dict[int, Turn], parent: int | None) -> list[int]:
    return sorted(turn for turn in turns if parent_of(turns, turn) == parent)


def path_of(turns: dict[int, Turn], turn: int) -> list[int]:
    parent = parent_of(turns, turn)
    return [*(path_of(turns, parent) if parent else []), turn]


def leaf_of(turns: dict[int, Turn], turn: int) -> int:
    following = children_of(turns, turn)
    return leaf_of(turns, following[-1]) if following else turn


@given(trees())
def test_every_walk_agrees_with_a_search_through_all_turns(turns: dict[int, Turn]) -> None:
    for head in turns:
        tree = Conversation(1, "", head=head, turns=turns)
        assert [turn.id for turn in tree.path()] == path_of(turns, head)
        assert list(tree.children(head)) == children_of(turns, head)
        assert list(tree.siblings(head)) == children_of(turns, parent_of(turns, head))
        assert tree.latest_leaf(head) == leaf_of(turns, head)
    assert list(tree.children(None)) == children_of(turns, None)


@given(trees(), st.data())
def test_a_turn_put_or_discarded_is_as_if_it_had_always_been_so(
    turns: dict[int, Turn], data: st.DataObject
) -> None:
    grown = Conversation(1, "")
    for number in sorted(turns):
        grown.put(turns[number])
    leaves = [number for number in turns if not children_of(turns, number)]
    leaf = data.draw(st.sampled_from(leaves))
    grown.head = leaf
    expected_head = parent_of(turns, leaf)
    grown.discard(leaf)
    rest = {number: turn for number, turn in turns.items() if number != leaf}
    assert grown.head == expected_head
    assert grown.turns == rest
    for parent in (None, *rest):
        expected = [child for child in children_of(turns, parent) if child != leaf]
        assert list(grown.children(parent)) == expected


@given(trees(), st.data())
def test_the_model_is_sent_what_follows_the_deepest_cut(
    turns: dict[int, Turn], data: st.DataObject
) -> None:
    head = data.draw(st.sampled_from(list(turns)))
    cut_at = data.draw(st.sets(st.sampled_from(list(turns))))
    cuts = {turn: Cut(turn, f"until {turn}") for turn in cut_at}
    summary, sent = Conversation(1, "", head=head, turns=turns, cuts=cuts).sent()
    path = path_of(turns, head)
    last = max((place for place, turn in enumerate(path) if turn in cut_at), default=-1)
    assert summary == (f"until {path[last]}" if last >= 0 else "")
    assert [turn.id for turn in sent] == path[last + 1 :]


def test_before_the_first_turn_nothing_is_shown_or_sent() -> None:
    tree = Conversation(1, "", turns={1: Turn(1, None, "user", "a")})
    assert tree.path() == []
    assert tree.sent() == ("", [])
    assert tree.children(None) == (1,)


def test_a_head_that_is_not_there_is_the_newest_turn() -> None:
    turns = {number: Turn(number, None, "user", "") for number in (1, 2)}
    assert Conversation(1, "", head=9, turns=turns).head == 2
    assert Conversation(1, "", head=9).head is None


def test_a_turn_that_has_ended_takes_the_place_of_its_beginning() -> None:
    tree = Conversation(1, "", turns={1: Turn(1, None, "assistant", "")}, head=1)
    tree.put(Turn(1, None, "assistant", "whole", ending="end"))
    assert [turn.content for turn in tree.path()] == ["whole"]
    assert tree.children(None) == (1,)


def test_long_and_broad_trees_need_no_depth_of_calls() -> None:
    chain = {number: Turn(number, number - 1 or None, "user", "") for number in range(1, MANY)}
    long = Conversation(1, "", head=MANY - 1, turns=chain)
    assert len(long.path()) == len(long.sent()[1]) == MANY - 1
    assert long.latest_leaf(1) == MANY - 1
    broad = Conversation(1, "", turns={n: Turn(n, None, "user", "") for n in range(1, MANY)})
    assert broad.siblings(7) == tuple(range(1, MANY))
