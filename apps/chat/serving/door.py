"""Who may talk to the chat: this user's browser, and no page but ours."""

import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
WEBSOCKET_PATH = "/ws"
_REFUSAL = "Open the address that edgellm has printed; it is another one after each start.\n"


class Door:
    """Checks each request.

    Any page may make a browser connect to 127.0.0.1, and any name may be made to mean that address;
    so Host and Origin must be ours. Other users of this machine are kept out by a secret: in the
    address at first, and then in a cookie that no other site's page can have sent.
    """

    def __init__(self, port: int) -> None:
        self.hosts = frozenset(
            host + suffix
            for host in ("127.0.0.1", "localhost")
            for suffix in ((f":{port}", "") if port == 80 else (f":{port}",))
        )
        self._address = f"http://127.0.0.1:{port}/"
        self._cookie_name = f"edgellm-chat-{port}"  # cookies are shared between ports
        self._cookie, self._token, self._ticket = (secrets.token_urlsafe(32) for _ in range(3))

    @property
    def url(self) -> str:
        """The address for people."""
        return f"{self._address}?token={self._token}"

    @property
    def single_use_url(self) -> str:
        """The address for a program's arguments, which other users of the machine can read."""
        return f"{self._address}?token={self._ticket}"

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request in, turn its token into a cookie, or refuse it."""
        host = request.headers.get("Host", "")
        if host not in self.hosts or not self._is_from_here(request, host):
            raise web.HTTPForbidden(text="Not from here.\n")
        if request.path == "/" and "token" in request.query:
            return self._exchange(request.query["token"])
        if not _equal(request.cookies.get(self._cookie_name, ""), self._cookie):
            raise web.HTTPForbidden(text=_REFUSAL)
        return await handler(request)

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Tell the browser to run and fetch nothing but what comes from here."""
        sockets = " ".join(sorted(f"ws://{host}" for host in self.hosts))
        response.headers.update(
            {
                "Content-Security-Policy": (
                    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
                    f" font-src 'self'; img-src 'self' data:; connect-src 'self' {sockets};"
                    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
                ),
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
            }
        )

    def _is_from_here(self, request: web.Request, host: str) -> bool:
        """A browser names the page's origin wherever another page could have asked."""
        origin = request.headers.get("Origin")
        if origin is None:
            return request.path != WEBSOCKET_PATH
        return origin == f"http://{host}"

    def _exchange(self, token: str) -> web.Response:
        """Take the token out of the address, where a screen shows it."""
        is_ticket = _equal(token, self._ticket)
        if not is_ticket and not _equal(token, self._token):
            raise web.HTTPForbidden(text=_REFUSAL)
        if is_ticket:
            self._ticket = secrets.token_urlsafe(32)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            self._cookie_name, self._cookie, httponly=True, samesite="Strict", path="/"
        )
        return response


def _equal(given: str, secret: str) -> bool:
    """Compare in a time that tells nothing."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), secret.encode())
