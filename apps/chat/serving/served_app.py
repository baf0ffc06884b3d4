"""One process of the app, for the tab that shows it."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, cast

from textual._binary_encode import load as load_packed

from edgellm.apps.chat.serving.deliveries import Deliveries, Delivery
from edgellm.apps.chat.serving.messages import Focus, Message, Ping, Size, Typed
from edgellm.apps.chat.serving.packets import DATA, META, PACKED, meta, packet, read_packets
from edgellm.children import child_environment

QUIT_S = 10.0  # to save and end in order
SIGNAL_S = 5.0  # to heed a signal
_BUSY_S = 30.0  # an app that takes or gives nothing for this long hangs
_LAST_OUTPUT_S = 1.0  # a grandchild may hold the pipes of a process that is gone
_CHUNK_BYTES = 64 * 1024
_STDERR_BYTES = 16 * 1024
_OPENED_URLS = ("https://", "http://")
_WEB: Mapping[str, str] = MappingProxyType(
    {
        "TEXTUAL_DRIVER": "edgellm.apps.chat.serving.driver:ServedDriver",
        "TEXTUAL_COLOR_SYSTEM": "truecolor",
        "TERM": "xterm-256color",
        "TERM_PROGRAM": "textual",
    }
)
_OTHER_TERMINALS = ("TMUX", "STY")  # where the server runs; the app draws in the browser

Send = Callable[[str | bytes], Coroutine[Any, Any, None]]


class ServedApp:
    """Owns the process and what comes from it; start() makes one, stop() ends it."""

    def __init__(self, process: asyncio.subprocess.Process, send: Send) -> None:
        self._process = process
        self._send = send
        self.deliveries = Deliveries()
        self._is_stopping = False
        self.stderr = b""  # the end of what it said there
        self.ended = asyncio.create_task(self._run())  # its exit code

    @classmethod
    async def start(cls, command: Sequence[str], size: Size, send: Send) -> "ServedApp":
        """Start the app.

        send: gives text and bytes to the page; does not raise once the page is gone.
        """
        environment = {**child_environment(), **_WEB}
        environment |= {"COLUMNS": str(size.width), "ROWS": str(size.height)}
        for name in _OTHER_TERMINALS:
            environment.pop(name, None)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the server, which ends this in order
        )
        return cls(process, send)

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by itself, and not well."""
        return self.ended.done() and not self._is_stopping and self.ended.result() != 0

    async def heed(self, message: Message) -> None:
        """Do what the page asks for. Raises TimeoutError where the app takes nothing any more."""
        match message:
            case Typed(text):
                await self._write(packet(DATA, text.encode("utf-8", "replace")))
            case Size(width, height):
                await self._write(meta(type="resize", width=width, height=height))
            case Focus(is_here):
                await self._write(meta(type="focus" if is_here else "blur"))
            case Ping(text):
                await self._send(json.dumps(["pong", text]))

    async def stop(self) -> None:
        """End the process: in order, else by a signal, else by force."""
        if self.ended.done():
            return
        self._is_stopping = True
        steps: tuple[tuple[Callable[[], None], float], ...] = (
            (self._quit, QUIT_S),
            (self._process.terminate, SIGNAL_S),
            (self._process.kill, SIGNAL_S),
        )
        for end, wait_s in steps:
            if self.ended.done():
                return
            with suppress(ProcessLookupError):
                end()
            await asyncio.wait({self.ended}, timeout=wait_s)

    async def next_chunk(self, delivery: Delivery) -> bytes:
        """The next piece of a file, empty at its end.

        Raises ConnectionError where the app gives no more.
        """
        await self._write(
            meta(
                type="deliver_chunk_request",
                key=delivery.key,
                size=_CHUNK_BYTES,
                name=delivery.name,
            )
        )
        with suppress(TimeoutError):
            chunk = await asyncio.wait_for(delivery.chunks.get(), _BUSY_S)
            if chunk is not None:
                return chunk
        raise ConnectionError("the app gives no more of this file")

    def _quit(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(meta(type="quit"))

    async def _write(self, data: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        if stdin.is_closing():
            return
        with suppress(ConnectionError):  # it has ended, which self.ended tells
            stdin.write(data)
            await asyncio.wait_for(stdin.drain(), _BUSY_S)

    async def _run(self) -> int:
        """Read until the process is gone."""
        readers = {asyncio.create_task(self._read()), asyncio.create_task(self._read_stderr())}
        code = await self._process.wait()
        _, late = await asyncio.wait(readers, timeout=_LAST_OUTPUT_S)
        for reader in late:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        self.deliveries.end()
        return code

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            self.stderr = (self.stderr + data)[-_STDERR_BYTES:]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        with suppress(asyncio.IncompleteReadError):
            async for kind, payload in read_packets(self._process.stdout):
                if kind == DATA:
                    await self._send(payload)
                elif kind == META:
                    await self._heed_app(json.loads(payload))
                elif kind == PACKED:
                    _, key, chunk = cast("tuple[str, str, str | bytes]", load_packed(payload))
                    self.deliveries.add_chunk(key, chunk)

    async def _heed_app(self, wish: dict[str, Any]) -> None:
        if wish["type"] == "open_url" and wish["url"].startswith(_OPENED_URLS):
            wanted = {"url": wish["url"], "new_tab": wish["new_tab"]}
            await self._send(json.dumps(["open_url", wanted]))
        elif wish["type"] == "deliver_file_start":
            await self._send(json.dumps(["deliver_file_start", self.deliveries.offer(wish)]))
