"""Certificates of a run with several findings an image: one a finding, of the images of which it is said to be there or not.

One random order of the images serves all findings, so that an image that is reviewed counts for each of them. Every finding's
promise has its confidence by itself, and not all of them together.

DIR/certify/sample.csv         the images to review, for all findings
DIR/certify/FINDING/           the sample and the certificate of one, see `certificate_files`
DIR/certified.csv              path, finding, label, confidence, source of all that is promised
DIR/certificate.txt, .json     the promises, finding by finding
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate._internal.files import plain_errors, write_files
from autoannotate.answers.certification.certificate_files import (
    CERTIFICATE,
    FOLDER,
    Progress,
    answers_about,
    certified_in,
    read_sample,
)
from autoannotate.answers.certification.sample import GROUP
from autoannotate.answers.findings import vote_about
from autoannotate.answers.store import Answer
from autoannotate.errors import InputError, UsageError
from autoannotate.runs import tables
from autoannotate.runs.run import NOT_USABLE, Run

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("path", "finding", "label", "confidence", "source")


@dataclass(frozen=True, eq=False)
class FindingsProgress:
    """Where the certificates of a run's findings stand.

    Attributes
    ----------
    of_each : by finding
    without : why there is none of a finding, by its name
    paths : images to review, of all findings together, in their random order
    left : those without an answer about a finding that needs it
    """

    of_each: Mapping[str, Progress]
    without: Mapping[str, str]
    paths: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def statement(self) -> str:
        """The promises so far, a line a finding."""
        lines = [
            f"{name}: {each.certificate.statement}"
            for name, each in self.of_each.items()
            if each.certificate is not None
        ]
        return "\n".join(lines)


def certify_findings(folder: str | Path, findings: Sequence[str] = (), **wishes: Any) -> FindingsProgress:
    """Draw the sample for the findings of the run in the folder, or make the certificates of those of which it is answered.

    Parameters
    ----------
    findings : which of them; by default those that have a sample already, or all where none has
    wishes : as for `certificate_files.certify_run`

    Raises
    ------
    UsageError
        For a finding that the run does not have, and what would break a promise.
    InputError
        Where there is nothing to promise of any finding.
    """
    folder = Path(folder)
    run = Run.load(folder)
    names = list(run.record.classes)
    if unknown := [name for name in findings if name not in names]:
        raise UsageError(f"The run has no finding {unknown[0]!r}: its findings are {', '.join(names)}.")
    begun = [name for name in names if read_sample(_home(folder, name)) is not None]
    assert run.findings is not None
    order = hashlib.sha256(tables.to_csv(run.findings[["path", "finding", "probability"]])).hexdigest()
    standing, replaced, ever = answers_about(folder, run)
    of_each: dict[str, Progress] = {}
    without: dict[str, str] = {}
    for name in findings or begun or names:
        view = of_finding(run, name)
        if not (view.table["source"] != "clinician").any():
            without[name] = "every image is undecided, or was answered"
            continue
        mine, all_mine = (_about(each, name, names) for each in (standing, ever))
        of_each[name] = certified_in(_home(folder, name), view, mine, replaced, all_mine, order=order, **wishes)
    if not of_each:
        why = "; ".join(f"{name}: {reason}" for name, reason in without.items())
        raise InputError(
            f"Nothing can be promised ({why}): state how common findings are with --prior, or answer some images."
        )
    paths = tuple(sampled(folder, names))
    left = {path for each in of_each.values() for path in each.left}
    progress = FindingsProgress(of_each, without, paths, tuple(path for path in paths if path in left))
    _write(folder, progress)
    return progress


def of_finding(run: Run, name: str) -> Run:
    """One finding of a run as a run of two classes, `no NAME` and NAME, without the images of which it is undecided."""
    import pandas as pd

    assert run.findings is not None
    rows = run.findings[run.findings["finding"] == name]
    rows = rows[(rows["value"] >= 0) | (rows["source"] == "clinician")]
    sure = rows["probability"].where(rows["value"] == 1, 1.0 - rows["probability"])
    table = pd.DataFrame(
        {
            "path": rows["path"], "label": rows["value"].map({1: name, 0: absent(name), -1: NOT_USABLE}), "confidence": sure,
            "source": rows["source"], "suspect": rows["suspect"], "suspect_score": rows["suspect_score"], "clip_label": "",
            "clip_confidence": rows["clip_probability"],
        }
    )  # fmt: skip
    if GROUP in run.table:  # whole groups are drawn
        table[GROUP] = table["path"].map(dict(zip(run.table["path"], run.table[GROUP], strict=True)))
    about = {
        "classes": [absent(name), name], "findings": {},
        "estimated_error_rate": run.record.findings[name].get("estimated_error_rate"),
    }  # fmt: skip
    return replace(
        run, table=table, suspects=run.suspects.iloc[:0], run=run.run | about, findings=None, probabilities=None,
        issues=None, proposals=None, student=None,
    )  # fmt: skip


def absent(name: str) -> str:
    """The label of an image that does not show a finding."""
    return f"no {name}"


def sampled(folder: Path, names: Sequence[str]) -> list[str]:
    """The images of the samples of all findings, each once, in their common order."""
    samples = [sample for name in names if (sample := read_sample(_home(folder, name))) is not None]
    places: dict[str, int] = {}
    for sample in samples:
        for place, path in enumerate(sample.paths):
            places[path] = min(place, places.get(path, place))
    return sorted(places, key=lambda path: (places[path], path))


def _home(folder: Path, name: str) -> Path:
    """Where the files of one finding are."""
    safe = re.sub(r"[^\w-]+", "-", name).strip("-").lower()
    return folder / FOLDER / f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _about(answers: Sequence[Answer], name: str, names: Sequence[str]) -> list[Answer]:
    """What answers say of one finding, as answers with its two classes; without those that leave it open."""
    votes = (vote_about(answer, name, names) for answer in answers)
    word = {"1": name, "0": absent(name), None: None}
    return [replace(vote, label=word[vote.label]) for vote in votes if vote is not None]


def _write(folder: Path, progress: FindingsProgress) -> None:
    """The list of images to review, and what is promised by now."""
    import pandas as pd

    done = {name: each.certificate for name, each in progress.of_each.items() if each.certificate is not None}
    parts = [each.table.assign(finding=name)[list(COLUMNS)] for name, each in done.items()]
    list_ = pd.DataFrame({"path": progress.paths, "answer": [""] * len(progress.paths)}, dtype=object)
    with plain_errors(folder):
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    place = folder / FOLDER / "sample.csv"
    if not place.exists() or _blank(place):  # what somebody typed is never written over
        write_files({place: tables.to_csv(list_)})
    if not done:
        for name in CERTIFICATE:
            with plain_errors(folder):
                (folder / name).unlink(missing_ok=True)
        return
    facts = {name: json.loads((_home(folder, name) / "certificate.json").read_text(encoding="utf-8")) for name in done}
    texts = [f"{name}\n\n{(_home(folder, name) / 'certificate.txt').read_text(encoding='utf-8')}" for name in done]
    table: pd.DataFrame = pd.concat(parts, ignore_index=True).sort_values(["path", "finding"], kind="stable")
    note = "Each promise has its confidence by itself, not all of them together.\n"
    about = {"statement": progress.statement, "date": max(each["date"] for each in facts.values()), "findings": facts}
    write_files(
        {
            folder / "certified.csv": tables.to_csv(table),
            folder / "certificate.txt": "\n".join([progress.statement, "", note, *texts]).encode(),
            folder / "certificate.json": (json.dumps(about, indent=2) + "\n").encode(),
        }
    )


def _blank(file: Path) -> bool:
    try:
        return not (tables.read(file, ("path", "answer"))["answer"] != "").any()
    except InputError:
        return False
