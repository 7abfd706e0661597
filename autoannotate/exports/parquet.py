"""Parquet for data frames: the columns of labels.csv or suspects.csv with their types, written by pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoannotate.errors import OutputError

if TYPE_CHECKING:
    from autoannotate.exports import Order

SUFFIX = ".parquet"


def write(order: Order) -> None:
    """Write one row an image.

    Raises
    ------
    OutputError
        Where pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise OutputError(
            "Parquet needs pyarrow: pip install 'autoannotate[parquet]', or choose csv or jsonl."
        ) from None
    order.annotations.rows(order.what).to_parquet(order.path, engine="pyarrow", index=False)
