"""The web server: one page, Textual's own scripts and fonts, one websocket, downloads."""

import asyncio
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from urllib.parse import quote

from aiohttp import WSCloseCode, WSMsgType, web

from edgellm.apps.chat.guard import ending_signals
from edgellm.apps.chat.serving.deliveries import Delivery
from edgellm.apps.chat.serving.door import WEBSOCKET_PATH, Door
from edgellm.apps.chat.serving.messages import (
    MESSAGE_BYTES,
    MessageError,
    Size,
    first_size,
    read_message,
)
from edgellm.apps.chat.serving.served_app import ServedApp
from edgellm.apps.cli.errors import printable
from edgellm.apps.cli.output import note
from edgellm.errors import UsageError

HOST = "127.0.0.1"
_CLOSE_S = 2.0  # for a browser to say goodbye
_HEARTBEAT_S = 15.0


async def run(command: Sequence[str], port: int, open_browser: bool) -> None:
    """Serve until a signal ends it; prints the address on stdout."""
    stop = asyncio.Event()
    with ending_signals(stop.set, "SIGINT", "SIGTERM", "SIGHUP"):
        async with serving(command, port) as door:
            print(door.url, flush=True)
            if open_browser:
                page = door.single_use_url
                threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
            await stop.wait()


@asynccontextmanager
async def serving(command: Sequence[str], port: int) -> AsyncIterator[Door]:
    """Serve while inside; on leaving, the app has ended. Raises UsageError for the port."""
    with _listen(port) as listener:
        door = Door(listener.getsockname()[1])
        runner = web.AppRunner(
            _Server(command).application(door),
            access_log=None,
            shutdown_timeout=2 * _CLOSE_S,
        )
        try:
            await runner.setup()
            await web.SockSite(runner, listener).start()
            yield door
        finally:
            await runner.cleanup()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        problem = (error.strerror or "no reason given").partition(" (")[0].lower()
        raise UsageError(
            f"port {port} of {HOST} cannot be had: {problem}; choose another with --port,"
            " 0 for one that is free"
        ) from error


class _Server:
    """Owns the app that runs: there is one at a time, as each holds a model in memory."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._app: ServedApp | None = None
        self._taking_over = asyncio.Lock()
        self._is_closed = False

    def application(self, door: Door) -> web.Application:
        application = web.Application(middlewares=[door.check])
        application.add_routes(
            [
                web.get("/", _show_page),
                web.get(WEBSOCKET_PATH, self._connect),
                web.get("/download/{key}", self._download),
                web.static("/static", _static_folder()),
            ]
        )
        application.on_response_prepare.append(door.add_headers)
        application.on_shutdown.append(self._close)
        return application

    async def _connect(self, request: web.Request) -> web.WebSocketResponse:
        """Run the app for one page, until either is gone."""
        page = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_S, timeout=_CLOSE_S, max_msg_size=MESSAGE_BYTES
        )
        await page.prepare(request)
        size = first_size(request.query.get("width"), request.query.get("height"))
        app = await self._take_over(page, size)
        if app is None:
            await page.close(code=WSCloseCode.GOING_AWAY)
            return page
        listening = asyncio.create_task(_listen_to(page, app))
        try:
            await asyncio.wait({listening, app.ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await app.stop()
        if app.has_failed:
            await _show_failure(page, app)
        await page.close(code=await listening if listening.done() else WSCloseCode.OK)
        await listening
        return page

    async def _take_over(self, page: web.WebSocketResponse, size: Size) -> ServedApp | None:
        """Start the app for a new page; the one before it ends first."""

        async def send(data: str | bytes) -> None:
            with suppress(ConnectionError):  # the tab is closed; what the app draws is lost
                await (page.send_str(data) if isinstance(data, str) else page.send_bytes(data))

        async with self._taking_over:
            if self._app is not None:
                await self._app.stop()
            if self._is_closed:
                return None
            try:
                self._app = await ServedApp.start(self._command, size, send)
            except OSError as error:
                note(f"edgellm: the chat did not start: {error.strerror}")
                return None
            return self._app

    async def _download(self, request: web.Request) -> web.StreamResponse:
        app = self._app
        delivery = app.deliveries.take(request.match_info["key"]) if app else None
        if app is None or delivery is None:
            raise web.HTTPNotFound(text="There is no such file, or it was taken already.\n")
        response = web.StreamResponse(headers=_file_headers(delivery))
        await response.prepare(request)
        try:
            while chunk := await app.next_chunk(delivery):
                await response.write(chunk)
        finally:
            app.deliveries.finish(delivery)
        await response.write_eof()
        return response

    async def _close(self, application: web.Application) -> None:
        async with self._taking_over:
            self._is_closed = True
            if self._app is not None:
                await self._app.stop()


async def _listen_to(page: web.WebSocketResponse, app: ServedApp) -> WSCloseCode:
    """Hand on what the page sends until it closes; returns how to close it from here."""
    async for message in page:
        try:
            if message.type != WSMsgType.TEXT:
                raise MessageError("not text")
            await app.heed(read_message(message.data))
        except MessageError as problem:
            note(f"edgellm: closed a connection that sent {problem}")
            return WSCloseCode.POLICY_VIOLATION
        except TimeoutError:
            note("edgellm: closed a chat that took no more input")
            return WSCloseCode.INTERNAL_ERROR
    return WSCloseCode.OK


async def _show_failure(page: web.WebSocketResponse, app: ServedApp) -> None:
    """Tell in the page and in the terminal why an app has ended."""
    lines = app.stderr.decode("utf-8", "replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "it gave no reason")
    note(f"edgellm: the chat ended with exit code {app.ended.result()}: {printable(last)}")
    with suppress(ConnectionError):
        await page.send_bytes(("\x1bc\r\n\r\n\r\n" + "\r\n".join(lines)).encode())


async def _show_page(request: web.Request) -> web.Response:
    page = Template(files(__package__).joinpath("page.html").read_text("utf-8"))
    address = f"ws://{request.headers['Host']}{WEBSOCKET_PATH}"
    return web.Response(text=page.substitute(websocket_url=address), content_type="text/html")


def _static_folder() -> Path:
    """Where textual-serve keeps its scripts and fonts."""
    spec = find_spec("textual_serve")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "static"


def _file_headers(delivery: Delivery) -> dict[str, str]:
    charset = f"; charset={delivery.encoding}" if delivery.encoding else ""
    way = "inline" if delivery.is_shown else "attachment"
    return {
        "Content-Type": (delivery.mime_type or "application/octet-stream") + charset,
        "Content-Disposition": f"{way}; filename*=UTF-8''{quote(delivery.file_name, safe='')}",
    }
