"""`autoannotate predict`: label new images as a run labelled its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoannotate.cli.app import app, plainly
from autoannotate.cli.options import Device, HashPaths, Include, included


@app.command(epilog="Example: autoannotate predict autoannotate-run next-month/ --out next-month-labels")
@plainly()
def predict(
    run: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder of a run, or of a labeller.", show_default=False)
    ],
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGES",
            help="New images: whatever `label` takes; may be left out with --embeddings.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the labels go.")] = Path("autoannotate-predicted"),
    embeddings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of the new images, where the run learned from another model's embeddings."),
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the labeller as ONNX too, checked against PyTorch on the new images."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace labels that are there.")] = False,
    item: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What gets one label: image, file, series, study, patient, auto.",
            show_default="as in the run",
        ),
    ] = None,
    hash_paths: HashPaths = False,
    include: Include = "",
    run_images: Annotated[
        Path | None,
        typer.Option(
            "--run-images", "--images", metavar="PATH", help="Where the run's own images are now, if they were moved."
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Label new images in one pass, by what a run has learned.

    The first call makes a labeller of the run's labels, which takes minutes where the run had a student, and keeps it in
    DIR/labeller (safetensors, JSON and a card that says what it learned from, how good it is and what it has never seen); copy
    that folder to take it along. New images are never learned from. Each row of labels.csv says whether the image is unlike
    those that the labeller learned from. Of a run with several findings an image there is a findings.csv too, and its rules
    hold.
    """
    from autoannotate._internal.progress import on_stderr
    from autoannotate._internal.wording import counted
    from autoannotate.annotator.predict import labeller_of, save
    from autoannotate.annotator.predict import predict as label_new
    from autoannotate.images.items import check_kind

    if item is not None:
        check_kind(item)
    labeller = labeller_of(run, device=device, images=run_images, track=on_stderr)
    found = label_new(
        labeller,
        images,
        embeddings=embeddings,
        device=device,
        item=item,
        hash_paths=hash_paths,
        include=included(include),
        track=on_stderr,
    )
    save(found, out, overwrite)
    if found.findings is None:
        counts = found.table["label"].value_counts().items()
    else:
        counts = found.findings.groupby("finding", sort=False)["value"].sum().items()
    for name, count in counts:
        typer.echo(f"{count:>8,}  {name}")
    for name, why in labeller.about.get("without", {}).items():
        typer.echo(f"{name} was not learned: {why}.", err=True)
    unlike = int(found.table["unlike_training"].sum())
    typer.echo(
        f"{counted(len(found.table), 'image')} in {out / 'labels.csv'}; {unlike:,} unlike those it learned from."
    )
    if passed := [f"{group.kind} ({group.count:,})" for group in found.passed_over if not group.expected]:
        typer.echo(f"Passed over: {', '.join(passed)}", err=True)
    if onnx is not None:
        from autoannotate.annotator.predict import export_onnx

        difference = export_onnx(labeller, found, onnx)
        typer.echo(f"{onnx}: probabilities as PyTorch's within {difference:.1g}.")
    if len(found.unreadable):
        typer.echo(f"{counted(len(found.unreadable), 'file')} could not be read: {out / 'unreadable.csv'}", err=True)
