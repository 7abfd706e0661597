"""Names in place of identifiers: a keyed hash, so that nobody without the key can try identifiers until one fits.

The key is made when it is first needed and kept for this user alone (`AUTOANNOTATE_KEY_FILE`, else `hash.key` in the user's
data folder): the same identifier has the same name in every run of whoever holds the key, and to all others names say nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from functools import lru_cache
from pathlib import Path

from autoannotate.errors import InputError

DIGITS = 16  # hexadecimal ones, 64 bits: among a million identifiers two collide in 1 of 30 million cases
_LEAST_BYTES = 16


def keyed_hash(identifier: str) -> str:
    """The name of an identifier: `DIGITS` hexadecimal digits of its HMAC-SHA256 (RFC 2104).

    Raises
    ------
    InputError
        With what is wrong, and the way out.
    """
    return hmac.new(_key(key_file()), identifier.encode(), hashlib.sha256).hexdigest()[:DIGITS]


def key_file() -> Path:
    """Where the key is: AUTOANNOTATE_KEY_FILE, else in the user's data folder."""
    from platformdirs import user_data_path

    return Path(os.environ.get("AUTOANNOTATE_KEY_FILE") or user_data_path("autoannotate") / "hash.key")


@lru_cache(maxsize=8)
def _key(file: Path) -> bytes:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "wb") as stream:
                stream.write(secrets.token_hex(32).encode())
        key = file.read_bytes().strip()
    except OSError as error:
        raise InputError(
            f"The key that names are hashed with cannot be kept in {file} ({error.strerror}): name another file in "
            "AUTOANNOTATE_KEY_FILE."
        ) from None
    if len(key) < _LEAST_BYTES:
        raise InputError(f"The key in {file} is too short to protect anyone: delete the file, and a new key is made.")
    return key
