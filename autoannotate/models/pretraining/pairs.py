"""The table of image-text pairs: which captions are true of which images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from autoannotate.errors import InputError

CAPTION_COLUMNS = ("caption", "text", "report", "title")


@dataclass(frozen=True)
class Pairs:
    """N images and M distinct captions.

    Attributes
    ----------
    paths : N files
    captions : M texts
    truth : (N, M) sparse, 1 where the caption is true of the image
    groups : (N,) int; images of one group (a patient, a case, a video) stay on one side of every split
    weights : (N,) float, sums to 1: how often an image is drawn
    """

    paths: tuple[Path, ...]
    captions: tuple[str, ...]
    truth: csr_array
    groups: np.ndarray
    weights: np.ndarray

    def select(self, rows: np.ndarray) -> Pairs:
        """The same table for some of the images: rows (R,) int."""
        weights = self.weights[rows]
        return Pairs(
            tuple(self.paths[i] for i in rows),
            self.captions,
            self.truth[rows],
            self.groups[rows],
            weights / weights.sum(),
        )

    def split(self, share: float, seed: int) -> tuple[Pairs, Pairs]:
        """Train and held-out pairs, whole groups at a time; `share` of the groups are held out."""
        held_out = np.random.default_rng(seed).random(int(self.groups.max()) + 1) < share
        aside = held_out[self.groups]
        if aside.all() or not aside.any():
            raise InputError(
                f"{len(held_out)} groups of images are too few to hold out {share:.0%} of them; "
                "give more pairs, or another --held-out."
            )
        return self.select(np.flatnonzero(~aside)), self.select(np.flatnonzero(aside))


def read_pairs(table: Path, images: Path) -> Pairs:
    """Read a CSV with `path` (relative to `images`) and `caption` (or text, report, title); optionally `group` and `weight`.

    Several rows for one path are several true captions; one caption in several rows is true of several images.

    Raises
    ------
    InputError
        When a column or most of the files are missing.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"There is no pairs table at {table}; give a CSV with the columns path and caption.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{table} cannot be read as a CSV ({error}); it needs the columns path and caption.") from None
    text = next((column for column in CAPTION_COLUMNS if column in frame), None)
    if "path" not in frame or text is None:
        raise InputError(
            f"{table} has the columns {', '.join(frame.columns)}; it needs path and one of {', '.join(CAPTION_COLUMNS)}."
        )
    frame = frame[frame[text].str.strip() != ""]
    images_of_rows, paths = pd.factorize(frame["path"])
    captions_of_rows, captions = pd.factorize(frame[text].str.strip())
    files = [images / path for path in paths]
    missing = [path for path, file in zip(paths, files, strict=True) if not file.is_file()]
    if missing or not files:
        what = f"{len(missing)} of {len(files)} images are" if files else "Every image is"
        first = f", the first is {missing[0]}" if missing else ""
        raise InputError(f"{what} missing below {images}{first}; paths in {table.name} are relative to --images.")
    truth = csr_array(
        (np.ones(len(frame), np.float32), (images_of_rows, captions_of_rows)),
        shape=(len(paths), len(captions)),
    )
    truth.data[:] = 1.0  # repeated rows add up
    first_row = np.unique(images_of_rows, return_index=True)[1]
    groups = frame["group"] if "group" in frame else frame["path"]
    weights: np.ndarray = np.ones(len(paths))
    if "weight" in frame:
        try:
            weights = frame["weight"].iloc[first_row].astype(float).to_numpy()
        except ValueError:
            raise InputError(f"The column weight of {table.name} must hold positive numbers.") from None
    return Pairs(tuple(files), tuple(captions), truth, pd.factorize(groups.iloc[first_row])[0], weights / weights.sum())
