"""`autoannotate pretrain`: train an encoder or a student on your own images."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from autoannotate.cli.app import app, plainly
from autoannotate.cli.options import Device
from autoannotate.errors import InputError

pretrain = typer.Typer(no_args_is_help=True, help="Train an encoder on your own images.")
app.add_typer(pretrain, name="pretrain")


@pretrain.command("clip", epilog="Example: autoannotate pretrain clip --images scans/ --pairs pairs.csv --out my-clip")
@plainly("Stopped. Run the same command to go on from the last checkpoint.")
def pretrain_clip(
    images: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the images.", show_default=False)],
    pairs: Annotated[
        Path,
        typer.Option(metavar="CSV", help="Its columns: path, and caption or report.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the checkpoint goes.", show_default=False)],
    init: Annotated[
        str, typer.Option(metavar="NAME", help="The model to start from: what `label --model` takes.")
    ] = "embedded",
    epochs: Annotated[float, typer.Option(min=0, help="How often each image is seen.")] = 10,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.")] = 128,
    lr: Annotated[float, typer.Option(min=0, help="Peak learning rate of the image tower.")] = 3e-4,
    text_lr: Annotated[float, typer.Option(min=0, help="Peak learning rate of the text tower.")] = 1e-4,
    anchor: Annotated[
        float, typer.Option(min=0, help="How firmly texts are held where they were before training.")
    ] = 2.0,
    anchor_texts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Phrases to hold, one a line; else the captions.")
    ] = None,
    held_out: Annotated[float, typer.Option(min=0, max=1, help="Share of the images kept aside.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same training.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 2,
    device: Device = "auto",
) -> None:
    """Train or fine-tune CLIP on your own images and the reports or captions that go with them."""
    if not images.is_dir():
        raise InputError(
            f"There is no folder {images}: --images takes the folder that the paths of --pairs start from."
        )
    if not pairs.is_file():
        raise InputError(f"There is no table {pairs}: --pairs takes a CSV with the columns path and caption.")
    if anchor_texts and not anchor_texts.is_file():
        raise InputError(f"There is no file {anchor_texts}: --anchor-texts takes a text file, one phrase a line.")

    from autoannotate._internal.progress import on_stderr
    from autoannotate._internal.wording import counted, percent
    from autoannotate.models.pretraining import clip

    result = clip.pretrain_clip(
        images,
        pairs,
        out,
        init=init,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        text_lr=text_lr,
        anchor=anchor,
        anchor_texts=anchor_texts,
        held_out=held_out,
        seed=seed,
        workers=workers,
        device=device,
        track=on_stderr,
    )
    aside, captions = counted(result.held_out_images, "image"), counted(result.held_out_captions, "caption")
    typer.echo(f"Of {aside} kept aside, the best of {captions} was true for {percent(result.after)}", nl=False)
    typer.echo(f" ({percent(result.before)} before training).")
    typer.echo(f"Use it: autoannotate label IMAGES --classes a,b --model {shlex.quote(str(result.folder))}")


@pretrain.command("simclr", epilog="Example: autoannotate pretrain simclr --images scans/ --out my-student")
@plainly("Stopped. Run the same command to go on from the last checkpoint.")
def pretrain_simclr(
    images: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the images.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the student goes.", show_default=False)],
    init: Annotated[
        str, typer.Option(metavar="NAME", help="What to start from: embedded, resnet18, or an earlier DIR.")
    ] = "embedded",
    epochs: Annotated[float, typer.Option(min=0, help="How often each image is seen.")] = 20,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step, told apart from each other.")] = 64,
    held_out: Annotated[float, typer.Option(min=0, max=1, help="Share of the images kept aside.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same training.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw views.")] = 2,
    device: Device = "auto",
) -> None:
    """Train the student on your own images, without labels (SimCLR)."""
    if not images.is_dir():
        raise InputError(f"There is no folder {images}: --images takes the folder of the unlabelled images.")

    from autoannotate._internal.progress import on_stderr
    from autoannotate._internal.wording import counted, percent
    from autoannotate.models.pretraining import simclr

    result = simclr.pretrain_simclr(
        images,
        out,
        init=init,
        epochs=epochs,
        batch_size=batch_size,
        held_out=held_out,
        seed=seed,
        workers=workers,
        device=device,
        track=on_stderr,
    )
    typer.echo(f"Learnt from {counted(result.images, 'image')}; {result.unreadable:,} could not be read.")
    if result.held_out_images > 1:
        aside = counted(result.held_out_images, "image")
        typer.echo(f"Of {aside} kept aside, {percent(result.after)} of the changed views were known again", nl=False)
        typer.echo(f" ({percent(result.before)} before training).")
    typer.echo(f"Use it: autoannotate label IMAGES --classes a,b --student {shlex.quote(str(result.folder))}")
