"""The chat in a browser: a real server, a client that is no browser, and a small Textual app."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.apps.chat import serving as package
from edgellm.apps.chat.serving import messages, served_app
from edgellm.apps.chat.serving.door import Door
from edgellm.apps.chat.serving.messages import MessageError, Size, first_size, read_message
from edgellm.apps.chat.serving.server import serving
from edgellm.errors import UnsupportedError, UsageError

PATIENCE_S = 60.0
APP = """
import io, os
from textual.app import App
from textual.widgets import Input, Static

class Line(Input):
    def _on_paste(self, event):
        event.prevent_default()
        self.app.query_one("#echo", Static).update(f"<<{len(event.text)} pasted>>")

class Tiny(App):
    BINDINGS = [("ctrl+t", "export", "Export"), ("ctrl+l", "fail", "Fail")]

    def compose(self):
        yield Static(f"process {os.getpid()} in {os.environ.get('TMUX')}")
        yield Line()
        yield Static(id="echo")

    def on_input_changed(self, event):
        self.query_one("#echo", Static).update(f"<<{event.value}>>")

    def action_export(self):
        self.deliver_text(io.StringIO("naïve\\n" * 20_000), save_filename="my ü export.md")

    def action_fail(self):
        1 / 0

app = Tiny()
app.run()
raise SystemExit(app.return_code)
"""


@dataclass(frozen=True)
class Site:
    """A server, and a client with its cookies."""

    door: Door
    session: aiohttp.ClientSession

    @property
    def host(self) -> str:
        return self.door.url.split("/")[2]

    @property
    def port(self) -> int:
        return int(self.host.partition(":")[2])

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        address = f"http://{self.host}{path}"
        async with self.session.get(address, headers=headers) as response:
            return response.status, await response.text()

    async def enter(self) -> str:
        """Get the cookie; returns the page."""
        async with self.session.get(self.door.url) as response:
            assert response.status == 200
            assert str(response.url) == f"http://{self.host}/"
            return await response.text()

    @asynccontextmanager
    async def tab(self) -> AsyncIterator["Tab"]:
        await self.enter()
        address = f"ws://{self.host}/ws?width=100&height=30"
        origin = f"http://{self.host}"
        async with self.session.ws_connect(address, origin=origin, autoclose=False) as page:
            yield Tab(page)


class Tab:
    """A page that is open."""

    def __init__(self, page: aiohttp.ClientWebSocketResponse) -> None:
        self.page = page
        self.drawn = b""
        self.told: list[Any] = []

    async def send(self, *message: object) -> None:
        await self.page.send_str(json.dumps(message))

    async def wait_for(self, pattern: str) -> re.Match[str]:
        """Read what is drawn until it matches, from there on."""
        while not (found := re.search(pattern, self.drawn.decode("utf-8", "replace"))):
            await self._receive()
        return found

    async def wait_told(self) -> Any:
        while not self.told:
            await self._receive()
        return self.told.pop(0)

    async def _receive(self) -> None:
        message = await self.page.receive(PATIENCE_S)
        if message.type == aiohttp.WSMsgType.TEXT:
            self.told.append(json.loads(message.data))
        else:
            assert message.type == aiohttp.WSMsgType.BINARY, (message, self.drawn)
            self.drawn += message.data

    async def app(self) -> psutil.Process:
        return psutil.Process(int((await self.wait_for(r"process (\d+)"))[1]))

    async def close_code(self) -> int:
        """Read until the server closes."""
        while (message := await self.page.receive(PATIENCE_S)).type != aiohttp.WSMsgType.CLOSE:
            assert message.type == aiohttp.WSMsgType.BINARY, message
            self.drawn += message.data
        return int(message.data)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    path = tmp_path / "tiny.py"
    path.write_text(APP, encoding="utf-8")
    return [sys.executable, str(path)]


def visit(command: Sequence[str], visitor: Callable[[Site], Coroutine[Any, Any, None]]) -> None:
    """Start a server on a free port and run the visitor."""

    async def run() -> None:
        async with asyncio.timeout(2 * PATIENCE_S), serving(command, 0) as door:
            jar = aiohttp.CookieJar(unsafe=True)  # else it keeps none of an address
            async with aiohttp.ClientSession(cookie_jar=jar) as session:
                await visitor(Site(door, session))

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "path", ["/", "/static/js/textual.js", "/ws", "/download/x", "/no", "/?token="]
)
def test_without_the_token_nothing_is_shown(command: list[str], path: str) -> None:
    async def visitor(site: Site) -> None:
        status, text = await site.get(path, Origin=f"http://{site.host}")
        assert status == 403
        assert "edgellm has printed" in text

    visit(command, visitor)


@pytest.mark.parametrize("token", ["x", "%C3%BC", "%ED%A0%80", "x" * 43])
def test_a_wrong_token_is_refused(command: list[str], token: str) -> None:
    async def visitor(site: Site) -> None:
        assert (await site.get(f"/?token={token}"))[0] == 403

    visit(command, visitor)


@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}"]
)
@pytest.mark.parametrize("path", ["/", "/?token={token}", "/ws", "/static/css/xterm.css"])
def test_a_request_for_another_host_is_refused(command: list[str], host: str, path: str) -> None:
    async def visitor(site: Site) -> None:
        await site.enter()
        token = site.door.url.partition("token=")[2]
        name = host.format(port=site.port)
        headers = {"Host": name, "Origin": f"http://{name}"}
        assert await site.get(path.format(token=token), **headers) == (403, "Not from here.\n")

    visit(command, visitor)


@pytest.mark.parametrize("path", ["/", "/?token={token}", "/ws", "/static/css/xterm.css"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_a_request_by_another_page_is_refused(command: list[str], path: str, origin: str) -> None:
    async def visitor(site: Site) -> None:
        await site.enter()
        token = site.door.url.partition("token=")[2]
        answer = await site.get(path.format(token=token), Origin=origin)
        assert answer == (403, "Not from here.\n")

    visit(command, visitor)


@pytest.mark.parametrize(
    ("enters", "origin"), [(False, "http://{host}"), (True, "http://evil.example"), (True, None)]
)
def test_a_websocket_needs_cookie_and_origin(
    command: list[str], enters: bool, origin: str | None
) -> None:
    async def visitor(site: Site) -> None:
        if enters:
            await site.enter()
        name = None if origin is None else origin.format(host=site.host)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await site.session.ws_connect(f"ws://{site.host}/ws", origin=name)
        assert refused.value.status == 403

    visit(command, visitor)


def test_the_cookie_is_for_this_site_and_no_script(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        async with site.session.get(site.door.url, allow_redirects=False) as response:
            (cookie,) = response.headers.getall("Set-Cookie")
        assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
        assert site.door.url.partition("token=")[2] not in cookie

    visit(command, visitor)


def test_an_address_for_a_programs_arguments_serves_once(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        address = site.door.single_use_url
        for status in (303, 403):
            async with site.session.get(address, allow_redirects=False) as response:
                assert response.status == status
        await site.enter()

    visit(command, visitor)


def test_localhost_is_this_machine_as_well(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        token = site.door.url.partition("token=")[2]
        async with site.session.get(
            f"http://{site.host}/?token={token}",
            headers={"Host": f"localhost:{site.port}"},
            allow_redirects=False,
        ) as response:
            assert response.status == 303

    visit(command, visitor)


def test_the_page_and_all_it_names_come_from_here(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        page = await site.enter()
        named = set(re.findall(r"""(?:src|href)="([^"]+)"|url\("([^"]+)"\)""", page))
        paths = {path for pair in named for path in pair if path} - {"data:,", "/"}
        assert {"/static/js/textual.js", "/static/css/xterm.css"} < paths
        for path in paths:
            assert path.startswith("/static/")
            async with site.session.get(f"http://{site.host}{path}") as response:
                assert response.status == 200
                assert not re.search(
                    rb"""(url\(|import|src=)\s*["']?https?:""", await response.read()
                )
        assert re.findall(r"\w+://[^/\"]+", page) == [f"ws://{site.host}"]

    visit(command, visitor)


def test_the_browser_is_told_to_fetch_nothing_from_elsewhere(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        async with site.session.get(site.door.url) as response:
            policy = response.headers["Content-Security-Policy"]
        sources = set(re.findall(r"\w+://\S+[^;\s]", policy))
        assert sources == {f"ws://127.0.0.1:{site.port}", f"ws://localhost:{site.port}"}
        assert policy.startswith("default-src 'none'; script-src 'self';")

    visit(command, visitor)


def test_folders_are_not_listed(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        await site.enter()
        for path in ("/static/", "/static/js", "/static/js/", "/static/%2e%2e/server.py"):
            status, text = await site.get(path)
            assert status in (403, 404)
            assert "textual" not in text

    visit(command, visitor)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_only_one_address_listens(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", site.port)

    visit(command, visitor)


def test_the_app_draws_and_hears_keys(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX", "the server's")

    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            await tab.wait_for(r"process \d+ in None")
            await tab.send("ping", "123")
            assert await tab.wait_told() == ["pong", "123"]
            await tab.send("resize", {"width": 60, "height": 20})
            for name in ("focus", "blur"):
                await tab.send(name)
            await tab.send("stdin", "ü")
            await tab.wait_for("<<ü>>")

    visit(command, visitor)


def test_the_app_ends_with_its_tab(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            app = await tab.app()
        await until(lambda: not app.is_running())

    visit(command, visitor)


def test_the_app_ends_with_its_server(command: list[str]) -> None:
    async def run() -> psutil.Process:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session, AsyncExitStack() as stack:
            async with serving(command, 0) as door:
                tab = await stack.enter_async_context(Site(door, session).tab())
                app = await tab.app()
            assert not app.is_running()  # and the tab is still open
            return app

    asyncio.run(run())


def test_a_second_tab_takes_over(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        async with site.tab() as first:
            one = await first.app()
            async with site.tab() as second:
                other = await second.app()
                assert not one.is_running()
                assert await first.close_code() == aiohttp.WSCloseCode.OK
                await second.send("stdin", "x")
                await second.wait_for("<<x>>")
                assert other.is_running()

    visit(command, visitor)


def test_an_app_that_is_quit_closes_its_page(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            app = await tab.app()
            await tab.send("stdin", "\x11")
            assert await tab.close_code() == aiohttp.WSCloseCode.OK
            assert not app.is_running()

    visit(command, visitor)
    assert capsys.readouterr() == ("", "")


def test_an_app_that_fails_says_so_in_page_and_terminal(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            await tab.app()
            await tab.send("stdin", "\x0c")
            await tab.close_code()
            assert b"ZeroDivisionError" in tab.drawn

    visit(command, visitor)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("edgellm: the chat ended with exit code 1: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("code", ["raise SystemExit('no such model')", "print('no app')"])
def test_an_app_that_does_not_start_closes_its_page(code: str) -> None:
    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            await tab.close_code()
            assert (b"no such model" in tab.drawn) == ("model" in code)

    visit([sys.executable, "-c", code], visitor)


def test_an_app_that_hangs_is_killed(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_app, "QUIT_S", 0.1)
    monkeypatch.setattr(served_app, "SIGNAL_S", 0.1)

    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            app = await tab.app()
            app.suspend()
        await until(lambda: not app.is_running())

    visit(command, visitor)


BAD_MESSAGES = [
    "",
    "{}",
    "not JSON",
    '"stdin"',
    "[]",
    "[1, 2]",
    '["stdin"]',
    '["stdin", 1]',
    '["stdin", null]',
    '["stdin", "a", "b"]',
    '["resize", {}]',
    '["resize", {"width": 80}]',
    '["resize", {"width": "80", "height": 24}]',
    '["resize", {"width": true, "height": true}]',
    '["resize", {"width": 1e9, "height": 1e9}]',
    '["resize", {"width": 1000000000, "height": 24}]',
    '["resize", {"width": 80, "height": 0}]',
    '["resize", {"width": -80, "height": 24}]',
    '["resize", [80, 24]]',
    f'["ping", "{"x" * 1000}"]',
    '["quit"]',
    '["deliver_chunk_request", {"key": "x", "size": 1}]',
    "[" * 100_000,
    f'["resize", {{"width": {"9" * 5000}, "height": 24}}]',
]


@pytest.mark.parametrize("text", BAD_MESSAGES)
def test_a_message_that_no_page_sends_is_refused(text: str) -> None:
    with pytest.raises(MessageError) as refused:
        read_message(text)
    assert str(refused.value) in (
        "not JSON",
        "not a message of this page",
        "a size that no window has",
    )


VALUES = st.none() | st.booleans() | st.integers() | st.text()


@given(
    st.text()
    | st.recursive(
        VALUES,
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(json.dumps)
)
def test_any_text_is_a_message_or_refused(text: str) -> None:
    with suppress(MessageError):
        read_message(text)


@pytest.mark.parametrize(
    ("width", "height"),
    [(None, None), ("80", None), ("x", "y"), ("undefined", "24"), ("0", "24"), ("9" * 5000, "24")],
)
def test_a_page_without_a_size_gets_the_usual_one(width: str | None, height: str | None) -> None:
    assert first_size(width, height) == Size(80, 24)


@pytest.mark.parametrize("text", ["not JSON", '["resize", {"width": 100000, "height": 100000}]'])
def test_a_bad_message_closes_its_connection_with_one_line(
    command: list[str], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            app = await tab.app()
            await tab.page.send_str(text)
            assert await tab.close_code() == aiohttp.WSCloseCode.POLICY_VIOLATION
            assert not app.is_running()

    visit(command, visitor)
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch("edgellm: closed a connection that sent [^\n]+\n", err)


def test_bytes_and_endless_messages_close_their_connection(
    command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            await tab.page.send_bytes(b"x")
            assert await tab.close_code() == aiohttp.WSCloseCode.POLICY_VIOLATION
        async with site.tab() as tab:
            await tab.page.send_str("x" * (messages.MESSAGE_BYTES + 1))
            assert await tab.close_code() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG

    visit(command, visitor)
    assert "Traceback" not in capfd.readouterr().err


def test_a_request_that_is_no_http_is_not_talked_about(
    command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    async def visitor(site: Site) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"\x00\x01\x02 nonsense\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        writer.close()
        await writer.wait_closed()
        await site.enter()

    visit(command, visitor)
    assert capfd.readouterr() == ("", "")


def test_a_command_that_is_not_there_closes_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            assert await tab.close_code() == aiohttp.WSCloseCode.GOING_AWAY

    visit(["/no/such/program"], visitor)
    assert capsys.readouterr().err == (
        "edgellm: the chat did not start: No such file or directory\n"
    )


def test_a_large_paste_arrives(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            await tab.app()
            await tab.send("focus")
            await tab.send("stdin", f"\x1b[200~{'x' * 300_000}\x1b[201~")
            await tab.wait_for("<<300000 pasted>>")

    visit(command, visitor)


def test_a_file_of_the_app_is_downloaded_once(command: list[str]) -> None:
    async def visitor(site: Site) -> None:
        async with site.tab() as tab:
            await tab.app()
            await tab.send("stdin", "\x14")
            name, key = await tab.wait_told()
            assert name == "deliver_file_start"
            async with site.session.get(f"http://{site.host}/download/{key}") as response:
                assert await response.text() == "naïve\n" * 20_000
                disposition = response.headers["Content-Disposition"]
            assert disposition == "attachment; filename*=UTF-8''my%20%C3%BC%20export.md"
            assert (await site.get(f"/download/{key}"))[0] == 404

    visit(command, visitor)


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError) as refused:
            package.serve(["model"], port=port, open_browser=False)
    assert str(refused.value) == (
        f"port {port} of 127.0.0.1 cannot be had: address already in use; choose another with"
        " --port, 0 for one that is free"
    )


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=f"--port {port}: expected 0 to 65535"):
        package.serve(["model"], port=port, open_browser=False)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=re.escape("pip install 'edgellm[serve]'")):
        package.serve(["model"], port=0, open_browser=False)


def test_the_chat_itself_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Sequence[str]] = []
    monkeypatch.setattr(package, "serve_command", lambda command, **options: served.append(command))
    package.serve(["my model", "--context", "512"], port=0, open_browser=False)
    assert served[0][-5:] == ["edgellm", "chat", "my model", "--context", "512"]


def test_serving_is_imported_lazily() -> None:
    program = "import sys, edgellm.apps.chat.serving; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert not {b"aiohttp", b"textual", b"textual_serve", b"asyncio"} & set(run.stdout.split())


def start_server(command: Sequence[str]) -> subprocess.Popen[str]:
    program = (
        "import sys\nfrom edgellm.apps.chat.serving import serve_command\n"
        "serve_command(sys.argv[1:], port=0, open_browser=False)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGKILL, -9)],
)
def test_no_process_outlives_the_server(command: list[str], number: int, code: int) -> None:
    async def use(server: subprocess.Popen[str], address: str) -> psutil.Process:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            site = Site(Door(int(address.split(":")[2].partition("/")[0])), session)
            async with session.get(address) as response:
                assert response.status == 200
            origin = f"http://{site.host}"
            async with session.ws_connect(f"ws://{site.host}/ws", origin=origin) as page:
                app = await Tab(page).app()
                server.send_signal(number)
                await until(lambda: not app.is_running())
                return app

    with start_server(command) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        asyncio.run(use(server, address))
        out, err = server.communicate(timeout=PATIENCE_S)
        assert (server.returncode, out, err) == (code, "", "")
