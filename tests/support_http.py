"""A web server on this machine that serves files from memory and misbehaves as a test tells it to."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, what was asked for, and how many requests were in work at once.

    `faults` are statuses to answer first, per path; 0 closes the connection in the middle of the body.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    faults: dict[str, deque[int]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    endless: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    credentials: list[str | None] = field(default_factory=list)
    bytes_sent: int = 0
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, path: str) -> None:
        with self._lock:
            self.asked[path] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)

    def leave(self) -> None:
        with self._lock:
            self.at_once -= 1


@contextmanager
def website(files: dict[str, bytes]) -> Iterator[Site]:
    """Serve the files (by path, with its slash) until the block ends; the site's `url` has no slash at its end."""
    site = Site(files=files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.enter(self.path)
            site.credentials.append(self.headers.get("Authorization"))
            try:
                time.sleep(site.delay)
                self.answer()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                site.leave()

        def answer(self) -> None:
            path = self.path.partition("?")[0]
            faults = site.faults.get(path)
            fault = faults.popleft() if faults else 200
            content = site.files.get(path)
            if path in site.redirects:
                self.begin(302, length=0, location=site.redirects[path])
            elif fault not in (0, 200):
                self.begin(fault, length=0)
            elif path in site.endless:
                self.begin(200, length=None)
                while True:
                    self.body(bytes(2**20))
            elif content is None:
                self.begin(404, length=0)
            else:
                self.begin(200, length=len(content))
                self.body(content[: len(content) // 2] if fault == 0 else content)
                self.close_connection = fault == 0

        def begin(self, status: int, *, length: int | None, location: str = "") -> None:
            self.send_response(status)
            if length is not None:
                self.send_header("Content-Length", str(length))
            if location:
                self.send_header("Location", location)
            for name, value in site.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def body(self, content: bytes) -> None:
            self.wfile.write(content)
            site.bytes_sent += len(content)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
