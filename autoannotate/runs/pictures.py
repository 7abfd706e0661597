"""Where a run's pictures are: the one place that says so, whether they are where the run found them or were moved."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoannotate.errors import InputError
from autoannotate.runs.record import RunRecord

if TYPE_CHECKING:
    from autoannotate.images import ImageRef


def place_of(record: RunRecord, moved: Path | str | None = None, folder: Path | None = None) -> str:
    """Where the pictures of a run are searched: `moved`, else where the run found them; a relative place from the current
    folder, else from the one that holds the run's.

    Raises
    ------
    InputError
        Where the run does not say.
    """
    name = record.arguments.get("place")
    if moved is None and name:
        from autoannotate.images import hashed_paths

        known = hashed_paths.place(str(name))
        if known is None:
            raise InputError(
                "The run keeps no names of files, and where its images are is known to the user who made it alone: name their "
                "folder with --images, and that user's key in AUTOANNOTATE_KEY_FILE."
            )
        return known
    source = moved or record.arguments.get("images")
    if not source:
        raise InputError("The run does not say where its images are: name their folder with --images.")
    place = Path(str(source))
    if "://" in str(source) or moved is not None or folder is None or place.is_absolute() or place.exists():
        return str(source)
    return str(folder.absolute().parent / place)


def review_command(record: RunRecord, folder: Path | str) -> str:
    """What shows a run's pictures to clinicians; where embeddings alone were labelled, it must be told where these are.

    >>> review_command(RunRecord(arguments={"images": "scans"}), "my run"), review_command(RunRecord(), "run")
    ("autoannotate review 'my run'", 'autoannotate review run --images FOLDER')
    """
    known = record.arguments.get("images") or record.arguments.get("place")
    return f"autoannotate review {shlex.quote(str(folder))}{'' if known else ' --images FOLDER'}"


def pictures_of(
    record: RunRecord, paths: Collection[str], moved: Path | str | None = None, folder: Path | None = None
) -> list[ImageRef]:
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
    known = set(paths)
    return [ref for ref in all_pictures(record, known, moved, folder) if ref.path in known]


def vanished(paths: Collection[str], found: Sequence[ImageRef]) -> list[str]:
    """Those of a run's paths that are no longer there, sorted; the slices of an item are there with it."""
    there = {part.path for ref in found for part in (ref, *(ref.item.refs if ref.item else ()))}
    return sorted(set(paths) - there)


def all_pictures(
    record: RunRecord, paths: Collection[str], moved: Path | str | None = None, folder: Path | None = None
) -> list[ImageRef]:
    """All pictures where those of a run are, in path order, those that joined since too. Parameters and errors are those of
    `pictures_of`."""
    from autoannotate.images import find_images
    from autoannotate.images.hashed_paths import hashed
    from autoannotate.images.items import items_of

    place, known = place_of(record, moved, folder), set(paths)
    kind = str(record.arguments.get("item") or "image")  # runs before items had images
    try:
        refs = find_images(place, record.arguments.get("include") or ())
        refs = hashed(refs) if record.arguments.get("hash_paths") else refs
        found = [item.middle for item in items_of(refs, kind)]
    except InputError as error:
        if moved is not None:
            raise
        way_out = "say where they are now with --images."
        raise InputError(f"The images of the run are not where they were: {way_out} ({error})") from None
    if not any(ref.path in known for ref in found):
        raise InputError(
            f"None of the images that the run labelled is in {place}: say where they are now with --images (the first is "
            f"{min(known, default='none')})."
        )
    return found
