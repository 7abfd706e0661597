"""`autoannotate export`: labels for another program."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from autoannotate._internal.choices import module_names
from autoannotate._internal.wording import one_of
from autoannotate.annotator.annotations import Annotations
from autoannotate.cli.app import app, plainly
from autoannotate.cli.options import MovedImages
from autoannotate.errors import UsageError


class Part(StrEnum):
    """What of a run is exported."""

    suspects = "suspects"
    all = "all"
    answered = "answered"
    certified = "certified"


@app.command(epilog="Example: autoannotate export autoannotate-run --format csv --out to-check.csv")
@plainly()
def export(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help=f"{one_of(module_names('autoannotate.exports'))}.",
        ),
    ] = "csv",
    what: Annotated[
        Part, typer.Option(help="The suspects, all labels, those that clinicians gave, or those that are certified.")
    ] = Part.suspects,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The file or folder to write, - for stdout; else one in DIR/exports."),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(metavar="WAY", help="How pictures travel: copy, hard or sym (links), or embed (label-studio)."),
    ] = None,
    keep_metadata: Annotated[
        bool, typer.Option("--keep-metadata", help="Leave EXIF and texts in pictures, which may name the patient.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace PATH where it is there already.")] = False,
    images: MovedImages = None,
    min_confidence: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Leave out labels that are less sure, as in 0.9.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="A,B[,C]", help="Parts for training: 80,20 is train and test, 70,15,15 train, val and test."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Of dicom-sr: store the reports in this PACS too (dicomweb://HOST/PATH); else nothing is sent.",
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="A column for the probability of each class.")
    ] = False,
) -> None:
    """Write the suspects, or all labels, for another program."""
    from autoannotate import exports
    from autoannotate._internal.progress import on_stderr
    from autoannotate._internal.wording import counted
    from autoannotate.exports import find_format
    from autoannotate.exports._selection import select, with_probabilities, with_split

    part: Literal["suspects", "all"] = "suspects" if what is Part.suspects else "all"
    module = find_format(format)
    if store is not None and not hasattr(module, "store"):
        raise UsageError(
            f"--store sends DICOM structured reports to a PACS: it goes with --format dicom-sr, not {format}."
        )
    if store is not None:
        module.check_address(store)  # type: ignore[attr-defined]
    annotations, left_out = select(Annotations.load(run, images), what.value, min_confidence)
    if split is not None:
        annotations = with_split(annotations, _shares(split))
    if probabilities:
        annotations = with_probabilities(annotations)
    for said in left_out:
        typer.echo(f"Left out: {said}.", err=True)
    if out == Path("-"):
        _to_stdout(annotations, format, part)
        return
    exported = exports.export(
        annotations,
        format,
        out or run / "exports" / f"{what.value}{module.SUFFIX}",
        part,
        overwrite,
        link=link,
        track=on_stderr,
        keep_metadata=keep_metadata,
    )
    made, rows = exported.files, len(annotations.rows(part)) - len(exported.lost)
    if exported.lost:
        first, why = next(iter(exported.lost.items()))
        typer.echo(
            f"Left out: {counted(len(exported.lost), 'image')}. The first is {first}: {why}",
            err=True,
        )
    typer.echo(f"{counted(rows, 'suspect' if part == 'suspects' else 'label')} written to {made[0]}")
    for path in made[1:]:
        typer.echo(f"with it: {path}")
    if exported.removed:
        removed = ", ".join(f"{kind} of {counted(n, 'picture')}" for kind, n in sorted(exported.removed.items()))
        typer.echo(f"Left out of the pictures: {removed}.")
    if store is not None:
        sent = module.store(made[0], store, on_stderr)  # type: ignore[attr-defined]
        typer.echo(f"{counted(sent, 'structured report')} stored in {store}; nothing else was sent.")
        return
    if not rows and what is Part.suspects:
        typer.echo("The queue is empty, so there is nothing to answer: --what all exports every label.")
        return
    if hasattr(module, "next_step"):
        said = module.next_step(made[0], part, link or "")
        typer.echo(said.replace(" DIR ", f" {shlex.quote(str(run))} "), nl=bool(said))


def _to_stdout(annotations: Annotations, format: str, what: Literal["suspects", "all"]) -> None:
    import tempfile

    from autoannotate.exports import find_format

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"export{find_format(format).SUFFIX}"
        annotations.export(format, path, what)
        if path.is_dir():
            raise UsageError(f"The format {format} is a folder of files, not a stream: give a path with --out.")
        sys.stdout.buffer.write(path.read_bytes())
        sys.stdout.flush()


def _shares(text: str) -> list[float]:
    try:
        return [float(share) for share in text.split(",")]
    except ValueError:
        raise UsageError(f"--split takes shares, as in 70,15,15; {text!r} is not.") from None
