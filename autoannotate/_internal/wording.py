"""Shares, counts and lists as people write them."""

from __future__ import annotations

from collections.abc import Iterable


def percent(share: float) -> str:
    """A share as people write it.

    >>> percent(0.5), percent(0.0123), percent(0.0004), percent(0.0)
    ('50%', '1.2%', '0.04%', '0%')
    """
    value = 100 * float(share)
    if value == 0 or value >= 10:
        return f"{value:.0f}%" if value < 99 or value == 100 else f"{min(value, 99.9):.1f}%"
    return f"{value:.2g}%"


def counted(n: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names as a sentence holds them.

    >>> listed(["chest", "breast"]), listed(["a", "b", "c", "d"], most=2)
    ('chest and breast', 'a, b and 2 more')
    """
    names = list(names)
    if len(names) > most + 1:  # "and 1 more" would be longer than most names
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def one_of(names: Iterable[str]) -> str:
    """All names, of which one is to be chosen.

    >>> one_of(["csv", "jsonl", "parquet"])
    'csv, jsonl or parquet'
    """
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
