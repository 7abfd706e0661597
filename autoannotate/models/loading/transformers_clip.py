"""CLIP checkpoints in the format of Hugging Face transformers (`CLIPModel`), read as open_clip models.

PubMedCLIP and many fine-tuned CLIPs are published in this format only. Both libraries hold the same network under
other names, so the conversion is exact: a table of names, three matrices fused in each block, and two transposed
projections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoannotate.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

CLIP_VOCABULARY = 49408

# What transformers leaves out of config.json when it equals the default.
_VISION_DEFAULTS = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
}
_TEXT_DEFAULTS = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "vocab_size": CLIP_VOCABULARY,
    "hidden_act": "quick_gelu",
}
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}

_NAMES = {
    "logit_scale": "logit_scale",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_TRANSPOSED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
_BLOCK_NAMES = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_TOWERS = {
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "text_model.encoder.layers.": "transformer.resblocks.",
}


def model_config(config: dict[str, Any]) -> dict[str, Any]:
    """The open_clip model config of a transformers `CLIPModel` config (the content of its config.json).

    Raises
    ------
    ModelError
        Where the two libraries do not hold the same network.
    """
    vision = _VISION_DEFAULTS | (config.get("vision_config") or {})
    text = _TEXT_DEFAULTS | (config.get("text_config") or {})
    activations = {vision["hidden_act"], text["hidden_act"]}
    if len(activations) > 1 or not activations <= _ACTIVATIONS.keys():
        raise ModelError(
            f"A CLIP with the activations {' and '.join(sorted(activations))} "
            "cannot be read as an open_clip model: save it in open_clip's own format "
            "or choose another model, such as embedded."
        )
    if text["vocab_size"] != CLIP_VOCABULARY:
        raise ModelError(
            f"This CLIP knows {text['vocab_size']} tokens where CLIP's own tokenizer has {CLIP_VOCABULARY}: "
            "save it in open_clip's own format or choose another model, such as embedded."
        )
    return {
        "embed_dim": config.get("projection_dim", 512),
        "quick_gelu": _ACTIVATIONS[vision["hidden_act"]],
        "vision_cfg": {
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "layers": vision["num_hidden_layers"],
            "width": vision["hidden_size"],
            "head_width": vision["hidden_size"] // vision["num_attention_heads"],
            "mlp_ratio": vision["intermediate_size"] / vision["hidden_size"],
        },
        "text_cfg": {
            "context_length": text["max_position_embeddings"],
            "vocab_size": text["vocab_size"],
            "layers": text["num_hidden_layers"],
            "width": text["hidden_size"],
            "heads": text["num_attention_heads"],
            "mlp_ratio": text["intermediate_size"] / text["hidden_size"],
        },
    }


def preprocess_config(config: dict[str, Any]) -> dict[str, Any]:
    """The open_clip preprocess config of a preprocessor_config.json; {} stands for CLIP's own."""
    keys = {"image_mean": "mean", "image_std": "std"}
    found: dict[str, Any] = {ours: config[theirs] for theirs, ours in keys.items() if config.get(theirs)}
    if config.get("resample") in (2, 3):
        found["interpolation"] = {2: "bilinear", 3: "bicubic"}[config["resample"]]
    if config.get("do_center_crop") is False:
        found["resize_mode"] = "squash"
    return found


def convert(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The open_clip state dict of a transformers `CLIPModel` state dict.

    Raises
    ------
    ModelError
        If a tensor has no place in open_clip's CLIP.
    """
    import torch

    converted: dict[str, Tensor] = {}
    attention: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        tower = next((tower for tower in _TOWERS if name.startswith(tower)), None)
        if name.endswith("embeddings.position_ids"):
            continue
        if name in _NAMES:
            converted[_NAMES[name]] = tensor
        elif name in _TRANSPOSED:
            converted[_TRANSPOSED[name]] = tensor.T.contiguous()
        elif tower is not None:
            layer, _, rest = name.removeprefix(tower).partition(".")
            module, _, kind = rest.rpartition(".")
            block = f"{_TOWERS[tower]}{layer}."
            if module in _BLOCK_NAMES:
                converted[f"{block}{_BLOCK_NAMES[module]}.{kind}"] = tensor
            else:
                attention.setdefault(f"{block}attn.in_proj_{kind}", {})[module] = tensor
        else:
            raise ModelError(
                f"{name} is no part of a CLIP; choose another model, such as embedded, or a CLIP checkpoint."
            )
    for name, parts in attention.items():
        converted[name] = torch.cat([parts[f"self_attn.{part}_proj"] for part in ("q", "k", "v")])
    return converted
