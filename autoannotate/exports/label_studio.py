"""Label Studio: tasks with the machine's labels as predictions (tasks.json) and the labelling config (tasks.config.xml).

A name that ends in `.json` is the file of tasks, and the rest lies beside it; any other name is a folder with all of it.
By default the pictures are inside tasks.json as data URIs, so that a project needs this file and the config and nothing
else. With --link copy or hard they lie in tasks-images/, which Label Studio must be allowed to serve (`next_step`). Tasks
come in the order of the queue. In a run of items with several slices (series, volumes, cines) each task is one item, and
its slices are the pages of its image (`valueList`); the answer is about all of them. Written by hand: label-studio-sdk, which
only wraps the same JSON, caps NumPy.
(https://labelstud.io/guide/tasks, https://labelstud.io/guide/predictions)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from autoannotate.errors import InputError
from autoannotate.exports._pictures import BROWSERS, Picture, has_stacks, stacks
from autoannotate.runs.verdict_words import choices

if TYPE_CHECKING:
    from autoannotate.exports import Order
    from autoannotate.runs.run import What

SUFFIX = "-label-studio.json"
LINKS = ("embed", "copy", "hard")
MOST_BYTES = 240 * 2**20  # Label Studio takes 250 MB at once
CHOICE, NOTE, IMAGE = "answer", "note", "image"
"""The names of the controls in the config, by which `autoannotate apply` finds the answers."""
IMAGES = "images"
"""What the slices of an item are called in the data of a task."""
SHOWN = ("rank", "path", "label", "suggested_label", "suspect_score", "reason")


def next_step(path: Path, what: What, link: str) -> str:
    """What to do with the files."""
    path = _tasks_file(path)
    steps = [
        "In Label Studio",
        "1. Create a project.",
        f"2. Settings > Labeling Interface > Code: paste {_config(path).name}",
        f"3. Import: {path.name}",
        "4. Label, then Export > JSON, and here: autoannotate apply DIR that-file.json",
    ]
    if link not in ("", "embed"):
        steps[1:1] = [
            f"0. Start it with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
            f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={path.parent.resolve()}",
            f"   and, once there is a project, add the source storage 'Local files' with the path {_folder(path).resolve()}",
        ]
    return "\n".join(steps)


def write(order: Order) -> None:
    """Write the tasks, one a line, the config, and the pictures where they are to be files.

    Raises
    ------
    InputError
        Where the tasks would be larger than Label Studio takes.
    """
    file = _tasks_file(order.path)
    file.parent.mkdir(exist_ok=True)
    size, grouped = 0, has_stacks(order)
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for number, task in enumerate(_tasks(order, file, grouped)):
            text = json.dumps(task)
            size += len(text)
            if size > MOST_BYTES:
                raise InputError(
                    f"With the pictures inside, {file.name} would be over 250 MB, which Label Studio does not take: "
                    "write them as files with --link copy or --link hard."
                )
            stream.write(("[\n" if number == 0 else ",\n") + text)
        stream.write("\n]\n" if size else "[]\n")
    several = order.annotations.findings is not None
    _config(file).write_text(labelling_config(order.annotations.classes, several, grouped), encoding="utf-8")


def labelling_config(classes: list[str], several: bool = False, grouped: bool = False) -> str:
    """What the annotator sees: why the machine doubts, the picture or the slices, the classes with their keys, room for a note.

    Parameters
    ----------
    several : whether an image can show several of the classes
    grouped : whether a task holds the slices of an item
    """
    value = f'valueList="${IMAGES}"' if grouped else f'value="${IMAGE}"'
    lines, choice = [], "multiple" if several else "single"
    for number, name in enumerate(choices(classes), start=1):
        key = f' hotkey="{number}"' if number <= min(9, len(classes)) else ""
        lines.append(f"    <Choice value={quoteattr(name)}{key}/>\n")
    return (
        "<View>\n"
        '  <Header value="$question" size="5"/>\n'
        f'  <Choices name="{CHOICE}" toName="{IMAGE}" choice="{choice}" showInline="true" required="true">\n'
        f"{''.join(lines)}"
        "  </Choices>\n"
        f'  <Image name="{IMAGE}" {value} zoom="true" zoomControl="true" brightnessControl="true" '
        'contrastControl="true"/>\n'
        f'  <TextArea name="{NOTE}" toName="{IMAGE}" placeholder="Note" rows="1" maxSubmissions="1"/>\n'
        "</View>\n"
    )


def _tasks(order: Order, file: Path, grouped: bool) -> Iterator[dict[str, Any]]:
    version = f"autoannotate {order.annotations.record.version}".strip()
    for record, slices in stacks(order, BROWSERS):
        addresses = [_address(order, picture, file) for picture in slices]
        choice = {"choices": order.chosen[record["path"]]}
        result = [{"id": CHOICE, "from_name": CHOICE, "to_name": IMAGE, "type": "choices", "value": choice}]
        yield {
            "data": {
                **({IMAGES: addresses} if grouped else {IMAGE: addresses[0]}),
                "question": _question(record),
                **{name: record[name] for name in SHOWN if name in record},
            },
            "predictions": [{"model_version": version, "score": record["confidence"], "result": result}],
        }


def _question(record: dict[str, Any]) -> str:
    said = f"The machine says {record['label']}."
    if "reason" not in record:
        return said
    other = record["suggested_label"]
    perhaps = f" Perhaps {other}" if other and other != record["label"] else " Doubtful"
    return f"{said}{perhaps}: {record['reason']}"


def _address(order: Order, picture: Picture, file: Path) -> str:
    if order.link != "embed":
        folder = _folder(file)
        picture.put(folder, order.link)
        return f"/data/local-files/?d={quote(f'{folder.name}/{picture.name}')}"
    kind = "png" if picture.suffix.lower() == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture.content()).decode()}"


def _tasks_file(path: Path) -> Path:
    return path if path.suffix.lower() == ".json" else path / "tasks.json"


def _config(path: Path) -> Path:
    return path.with_name(f"{path.stem}.config.xml")


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.stem}-images")
