"""Label Studio's exports JSON and JSON-MIN (its CSV and TSV are read as tables).

Only annotations count, never predictions; cancelled ones (Skip) leave the image open. The answer is what was chosen in the
control `answer`; in a project of your own, in its only control of choices, or in the one that names classes of the run.
(https://labelstud.io/guide/export)
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoannotate.answers.importers import Given, Wanted, holds_answers, seconds, utc
from autoannotate.errors import InputError
from autoannotate.exports.label_studio import CHOICE, IMAGE, IMAGES, NOTE, SHOWN

HINT = "label tasks in Label Studio and submit them, then Export > JSON"
ANSWERED = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "history")
"""What JSON-MIN and CSV say of an annotation, behind the controls."""
OF_TASKS = {*SHOWN, IMAGE, IMAGES, "question", "id", NOTE}
"""What the data of our tasks are called, which no control of answers is, except `label` in a project of your own."""


def recognises(head: bytes) -> bool:
    """Whether it is JSON that begins with a list of objects."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"[") and text[1:].lstrip()[:1] in (b"{", b"]", b"")


def read(file: Path, wanted: Wanted) -> Iterator[Given]:
    """Each choice of each annotation.

    Raises
    ------
    InputError
        Where the file is something else.
    """
    tasks = json.loads(file.read_bytes().decode("utf-8-sig"))
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(f"{file} is not Label Studio's export: it should be a list of tasks.")
    whole = [task for task in tasks if isinstance(task.get("data"), dict)]
    if whole:
        yield from _whole(whole, file, wanted)
    if flat := [task for task in tasks if not isinstance(task.get("data"), dict)]:
        yield from _flat(flat, file, wanted)


def _whole(tasks: Sequence[Mapping[str, Any]], file: Path, wanted: Wanted) -> Iterator[Given]:
    """The answers as JSON has them: tasks with annotations, and what was chosen in each control."""
    found = [(task, one) for task in tasks for one in task.get("annotations") or task.get("completions") or []]
    found = [(task, one) for task, one in found if not one.get("was_cancelled")]
    words: dict[str, set[str]] = defaultdict(set)
    for _, annotation in found:
        for result in _results(annotation, "choices"):
            words[str(result.get("from_name"))] |= set(choice_words(result["value"]))
    control = _control(words, file, wanted)
    for task, annotation in found:
        notes = [
            text
            for one in _results(annotation)
            if one.get("from_name") == NOTE
            for text in choice_words(one["value"], "text")
        ]
        chosen = [one for one in _results(annotation, "choices") if str(one.get("from_name")) == control]
        where = f"task {task.get('id', '?')}"
        if len(task.get("annotations") or []) > 1:
            where += f", annotation {annotation.get('id', '?')}"
        for word in (word for one in chosen for word in choice_words(one["value"])):
            yield _given(task["data"], annotation, word, where, " ".join(notes), annotation.get("completed_by"))


def _flat(tasks: Sequence[Mapping[str, Any]], file: Path, wanted: Wanted) -> Iterator[Given]:
    """The answers as JSON-MIN has them: the task's data, the controls and the annotation side by side."""
    names = control_names([list(task) for task in tasks])
    words = {name: {word for task in tasks for word in choice_words(task.get(name))} for name in names}
    control = _control({name: said for name, said in words.items() if said}, file, wanted)
    for number, task in enumerate(tasks, start=1):
        note = " ".join(choice_words(task.get(NOTE)))
        for word in choice_words(task.get(control)) if control else []:
            yield _given(task, task, word, f"task {task.get('id', number)}", note, task.get("annotator"))


def control_names(headers: Sequence[Sequence[str]]) -> list[str]:
    """Which keys or columns of JSON-MIN or CSV are controls: those behind the task's data and `id`, before the annotation's.

    `label` is the machine's where it is among the data of a task that we exported.

    >>> control_names([["path", "label", "id", "diagnosis", "annotator", "annotation_id"]])
    ['diagnosis']
    """
    names: dict[str, None] = {}
    for header in headers:
        known = [name.strip().casefold() for name in header]
        end = min((known.index(name) for name in ANSWERED if name in known), default=len(known))
        start = known.index("id") + 1 if "id" in known[:end] else 0
        data_first = any(name in known[: max(start - 1, 0)] for name in ("path", "image"))
        for name, key in zip(header[start:end], known[start:end], strict=True):
            if key == CHOICE or key not in OF_TASKS or (key == "label" and (data_first or "path" not in known)):
                names[name] = None
    if len(names) > 1 and any(name.strip().casefold() != "label" for name in names):
        names = {name: None for name in names if name.strip().casefold() != "label"} or names
    return list(names)


def _control(words: Mapping[str, Collection[str]], file: Path, wanted: Wanted) -> str | None:
    if wanted.control is None and words.get(CHOICE):
        return CHOICE
    return holds_answers(words, wanted, file)


def _given(data: Mapping[str, Any], said: Mapping[str, Any], word: str, where: str, note: str, who: Any) -> Given:
    path = str(data.get("path") or "")
    return Given(
        where=where,
        image=path or _picture(data),
        word=word,
        machine=str(data.get("label") or ""),
        reader=_reader(who),
        note=note,
        answered_at=utc(said.get("updated_at") or said.get("created_at") or ""),
        seconds=seconds(said.get("lead_time")),
        by_file=not path,
    )


def _picture(data: Mapping[str, Any]) -> str:
    """What the task shows: its `image`, else what looks like the address of one."""
    texts = [data.get("image"), *data.values()]
    addresses = (str(text) for text in texts[1:] if re.match(r"/data/|\w+://|.*[\\/].*\.\w{2,5}$", str(text)))
    return str(texts[0] or next(addresses, ""))


def _results(annotation: Mapping[str, Any], kind: str | None = None) -> list[Mapping[str, Any]]:
    results = [one for one in annotation.get("result") or [] if isinstance(one.get("value"), dict)]
    return [one for one in results if kind is None or one.get("type") == kind]


def choice_words(value: Any, key: str = "choices") -> list[str]:
    """What was chosen, as the exports write it: a word, a list of words, or a dictionary with such a list."""
    if isinstance(value, Mapping):
        value = value.get(key, [])
    return [str(word) for word in (value if isinstance(value, list) else [value]) if word not in (None, "")]


def _reader(who: Any) -> str:
    """Label Studio says who in full, or only by number."""
    if isinstance(who, dict):
        name = " ".join(str(who.get(part) or "") for part in ("first_name", "last_name")).strip()
        return str(who.get("email") or name or who.get("username") or who.get("id") or "")
    return "" if who is None else f"annotator {who}"
