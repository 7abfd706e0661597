"""Options that several commands have: each is written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoannotate.cli.app import MACHINERY
from autoannotate.errors import UsageError


def included(names: str) -> list[str]:
    """The kinds of files that `--include` names. Raises `UsageError` for one that there is not."""
    from autoannotate.images.ref import INCLUDED

    found = [name.strip() for name in names.split(",") if name.strip()]
    if odd := [name for name in found if name not in INCLUDED]:
        raise UsageError(f"--include takes {', '.join(INCLUDED)}; {odd[0]!r} is none of them.")
    return found


def was_given(context: typer.Context, name: str) -> bool:
    """Whether the command line has this option, rather than its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


MovedImages = Annotated[
    Path | None,
    typer.Option("--images", metavar="DIR", help="Where the images are now, if they were moved since the run."),
]
AcceptProposals = Annotated[
    bool,
    typer.Option("--accept-proposals", help="Take all proposed labels unseen, which else wait for spot checks."),
]
Rules = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Rules between findings, one a line: `mass implies abnormal`, `normal excludes all`, `exactly one of: a, b`.",
    ),
]
Fast = Annotated[bool, typer.Option("--fast", help="Time goes before quality.")]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="The CLIP model: one of `autoannotate models`, one of open_clip's, or a checkpoint.",
        rich_help_panel=MACHINERY,
    ),
]
Student = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="The network that learns from the cleaned labels: embedded, resnet18, none, timm:NAME or torchvision:NAME "
        "(@FILE: a checkpoint; @scratch: none), or what `pretrain simclr` made.",
        rich_help_panel=MACHINERY,
    ),
]
Device = Annotated[
    str, typer.Option(metavar="NAME", help="cpu, cuda, mps, or the best there is.", rich_help_panel=MACHINERY)
]
HashPaths = Annotated[
    bool,
    typer.Option(
        "--hash-paths", help="Keyed hashes in place of the names of files and folders, which may name patients."
    ),
]
Include = Annotated[
    str,
    typer.Option(
        metavar="A,B",
        help="DICOM files that are else passed over, as pictures: segmentations, doses, presentations.",
        show_default=False,
    ),
]
Embeddings = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Embeddings of another model (npz with path and embedding, npy, parquet), in the place of the encoder's features; "
        "IMAGES may then be left out.",
    ),
]
Probabilities = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="CSV",
        help="What another model, or rules over reports, say: path and a column a class; may be repeated. All are weighed by "
        "how well they agree.",
        show_default=False,
    ),
]
