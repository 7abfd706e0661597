"""A proxy on loopback that hands requests to a server and, where told, answers late, in part, or with an error."""

from __future__ import annotations

import http.server
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests

Fault = str | int | None  # a status, "slow" (three seconds late), "half" (cut in the middle of its bytes), or nothing


class Proxy(http.server.ThreadingHTTPServer):
    """`fault` says what happens to a request, by its path and how many times it was asked for before."""

    daemon_threads = True

    def __init__(self, behind: str, fault: Callable[[str, int], Fault]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.fault, self.asked = behind, fault, Counter[str]()
        self.lock = threading.Lock()

    @property
    def place(self) -> str:
        return f"dicomweb://127.0.0.1:{self.server_address[1]}/dicom-web"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        with self.server.lock:
            before = self.server.asked[self.path]
            self.server.asked[self.path] += 1
        fault = self.server.fault(self.path, before)
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "slow":
            time.sleep(3)
        kept = {name: value for name, value in self.headers.items() if name.lower() in ("accept", "authorization")}
        answer = requests.get(self.server.behind + self.path, headers=kept, timeout=60)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content[: len(answer.content) // 2] if fault == "half" else answer.content)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def flaky(behind: str, fault: Callable[[str, int], Fault]) -> Iterator[Proxy]:
    """The proxy, running."""
    proxy = Proxy(behind, fault)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
