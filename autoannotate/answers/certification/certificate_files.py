"""The certificate of a run as files: the sample to review in DIR/certify, what is promised in DIR/certified.csv.

DIR/certify/sample.csv    the images to review, in random order: path and an empty label
DIR/certify/sample.json   how they were drawn
DIR/certified.csv         the labels that the promise is about: path, label, confidence, source
DIR/certificate.json      the promise and all that it rests on, .txt the same for people
DIR/certify/void-1/ …     samples and certificates of labels that are no longer those of the run
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoannotate._internal.files import plain_errors, write_files
from autoannotate._internal.version import __version__
from autoannotate.answers.certification import certificate_text
from autoannotate.answers.certification.sample import (
    Certificate,
    Sample,
    certify,
    draw_sample,
    fingerprint,
    grown,
    missing,
    share,
)
from autoannotate.answers.standing import standing_answers
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import InputError, UsageError
from autoannotate.runs import tables
from autoannotate.runs.run import LABELS, Run, check_single_labels

FOLDER = "certify"
SAMPLE = ("sample.csv", "sample.json", "labels.csv")
OF_THE_MACHINE = ["path", "label", "confidence", "source", "suspect_score"]
CERTIFICATE = ("certified.csv", "certificate.json", "certificate.txt")


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run's certificate stands.

    Attributes
    ----------
    left : images of the sample without an answer, in its order
    certificate : once none is left
    drawn : the sample was drawn, or grew, just now
    voided : why an earlier sample or certificate no longer holds, or ""
    """

    sample: Sample
    left: tuple[str, ...]
    certificate: Certificate | None
    drawn: bool
    voided: str


def certify_run(
    folder: str | Path,
    *,
    max_error: float | None = None,
    confidence: float | None = None,
    budgets: Sequence[int] | None = None,
    seed: int | None = None,
    grow: bool = False,
    whole_groups: bool | None = None,
) -> Progress:
    """Draw the sample of the run in the folder, or make the certificate once all of the sample is answered.

    What is None stays as the sample was drawn (0.02, 0.95, the computed budget and seed 0 for a new one); only a single budget
    is computed anew for another error or confidence.

    Parameters
    ----------
    grow : go on to the next of the budgets
    whole_groups : whether whole groups are drawn; None for a new sample: where the run has groups

    Raises
    ------
    UsageError
        For what would break the promise once answers are known.
    InputError
        Where the folder holds no run or labels by clinicians whose pictures were replaced since.
    OutputError
        Where it cannot be written.
    """
    folder = Path(folder)
    annotations = Run.load(folder)
    check_single_labels(annotations, "certify_run")
    return certified_in(
        folder, annotations, *answers_about(folder, annotations), max_error=max_error, confidence=confidence, budgets=budgets,
        seed=seed, grow=grow, whole_groups=whole_groups,
    )  # fmt: skip


def certified_in(
    folder: Path,
    annotations: Run,
    standing: Sequence[Answer],
    replaced: set[str],
    ever: Sequence[Answer],
    *,
    max_error: float | None = None,
    confidence: float | None = None,
    budgets: Sequence[int] | None = None,
    seed: int | None = None,
    grow: bool = False,
    whole_groups: bool | None = None,
    order: str = "",
) -> Progress:
    """What `certify_run` does, with the files in `folder` and these answers.

    Parameters
    ----------
    annotations : whose labels are promised
    standing, replaced, ever : see `answers_about`
    order : see `Sample`
    """
    sample, drawn = read_sample(folder), annotations
    voided, earlier = "", 0
    if sample is not None:
        drawn = _as_drawn(folder, sample, annotations)
        if not _still(drawn, annotations):
            earlier = sample.earlier + _touched(sample, ever)
            voided = void(folder, "the labels have changed since its sample was drawn")
            sample, drawn = None, annotations
    if not replaced.isdisjoint(drawn.table.loc[drawn.table["source"] == "clinician", "path"]):
        raise InputError("Pictures were replaced after clinicians labelled them: run `autoannotate update` first.")
    if sample is None:
        wishes = _given(
            max_error=max_error, confidence=confidence, budgets=budgets, seed=seed, whole_groups=whole_groups
        )
        now = draw_sample(drawn, standing, earlier=earlier, order=order, **wishes)
    else:
        touched = _touched(sample, ever)
        now = _as_wished(drawn, standing, sample, touched, max_error, confidence, budgets, seed, whole_groups)
    if grow and sample is not None:
        if open_yet := missing(drawn, now, standing):
            raise UsageError(
                f"{len(open_yet):,} images of the sample have no answer yet: it grows once all are answered."
            )
        now = grown(drawn, now)
    if now != sample:
        _write_sample(folder, now, drawn)
    left = tuple(missing(drawn, now, standing))
    if left:
        if now == sample and not _promised_before(folder, now):
            voided = voided or void(folder, "answers of its sample were taken back, or pictures replaced", CERTIFICATE)
        return Progress(now, left, None, now != sample, voided)
    certificate = certify(drawn, now, standing, max_error)
    _write_certificate(folder, certificate, fingerprint(annotations))
    return Progress(now, (), certificate, now != sample, voided)


def read_sample(folder: str | Path) -> Sample | None:
    """The sample that was drawn for the run in the folder, None without one.

    Raises
    ------
    InputError
        Where it is damaged.
    """
    file = Path(folder) / FOLDER / "sample.json"
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        kept = {"groups": (), "drawn": 0, "order": ""} | kept  # samples that 0.1.0 drew have none
        known = {field.name: kept[field.name] for field in fields(Sample)}
        return Sample(**known | {name: tuple(known[name]) for name in ("paths", "before", "budgets", "groups")})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} cannot be read ({error}): put a copy of it back, or move it away.") from error


def void(folder: str | Path, why: str, names: Sequence[str] | None = None) -> str:
    """Put the certificate and its sample (or these files) aside, because they no longer hold; says so, "" where none is."""
    folder = Path(folder)
    files = [folder / name if name in CERTIFICATE else folder / FOLDER / name for name in names or CERTIFICATE + SAMPLE]
    there = [file for file in files if file.exists()]
    if not there:
        return ""
    aside = next(place for number in range(1, 10**6) if not (place := folder / FOLDER / f"void-{number}").exists())
    with plain_errors(aside):
        aside.mkdir(parents=True)
        for file in there:
            file.replace(aside / file.name)
    what = "certificate" if any(file.name in CERTIFICATE for file in there) else "sample"
    return f"The earlier {what} no longer holds, because {why}; it is kept in {aside}."


def _as_wished(
    annotations: Run,
    standing: Sequence[Answer],
    sample: Sample,
    touched: bool,
    max_error: float | None,
    confidence: float | None,
    budgets: Sequence[int] | None,
    seed: int | None,
    whole_groups: bool | None,
) -> Sample:
    """The sample as it is, or drawn to another size where nobody has answered yet."""
    if seed is not None and seed != sample.seed:
        raise UsageError(
            f"The sample of these labels was drawn with seed {sample.seed}: another one, to see whether it is kinder, would "
            "break the promise. Leave --seed out."
        )
    other_confidence = confidence is not None and confidence != sample.confidence
    other_budgets = budgets is not None and tuple(sorted({min(n, sample.units) for n in budgets})) != sample.budgets
    other_error = max_error is not None and max_error != sample.max_error
    other_units = whole_groups is not None and whole_groups != bool(sample.groups)
    several = sample.budgets if len(sample.budgets) > 1 and not other_units else ()
    if not touched and (other_confidence or other_budgets or other_error or other_units):
        return draw_sample(
            annotations,
            standing,
            max_error=sample.max_error if max_error is None else max_error,
            confidence=sample.confidence if confidence is None else confidence,
            budgets=budgets or several,
            seed=sample.seed,
            earlier=sample.earlier,
            order=sample.order,
            whole_groups=bool(sample.groups) if whole_groups is None else whole_groups,
        )
    if other_units:
        raise UsageError(
            f"The sample was drawn by {'whole groups' if sample.groups else 'single images'} and has answers: leave --sample "
            "out."
        )
    if other_confidence:
        raise UsageError(
            f"The sample was drawn for {share(sample.confidence)} confidence and has answers: leave --confidence out."
        )
    if other_budgets:
        sizes = ", ".join(f"{size:,}" for size in sample.budgets)
        of = "groups" if sample.groups else "images"
        raise UsageError(
            f"The sample was drawn to be {sizes} {of} and has answers: another size now would break the promise. Leave "
            "--budget out" + ("." if sample.look == len(sample.budgets) else ", or go on to the next size with --grow.")
        )
    return sample


def _as_drawn(folder: Path, sample: Sample, annotations: Run) -> Run:
    """The run with the labels that the sample was drawn for."""
    file = folder / FOLDER / "labels.csv"
    drawn = replace(annotations, table=tables.read(file, LABELS), suspects=annotations.suspects.iloc[:0])
    if fingerprint(drawn) != sample.labels_sha256:
        raise InputError(f"{file} is not as it was when the sample was drawn: put a copy of it back, or move it away.")
    return drawn


def _still(drawn: Run, annotations: Run) -> bool:
    """Whether the machine's labels are those of the draw; a clinician's answer in the place of one changes nothing."""
    before, now = drawn.table[OF_THE_MACHINE], annotations.table[OF_THE_MACHINE]
    if not before["path"].equals(now["path"]):
        return False
    return bool(((before == now).all(axis=1) | (now["source"] == "clinician")).all())


def _given(**wishes: Any) -> dict[str, Any]:
    return {name: wish for name, wish in wishes.items() if wish is not None}


def answers_about(folder: Path, annotations: Run) -> tuple[list[Answer], set[str], list[Answer]]:
    """The answers that stand, the paths where none does because the picture was replaced, and all that were ever given."""
    if not AnswerStore.exists(folder):
        return [], set(), []
    standing, replaced = standing_answers(folder, list(annotations.refs.values()))
    with AnswerStore(folder) as store:
        return standing, set(replaced) - {answer.path for answer in standing}, store.everything()


def _touched(sample: Sample, ever: Sequence[Answer]) -> bool:
    """Whether anything is known of the sample, taken back or not."""
    return not {answer.path for answer in ever}.isdisjoint(sample.paths)


def _promised_before(folder: Path, sample: Sample) -> bool:
    """Whether the certificate there was made of a smaller sample than this, and so still stands."""
    try:
        return json.loads((folder / "certificate.json").read_text(encoding="utf-8"))["sample"]["look"] < sample.look
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_sample(folder: Path, sample: Sample, drawn: Run) -> None:
    import pandas as pd

    here = folder / FOLDER
    with plain_errors(here):
        here.mkdir(parents=True, exist_ok=True)
    if (here / "sample.csv").exists() and _filled_in(here / "sample.csv"):
        void(folder, "", ["sample.csv"])  # what somebody typed is never written over
    table = pd.DataFrame({"path": sample.paths, "answer": [""] * len(sample.paths)}, dtype=object)
    facts = {**asdict(sample), "drawn_at": _now(), "version": __version__}
    contents = (tables.to_csv(table), (json.dumps(facts, indent=2) + "\n").encode(), tables.to_csv(drawn.table))
    write_files({here / name: content for name, content in zip(SAMPLE, contents, strict=True)})


def _filled_in(file: Path) -> bool:
    try:
        return bool((tables.read(file, ("path", "answer"))["answer"] != "").any())
    except InputError:
        return True  # it is no longer as it was written


def _write_certificate(folder: Path, certificate: Certificate, labels_sha256: str) -> None:
    """All three files, or none; left as they are where they say the same already."""
    table = tables.to_csv(certificate.table)
    facts = certificate_text.facts(certificate, labels_sha256, hashlib.sha256(table).hexdigest(), _now())
    try:
        kept = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
        same = {**kept, "date": ""} == json.loads(json.dumps({**facts, "date": ""}))
        if same and (folder / "certified.csv").read_bytes() == table and (folder / "certificate.txt").exists():
            return
    except (OSError, ValueError, TypeError):
        pass
    text = certificate_text.text(certificate, facts)
    write_files(
        {
            folder / "certified.csv": table,
            folder / "certificate.txt": text.encode(),
            folder / "certificate.json": (json.dumps(facts, indent=2) + "\n").encode(),
        }
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
