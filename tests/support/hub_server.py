"""A small HTTP server on 127.0.0.1 that stands in for the Hugging Face Hub."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """One public repository, org/tiny, and one gated one, org/gated."""

    files: dict[str, bytes]
    cut_after_bytes: int | None = None  # drop the connection inside a file this long or longer
    served: list[tuple[str, str | None]] = field(default_factory=list)  # file, Range header
    address: str = ""


@contextmanager
def fake_hub(folder: Path) -> Iterator[FakeHub]:
    """Serve the files of `folder` as org/tiny until the block ends."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    hub = FakeHub({name: path.read_bytes() for name, path in files.items() if path.is_file()})
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[FakeHub]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/org/tiny/tree/"):
            self._send_json([_listing(name, body) for name, body in self.hub.files.items()])
        elif path.startswith("/api/models/org/tiny/revision/main"):
            self._send_json({"id": "org/tiny", "sha": COMMIT})
        elif path.startswith("/api/models/org/tiny/revision/"):
            self._refuse(404, "RevisionNotFound")
        elif path.startswith("/api/models/org/gated/"):
            self._refuse(403, "GatedRepo")
        elif path.startswith(f"/org/tiny/resolve/{COMMIT}/"):
            self._send_file(path.rpartition(f"/{COMMIT}/")[2])
        else:
            self._refuse(404, "RepoNotFound")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""

    def _send_file(self, name: str) -> None:
        body = self.hub.files[name]
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", f'"{_etag(body)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(body) - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if self.command == "GET":
            self.hub.served.append((name, wanted))
            self._send_body(body[start:])

    def _send_body(self, body: bytes) -> None:
        cut = self.hub.cut_after_bytes
        if cut is None or len(body) <= cut:
            self.wfile.write(body)
            return
        self.wfile.write(body[:cut])
        self.wfile.flush()
        self.close_connection = True

    def _send_json(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _etag(body: bytes) -> str:
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def _listing(name: str, body: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(body), "oid": _etag(body)}
