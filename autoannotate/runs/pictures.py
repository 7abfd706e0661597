"""Where a run's pictures are: the one place that says so, whether they are where the run found them or were moved."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from autoannotate.errors import InputError
from autoannotate.images import ImageRef, find_images
from autoannotate.runs.record import RunRecord


def place_of(record: RunRecord, moved: Path | str | None = None) -> Path:
    """Where the pictures of a run are searched: `moved`, else where the run found them.

    Raises
    ------
    InputError
        Where the run does not say.
    """
    source = moved or record.arguments.get("images")
    if not source:
        raise InputError("The run does not say where its images are: name their folder with --images.")
    return Path(str(source))


def pictures_of(record: RunRecord, paths: Collection[str], moved: Path | str | None = None) -> list[ImageRef]:
    """The pictures of a run that are there, in path order.

    Parameters
    ----------
    paths : those of the run's tables
    moved : where the pictures are now, if they were moved since

    Raises
    ------
    InputError
        Where there is nothing, or nothing of the run.
    """
    place, known = place_of(record, moved), set(paths)
    try:
        found = [ref for ref in find_images(place) if ref.path in known]
    except InputError as error:
        if moved is not None:
            raise
        raise InputError(f"{error} If the images were moved, name their folder with --images.") from None
    if not found:
        raise InputError(
            f"None of the run's images is in {place} (the first is {min(known, default='')}): name the folder that holds "
            "them with --images."
        )
    return found
