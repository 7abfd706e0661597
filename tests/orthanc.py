"""A real PACS on loopback: Orthanc of Debian's packages, with a configuration of its own."""

from __future__ import annotations

import json
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

PLUGIN = next((path for path in (
    Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"), Path("/usr/lib/orthanc/libOrthancDicomWeb.so")
) if path.exists()), None)  # fmt: skip


@dataclass(frozen=True)
class Orthanc:
    """A running server: its port, and what certificate it has."""

    port: int
    certificate: Path | None = None
    user: tuple[str, str] | None = None

    @property
    def rest(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    @property
    def place(self) -> str:
        return f"dicomweb{'s' if self.certificate else ''}://127.0.0.1:{self.port}/dicom-web"

    def get(self, path: str) -> Any:
        verify = str(self.certificate) if self.certificate else True
        answer = requests.get(self.rest + path, auth=self.user, verify=verify, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def upload(self, content: bytes) -> None:
        verify = str(self.certificate) if self.certificate else True
        requests.post(f"{self.rest}/instances", content, auth=self.user, verify=verify, timeout=20).raise_for_status()


@contextmanager
def running(
    folder: Path, *, tls: bool = False, user: tuple[str, str] | None = None, token: str = ""
) -> Iterator[Orthanc]:
    """Start Orthanc with everything it writes in the folder, and end it. Skips where it is not installed."""
    program = shutil.which("Orthanc")
    if program is None or PLUGIN is None:
        pytest.skip("Orthanc is not here: apt-get install orthanc orthanc-dicomweb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings: dict[str, Any] = {
        "Name": "test", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
        "HttpPort": port, "HttpBindAddresses": ["127.0.0.1"], "RemoteAccessAllowed": False, "DicomServerEnabled": False,
        "AuthenticationEnabled": user is not None, "RegisteredUsers": dict([user] if user else []),
        "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "LuaScripts": [],
    }  # fmt: skip
    certificate = None
    if tls:
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
    if token:
        (folder / "token.lua").write_text(
            "function IncomingHttpRequestFilter(method, uri, ip, username, headers)\n"
            f"  return uri == '/system' or headers['authorization'] == 'Bearer {token}'\nend\n"
        )
        settings["LuaScripts"] = [str(folder / "token.lua")]
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, folder / "orthanc.json"], stdout=log, stderr=log)
    server = Orthanc(port, None, user)
    try:
        for _ in range(150):
            try:
                server.get("/system")
                break
            except requests.RequestException:
                assert process.poll() is None, (folder / "orthanc.log").read_text()
                time.sleep(0.1)
        if certificate is None:
            yield server
        else:
            with _encrypted(port, certificate, folder / "key.pem") as outer:
                yield Orthanc(outer, certificate, user)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def _encrypted(port: int, certificate: Path, key: Path) -> Iterator[int]:
    """TLS in front of a port, as a hospital's proxy does it (Debian's Orthanc 1.10 crashes when it does so itself)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as outer,
                socket.create_connection(("127.0.0.1", port)) as inner,
            ):
                threading.Thread(target=_pass_on, args=(inner, outer), daemon=True).start()
                _pass_on(outer, inner)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Relay) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
