"""Who may talk to the page: one browser with the token, from this page, by a name of this machine.

- The address holds a random token; whoever brings it gets a cookie that other sites can't send (SameSite=Strict) and
  scripts can't read (HttpOnly). Everything else needs the cookie.
- The Host header must name this machine, so that a foreign name which was pointed here (DNS rebinding) gets nothing.
- What changes anything must come from this very page (Origin), as JSON; so a page on another port of this machine, which
  browsers count as the same site, can't answer either.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response

LARGEST_BODY = 10_000_000  # bytes of JSON: the numbers of a million images
LARGEST_FILE = 256_000_000  # bytes of a picture that is dropped on a page
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",  # pictures of patients stay out of the browser's cache on the disk
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
STRANGER = (
    "<!doctype html><html lang=en><title>autoannotate</title><h1>This page is private</h1><p>Open the address that "
    "<code>autoannotate {command}</code> printed in the terminal: it holds the token that lets you in.</p></html>"
)


class Guard:
    """ASGI middleware around a page.

    Attributes
    ----------
    command : which command serves it, for messages
    files : paths that take a file as it is (application/octet-stream) instead of JSON
    secret : what the cookie holds, a new one if None
    """

    def __init__(
        self,
        app: Any,
        token: str,
        host: str,
        port: int,
        *,
        command: str = "review",
        files: frozenset[str] = frozenset(),
        secret: str | None = None,
    ) -> None:
        self.app, self.token, self.host, self.port = app, token, host, port
        self.command, self.files = command, files
        self.cookie = f"autoannotate-{port}"  # cookies know no ports, and two pages on one machine must not mix
        self.secret = secret or secrets.token_urlsafe(32)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page uses no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        brought = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        welcome = (
            scope["path"] == "/" and bool(brought) and secrets.compare_digest(brought.encode(), self.token.encode())
        )
        refused = self._refusal(scope, headers, welcome)

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                out.update(HEADERS)
                if welcome and refused is None:
                    out.append("Set-Cookie", f"{self.cookie}={self.secret}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        await (refused or self.app)(scope, receive, guarded)

    def _refusal(self, scope: Any, headers: Headers, welcome: bool) -> Response | None:
        """The answer to a request that may not pass; None where it may."""
        method = scope["method"]
        if not self._names_this_machine(headers.get("host", "")):
            return JSONResponse({"detail": "This name is not one of this page."}, 421)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not welcome:
            return JSONResponse({"detail": "Other sites may not use this page."}, 403)
        if not welcome and not secrets.compare_digest(self._cookie_of(headers).encode(), self.secret.encode()):
            if "/api/" in scope["path"]:
                return JSONResponse({"detail": f"Open the address that autoannotate {self.command} printed last."}, 403)
            return HTMLResponse(STRANGER.format(command=self.command), 403)
        if method in ("GET", "HEAD"):
            return None
        if method != "POST":
            return JSONResponse({"detail": "Not offered."}, 405)
        if headers.get("origin") != f"http://{headers.get('host')}":
            return JSONResponse({"detail": "Only this page itself may answer."}, 403)
        is_file = scope["path"] in self.files
        wanted = "application/octet-stream" if is_file else "application/json"
        if headers.get("content-type", "").split(";")[0].strip().lower() != wanted:
            return JSONResponse({"detail": "Only a file is taken." if is_file else "Only JSON is taken."}, 415)
        size = headers.get("content-length", "")
        if not size.isdecimal() or int(size) > (LARGEST_FILE if is_file else LARGEST_BODY):
            return JSONResponse({"detail": "Too much at once."}, 413)
        return None

    def _cookie_of(self, headers: Headers) -> str:
        for line in headers.getlist("cookie"):
            try:
                found = SimpleCookie(line).get(self.cookie)
            except CookieError:
                continue
            if found is not None:
                return found.value
        return ""

    def _names_this_machine(self, host: str) -> bool:
        name, port = _split(host)
        if port != self.port:
            return False
        if name in (self.host.lower(), "localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return not is_loopback(self.host) and name in (socket.gethostname().lower(), socket.getfqdn().lower())
        return address.is_loopback or not is_loopback(self.host)  # a number can't be pointed elsewhere by a name server


def _split(host: str) -> tuple[str, int]:
    """Name and port of a Host header; IPv6 without its brackets.

    >>> _split("LocalHost:8000"), _split("[::1]:8000"), _split("example.org")
    (('localhost', 8000), ('::1', 8000), ('example.org', 80))
    """
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host, "80"
    return name.strip("[]").lower(), int(port) if port.isdecimal() else -1


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
