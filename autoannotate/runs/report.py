"""The report of a run: one HTML page that holds its own pictures, opens offline, prints, and reads in two
minutes.

The same labels, pictures and arguments give the same bytes, so timings stay in run.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from autoannotate._internal.wording import counted, listed, percent
from autoannotate.runs.proposals import decided, decided_in_words, waiting, waiting_in_words
from autoannotate.runs.report_audit import audit
from autoannotate.runs.report_pictures import SIDE, Pictures
from autoannotate.runs.report_slides import slides
from autoannotate.runs.report_words import (
    class_counts,
    collapsed,
    facts,
    next_steps,
    of_class,
    python_call,
    story,
    trust,
)

if TYPE_CHECKING:
    import pandas as pd

    from autoannotate.images import PassedOver
    from autoannotate.runs.record import RunRecord
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
BINS = 20
MOST_CHANGES = 12
"""How many changed labels are shown as pictures after an update."""


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


def findings(annotations: Run) -> list[dict[str, Any]]:
    """What is known of each finding, where an image can show several: counts, and what its values are worth."""
    return [{"name": name, **about} for name, about in annotations.record.findings.items()]


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
        f"{unread:,} could not be used" if unread else "all could be used",
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
