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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoannotate import __version__, tables
from autoannotate.annotations import Annotations
from autoannotate.answers import Answer, AnswerStore
from autoannotate.certify import THEOREM, Certificate, Sample, certify, draw_sample, fingerprint, grown, missing, share
from autoannotate.errors import InputError, UsageError

FOLDER = "certify"
SAMPLE = ("sample.csv", "sample.json")
CERTIFICATE = ("certified.csv", "certificate.json", "certificate.txt")


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run's certificate stands.

    left: images of the sample without an answer, in its order. certificate: once none is left. drawn: the sample was drawn,
    or grew, just now. voided: why an earlier sample or certificate no longer holds, or "".
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
) -> Progress:
    """Draw the sample of the run in the folder, or make the certificate once all of the sample is answered.

    What is None stays as the sample was drawn (0.02, 0.95, the computed budget and seed 0 for a new one). grow: go on to the
    next of the budgets. Raises `UsageError` for what would break the promise once answers are known, `InputError` where the
    folder holds no run and `OutputError` where it cannot be written.
    """
    folder = Path(folder)
    annotations = Annotations.load(folder)
    standing, ever = _answers(folder)
    sample = read_sample(folder)
    voided, earlier = "", 0
    if sample is not None and sample.labels_sha256 != fingerprint(annotations):
        earlier = sample.earlier + _touched(sample, ever)
        voided = void(folder, "the labels have changed since its sample was drawn")
        sample = None
    if sample is None:
        wishes = _given(max_error=max_error, confidence=confidence, budgets=budgets, seed=seed)
        now = draw_sample(annotations, standing, earlier=earlier, **wishes)
    else:
        now = _as_wished(annotations, standing, sample, _touched(sample, ever), max_error, confidence, budgets, seed)
    if grow and sample is not None:
        if open_yet := missing(annotations, now, standing):
            raise UsageError(
                f"{len(open_yet):,} images of the sample have no answer yet: it grows once all are answered."
            )
        now = grown(annotations, now)
    if now != sample:
        _write_sample(folder, now)
    left = tuple(missing(annotations, now, standing))
    if left:
        if now == sample and not _promised_before(folder, now):
            voided = voided or void(folder, "answers of its sample were taken back", CERTIFICATE)
        return Progress(now, left, None, now != sample, voided)
    certificate = certify(annotations, now, standing, max_error)
    _write_certificate(folder, certificate)
    return Progress(now, (), certificate, now != sample, voided)


def read_sample(folder: str | Path) -> Sample | None:
    """The sample that was drawn for the run in the folder, None without one. Raises `InputError` where it is damaged."""
    file = Path(folder) / FOLDER / "sample.json"
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        known = {field.name: kept[field.name] for field in fields(Sample)}
        return Sample(**known | {name: tuple(known[name]) for name in ("paths", "before", "budgets")})
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
    with tables.plain_errors(aside):
        aside.mkdir(parents=True)
        for file in there:
            file.replace(aside / file.name)
    what = "certificate" if any(file.name in CERTIFICATE for file in there) else "sample"
    return f"The earlier {what} no longer holds, because {why}; it is kept in {aside}."


def print_progress(progress: Progress, folder: Path) -> None:
    """What stands on stdout, and what to do next; what no longer holds goes to stderr."""
    import typer

    sample, certificate = progress.sample, progress.certificate
    if progress.voided:
        typer.echo(progress.voided, err=True)
    if certificate is None:
        list_ = folder / FOLDER / "sample.csv"
        total, left = len(sample.paths), len(progress.left)
        if progress.drawn:
            typer.echo(f"{total:,} of {sample.images:,} labels are drawn at random for review: {list_}")
            if total < (least := sample.least):
                typer.echo(
                    f"That is too few to promise {share(sample.max_error)} of all, even if none is wrong: it takes {least:,}."
                )
        typer.echo(f"{left:,} of the {total:,} images have no answer yet.")
        typer.echo(f"Next: autoannotate review {folder} --queue certify, then autoannotate certify {folder}")
        return
    typer.echo(certificate.statement)
    typer.echo(f"Of the {len(sample.paths):,} labels drawn, {certificate.found:,} were found wrong.")
    if certificate.unreviewed:
        typer.echo(
            f"Nobody reviewed {certificate.unreviewed:,} of the labels; at most {certificate.wrong_at_most:,} of these are "
            f"wrong. Left out: {certificate.images - len(certificate.table):,} of {certificate.images:,}."
        )
    typer.echo(f"Labels       {folder / 'certified.csv'}")
    typer.echo(f"Certificate  {folder / 'certificate.txt'}")


def _as_wished(
    annotations: Annotations,
    standing: Sequence[Answer],
    sample: Sample,
    touched: bool,
    max_error: float | None,
    confidence: float | None,
    budgets: Sequence[int] | None,
    seed: int | None,
) -> Sample:
    """The sample as it is, or drawn to another size where nobody has answered yet."""
    if seed is not None and seed != sample.seed:
        raise UsageError(
            f"The sample of these labels was drawn with seed {sample.seed}: another one, to see whether it is kinder, would "
            "break the promise. Leave --seed out."
        )
    other_confidence = confidence is not None and confidence != sample.confidence
    other_budgets = budgets is not None and tuple(sorted({min(n, sample.images) for n in budgets})) != sample.budgets
    other_error = max_error is not None and max_error != sample.max_error
    if not touched and (other_confidence or other_budgets or other_error):
        return draw_sample(
            annotations,
            standing,
            max_error=sample.max_error if max_error is None else max_error,
            confidence=sample.confidence if confidence is None else confidence,
            budgets=budgets or (),
            seed=sample.seed,
            earlier=sample.earlier,
        )
    if other_confidence:
        raise UsageError(
            f"The sample was drawn for {share(sample.confidence)} confidence and has answers: leave --confidence out."
        )
    if other_budgets:
        sizes = ", ".join(f"{size:,}" for size in sample.budgets)
        raise UsageError(
            f"The sample was drawn to be {sizes} images and has answers: another size now would break the promise. Leave "
            "--budget out" + ("." if sample.look == len(sample.budgets) else ", or go on to the next size with --grow.")
        )
    return sample


def _given(**wishes: Any) -> dict[str, Any]:
    return {name: wish for name, wish in wishes.items() if wish is not None}


def _answers(folder: Path) -> tuple[list[Answer], list[Answer]]:
    """The answers that stand, and all that were ever given."""
    if not AnswerStore.exists(folder):
        return [], []
    with AnswerStore(folder) as store:
        return store.current(), store.everything()


def _touched(sample: Sample, ever: Sequence[Answer]) -> bool:
    """Whether anything is known of the sample, taken back or not."""
    return not {answer.path for answer in ever}.isdisjoint(sample.paths)


def _promised_before(folder: Path, sample: Sample) -> bool:
    """Whether the certificate there was made of a smaller sample than this, and so still stands."""
    try:
        return json.loads((folder / "certificate.json").read_text(encoding="utf-8"))["sample"]["look"] < sample.look
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_sample(folder: Path, sample: Sample) -> None:
    import pandas as pd

    here = folder / FOLDER
    with tables.plain_errors(here):
        here.mkdir(parents=True, exist_ok=True)
    if (here / "sample.csv").exists() and _filled_in(here / "sample.csv"):
        void(folder, "", ["sample.csv"])  # what somebody typed is never written over
    table = pd.DataFrame({"path": sample.paths, "label": [""] * len(sample.paths)}, dtype=object)
    facts = {**asdict(sample), "drawn_at": _now(), "version": __version__}
    tables.write_files(
        {here / "sample.csv": tables.to_csv(table), here / "sample.json": (json.dumps(facts, indent=2) + "\n").encode()}
    )


def _filled_in(file: Path) -> bool:
    try:
        return bool((tables.read(file, ("path", "label"))["label"] != "").any())
    except InputError:
        return True  # it is no longer as it was written


def _write_certificate(folder: Path, certificate: Certificate) -> None:
    """All three files, or none; left as they are where they say the same already."""
    table = tables.to_csv(certificate.table)
    facts = _facts(certificate, hashlib.sha256(table).hexdigest())
    try:
        kept = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
        same = {**kept, "date": ""} == json.loads(json.dumps({**facts, "date": ""}))
        if same and (folder / "certified.csv").read_bytes() == table and (folder / "certificate.txt").exists():
            return
    except (OSError, ValueError, TypeError):
        pass
    text = _text(certificate, facts)
    tables.write_files(
        {
            folder / "certified.csv": table,
            folder / "certificate.txt": text.encode(),
            folder / "certificate.json": (json.dumps(facts, indent=2) + "\n").encode(),
        }
    )


def _facts(certificate: Certificate, certified_sha256: str) -> dict[str, Any]:
    sample, bounds = certificate.sample, certificate.sample.bounds
    return {
        "statement": certificate.statement,
        "max_error": certificate.max_error,
        "confidence": certificate.confidence,
        "date": _now(),
        "labels": {
            "certified": len(certificate.table),
            "of_images": certificate.images,
            "by_clinicians": len(certificate.table) - certificate.unreviewed,
            "unreviewed": certificate.unreviewed,
            "wrong_at_most": certificate.wrong_at_most,
            "least_confidence": certificate.least_confidence,
        },
        "sample": {
            "size": len(sample.paths),
            "drawn_from": sample.images,
            "answered_before": len(sample.before),
            "errors_found": certificate.found,
            "errors_found_among_as_confident": certificate.in_set,
            "unsettled": certificate.unsettled,
            "seed": sample.seed,
            "look": sample.look,
            "looks": len(sample.budgets),
            "earlier_samples": sample.earlier,
        },
        "bounds": {
            "errors_missed_at_most_by_errors_found": bounds.missed.tolist(),
            "chance_that_any_bound_fails": bounds.risk,
        },
        "theorem": THEOREM,
        "labels_sha256": sample.labels_sha256,
        "certified_sha256": certified_sha256,
        "version": __version__,
    }


def _text(certificate: Certificate, facts: Mapping[str, Any]) -> str:
    labels, sample = facts["labels"], facts["sample"]
    missed = (
        f"{labels['unreviewed']:,} by nobody: at most {labels['wrong_at_most']:,} of these are wrong"
        if labels["unreviewed"]
        else "none is unreviewed"
    )
    lines = [
        certificate.statement,
        "",
        f"Labels    {labels['certified']:,} of the {labels['of_images']:,} of the run: {labels['by_clinicians']:,} were "
        f"given by clinicians, which is taken for the truth, and {missed}.",
        f"Sample    {sample['size']:,} labels, drawn at random without replacement from {sample['drawn_from']:,} that nobody "
        f"had answered (seed {sample['seed']}). Wrong: {sample['errors_found']:,}, of which {sample['unsettled']:,} could not "
        f"be settled or are of no class; {sample['errors_found_among_as_confident']:,} of the wrong were among labels as "
        "confident as those kept. Wrong labels found are corrected in certified.csv, or left out.",
    ]
    if sample["looks"] > 1:
        lines.append(
            f"Looks     {sample['look']} of {sample['looks']} that were planned; the confidence holds for all together."
        )
    if sample["earlier_samples"]:
        lines.append(
            f"Before    {sample['earlier_samples'] + 1} samples were answered in this run, of labels that changed in between: "
            f"each certificate has its {share(certificate.confidence)} by itself, not all together."
        )
    lines += [
        f"Theorem   {THEOREM}",
        f"Valid for labels.csv with SHA-256 {facts['labels_sha256']}",
        f"          certified.csv with SHA-256 {facts['certified_sha256']}",
        "          If labels.csv changes, this certificate is void: `autoannotate certify` says so and puts it aside.",
        f"Date      {facts['date']}, autoannotate {facts['version']}",
        "",
        "Not covered: answers that are wrong themselves, images that the run could not read, and other images than these.",
    ]
    return "\n".join(lines) + "\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
