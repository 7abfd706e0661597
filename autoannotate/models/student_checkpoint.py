"""A student's backbone on disk: a folder that `--student` takes, made by `autoannotate pretrain simclr`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate.errors import ModelError, UsageError
from autoannotate.models.student_architectures import (
    architecture_backbone,
    check_architecture,
    check_checkpoint,
    is_architecture,
)

if TYPE_CHECKING:
    from autoannotate.models.student_network import Backbone

ABOUT = "student.json"
WEIGHTS = "student.safetensors"
NAMES = ("embedded", "resnet18")


def check_student(name: str) -> str:
    """The name of a student, `none`, the folder of a saved one, or an architecture as in `timm:convnext_nano`.

    Raises
    ------
    UsageError
        For anything else.
    ModelError
        Where a checkpoint file is named that cannot be read, or is of another architecture.
    """
    if is_architecture(name):
        check_checkpoint(check_architecture(name))
        return name
    if name in (*NAMES, "none") or (Path(name) / ABOUT).is_file():
        return name
    raise UsageError(
        f"There is no student {name!r}: choose {', '.join(NAMES)}, none, timm:NAME, torchvision:NAME, or a folder made by "
        "`autoannotate pretrain simclr`."
    )


def save_student(folder: Path, kind: str, backbone: Backbone, about: dict[str, Any]) -> None:
    """Write the weights of a backbone of that kind, frozen stem and trained body, and how they came about."""
    from autoannotate._internal.files import write_files
    from autoannotate.models.loading.weights import save_weights

    parts = {"stem": backbone.stem, "body": backbone.body}
    weights = {
        f"{part}.{name}": tensor.cpu() for part, net in parts.items() for name, tensor in net.state_dict().items()
    }
    partial = folder / f".{WEIGHTS}.partial"
    save_weights(weights, partial)
    partial.replace(folder / WEIGHTS)
    write_files({folder / ABOUT: (json.dumps({"backbone": kind, **about}, indent=2) + "\n").encode()})


def load_student(folder: Path | str, encoder: Any = None) -> Backbone:
    """The backbone saved in the folder, for `cnn.fit`; `encoder` spares loading the embedded model again.

    Raises
    ------
    ModelError
        Where the files are broken or belong to another version of the backbone.
    """
    from autoannotate.models.loading.weights import read_weights
    from autoannotate.models.student_network import BACKBONES

    folder = Path(folder)
    try:
        kind = json.loads((folder / ABOUT).read_text(encoding="utf-8"))["backbone"]
        backbone = BACKBONES[kind](encoder, 0)
        weights = read_weights(folder / WEIGHTS)
        for part, net in (("stem.", backbone.stem), ("body.", backbone.body)):
            net.load_state_dict({k.removeprefix(part): v for k, v in weights.items() if k.startswith(part)})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"The student in {folder} cannot be read ({type(error).__name__}): it is broken or was made by another "
            "version; train it again with `autoannotate pretrain simclr`, or choose --student embedded."
        ) from error
    return replace(backbone, pretrained=True)


def load_backbone(kind: str, encoder: Any, seed: int) -> Backbone:
    """The backbone of that name in `BACKBONES`, or of the folder that `pretrain simclr` made, or of an architecture by name;
    else raises UsageError."""
    from autoannotate.models.student_network import BACKBONES

    if is_architecture(kind):
        return architecture_backbone(check_architecture(kind), seed)
    if kind in BACKBONES:
        return BACKBONES[kind](encoder, seed)
    return load_student(check_student(kind), encoder)
