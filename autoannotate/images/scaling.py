"""Bring pixel values of any depth to 8 bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from autoannotate.errors import UnreadableImageError

PERCENTILES = (0.5, 99.5)
_SAMPLE = 1_000_000
_MANY = 8_000_000
_LEVELS = 2**16  # of more pixels than this, those of 16 bits are mapped by a table
_AT_ONCE = 2**17  # that are mapped at once, so that what NumPy needs meanwhile stays in the caches


def to_8_bit(values: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """Stretch values so that their 0.5th percentile becomes 0 and their 99.5th 255, and clip those outside.

    The percentiles keep a few hot pixels or a burnt-in marker from turning the picture grey. Where they
    coincide (a few bright spots on one value) the whole range is used instead; a constant image becomes
    black. Values that are not finite take no part; they become 0 (NaN, -inf) or 255 (+inf).

    Raises `UnreadableImageError` where no value is finite.

    Parameters
    ----------
    values : (...) array of any integer, boolean or float type
    counted : bool array of the same shape: which values belong to the picture and so to the percentiles; all of them if None,
        or if it is False throughout

    Returns
    -------
    uint8 array of the same shape, in the same order of brightness

    Examples
    --------
    >>> to_8_bit(np.array([0, 1000, 2000, 4000]))
    array([  0,  63, 127, 255], dtype=uint8)
    """
    if not _is_whole(values):
        values = values.astype(np.float64)
    return stretch(values, *stretched_from(values, counted))


def stretched_from(values: np.ndarray, counted: np.ndarray | None = None) -> tuple[float, float]:
    """The values that `to_8_bit` makes 0 and 255.

    Of more than 8 million values those at even steps along each axis are looked at: whole volumes as 64-bit numbers would take
    gigabytes and many seconds.

    Raises
    ------
    UnreadableImageError
        Where no value is finite.
    """
    if counted is None and values.size > _MANY:
        step = int(np.ceil((values.size / _MANY) ** (1 / values.ndim)))
        thin = values[(slice(None, None, step),) * values.ndim]
        finite = thin[np.isfinite(thin)]
        if finite.size and np.ptp(finite) > 0:
            return stretched_from(finite)
    if _is_whole(values):
        within = values.reshape(-1) if counted is None or counted.all() or not counted.any() else values[counted]
    else:
        values = values.astype(np.float64)
        finite = np.isfinite(values)
        within = values[finite & counted] if counted is not None and (finite & counted).any() else values[finite]
    if within.size == 0:
        raise UnreadableImageError("The image holds no numbers: each of its values is NaN or infinite.")
    low, high = np.percentile(within[:: max(1, within.size // _SAMPLE)].astype(np.float64), PERCENTILES)
    if not low < high:
        low, high = within.min(), within.max()
    return float(low), float(high)


def stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low` to 0 and `high` to 255 linearly and clip outside; all black if `low` is not below `high`.

    Parameters
    ----------
    values : (...) array of numbers

    Returns
    -------
    uint8 array of the same shape
    """
    if not low < high:
        return np.zeros(values.shape, dtype=np.uint8)

    def mapped(values: np.ndarray) -> np.ndarray:
        # halves, because the difference of two very large floats may not be one
        unit = (values / 2 - low / 2) / (high / 2 - low / 2)
        return (np.fmin(np.fmax(unit, 0.0), 1.0) * 255).astype(np.uint8)  # these two make 0 of NaN

    return by_level(mapped, values)


def by_level(function: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """What a function makes of values one by one; of many of up to 16 bits it is asked once a level, and not once a pixel.

    Parameters
    ----------
    function : array (M,) to array (M,), each number by itself.
    values : (...) array

    Returns
    -------
    array of the same shape, of the type that `function` gives
    """
    if not _is_whole(values) or values.size <= _LEVELS:
        return function(values)
    lowest, highest = int(values.min()), int(values.max())
    table = function(np.arange(lowest, highest + 1).astype(values.dtype))
    flat, found = values.reshape(-1), np.empty(values.size, table.dtype)
    for start in range(0, values.size, _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        # all are within the table: "clip" spares the check
        np.take(table, flat[some].astype(np.intp) - lowest, out=found[some], mode="clip")
    return found.reshape(values.shape)


def _is_whole(values: np.ndarray) -> bool:
    """Whether they are whole numbers of at most 16 bits."""
    return values.dtype.kind in "iu" and values.dtype.itemsize <= 2


def colours_to_8_bit(values: np.ndarray) -> np.ndarray:
    """Colours deeper than 8 bits, scaled as greys are, by the same factor in each channel so that no colour changes.

    Parameters
    ----------
    values : ndarray, (rows, columns, 3 or 4)
        Red, green, blue and, as the fourth, opacity, whose largest value is taken for opaque.

    Returns
    -------
    ndarray of uint8, the same shape
    """
    scaled = to_8_bit(values[..., :3])
    if values.shape[2] == 3:
        return scaled
    opacity = values[..., 3].astype(np.float64)
    return np.dstack([scaled, stretch(opacity, 0, opacity.max())])


def with_square_pixels(values: np.ndarray, height: float, width: float) -> np.ndarray:
    """A picture whose pixels are not square, with rows or columns added by linear interpolation until they are.

    Parameters
    ----------
    values : ndarray, (rows, columns) or (rows, columns, 3)
        uint8, or greys of any type.
    height, width : float
        Of a pixel, in any unit. A relation of more than 10 is taken for a mistake, and nothing changes.

    Returns
    -------
    ndarray
        uint8 where `values` is; else float32, or the type of `values` where nothing changes.
    """
    relation = height / width if height > 0 and width > 0 else 1.0
    if not 0.1 <= relation <= 10 or abs(relation - 1) < 0.01:
        return values
    rows, columns = values.shape[:2]
    size = (columns, round(rows * relation)) if relation > 1 else (round(columns / relation), rows)
    if values.dtype != np.uint8:
        values = values.astype(np.float32)
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
