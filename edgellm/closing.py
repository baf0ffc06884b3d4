"""Leaving a `with` block closes what it held."""

from types import TracebackType
from typing import Self


class Closing:
    """For what has a `close` of its own: makes it a context manager."""

    def close(self) -> None:
        """Give back whatever is held; calling it twice is no error."""
        raise AssertionError(f"{type(self).__name__} lacks close()")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClosing:
    """The same for `async with`."""

    async def close(self) -> None:
        """See Closing.close."""
        raise AssertionError(f"{type(self).__name__} lacks close()")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
