"""What a report says of a run in words: what was done, what the labels are worth, what to do next, and how to repeat it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoannotate._internal.wording import counted, listed, percent
from autoannotate.labelling.label_errors.student_decision import Decision
from autoannotate.runs.pictures import review_command

if TYPE_CHECKING:
    import pandas as pd

    from autoannotate.runs.record import RunRecord, StudentRecord
    from autoannotate.runs.run import Run

LEVELS = (("good", 0.85), ("fair", 0.7), ("poor", 0.0))
"""From how much trust on CLIP's labels are called what."""


def story(annotations: Run) -> str:
    """What was done, in one paragraph that needs no other."""
    table, record = annotations.table, annotations.record
    by = table["source"].value_counts()
    kind, poor = record.student.kind, trust(record)["level"] == "poor"
    names, verb = annotations.classes, "the label of each," if record.given else "gave each"
    parts = [
        f"autoannotate looked at {counted(len(table), 'image')} and {verb} one of {len(names)} classes: {listed(names)}."
        if annotations.findings is None
        else f"autoannotate looked at {counted(len(table), 'image')} for {counted(len(names), 'finding')}, of which an image "
        f"may show none, one or several: {listed(names)}. A finding that nothing tells is left undecided.",
        "The labels existed before; each was weighed against what the other images, and their labels, make of its image."
        if record.given
        else f"CLIP (the model “{record.model.name}”) compared every image with sentences that describe the classes, and its "
        "labels were then weighed against those of images that look alike.",
        "CLIP cannot tell these classes apart, so all labels that no person gave are guesses, and so would doubts about "
        "them be: what is asked first are typical images, whose answers say most about the others."
        if poor
        else "cleanlab and other checks looked for labels that the rest of the images contradict: the suspects.",
    ]
    if annotations.findings is not None:
        parts += [record.student.note] if record.student.note else []
    elif kind != "none":
        decided = int(by.get("student", 0))
        parts.append(
            "A small network, the student, learnt from the labels that held up and decided "
            + (f"{counted(decided, 'label')} anew." if decided else "no label anew, because it was not surely better.")
        )
    elif record.student.decision not in ("", Decision.NOT_ASKED) and not record.update:
        parts.append(record.student.note)
    changed = int((table["label"] != table["clip_label"]).sum())
    ended = f"{counted(changed, 'image')} ended" if changed else "no image ended"
    if annotations.findings is None and not record.given and (not poor or by.get("clinician", 0)):
        parts.append(f"In all, {ended} with another class than CLIP alone would give.")
    people = int(by.get("clinician", 0))
    parts.append(
        f"Clinicians gave {counted(people, 'label')}; the others are the machine's, which learned from them."
        if record.update
        else f"Clinicians gave {counted(people, 'label')}; the others are the machine's."
        if people and not record.given
        else f"Clinicians checked {counted(people, 'label')}."
        if people
        else "No person has checked these labels yet."
    )
    return " ".join(parts)


def trust(record: RunRecord) -> dict[str, Any]:
    """Whether CLIP's labels mean anything here: good, fair, poor or unknown, in words, with advice."""
    found = record.reliability
    level = "unknown" if found.trust is None else next(name for name, least in LEVELS if found.trust >= least)
    if found.meaningful is False:  # the run's own judgement goes before the number
        level = "poor"
    elif found.meaningful and (level == "poor" or found.advice):
        level = "fair"
    words = {
        "good": "CLIP's labels look trustworthy on these classes.",
        "fair": "CLIP tells these classes apart only in part: check more than usual.",
        "poor": "These classes look the same to this encoder, so its labels are close to guesses.",
        "unknown": "Whether CLIP can tell these classes apart was not estimated.",
    }
    return {
        "level": level,
        "value": found.trust,
        "verdict": found.verdict or words[level],
        "advice": found.advice,
        "evidence": _plain_items(found.evidence),
    }


def collapsed(annotations: Run) -> str:
    """A sentence about classes that got hardly any image, where that is no chance; "" where none did, or once people answered.

    Hardly any: fewer than a fifth of the share that was stated with a prior, else of an even one.
    """
    if annotations.findings is not None:  # a finding may well be rare, or undecided everywhere
        return ""
    images, prior = len(annotations.table), annotations.record.arguments.get("prior") or {}
    even = 1.0 / max(len(annotations.classes), 1)
    expected = {name: images * prior.get(name, even) for name in annotations.classes}
    lost = [
        f"{row['name']} ({row['images']:,})"
        for row in class_counts(annotations)
        if expected[row["name"]] >= 5 and row["images"] < expected[row["name"]] / 5
    ]
    if not lost or annotations.record.update or annotations.record.given:
        return ""
    found = f"Hardly any image is labelled {listed(lost, 6)}"
    if prior:
        return f"{found}, far fewer than --prior states."
    return f"{found}: rare here, or lost to a wrong threshold. If you know how common each class is, state it with --prior."


def of_class(annotations: Run, name: str) -> pd.DataFrame:
    """The images of a class, or with a finding: path, label, confidence, source and suspect."""
    if annotations.findings is None:
        return annotations.table[annotations.table["label"] == name]
    rows = annotations.findings
    rows = rows[(rows["finding"] == name) & (rows["value"] == 1)]
    return rows.rename(columns={"finding": "label", "probability": "confidence"})


def class_counts(annotations: Run) -> list[dict[str, Any]]:
    """Images and suspects of each class, the largest first; a class without images is there with zero."""
    table = annotations.table
    total, doubtful = Counter(table["label"]), Counter(table["label"][table["suspect"] == 1])
    if annotations.findings is not None:
        shown = {name: of_class(annotations, name) for name in annotations.classes}
        total = Counter({name: len(found) for name, found in shown.items()})
        doubtful = Counter({name: int(found["suspect"].sum()) for name, found in shown.items()})
    most = max([1, *total.values()])
    rows = [
        {
            "name": name,
            "images": total[name],
            "suspects": doubtful[name],
            "share": total[name] / max(len(table), 1),
            "width": total[name] / most,
            "doubtful_width": doubtful[name] / most,
        }
        for name in annotations.classes
    ]
    return sorted(rows, key=lambda row: -row["images"])


def next_steps(annotations: Run) -> list[dict[str, str]]:
    """What to do with the run, most useful first: a sentence, and a command where there is one."""
    arguments = annotations.record.arguments
    out = shlex.quote(str(arguments.get("out", "autoannotate-run")))
    images = shlex.quote(str(arguments.get("images") or "IMAGES"))
    classes = shlex.quote(",".join(annotations.classes))
    level = trust(annotations.record)["level"]
    what = "classes" if annotations.findings is None else "findings"
    again = f"autoannotate label {images} --{what} {classes} --model biomedclip --out {out}-biomedclip"
    answers = (
        f"{review_command(annotations.record, arguments.get('out', 'autoannotate-run'))} && autoannotate update {out}"
    )
    poor = (
        "Do not use these labels as they are. Answer the queue, typical images of which there are about 20 for each class; "
        "then the other labels learn from your answers:"
    )
    other = "Or try an encoder that has seen more of medicine:"
    check = (
        "Check the suspects, worst first, in a page of your browser; then let the other labels learn from your answers:"
    )
    look = (
        "Look along the sample of each class. Where it shows something else than you meant, say it in other "
        "words: here are the sentences that CLIP was given, and --prompts takes yours."
    )
    use = "Use labels.csv: its path joins with your files, and source says who gave each label."
    steps = [
        (level == "poor", poor, answers),
        (level == "poor", other, again),
        (level != "poor" and len(annotations.suspects) > 0, check, answers),
        (True, look, f"autoannotate prompts {classes}"),
        (level != "poor", use, ""),
    ]
    return [{"text": text, "command": command} for wanted, text, command in steps if wanted]


def facts(annotations: Run) -> list[tuple[str, str]]:
    """What the run was made with, as name and value."""
    record = annotations.record
    model, student = record.model, record.student
    rows: list[tuple[str, Any]] = [
        ("autoannotate", record.version),
        ("model", model.name),
        ("weights (SHA-256)", model.weights_sha256),
        ("image size", f"{model.image_size} pixels" if model.image_size else None),
        ("kind of images", _words(record.modality)),
        ("student", student.kind),
        ("student on held-out images", _held_out(student)),
        ("about the student", student.note),
        ("sources of labels, and how often right", sources_in_words(annotations.run.get("sources") or ())),
        ("seed", record.seed),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def sources_in_words(sources: Sequence[Mapping[str, Any]]) -> str:
    """What a run with several sources of labels says of each, by its label model.

    >>> sources_in_words([{"name": "zero-shot", "accuracy": 0.8, "images": 20}, {"name": "x", "accuracy": None, "images": 20}])
    'zero-shot 80% of 20, x unknown, of 20'
    """
    return ", ".join(f"{one['name']} {_share(one['accuracy'])} of {one['images']:,}" for one in sources)


def _share(value: float | None) -> str:
    return "unknown," if value is None else f"{value:.0%}"


def _words(value: Any) -> str | None:
    return listed(value) if isinstance(value, list | tuple) else value


def _held_out(student: StudentRecord) -> str | None:
    held_out, baseline = student.held_out_accuracy, student.baseline_accuracy
    if held_out is None or baseline is None:
        return None
    return f"agrees with {percent(held_out)} of the labels, {percent(baseline)} without it"


def python_call(record: RunRecord) -> str:
    """The lines of Python that repeat a run which no command started."""
    images = record.arguments.get("images", "IMAGES")
    return (
        "from autoannotate import Annotator\n"
        f"annotator = Annotator({list(record.classes)!r}, model={record.model.name!r}, seed={record.seed})\n"
        f"annotations = annotator.label({str(images)!r})"
    )


SIGNS = {
    "agreement": "How far different wordings of the classes give the same labels",
    "separation": "How far the images form groups along the classes",
    "contrast": "How far the words of the classes spread the images more than unrelated words do",
}
"""What the signs of `autoannotate.labelling.zero_shot.reliability` say, in words."""


def _plain_items(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Numbers and words as name and value; whatever is nested stays in run.json."""
    return [
        (SIGNS.get(name, name.replace("_", " ")), f"{value:.3g}" if isinstance(value, float) else str(value))
        for name, value in evidence.items()
        if isinstance(value, int | float | str)
    ]
