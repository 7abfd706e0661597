"""`autoannotate models` and `autoannotate prompts`: what CLIP can be, and what it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoannotate.cli.app import app, plainly
from autoannotate.errors import UsageError


@app.command(epilog="Example: autoannotate models")
@plainly()
def models() -> None:
    """List the CLIP models that have a short name, and whether their weights are on this machine."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from autoannotate.cli.console import make_console
    from autoannotate.models import list_models

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("name", "size", "here", "good for", "licence"):
        table.add_column(name, justify="right" if name == "size" else "left", overflow="fold")
    for row in list_models():
        table.add_row(row.name, f"{row.megabytes:,} MB", "yes" if row.here else "no", row.good_for, row.licence)
    console = make_console()
    console.print(table)
    console.print("--model also takes open_clip's names (ViT-B-32/openai), hf-hub:… and a checkpoint of your own.")
    first = next((row for row in list_models() if not row.here), None)
    if first is not None:
        console.print(
            "Weights that are not here are fetched when they are first used. For a machine without internet, fetch them on "
            "one that has it:\n"
            f"  python -c \"from autoannotate.models.encoder import load_encoder; load_encoder('{first.name}')\"\n"
            "then copy its folder ~/.cache/huggingface/hub to the same place there, or to where HF_HOME says.",
            soft_wrap=True,
        )


@app.command(epilog="Example: autoannotate prompts normal,pneumonia --modality CT")
@plainly()
def prompts(
    classes: Annotated[str, typer.Argument(metavar="A,B,…", help="Names of classes.", show_default=False)],
    file: Annotated[Path | None, typer.Option("--prompts", metavar="FILE", help="Your own words, as YAML.")] = None,
    modality: Annotated[str | None, typer.Option(metavar="NAME", help="What all images are, as in CT.")] = None,
) -> None:
    """Show the sentences by which CLIP will know each class."""
    from autoannotate.labelling.zero_shot.prompts import class_prompts
    from autoannotate.runs.class_names import class_list

    names = [name.strip() for name in class_list(classes) if name.strip()]
    if not names:
        raise UsageError("Name a class or more, as in: autoannotate prompts chest,breast")
    for number, found in enumerate(class_prompts(names, file=file, modality=modality)):
        if number:
            typer.echo()
        typer.secho(found.name, bold=True, nl=not found.sense)
        if found.sense:
            typer.echo(f": {found.sense}")
        for text in found.texts:
            typer.echo(f"  {text}")
