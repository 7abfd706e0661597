"""The report of a run: one HTML page that holds its own pictures, opens offline, prints, and reads in two
minutes.

The same labels, pictures and arguments give the same bytes, so timings stay in run.json.
"""

from __future__ import annotations

import base64
import io
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from autoannotate._internal.wording import counted, listed, percent
from autoannotate.errors import UnreadableImageError
from autoannotate.labelling.label_errors.student_decision import Decision
from autoannotate.runs.proposals import decided, decided_in_words, waiting, waiting_in_words
from autoannotate.runs.report_audit import audit
from autoannotate.runs.report_slides import slides

if TYPE_CHECKING:
    import pandas as pd

    from autoannotate.images import ImageRef, PassedOver
    from autoannotate.runs.record import RunRecord, StudentRecord
    from autoannotate.runs.run import Run

WORST = 35
"""How many suspects are shown as pictures."""
SAMPLES = 240
"""How many pictures the samples of all classes share."""
STRIP = 14
"""The most pictures in the sample of one class."""
MOST_CLASSES = 24
"""With more classes than this, the rarest are left to labels.csv."""
MOST_HISTOGRAMS = 12
MOST_UNREADABLE = 50
MOST_NOTES = 20
SIDE = 160
"""The longer side of a picture, in pixels."""
PICTURE_BYTES = 3_400_000
"""What all pictures together may weigh, so that the page stays under 5 MB for any run."""
BINS = 20
MOST_CHANGES = 12
"""How many changed labels are shown as pictures after an update."""
LEVELS = (("good", 0.85), ("fair", 0.7), ("poor", 0.0))
"""From how much trust on CLIP's labels are called what."""


@dataclass(frozen=True)
class Picture:
    """A small picture as the page holds it; `data` is empty where the file cannot be shown."""

    data: str
    width: int = SIDE
    height: int = SIDE


class Pictures:
    """Small pictures by path, made once each, until together they weigh as much as a page may hold."""

    def __init__(self, annotations: Run) -> None:
        self.annotations = annotations
        self.made: dict[str, Picture] = {}
        self.left = PICTURE_BYTES

    def __call__(self, path: str) -> Picture:
        if path not in self.made:
            self.made[path] = self._make(path)
        return self.made[path]

    def slice_of(self, path: str, name: str) -> Picture | None:
        """One slice of an item by its own path; None where the item has no such slice, or can't be found."""
        ref = self.annotations.refs.get(path)
        part = next((part for part in (ref.item.refs if ref and ref.item else ()) if part.path == name), None)
        return None if part is None else self._make(part)

    def _make(self, of: str | ImageRef) -> Picture:
        from autoannotate.images import read_image

        if self.left <= 0:
            return Picture("")
        try:
            image = read_image(self.annotations.image(of) if isinstance(of, str) else of).convert("RGB")
        except UnreadableImageError:
            return Picture("")
        image.thumbnail((SIDE, SIDE), reducing_gap=3.0)
        out = io.BytesIO()
        image.save(out, format="JPEG", quality=80, optimize=True)
        data = base64.b64encode(out.getvalue()).decode()
        self.left -= len(data)
        return Picture(f"data:image/jpeg;base64,{data}", *image.size)


def render_report(annotations: Run) -> str:
    """The page as text. Pictures that cannot be read any more are shown as an empty frame."""
    import jinja2

    pages = resources.files("autoannotate.runs")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: pages.joinpath(name).read_text(encoding="utf-8")),
    )  # fmt: skip
    environment.filters |= {"percent": percent, "counted": counted, "listed": listed}
    return environment.get_template("report.html.jinja").render(view(annotations))


def view(annotations: Run) -> dict[str, Any]:
    """All that the page shows, in the order in which it shows it."""
    table, suspects, record = annotations.table, annotations.suspects, annotations.record
    pictures = Pictures(annotations)
    counts = class_counts(annotations)
    shown = [row["name"] for row in counts[:MOST_CLASSES]]
    reasons = dict(zip(suspects["path"], suspects["reason"], strict=True))
    telling = dict(zip(table["path"], table["telling_slice"], strict=True)) if "telling_slice" in table else {}
    worst = [
        {
            **row,
            "picture": pictures(row["path"]),
            "telling": pictures.slice_of(row["path"], telling.get(row["path"], "")),
        }
        for row in suspects.head(WORST).to_dict(orient="records")
    ]
    overruled = table[(table["label"] != table["clip_label"])]
    return {
        "classes": annotations.classes,
        "images": len(table),
        "story": story(annotations),
        "trust": trust(record),
        "collapsed": collapsed(annotations),
        "tiles": tiles(annotations),
        "update": before_and_after(record, pictures),
        "proposals": proposals(annotations),
        "audit": audit(record, pictures),
        "counts": counts[:MOST_CLASSES],
        "counts_left": len(counts) - len(shown),
        "histograms": [
            histogram(rows, name) for name in shown[:MOST_HISTOGRAMS] if len(rows := of_class(annotations, name))
        ],
        "agreement": None if annotations.findings is not None else agreement(table, annotations.classes),
        "findings": findings(annotations),
        "rules": annotations.record.rules,
        "learned_rules": annotations.record.learned_rules,
        "overruled": len(overruled),
        "worst": worst,
        "slides": slides(annotations),
        "heat_maps": record.heat_maps,
        "suspects": len(suspects),
        "samples": [sample(of_class(annotations, name), name, pictures, reasons, len(shown)) for name in shown],
        "unreadable": annotations.unreadable.head(MOST_UNREADABLE).to_dict(orient="records"),
        "passed_over": passed_over(record),
        "mostly_passed_over": mostly_passed_over(annotations),
        "not_kept": list(record.not_kept.items()),
        "noted": noted(annotations).most_common(MOST_NOTES),
        "unreadable_left": max(0, len(annotations.unreadable) - MOST_UNREADABLE),
        "steps": next_steps(annotations),
        "command": record.command or python_call(record),
        "facts": facts(annotations),
        "side": SIDE,
    }


def proposals(annotations: Run) -> dict[str, list[str]]:
    """What proposed labels wait for, and what was decided of others, a sentence a group."""
    groups = annotations.record.proposals
    return {
        "waiting": [waiting_in_words(one) for one in waiting(groups)],
        "decided": [decided_in_words(one) for one in decided(groups)],
    }


def passed_over(record: RunRecord) -> list[PassedOver]:
    """What was passed over among the images, by kind, as run.json has it."""
    from autoannotate.images import PassedOver

    return [PassedOver(**group) for group in record.passed_over]


def mostly_passed_over(annotations: Run) -> str | None:
    """A sentence where half of the files, or more, are of a kind that is not read."""
    paths = [*annotations.table["path"], *annotations.unreadable["path"]]
    from autoannotate.images import mostly_passed_over

    return mostly_passed_over(passed_over(annotations.record), len({path.partition("#")[0] for path in paths}))


def noted(annotations: Run) -> Counter[str]:
    """What was assumed to show pictures, and for how many."""
    notes = annotations.table.get("note", ())
    return Counter(note for note in notes if note)


def of_class(annotations: Run, name: str) -> pd.DataFrame:
    """The images of a class, or with a finding: path, label, confidence, source and suspect."""
    if annotations.findings is None:
        return annotations.table[annotations.table["label"] == name]
    rows = annotations.findings
    rows = rows[(rows["finding"] == name) & (rows["value"] == 1)]
    return rows.rename(columns={"finding": "label", "probability": "confidence"})


def findings(annotations: Run) -> list[dict[str, Any]]:
    """What is known of each finding, where an image can show several: counts, and what its values are worth."""
    return [{"name": name, **about} for name, about in annotations.record.findings.items()]


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


def histogram(table: pd.DataFrame, name: str) -> dict[str, Any]:
    """How sure the labels of one class are: counts in `BINS` equal bins over 0 to 1, suspects apart."""
    import numpy as np

    rows = table[table["label"] == name]
    bins, mean = [], float(rows["confidence"].mean())
    for doubtful in (0, 1):
        counts, _ = np.histogram(rows["confidence"][rows["suspect"] == doubtful], bins=BINS, range=(0, 1))
        bins.append(counts)
    most = max(int((bins[0] + bins[1]).max()), 1)
    bars = [
        {"from": i / BINS, "to": (i + 1) / BINS, "sure": int(sure), "doubtful": int(doubtful)}
        for i, (sure, doubtful) in enumerate(zip(*bins, strict=True))
    ]
    return {"name": name, "bars": bars, "most": most, "images": len(rows), "mean": mean, "bins": BINS}


def agreement(table: pd.DataFrame, classes: list[str], most: int = 12) -> dict[str, Any]:
    """CLIP's label (rows) against the final label (columns); of many classes, those that changed most."""
    pairs = Counter(zip(table["clip_label"], table["label"], strict=True))
    moved: Counter[str] = Counter()
    for (before, after), n in pairs.items():
        if before != after:
            moved.update({before: n, after: n})
    if len(classes) > most:
        classes = sorted(classes, key=lambda name: -moved[name])[:most]
    said = Counter(table["clip_label"])
    rows = []
    for name in classes:
        counts = [pairs[name, other] for other in classes]
        rows.append({"name": name, "cells": [{"n": n, "share": n / max(said[name], 1)} for n in counts]})
    return {"classes": classes, "rows": rows, "share": 1 - moved.total() / 2 / max(len(table), 1)}


def sample(
    table: pd.DataFrame, name: str, pictures: Pictures, reasons: Mapping[str, str], classes: int
) -> dict[str, Any]:
    """Pictures of one class, spread evenly over its rows: neither the best nor the worst, and no dice."""
    import numpy as np

    rows = table[table["label"] == name]
    size = min(max(SAMPLES // max(classes, 1), 4), STRIP, len(rows))
    chosen = rows.iloc[np.linspace(0, len(rows) - 1, size).round().astype(int)] if size else rows
    items = [{**row, "picture": pictures(row["path"])} for row in chosen.to_dict(orient="records")]
    return {"name": name, "images": len(rows), "items": items}


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


def before_and_after(record: RunRecord, pictures: Pictures) -> dict[str, Any] | None:
    """What the last update changed: numbers before and after, some of the labels that changed, and calibration."""
    found = record.update
    if not found:
        return None
    before, after = found["before"], found["after"]
    rows = [
        (words, *(f"{side[name]:,}" for side in (before, after)))
        for words, name in (("labels given by clinicians", "answered"), ("images in the queue", "suspects"))
    ]
    for words, name in (("labels estimated wrong", "estimated_error_rate"), ("mean confidence", "mean_confidence")):
        rows.append(
            (words, *("unknown" if side.get(name) is None else percent(side[name]) for side in (before, after)))
        )
    classes = {**before["per_class"], **after["per_class"]}
    rows += [(f"images of {name}", *(f"{side['per_class'].get(name, 0):,}" for side in (before, after)))
             for name in sorted(classes, key=lambda name: -classes[name])[:MOST_CLASSES]]  # fmt: skip
    changed = sorted(found["changed"], key=lambda change: change["why"].endswith("answered"))
    said = [f"{counted(n, 'answer')} by {name}" for name, n in found["readers"].items()]
    quality = {name: value for name, value in found["reader_quality"].items() if value is not None}
    return {
        "round": record.round,
        "readers": listed(said),
        "new": found["new_answers"],
        "quality": listed(f"{name} {percent(value)}" for name, value in quality.items()),
        "kappa": found.get("kappa"),
        "disagreements": found["disagreements"],
        "duplicates": found["settled_by_a_near_duplicate"],
        "replaced": found["pictures_replaced_since_the_answer"],
        "rows": rows,
        "changed": len(changed),
        "beyond": sum(not change["why"].endswith("answered") for change in changed),
        "shown": [{**change, "picture": pictures(change["path"])} for change in changed[:MOST_CHANGES]],
        "calibration": found["calibration"],
    }


def tiles(annotations: Run) -> list[dict[str, str]]:
    """The four numbers to read first."""
    n, doubted = len(annotations.table), len(annotations.suspects)
    unread, rate = len(annotations.unreadable), annotations.record.estimated_error_rate
    guesses = trust(annotations.record)["level"] == "poor"
    counts = class_counts(annotations)
    classes, used = len(counts), sum(row["images"] > 0 for row in counts)
    notes = (
        f"{unread:,} could not be read" if unread else "all could be read",
        "each was found" if used == classes else f"{used} of them found",
        f"{percent(doubted / n)} of the images" if n else "no images",
        "CLIP guesses here: answers will tell"
        if guesses
        else "with what was answered"
        if annotations.record.update
        else "before a person has looked",
    )
    values = (f"{n:,}", f"{classes:,}", f"{doubted:,}", "unknown" if rate is None or guesses else percent(rate))
    asked = "images to answer first" if guesses else "suspects"
    what = "classes" if annotations.findings is None else "findings"
    names = ("images labelled", what, asked, "labels estimated wrong")
    return [
        {"name": name, "value": value, "note": note} for name, value, note in zip(names, values, notes, strict=True)
    ]


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
    if kind != "none":
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


def next_steps(annotations: Run) -> list[dict[str, str]]:
    """What to do with the run, most useful first: a sentence, and a command where there is one."""
    arguments = annotations.record.arguments
    out = shlex.quote(str(arguments.get("out", "autoannotate-run")))
    images = shlex.quote(str(arguments.get("images", "IMAGES")))
    classes = shlex.quote(",".join(annotations.classes))
    level = trust(annotations.record)["level"]
    what = "classes" if annotations.findings is None else "findings"
    again = f"autoannotate label {images} --{what} {classes} --model biomedclip --out {out}-biomedclip"
    answers = f"autoannotate review {out} && autoannotate update {out}"
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

    >>> sources_in_words([{"name": "zero-shot", "accuracy": 0.8, "images": 20}])
    'zero-shot 80% of 20'
    """
    return ", ".join(f"{one['name']} {one['accuracy']:.0%} of {one['images']:,}" for one in sources)


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
