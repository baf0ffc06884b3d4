"""What a service may raise, as the one tree of errors that its callers know."""

from edgellm.errors import EdgeLLMError, RuntimeFailure

FORKED = "was loaded before this process was forked; load the model in each process that uses it"
_CHARACTERS = 300


def failure_of(engine: str, error: Exception) -> EdgeLLMError:
    """The error that a call of a service ends with; what is not ours is a defect, and named."""
    if isinstance(error, EdgeLLMError):
        return error
    if isinstance(error, MemoryError):
        return RuntimeFailure(engine, "there is not enough memory for this")
    detail = printable_line(str(error))[:_CHARACTERS]
    colon = ": " if detail else ""
    return RuntimeFailure(engine, f"a defect, {type(error).__name__}{colon}{detail}")


def printable_line(text: str) -> str:
    """Text from outside as one line, without what would steer a terminal."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())
