"""Students of any architecture: `timm:NAME` and `torchvision:NAME`, with published weights, a checkpoint file, or none.

    --student timm:convnext_nano                           # weights of the hub, downloaded once
    --student torchvision:resnet50@RadImageNet-ResNet50.pt # a file
    --student timm:resnet26@scratch                        # none

A checkpoint may have the layout of timm, torchvision, MONAI or RadImageNet: names are matched to those of the network.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate.errors import ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from autoannotate.models.student_network import Backbone

LIBRARIES = ("timm", "torchvision")
SCRATCH = "scratch"
SIDE = 128  # pixels, where the architecture leaves the choice
FLOPS = 2.6e8  # of the embedded tower for one image, the unit of `Backbone.cost`
MATCHED = 0.9  # share of the network's tensors that a checkpoint must have
WRAPPERS = ("module.", "model.", "net.", "backbone.", "encoder.", "bb.")  # what checkpoints put in front of names


def is_architecture(name: str) -> bool:
    """Whether a student is named so: `timm:…` or `torchvision:…`.

    >>> is_architecture("timm:resnet18"), is_architecture("resnet18")
    (True, False)
    """
    return name.partition(":")[0] in LIBRARIES and ":" in name


def check_architecture(name: str) -> str:
    """The name, where there is such an architecture and file.

    Raises
    ------
    UsageError
        With the nearest name.
    """
    library, architecture, weights = _parts(name)
    known = _known(library)
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=1)
        hint = f" Did you mean {library}:{near[0]}?" if near else ""
        raise UsageError(f"{library} has no architecture {architecture!r}.{hint}")
    if weights not in ("", SCRATCH) and not Path(weights).is_file():
        raise UsageError(
            f"There is no checkpoint {weights}: name a file after the @, or {library}:{architecture}@{SCRATCH}."
        )
    return name


def check_checkpoint(name: str) -> None:
    """Read the checkpoint file that a student's name ends with, if it does, before anything else is done.

    Raises
    ------
    ModelError
        Where it cannot be read, or is of another architecture.
    """
    library, architecture, weights = _parts(name)
    if weights not in ("", SCRATCH):
        network, _, _ = _built(library, architecture, published=False)
        load_checkpoint(network, Path(weights), f"{library}:{architecture}")


def architecture_backbone(name: str, seed: int, *, empty: bool = False) -> Backbone:
    """The backbone of a student that is named `timm:…` or `torchvision:…`; empty: without its weights, which will be loaded.

    Batch norm of pretrained networks is folded into the convolutions before it, as in the embedded student.

    Raises
    ------
    ModelError
        Where weights cannot be had or do not fit, or the network gives no feature maps.
    """
    import torch
    from torch import nn

    from autoannotate.models.batch_norm import fold_batch_norm
    from autoannotate.models.feature_maps import FeatureMaps, Standardise
    from autoannotate.models.student_network import Backbone, fixed_randomness

    library, architecture, weights = _parts(name)
    pretrained = weights != SCRATCH
    with fixed_randomness(seed):
        whole, body, side = _built(library, architecture, published=weights == "" and not empty)
    if weights not in ("", SCRATCH) and not empty:
        load_checkpoint(whole, Path(weights), f"{library}:{architecture}")
    example = torch.zeros(1, 3, side, side)
    whole.eval()
    body.eval()
    try:
        maps = FeatureMaps(body, example)
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        raise ModelError(
            f"{name} gives no feature maps for images of {side} pixels ({str(error).splitlines()[0][:80]}): choose another."
        ) from error
    cost = _flops(maps, example) / FLOPS
    if pretrained:
        fold_batch_norm(maps, example)
    maps.requires_grad_(True)
    stem: nn.Module = Standardise() if pretrained else nn.Identity()
    rate, head_rate = (2e-4, 2e-3) if pretrained else (1e-3, 1e-3)
    return Backbone(
        stem,
        maps,
        maps.width,
        side,
        rate,
        head_rate,
        pretrained,
        cost=max(cost, 0.1),
        max_epochs=12 if pretrained else 30,
    )


def load_checkpoint(network: Any, file: Path, name: str) -> None:
    """Load the tensors of a file that fit into the network, by the layout that fits most of them.

    Raises
    ------
    ModelError
        Where fewer than `MATCHED` of the network's tensors are in the file; a classifier at its end does not count.
    """
    from autoannotate.models.loading.weights import read_weights

    wanted = {key: value for key, value in network.state_dict().items() if not _of_classifier(key)}
    ways_out = f"name another file after the @, or train it from nothing, {name}@{SCRATCH}"
    fitting = matched(read_weights(file, ways_out), wanted, [child for child, _ in network.named_children()])
    if len(fitting) < MATCHED * len(wanted):
        raise ModelError(
            f"{file} does not fit {name}: {len(fitting):,} of {len(wanted):,} tensors have the name and shape of its own. "
            "Name the architecture that it was trained with."
        )
    network.load_state_dict(fitting, strict=False)


def matched(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], children: list[str]) -> dict[str, Tensor]:
    """Those of the weights that are wanted, by wanted name, in the layout with the most of them.

    Layouts: names as they are; without what wraps the network; a sequence of the network's children by number
    (RadImageNet, MONAI's TorchVisionFCModel); MONAI's `layers.` within dense layers.
    """
    best: dict[str, Tensor] = {}
    plain = {_unwrapped(key): value for key, value in weights.items()}
    for numbered in (False, True):
        for start in ("", "features."):
            found = {}
            for key, value in plain.items():
                new = key.removeprefix(start) if start and numbered else key
                if numbered and (place := re.match(r"(\d+)\.", new)) and int(place[1]) < len(children):
                    new = f"{children[int(place[1])]}.{new[place.end() :]}"
                new = re.sub(r"(denselayer\d+)\.layers\.", r"\1.", new)
                if new in wanted and wanted[new].shape == value.shape:
                    found[new] = value
            best = max(best, found, key=len)
    return best


def _unwrapped(key: str) -> str:
    while wrapper := next((each for each in WRAPPERS if key.startswith(each)), None):
        key = key.removeprefix(wrapper)
    return key


def _of_classifier(key: str) -> bool:
    return key.split(".")[0] in ("fc", "classifier", "head", "heads", "last_linear") or key.endswith(
        "num_batches_tracked"
    )


def _parts(name: str) -> tuple[str, str, str]:
    library, _, rest = name.partition(":")
    architecture, _, weights = rest.partition("@")
    return library, architecture, weights


def _known(library: str) -> list[str]:
    if library == "timm":
        import timm

        return list(timm.list_models())
    from torchvision.models import list_models

    return [
        name
        for name in list_models()
        if "/" not in name and not re.search(r"rcnn|ssd|retinanet|fcos|raft|mvit|swin3d", name)
    ]


def _built(library: str, architecture: str, *, published: bool) -> tuple[Any, Any, int]:
    """The network, the part that gives feature maps, and the side of its images. published: with its own weights."""
    try:
        if library == "timm":
            import timm

            network: Any = timm.create_model(architecture, pretrained=published, num_classes=0, global_pool="")
            settings: dict[str, Any] = dict(network.pretrained_cfg or {})
            fixed = bool(settings.get("fixed_input_size"))
            return network, network, int(settings.get("input_size", (3, SIDE, SIDE))[-1]) if fixed else SIDE
        from torchvision.models import get_model

        network = get_model(architecture, weights="DEFAULT" if published else None)
        return network, _features_of(network, architecture), SIDE
    except ModelError:
        raise
    except Exception as error:  # each hub has its own errors for what cannot be had
        if not published:
            raise ModelError(f"{library} cannot make {architecture} ({str(error).splitlines()[0][:120]}).") from error
        raise ModelError(
            f"The weights of {library}:{architecture} cannot be had ({type(error).__name__}): name a checkpoint file, "
            f"{library}:{architecture}@FILE, or train it from nothing, {library}:{architecture}@{SCRATCH}."
        ) from error


def _features_of(network: Any, architecture: str) -> nn.Module:
    """What of a torchvision network comes before its pooling."""
    from torch import nn

    if hasattr(network, "features"):
        return network.features
    children = list(network.named_children())
    names = [name for name, _ in children]
    if "avgpool" not in names:
        raise ModelError(
            f"torchvision:{architecture} gives no feature maps: choose a convolutional one, or timm:{architecture}."
        )
    return nn.Sequential(*(child for _, child in children[: names.index("avgpool")]))


def _flops(network: nn.Module, example: Tensor) -> float:
    """Of one forward pass."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(example)
    return float(counter.get_total_flops())
