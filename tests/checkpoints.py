"""Small local checkpoints with random weights, one maker for each form in which CLIP models are handed around.

They have the very architectures, file names and formats of the real ones, only fewer and narrower layers; nothing is fetched.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

TEXT = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def open_clip_folder(
    folder: Path, vision: dict[str, Any] = VIT, text: dict[str, Any] = TEXT, preprocess: dict[str, Any] = HALF,
    half: bool = False, weights: str = "open_clip_model.safetensors", **model: Any,
) -> Path:  # fmt: skip
    """open_clip's local-dir layout: open_clip_config.json and weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_cfg": {"embed_dim": 48, "vision_cfg": vision, "text_cfg": text, **model},
        "preprocess_cfg": preprocess,
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    network = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    state = {name: tensor.half() if half else tensor for name, tensor in network.state_dict().items()}
    if weights.endswith(".safetensors"):
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / weights)
    else:
        torch.save(state, folder / weights)
    return folder


def embedded_like(folder: Path) -> Path:
    """The form of the model in the package: timm's tf_efficientnet_lite0 at 128 pixels, a small text tower, half precision."""
    vision = {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 128,
    }
    return open_clip_folder(
        folder, vision, preprocess={**HALF, "resize_mode": "squash"}, half=True, custom_text=True
    )


def training_checkpoint(file: Path, architecture: str = "ViT-S-32") -> Path:
    """What open_clip's training script writes: epoch, state_dict with "module." in front of every name, optimizer."""
    torch.manual_seed(0)
    network = open_clip.create_model(architecture)
    optimizer = torch.optim.AdamW(network.parameters()).state_dict()
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"epoch": 10, "name": "run", "state_dict": state, "optimizer": optimizer}, file)
    return file


def bert_tokenizer(folder: Path) -> Path:
    """The files of a lower-casing WordPiece tokenizer, as PubMedBERT has."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz",
        "chest",
        "x",
        "-",
        "ray",
        "blood",
        "cell",
    ]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"] + ["##s"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
    )
    return folder


def biomedclip_folder(
    folder: Path, bert: dict[str, Any], trunk: str = "vit_tiny_patch16_224", with_config: bool = False
) -> Path:
    """BiomedCLIP's form: a timm ViT, a BERT of transformers with an MLP projection, its tokenizer, weights as .bin.

    Like the original, the folder names its text tower by a hub id and does not hold the tower's config.json.
    """
    tower = folder.parent / f"{folder.name}-tower"
    tower.mkdir(parents=True)
    (tower / "config.json").write_text(json.dumps({"model_type": "bert", **bert}))
    bert_tokenizer(folder)
    text = {"hf_model_name": str(tower), "hf_tokenizer_name": str(tower), "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 64}  # fmt: skip
    vision = {"timm_model_name": trunk, "timm_pool": "", "timm_proj": "linear", "image_size": 224}
    open_clip_folder(folder, vision, text, {}, weights="open_clip_pytorch_model.bin")
    config = json.loads((folder / "open_clip_config.json").read_text())
    hub_id = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    config["model_cfg"]["text_cfg"].update(hf_model_name=hub_id, hf_tokenizer_name=hub_id)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    if with_config:
        (tower / "config.json").rename(folder / "config.json")
    return folder


def transformers_clip_folder(
    folder: Path, activation: str = "quick_gelu", weights: str = "pytorch_model.bin"
) -> Path:
    """A CLIPModel saved by transformers, as PubMedCLIP is published."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_act": activation,
    }
    vision = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 32,
              "patch_size": 8, "hidden_act": activation}  # fmt: skip
    network = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).eval()
    network.save_pretrained(folder)
    if weights != "model.safetensors":
        (folder / "model.safetensors").unlink()
        torch.save(network.state_dict(), folder / weights)
    preprocessor = {
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
        "resample": 3,
        "size": {"shortest_edge": 32},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder
