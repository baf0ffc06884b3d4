"""Ctrl-C waits where an exception would get lost, and nowhere else."""

import signal
import threading

import pytest

from edgellm.interrupts import interrupts_held


def hold(reached: list[bool], error: Exception | None = None) -> None:
    with interrupts_held() as held:
        signal.raise_signal(signal.SIGINT)
        reached.append(held.came)
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [None, ValueError("of the block")])
def test_an_interrupt_comes_at_the_end_of_the_block(error: Exception | None) -> None:
    reached: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        hold(reached, error)
    assert reached == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_happens() -> None:
    with interrupts_held() as held:
        pass
    assert not held.came
    with pytest.raises(ValueError, match="own"), interrupts_held():
        raise ValueError("own")


def test_who_handles_interrupts_already_still_does() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with interrupts_held() as held:
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (heard, held.came) == ([signal.SIGINT], False)


def test_another_thread_holds_nothing() -> None:
    held_there: list[bool] = []

    def work() -> None:
        with interrupts_held() as held:
            held_there.append(held.came)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert held_there == [False]
