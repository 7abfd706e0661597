"""`autoannotate audit`: what is wrong with labels that exist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from autoannotate._internal.wording import counted
from autoannotate.annotator.annotations import Annotations
from autoannotate.cli.app import MACHINERY, RUN, app, plainly
from autoannotate.cli.commands.label import _as_called
from autoannotate.cli.options import (
    Device,
    Embeddings,
    Fast,
    HashPaths,
    Include,
    Model,
    Probabilities,
    Rules,
    Student,
    included,
    was_given,
)
from autoannotate.errors import UsageError
from autoannotate.models.student_checkpoint import check_student
from autoannotate.runs.class_names import class_list
from autoannotate.runs.run import check_classes, check_findings
from autoannotate.runs.save import ensure_writable


@app.command(epilog="Example: autoannotate audit scans/ --labels labels.csv --groups patient --out scans-audit")
@plainly("Stopped. What was encoded is kept: run the same command to go on.")
def audit(
    context: typer.Context,
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGES",
            help="A folder, or whatever `label` takes; may be left out with --embeddings.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="CSV (path,label; an annotator a column label_NAME), COCO, FiftyOne or Label Studio JSON, CVAT XML, MedMNIST "
            "npz, or the word folders: a folder a class.",
            show_default=False,
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Instead of labels: boxes, as COCO, VOC (a file or folder of XML), a folder of YOLO, or CSV "
            "(path,x_min,y_min,x_max,y_max,label).",
            show_default=False,
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Of boxes: propose better ones, in boxes-repaired.csv; `review` takes or drops each."
        ),
    ] = False,
    detector: Annotated[
        bool,
        typer.Option(
            "--detector",
            help="Of boxes: train small detectors on them, which judge pictures that they did not see: boxes badly placed, of "
            "a wrong class, on nothing, or missing. Takes minutes.",
        ),
    ] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the run, issues.csv and the report go.")] = RUN,
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Which images are of one patient: a column of the labels, a CSV, folder, or dicom:patient, study, series.",
        ),
    ] = None,
    trusted: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels that are right, in a table as --labels takes.")
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images of the classes from elsewhere that are right, a folder a class: learned from, and never doubted. Of "
            "findings: FINDING, `no FINDING`, or `none`.",
        ),
    ] = None,
    findings: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Several findings an image: which of them. A CSV has a column each (1, 0, -1 or blank) or one with a|b.",
            show_default="all that the labels have, where they hold such",
        ),
    ] = None,
    blank: Annotated[
        str, typer.Option(metavar="POLICY", help="What a blank finding is: ignore (unknown), zeros (absent), ones.")
    ] = "ignore",
    uncertain: Annotated[
        str, typer.Option(metavar="POLICY", help="What a finding of -1 is: ignore (unknown), zeros, ones (present).")
    ] = "ignore",
    rules: Rules = None,
    item: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="What a label is about: image, file, series, study, patient; auto takes series and volumes as `label` does, "
            "unless the labels name their slices.",
        ),
    ] = "auto",
    hash_paths: HashPaths = False,
    include: Include = "",
    skip_problems: Annotated[
        bool, typer.Option("--skip-problems", help="Go on without rows and images that do not fit.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in DIR.")] = False,
    fast: Fast = False,
    model: Model = "embedded",
    embeddings: Embeddings = None,
    probabilities: Probabilities = None,
    student: Student = "embedded",
    seed: Annotated[int, typer.Option(min=0, help="The same seed finds the same.", rich_help_panel=MACHINERY)] = 0,
    device: Device = "auto",
) -> None:
    """Find what is wrong with labels that exist: wrong ones, contradictions, copies, leaks, bad pictures."""
    if (labels is None) == (boxes is None):
        raise UsageError("Say what is audited: --labels FILE, or --boxes FILE.")
    if images is None and (embeddings is None or boxes is not None):
        raise UsageError("Name the IMAGES that are audited, or embeddings of them with --embeddings.")
    if boxes is not None:
        if given := _given(
            context,
            (
                "groups",
                "trusted",
                "examples",
                "findings",
                "blank",
                "uncertain",
                "rules",
                "item",
                "hash_paths",
                "include",
                "embeddings",
                "probabilities",
            ),
        ):
            raise UsageError(f"{given} is of labels: an audit of boxes does not use it. Leave it out.")
        assert images is not None
        _audit_boxes(images, boxes, out, repair, detector, seed, skip_problems, overwrite)
        return
    if repair or detector:
        raise UsageError(
            f"--{'repair' if repair else 'detector'} is of boxes: labels are put right by review and update."
        )
    assert labels is not None
    ensure_writable(out, overwrite)
    kinds = included(include)

    from autoannotate._internal.progress import on_stderr
    from autoannotate.annotator.annotator import Annotator
    from autoannotate.annotator.audit_items import to_audit
    from autoannotate.answers.examples import example_classes
    from autoannotate.answers.given_findings import holds_findings
    from autoannotate.answers.given_labels import read_given_labels
    from autoannotate.cli.print_run import print_summary
    from autoannotate.images import ImageRef
    from autoannotate.models.embeddings_file import read_embeddings

    if findings is not None or holds_findings(labels):
        if given := _given(context, ("embeddings", "probabilities")):
            raise UsageError(f"{given} is of one label an image: an audit of findings does not use it. Leave it out.")
        assert images is not None
        _audit_findings(
            context, images, labels, out, findings, blank, uncertain, groups, trusted, skip_problems, overwrite,
            {"model": model, "student": check_student(student if was_given(context, "student") else "none"), "fast": fast,
             "seed": seed, "device": device, "rules": rules, "item": item, "hash_paths": hash_paths, "examples": examples,
             "include": kinds},
        )  # fmt: skip
        return
    if given := _given(context, ("blank", "uncertain", "rules")):
        raise UsageError(
            f"{given} is of findings, and {labels} has one label an image. Leave it out, or name --findings."
        )
    if images is None:
        assert embeddings is not None
        named = [ImageRef(name, embeddings.parent / name) for name in read_embeddings(embeddings).names]
    else:
        named = to_audit(images, labels, item, hash_paths=False, include=kinds).named
    classes = check_classes(read_given_labels(labels, named, skip_problems).classes)
    if examples is not None and embeddings is not None:
        raise UsageError("--examples are pictures, and --embeddings are of another program: leave one of them out.")
    if examples is not None:
        example_classes(examples, classes)
    annotator = Annotator(
        classes, model=model, student=check_student(student), seed=seed, device=device, fast=fast, item=item,
        hash_paths=hash_paths, include=kinds, embeddings=embeddings, probabilities=probabilities or (), examples=examples,
    )  # fmt: skip
    annotations = annotator.audit(
        images, labels, groups=groups, trusted=trusted, skip_problems=skip_problems, track=on_stderr
    )
    called = _as_called(context, names_only=annotator.hash_paths)
    called["arguments"] |= annotations.run["arguments"]
    annotations.run.update(called)
    annotations.save(out, overwrite)
    print_summary(annotations, out)
    _print_issues(annotations, out)


def _given(context: typer.Context, names: Sequence[str]) -> str | None:
    """The first of these options that the command line has."""
    return next((f"--{name.replace('_', '-')}" for name in names if was_given(context, name)), None)


def _audit_boxes(
    images: str, boxes: Path, out: Path, repair: bool, detector: bool, seed: int, skip_problems: bool, overwrite: bool
) -> None:
    from autoannotate._internal.progress import on_stderr
    from autoannotate.annotator.boxes import audit_boxes, save
    from autoannotate.runs.box_repairs import REPAIRED

    audit = audit_boxes(
        images, boxes, repair=repair, detector=detector, seed=seed, skip_problems=skip_problems, track=on_stderr
    )
    save(audit, out, overwrite)
    typer.echo(f"{len(audit.boxes):,} boxes in {audit.boxes['path'].nunique():,} images")
    for kind, count in audit.issues["issue"].value_counts().items():
        typer.echo(f"{kind:<15}{count:,}")
    if audit.unreadable:
        typer.echo(f"{'not readable':<15}{len(audit.unreadable):,} images")
    typer.echo(f"Issues  {out / 'issues.csv'}\nReport  {out / 'report.html'}")
    if audit.repaired is not None:
        changed = audit.repaired["change"].value_counts().drop("", errors="ignore").to_dict()
        dropped = len(audit.boxes) + changed.get("added", 0) - len(audit.repaired)
        said = ", ".join(f"{count:,} {what}" for what, count in {**changed, "dropped": dropped}.items() if count)
        typer.echo(f"Repaired {out / REPAIRED}: {said or 'nothing was to be changed'}")
        if said:
            typer.echo(f"Take or drop each change with a key: autoannotate review {out}")


def _audit_findings(
    context: typer.Context,
    images: str,
    labels: str,
    out: Path,
    findings: str | None,
    blank: str,
    uncertain: str,
    groups: str | None,
    trusted: Path | None,
    skip_problems: bool,
    overwrite: bool,
    machinery: dict[str, Any],
) -> None:
    from autoannotate._internal.progress import on_stderr
    from autoannotate.annotator.audit_items import to_audit
    from autoannotate.annotator.findings_annotator import FindingsAnnotator
    from autoannotate.answers.examples import example_findings
    from autoannotate.answers.given_findings import read_given_findings
    from autoannotate.cli.print_run import print_summary

    if findings is not None:
        names = class_list(findings)
    else:
        named = to_audit(images, labels, machinery["item"], hash_paths=False, include=machinery["include"]).named
        names = read_given_findings(
            labels, named, None, blank=blank, uncertain=uncertain, skip_problems=skip_problems
        ).names
    if machinery["examples"] is not None:
        example_findings(machinery["examples"], names)
    annotator = FindingsAnnotator(check_findings(names), **machinery)
    annotations = annotator.audit_findings(
        images,
        labels,
        blank=blank,
        uncertain=uncertain,
        groups=groups,
        trusted=trusted,
        skip_problems=skip_problems,
        track=on_stderr,
    )
    called = _as_called(context, names_only=annotator.hash_paths)
    called["arguments"] |= annotations.run["arguments"]
    annotations.run.update(called)
    annotations.save(out, overwrite)
    print_summary(annotations, out)
    _print_issues(annotations, out)


def _print_issues(annotations: Annotations, out: Path) -> None:
    told = annotations.run["audit"]
    if told["error_rates"]["all"] is None:
        typer.echo("\nWrong labels   unknown: no finding can be told from the images")
    else:
        share, low, high = told["error_rates"]["all"]
        typer.echo(
            f"\nWrong labels   cannot be told from the images, which contradict {high:.1%}, wrong or not"
            if share is None
            else f"\nWrong labels   an estimated {share:.1%} ({low:.1%} to {high:.1%} by the draw of images alone)"
        )
    for who, found in told["annotators"].items():
        confuses = f"; confuses {found['confuses']}" if found["confuses"] else ""
        typer.echo(f"{who}   quality {found['quality']:.2f}, {counted(found['labels'], 'label')}{confuses}")
    if told.get("tied"):
        typer.echo(
            f"Of {counted(told['tied'], 'image')} the annotators are divided equally: the first label in the alphabet "
            "stands there, and they are left out of what is said of the annotators."
        )
    for kind, count in sorted(told["issues"].items(), key=lambda each: -each[1]):
        typer.echo(f"{kind:<15}{count:,}")
    typer.echo(f"Issues  {out / 'issues.csv'}")
