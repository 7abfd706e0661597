"""Students of other architectures: found by name, weights in several layouts, and trained like any other student."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_student import shapes, weak_probe
from torchvision.models import densenet121, resnet18

from autoannotate.errors import ModelError, UsageError
from autoannotate.models.student_architectures import architecture_backbone, load_checkpoint
from autoannotate.models.student_checkpoint import check_student
from autoannotate.models.student_training import train_student


def test_names_are_checked_before_anything_is_read() -> None:
    assert check_student("timm:resnet18@scratch") == "timm:resnet18@scratch"
    assert check_student("torchvision:resnet18") == "torchvision:resnet18"
    with pytest.raises(UsageError, match=r"Did you mean torchvision:resnet18\?"):
        check_student("torchvision:resnet81")
    with pytest.raises(UsageError, match=r"no checkpoint nowhere\.pt"):
        check_student("timm:resnet18@nowhere.pt")


@pytest.mark.parametrize("name", ["timm:resnet10t", "timm:vit_tiny_patch16_224", "torchvision:mobilenet_v3_small"])
def test_convolutions_and_tokens_become_feature_maps(name: str) -> None:
    backbone = architecture_backbone(f"{name}@scratch", 0)
    maps = backbone.body(backbone.stem(torch.zeros(2, 3, backbone.size, backbone.size)))
    assert maps.shape[:2] == (2, backbone.width)
    assert maps.ndim == 4
    assert backbone.cost > 0


def layouts() -> dict[str, dict[str, Any]]:
    """The weights of one ResNet-18 as different projects save them."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = resnet18(weights=None)
    own = network.state_dict()
    number = {child: place for place, (child, _) in enumerate(network.named_children())}
    numbered = {f"{number[key.split('.')[0]]}.{key.partition('.')[2]}": value for key, value in own.items()}
    return {
        "torchvision": own,
        "distributed": {f"module.{key}": value for key, value in own.items()},
        "RadImageNet": {f"backbone.{key}": value for key, value in numbered.items() if not key.startswith("9.")},
        "MONAI, TorchVisionFCModel": {f"features.{key}": value for key, value in numbered.items() if key[0] != "9"},
        "MONAI, a wrapped encoder": {f"net.encoder.{key}": value for key, value in own.items()},
        "MONAI, a training checkpoint": {"model": {f"net.{key}": value for key, value in own.items()}, "epoch": 3},
    }


@pytest.mark.parametrize("layout", layouts())
def test_a_checkpoint_is_read_in_its_layout(layout: str, tmp_path: Path) -> None:
    weights = layouts()[layout]
    file = tmp_path / "weights.pt"
    torch.save(weights, file)
    network = resnet18(weights=None)
    load_checkpoint(network, file, "torchvision:resnet18")
    expected = layouts()["torchvision"]
    loaded = network.state_dict()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected if not key.startswith("fc."))


def test_dense_layers_as_monai_names_them(tmp_path: Path) -> None:
    own = densenet121(weights=None)
    named = {re.sub(r"(denselayer\d+)\.", r"\1.layers.", key): value for key, value in own.state_dict().items()}
    torch.save(named, tmp_path / "dense.pt")
    network = densenet121(weights=None)
    load_checkpoint(network, tmp_path / "dense.pt", "torchvision:densenet121")
    key = "features.denseblock1.denselayer1.conv1.weight"
    assert torch.equal(network.state_dict()[key], own.state_dict()[key])


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(densenet121(weights=None).state_dict(), tmp_path / "dense.pt")
    with pytest.raises(ModelError, match="does not fit torchvision:resnet18: 0 of"):
        architecture_backbone(f"torchvision:resnet18@{tmp_path / 'dense.pt'}", 0)


def test_a_checkpoint_that_is_none_is_refused_before_any_image_is_read(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "empty.pt").touch()
    torch.save(resnet18(weights=None), tmp_path / "whole.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for file in tmp_path.iterdir():
        with pytest.raises(
            ModelError, match=r"another file after the @, or train it from nothing, torchvision:resnet18@"
        ) as refused:
            check_student(f"torchvision:resnet18@{file}")
        assert "CLIP" not in str(refused.value)
        assert "weights_only" not in str(refused.value)


@pytest.mark.slow
def test_such_a_student_learns(tmp_path: Path) -> None:
    pictures, labels = shapes(150)
    noise = np.random.default_rng(0).random(150) < 0.1
    given = np.where(noise, (labels + 1) % 3, labels)
    found = train_student(
        pictures, np.random.default_rng(1).normal(size=(150, 8)), given, ~noise, baseline=weak_probe(labels, 0.6),
        kind="torchvision:mobilenet_v3_small@scratch", passes=100,
    )  # fmt: skip
    assert found.held_out_accuracy is not None, found.note
    assert found.probabilities.shape == (150, 3)
