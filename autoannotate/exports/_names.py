"""File names for exported pictures: one an image, safe on every system, and the way back from a name to the image."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

_MOST_BYTES = 120
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names of devices on Windows


def file_stems(paths: Iterable[str]) -> dict[str, str]:
    """A file name without its ending for each path; no two are alike, whatever their case.

    The same paths in the same order give the same names, so that the name of an exported picture leads back to its
    image. Folders are joined with `__`; a frame becomes part of the name.

    >>> file_stems(["a/1.png", "a/1.jpg", "ct.dcm#3", "=x.png"])
    {'a/1.png': 'a__1', 'a/1.jpg': 'a__1-2', 'ct.dcm#3': 'ct-frame-0003', '=x.png': '_x'}
    """
    return unique({path: _stem(path) for path in paths})


def unique(names: dict[str, str]) -> dict[str, str]:
    """The names, those that a file system could take for an earlier one with a number behind them."""
    taken: set[str] = set()
    result = {}
    for key, name in names.items():
        number, free = 1, name
        while free.casefold() in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free.casefold())
        result[key] = free
    return result


def safe(text: str) -> str:
    """The text as a name of a file or folder that every system, tool and spreadsheet takes.

    >>> safe("benign / malignant"), safe(".hidden"), safe("CON"), safe("-1")
    ('benign _ malignant', '_.hidden', '_CON', '_-1')
    """
    name = re.sub(r"[^\w.\- ]", "_", unicodedata.normalize("NFC", text)).strip(" ").rstrip(".") or "_"
    if name[0] in ".-" or _RESERVED.fullmatch(name):
        name = f"_{name}"
    if len(name.encode()) > _MOST_BYTES:
        digest = hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:8]
        name = f"{name.encode()[:_MOST_BYTES].decode(errors='ignore')}-{digest}"
    return name


def _stem(path: str) -> str:
    from autoannotate.images.registry import readers

    endings = sorted((ending for reader in readers() for ending in reader.suffixes), key=len, reverse=True)
    file, frame = path, ""
    if found := re.fullmatch(r"(.*)#(\d+)", path, re.DOTALL):
        file, frame = found[1], f"-frame-{int(found[2]):04d}"
    known = next((ending for ending in endings if file.lower().endswith(ending)), "")
    file = file[: len(file) - len(known)]
    return safe(file.replace("/", "__") + frame)
