"""The address of a page, kept for its next start: a tab that is open goes on when the server was restarted.

The token lets its holder answer, so it lies where only this user can read it, never in the folder of the run, and is
thrown away after a week without use.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

KEPT = 7 * 86400  # seconds since the last start


@dataclass(frozen=True)
class Address:
    """port: 0 where any will do. token: what lets a browser in. secret: the cookie that it gets for it."""

    port: int = 0
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))


def last_address(folder: Path, host: str) -> Address:
    """Where the page of the folder was when it was last served from here; a new address where it was not."""
    file = _file(folder, host)
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        if time.time() - known.pop("started") < KEPT and file.stat().st_uid == os.getuid():
            return Address(int(known["port"]), str(known["token"]), str(known["secret"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return Address()


def keep_address(folder: Path, host: str, address: Address) -> None:
    """Keep the address; a page whose address cannot be kept works all the same."""
    file = _file(folder, host)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps({**asdict(address), "started": time.time()})
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        temporary.touch(mode=0o600)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)


def _file(folder: Path, host: str) -> Path:
    from platformdirs import user_state_path

    name = hashlib.sha256(f"{host} {folder.resolve()}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return user_state_path("autoannotate") / "review" / f"{name}.json"
