"""What the type checkers refuse: an ignore that ignores nothing is an error here."""

from edgellm.runtimes.api.chat import Chat
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.protocol import Runtime


class HalfAnEngine:
    """Lacks what an engine needs most."""

    name = "half"


def misuse(model: Model, chat: Chat) -> Runtime:
    model.generate("text", temprature=0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    chat.send(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return HalfAnEngine()  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
