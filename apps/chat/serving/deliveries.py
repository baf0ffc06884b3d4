"""Files that the app has for the browser, such as an export or a screenshot."""

import asyncio
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True, slots=True)
class Delivery:
    """One file."""

    key: str
    name: str | None  # the app's own word for it
    file_name: str
    is_shown: bool  # by the browser, which else saves it
    mime_type: str
    encoding: str  # empty for binary files
    chunks: "asyncio.Queue[bytes | None]" = field(default_factory=asyncio.Queue)


class Deliveries:
    """Owns the files from the app's offer to their last piece."""

    def __init__(self) -> None:
        self._offered: dict[str, Delivery] = {}
        self._taken: dict[str, Delivery] = {}

    def offer(self, wish: dict[str, Any]) -> str:
        """Note what the app's `deliver_file_start` tells; returns the key."""
        delivery = Delivery(
            key=wish["key"],
            name=wish["name"],
            file_name=PurePath(wish["path"]).name,
            is_shown=wish["open_method"] == "browser",
            mime_type=wish["mime_type"],
            encoding=wish["encoding"],
        )
        self._offered[delivery.key] = delivery
        return delivery.key

    def take(self, key: str) -> Delivery | None:
        """The file behind a key; each can be had once."""
        delivery = self._offered.pop(key, None)
        if delivery is not None:
            self._taken[key] = delivery
        return delivery

    def add_chunk(self, key: str, chunk: str | bytes) -> None:
        """One piece, empty behind the last."""
        delivery = self._taken.get(key)
        if delivery is None:  # the browser went away meanwhile
            return
        if isinstance(chunk, str):
            chunk = chunk.encode(delivery.encoding or "utf-8")
        delivery.chunks.put_nowait(chunk)

    def finish(self, delivery: Delivery) -> None:
        """Nothing more is wanted of this file."""
        self._taken.pop(delivery.key, None)

    def end(self) -> None:
        """Nothing more will come of any file."""
        for delivery in self._taken.values():
            delivery.chunks.put_nowait(None)
