"""Commands started by tests, as a person would start them."""

from __future__ import annotations

import signal


def hears_ctrl_c() -> None:
    """For `preexec_fn`: Ctrl-C reaches the command even where the tests run in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
