"""What packages from outside add to readers and sources, by the entry points of their pyproject.toml."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TypeVar

from autoannotate.errors import InputError

T = TypeVar("T")


def added(group: str, kind: type[T]) -> tuple[T, ...]:
    """The objects of a kind that installed packages name in a group of entry points.

    Raises
    ------
    InputError
        One of them cannot be imported, or is something else.
    """
    found = []
    for point in entry_points(group=group):
        package = point.dist.name if point.dist else point.value
        try:
            made = point.load()
        except Exception as error:
            raise InputError(
                f"The {kind.__name__.lower()} {point.name} of the package {package} cannot be used ({error}): "
                "remove the package or mend it."
            ) from None
        if not isinstance(made, kind):
            raise InputError(
                f"The {kind.__name__.lower()} {point.name} of the package {package} is no autoannotate {kind.__name__}: remove "
                "the package or mend it."
            )
        found.append(made)
    return tuple(found)
