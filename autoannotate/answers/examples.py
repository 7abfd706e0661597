"""Classes and findings given by example: a folder of images for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoannotate.answers.given_findings import NONE
from autoannotate.errors import UsageError
from autoannotate.images import ImageRef, find_images
from autoannotate.labelling.zero_shot.vocabulary import key

ABSENT = "no "  # before the name of a finding


def example_classes(folder: Path, classes: Sequence[str] = ()) -> list[tuple[ImageRef, str]]:
    """The images of a folder that has a folder for each class, with their class, in path order.

    Parameters
    ----------
    classes : what a folder can be called; by default anything

    Raises
    ------
    UsageError
        Where there is no such folder, or one of its folders is called otherwise than the classes.
    """
    if not folder.is_dir():
        raise UsageError(
            f"There is no folder {folder}: --examples takes one that holds a folder of images for each class."
        )
    found = [(ref, ref.path.partition("/")[0]) for ref in find_images(folder) if "/" in ref.path]
    names = sorted({name for _, name in found})
    if not names:
        raise UsageError(
            f"{folder} holds no folders of images: --examples takes a folder for each class, named like it."
        )
    if classes and (other := [name for name in names if name not in classes]):
        raise UsageError(
            f"{folder} has a folder {other[0]!r}, which is none of the classes {', '.join(classes)}: rename it."
        )
    return found


def example_findings(folder: Path, findings: Sequence[str]) -> list[tuple[ImageRef, tuple[int, ...]]]:
    """The images of a folder with what each shows, in path order: 1, 0 or -1 (not known) of each finding.

    An image in `effusion` shows that, one in `no effusion` does not, one in `none` (or `normal`, `no finding`) shows none of
    the findings; nothing is known of the others.

    Raises
    ------
    UsageError
        Where there is no such folder, or one of its folders is called otherwise.
    """
    number, known = {key(name): f for f, name in enumerate(findings)}, []
    for ref, name in example_classes(folder):
        values = [-1] * len(findings)
        if key(name) in number:
            values[number[key(name)]] = 1
        elif name.casefold() in NONE:
            values = [0] * len(findings)
        elif name.casefold().startswith(ABSENT) and key(name[len(ABSENT) :]) in number:
            values[number[key(name[len(ABSENT) :])]] = 0
        else:
            raise UsageError(
                f"{folder} has a folder {name!r}, which is none of the findings {', '.join(findings)}: rename it, to a "
                f"finding, to `no {findings[0]}`, or to `none`."
            )
        known.append((ref, tuple(values)))
    return known
