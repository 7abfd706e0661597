"""A real SFTP server on loopback that shows a folder to whoever knows the password."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

USER, PASSWORD = "me", "secret"


class _Login(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        known = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class _Handle(paramiko.SFTPHandle):
    def __init__(self, file: Path) -> None:
        super().__init__(os.O_RDONLY)
        self.readfile = file.open("rb")

    def stat(self) -> paramiko.SFTPAttributes:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port at which the folder is the root."""

    class Files(paramiko.SFTPServerInterface):
        def _at(self, path: str) -> Path:
            return folder / path.lstrip("/")

        def list_folder(self, path: str) -> list[paramiko.SFTPAttributes] | int:
            try:
                entries = sorted(self._at(path).iterdir())
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno or 0)
            return [paramiko.SFTPAttributes.from_stat(entry.stat(), entry.name) for entry in entries]

        def stat(self, path: str) -> paramiko.SFTPAttributes | int:
            try:
                return paramiko.SFTPAttributes.from_stat(self._at(path).stat())
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno or 0)

        lstat = stat

        def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
            try:
                return _Handle(self._at(path))
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno or 0)

    listener = socket.create_server(("127.0.0.1", 0))
    key = paramiko.RSAKey.generate(2048)
    transports = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files)
            transport.start_server(server=_Login())
            transports.append(transport)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        for transport in transports:
            transport.close()
