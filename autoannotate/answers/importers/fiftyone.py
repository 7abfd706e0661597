"""FiftyOne's export of an image classification dataset: labels.json with `classes` and `labels`.

What a person changed is told from the attribute `machine_label` that our export gives each sample (export with
`include_attributes=True`): a label that is still the machine's is no answer, since nobody can tell whether a person looked at
it. Samples that are slices of one item carry its `path`, so that a changed slice answers for the item.
(https://docs.voxel51.com/user_guide/export_datasets.html)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoannotate.answers.importers import Given, Wanted
from autoannotate.errors import InputError
from autoannotate.runs.run import SEPARATOR

HINT = (
    "change labels in FiftyOne and export with include_attributes=True, or say --all-checked if a person looked at every "
    "sample"
)


def recognises(head: bytes) -> bool:
    """Whether it is a JSON object with classes and labels."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"{") and b'"labels"' in text and b'"classes"' in text


def read(file: Path, wanted: Wanted) -> Iterator[Given]:
    """Each label of each sample.

    Raises
    ------
    InputError
        Where the file is something else.
    """
    told = json.loads(file.read_bytes().decode("utf-8-sig"))
    if not isinstance(told, dict) or not isinstance(told.get("labels"), dict):
        raise InputError(
            f"{file} is no export of FiftyOne: choose the type FiftyOneImageClassificationDataset when exporting."
        )
    classes = told.get("classes") or []
    for name, said in told["labels"].items():
        labels = [one for one in (said if isinstance(said, list) else [said]) if one is not None]
        whole = [one if isinstance(one, dict) else {"label": one} for one in labels]
        words = [_word(one["label"], classes) for one in whole]
        attributes: Mapping[str, Any] = next((one["attributes"] for one in whole if one.get("attributes")), {})
        machine, path = attributes.get("machine_label"), str(attributes.get("path") or "")
        left = machine is None or set(str(machine).split(SEPARATOR)) == set(words)
        for word in words:
            yield Given(
                where=f"sample {name}",
                image=path or name,
                word=word,
                machine=str(machine or ""),
                by_person=not left,
                by_file=not path,
            )


def _word(label: Any, classes: list[Any]) -> str:
    return str(classes[label] if isinstance(label, int) and not isinstance(label, bool) else label)
