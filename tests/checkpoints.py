"""Small local checkpoints with random weights, one maker for each form in which CLIP models come.

They have the very architectures, file names and formats of the real ones, only fewer and narrower layers;
nothing is fetched.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

TEXT = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
BERT = {
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 128,
    "max_position_embeddings": 96,
}
BIOMEDBERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"


def network(model: str) -> torch.nn.Module:
    """The network that open_clip itself builds, with random weights from seed 0."""
    torch.manual_seed(0)
    logging.disable(logging.WARNING)
    try:
        return open_clip.create_model(model, load_weights=False, pretrained_text=False).eval()
    finally:
        logging.disable(logging.NOTSET)


def open_clip_folder(
    folder: Path,
    vision: dict[str, Any] = VIT,
    text: dict[str, Any] = TEXT,
    preprocess: dict[str, Any] = HALF,
    weights: str = "open_clip_model.safetensors",
    dtype: torch.dtype = torch.float32,
    **model: Any,
) -> Path:
    """open_clip's local-dir layout: open_clip_config.json and weights."""
    folder.mkdir(parents=True, exist_ok=True)
    model_cfg = {"embed_dim": 48, "vision_cfg": vision, "text_cfg": text, **model}
    write_json(folder / "open_clip_config.json", {"model_cfg": model_cfg, "preprocess_cfg": preprocess})
    state = network(f"local-dir:{folder}").state_dict()
    state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    if weights.endswith(".safetensors"):
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / weights)
    else:
        torch.save(state, folder / weights)
    return folder


def timm_folder(folder: Path, trunk: str = "tf_efficientnet_lite0", size: int = 128, **vision: Any) -> Path:
    """The form of the model in the package: a timm network, a small text tower, half precision."""
    vision = {
        "timm_model_name": trunk,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": size,
    } | vision
    preprocess = {**HALF, "resize_mode": "squash"}
    return open_clip_folder(folder, vision, preprocess=preprocess, dtype=torch.float16, custom_text=True)


def training_checkpoint(file: Path, architecture: str) -> Path:
    """What open_clip's training script writes: "module." before every name, and more than the weights."""
    trained = network(architecture)
    state = {f"module.{name}": tensor for name, tensor in trained.state_dict().items()}
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3).state_dict()
    torch.save({"epoch": 10, "name": "run", "state_dict": state, "optimizer": optimizer}, file)
    return file


def biomedclip_folder(folder: Path, bert: dict[str, Any] = BERT, trunk: str = "vit_tiny_patch16_224") -> Path:
    """BiomedCLIP's form: a timm ViT, a BERT of transformers, an MLP projection, its tokenizer, weights as .bin.

    Like the original, the folder names its text tower by a hub id and does not hold the tower's config.json.
    """
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"model_type": "bert", **bert})
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "-",
        "chest",
        "ray",
        "blood",
        "cell",
        "##s",
        *letters,
    ]
    (folder / "vocab.txt").write_text("\n".join([*pieces, *(f"##{letter}" for letter in letters[:18])]) + "\n")
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
    text = {
        "hf_model_name": str(folder),
        "hf_tokenizer_name": str(folder),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 64,
    }
    vision = {"timm_model_name": trunk, "timm_pool": "", "timm_proj": "linear", "image_size": 224}
    open_clip_folder(folder, vision, text, {}, weights="open_clip_pytorch_model.bin")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= {"hf_model_name": BIOMEDBERT, "hf_tokenizer_name": BIOMEDBERT}
    write_json(folder / "open_clip_config.json", config)
    (folder / "config.json").unlink()
    return folder


def transformers_clip(folder: Path, activation: str = "quick_gelu", weights: str = "pytorch_model.bin") -> Any:
    """A CLIPModel saved by transformers, as PubMedCLIP is published; the model itself comes back."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    shared = {"num_hidden_layers": 2, "hidden_act": activation}
    text = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, **shared}
    image = {"image_size": 32, "patch_size": 8}
    vision = {"hidden_size": 48, "intermediate_size": 96, "num_attention_heads": 3, **image, **shared}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).eval()
    for name, parameter in model.named_parameters():  # biases are born 0, which would hide a mix-up
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    model.config.save_pretrained(folder)
    state = model.state_dict()
    if weights.endswith(".safetensors"):
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / weights)
    else:
        torch.save(state, folder / weights)
    preprocessor = {
        "image_mean": HALF["mean"],
        "image_std": HALF["std"],
        "resample": 3,
        "do_center_crop": True,
    }
    write_json(folder / "preprocessor_config.json", preprocessor)
    return model


def in_hub_cache(folder: Path, cache: Path, repo: str) -> None:
    """Put a model's folder where the Hugging Face hub's client would have put it after a download."""
    home = cache / f"models--{repo.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    (home / "snapshots").mkdir()
    folder.rename(home / "snapshots" / ("0" * 40))


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))
