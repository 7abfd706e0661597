"""How large the cache of encoded images may be."""

from __future__ import annotations

from autoannotate.errors import UsageError

SIZE = 20 * 10**9  # bytes that the file may take, beyond what a run needs; rows used longest ago go first


def parse_size(text: str) -> int:
    """Bytes, from `500MB` or `20GB`.

    Raises
    ------
    UsageError
        With the form.

    Examples
    --------
    >>> parse_size("1.5GB")
    1500000000
    """
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    number, unit = text.strip()[:-2], text.strip()[-2:].upper()
    try:
        size = float(number) * units[unit]
    except (KeyError, ValueError):
        size = -1.0
    if not 0 <= size < float("inf"):
        raise UsageError(f"--cache-size takes a number and a unit, as in 500MB or 20GB; {text!r} is neither.")
    return int(size)
