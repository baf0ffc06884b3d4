"""Options are checked where they are made; a cancel token reaches its listeners."""

import pytest

from edgellm.errors import UsageError
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.options import LoadOptions, SamplingOptions


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 1.5},
        {"min_p": -1.0},
        {"top_k": -1},
        {"repeat_penalty": 0.0},
        {"repeat_last_n": -1},
        {"seed": -1},
        {"seed": 2**32 - 1},
        {"max_tokens": 0},
        {"stop": ("",)},
        {"seed": "1"},
        {"max_tokens": 2.5},
        {"temperature": "hot"},
    ],
)
def test_a_sampling_option_that_means_nothing_is_refused_by_name(bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(UsageError, match=name):
        SamplingOptions(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad", [{"context": 0}, {"context": "4096"}, {"ubatch": 0}, {"threads": 0}, {"gpu_layers": -2}]
)
def test_a_load_option_that_means_nothing_is_refused_by_name(bad: dict[str, int]) -> None:
    (name,) = bad
    with pytest.raises(UsageError, match=name):
        LoadOptions(**bad)  # type: ignore[arg-type]


def test_a_listener_hears_a_cancel_that_comes_later_and_one_that_came_before() -> None:
    heard: list[str] = []
    token = CancelToken()
    token.listen(lambda: heard.append("later"))
    token.cancel()
    token.listen(lambda: heard.append("before"))
    assert heard == ["later", "before"]
    assert token.cancelled


def test_a_listener_that_left_hears_nothing() -> None:
    heard: list[str] = []
    token = CancelToken()
    leave = token.listen(lambda: heard.append("no"))
    leave()
    token.cancel()
    assert heard == []
