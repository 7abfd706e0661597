"""`autoannotate explore`: a map of the images, search, groups, and what goes with what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoannotate.cli.app import app, plainly
from autoannotate.cli.options import Device


@app.command(epilog="Example: autoannotate explore autoannotate-run --metadata patients.csv")
@plainly()
def explore(
    source: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The folder of a run, or images before any labels.", show_default=False),
    ],
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Age, sex, site, scanner, any column, with a column path (or group: a folder)."
        ),
    ] = None,
    dicom_tags: Annotated[
        str | None,
        typer.Option(
            "--dicom-tags",
            metavar="A,B,…",
            help="DICOM attributes as columns too, of those that identify nobody, as Modality,PatientSex,Manufacturer; or all.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Whose images belong together.", show_default="patient, lesion_id, …"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the files go.", show_default="explore in the run's folder"),
    ] = None,
    reader: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose labels they are; else the page asks.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where a run's images are now, if they were moved.")
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="For images without a run: see autoannotate models.")
    ] = "embedded",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same map.")] = 0,
    device: Device = "auto",
    cache: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where encoded images are kept.", show_default="of this user")
    ] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Only write the files.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the page is; 0 takes a free port.")] = 0,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Who can reach it: this machine only, unless you say otherwise.")
    ] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """See the images on a map, search them, find groups, and what goes with age, sex, site or scanner.

    Writes map.parquet, clusters.csv, associations.csv, shortcuts.csv, slices.csv and report.html, then opens a page in your
    browser: near images lie near each other; choose some to label them all, to review them first, or to export them. With
    --metadata it says which columns the images tell, and which predict a label as well as the images do (a shortcut). Nothing
    leaves this machine.
    """
    from autoannotate._internal.progress import on_stderr
    from autoannotate.explore import server
    from autoannotate.explore.dicom_tags import chosen_tags
    from autoannotate.explore.maps import extra
    from autoannotate.explore.risks import in_words

    tags = [] if dicom_tags is None else chosen_tags(dicom_tags)
    for module in ("openTSNE", "sknetwork"):
        extra(module)
    collection, findings, files = server.explore(
        source, out, track=on_stderr, images=images, metadata=metadata, group=group, tags=tags, model=model, device=device,
        cache=cache or True, seed=seed,
    )  # fmt: skip
    for note in findings.notes:
        typer.echo(note, err=True)
    for risk in findings.shortcuts:
        if risk.risk.endswith("shortcut"):
            typer.echo(in_words(risk), err=no_page is False)
    for file in files:
        typer.echo(str(file), err=not no_page)
    if not no_page:
        server.serve(collection, findings, source, reader, host=host, port=port, browser=not no_browser)
