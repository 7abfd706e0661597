"""Label Studio's exports JSON and JSON-MIN (its CSV and TSV are read as tables).

Only annotations count, never predictions; cancelled ones (Skip) leave the image open. The answer is what was chosen in the
control `answer`, or, in a project of your own, in any control of choices. (https://labelstud.io/guide/export)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from autoannotate.answers.importers import Given, seconds, utc
from autoannotate.errors import InputError
from autoannotate.exports.label_studio import CHOICE, NOTE

HINT = "label tasks in Label Studio and submit them, then Export > JSON"


def recognises(head: bytes) -> bool:
    """Whether it is JSON that begins with a list of objects."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"[") and text[1:].lstrip()[:1] in (b"{", b"]", b"")


def read(file: Path) -> Iterator[Given]:
    """Each choice of each annotation. Raises `InputError` where the file is something else."""
    tasks = json.loads(file.read_bytes().decode("utf-8-sig"))
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(f"{file} is not Label Studio's export: it should be a list of tasks.")
    for number, task in enumerate(tasks, start=1):
        where = f"task {task.get('id', number)}"
        if isinstance(task.get("data"), dict):
            yield from _annotations(task, where)
        else:
            yield from _flat(task, where)


def _annotations(task: Mapping[str, Any], where: str) -> Iterator[Given]:
    """The answers of a task as JSON has them."""
    data = task["data"]
    for annotation in task.get("annotations") or task.get("completions") or []:
        if annotation.get("was_cancelled"):
            continue
        results = [one for one in annotation.get("result") or [] if isinstance(one.get("value"), dict)]
        chosen = [one for one in results if one.get("type") == "choices"]
        chosen = [one for one in chosen if one.get("from_name") == CHOICE] or chosen
        notes = [text for one in results if one.get("from_name") == NOTE for text in one["value"].get("text", [])]
        for word in (word for one in chosen for word in one["value"].get("choices", [])):
            yield Given(
                where=where,
                image=_image(data),
                word=str(word),
                machine=str(data.get("label") or ""),
                reader=_reader(annotation.get("completed_by")),
                note=" ".join(notes),
                answered_at=utc(annotation.get("updated_at") or annotation.get("created_at") or ""),
                seconds=seconds(annotation.get("lead_time")),
            )


def _flat(task: Mapping[str, Any], where: str) -> Iterator[Given]:
    """The answers of an annotation as JSON-MIN has it, the task's data and the controls side by side."""
    answer = task.get(CHOICE, task.get("choice"))
    words = answer.get("choices", []) if isinstance(answer, dict) else [answer]
    note = task.get(NOTE) or ""
    for word in (word for word in words if word):
        yield Given(
            where=where,
            image=_image(task),
            word=str(word),
            machine=str(task.get("label") or ""),
            reader=_reader(task.get("annotator")),
            note=" ".join(note) if isinstance(note, list) else str(note),
            answered_at=utc(task.get("updated_at") or task.get("created_at") or ""),
            seconds=seconds(task.get("lead_time")),
        )


def _image(data: Mapping[str, Any]) -> str:
    """The path that was exported with the task, else the name of the file that its address leads to."""
    if path := data.get("path"):
        return str(path)
    address = urlsplit(str(data.get("image") or ""))
    return (parse_qs(address.query).get("d") or [unquote(address.path)])[0]


def _reader(who: Any) -> str:
    """Label Studio says who in full, or only by number."""
    if isinstance(who, dict):
        name = " ".join(str(who.get(part) or "") for part in ("first_name", "last_name")).strip()
        return str(who.get("email") or name or who.get("username") or who.get("id") or "")
    return "" if who is None else f"annotator {who}"
