"""Work beside the screen, as Textual's workers do it."""

from collections.abc import Awaitable, Callable
from typing import Any

from textual.dom import DOMNode
from textual.worker import Worker


def begin(
    node: DOMNode,
    function: Callable[..., Awaitable[object]],
    *words: Any,
    group: str,
    exclusive: bool = False,
) -> Worker[None]:
    """Call a function with these words in a worker; it ends with the node.

    exclusive: what is under way in the group is cancelled. Nothing is called where the worker is
    cancelled before it has begun, while a coroutine would be left over, with a warning.
    """

    async def work() -> None:
        await function(*words)

    return node.run_worker(work, group=group, exclusive=exclusive)
