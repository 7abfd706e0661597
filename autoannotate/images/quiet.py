"""Keep what Pillow and pydicom mutter about odd files from the user: `unreadable.csv` says what matters."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

for _name in ("PIL", "pydicom", "tifffile", "nibabel", "highdicom", "dicomweb_client"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False  # what they say may hold parts of a header

_lock = threading.Lock()
_depth = 0
_catcher: warnings.catch_warnings | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings inside the block.

    `warnings.catch_warnings` alone is unsafe when several threads read images: one that leaves late would put
    back the filters of another. Here the first in sets them and the last out puts them back.
    """
    global _depth, _catcher
    with _lock:
        if _depth == 0:
            _catcher = warnings.catch_warnings()
            _catcher.__enter__()
            warnings.simplefilter("ignore")
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and _catcher is not None:
                _catcher.__exit__(None, None, None)
                _catcher = None
