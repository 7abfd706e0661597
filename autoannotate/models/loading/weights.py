"""Checkpoint files, opened for their tensors and nothing else."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate.errors import ModelError
from autoannotate.models.loading.common import WAYS_OUT, first_line

if TYPE_CHECKING:
    from torch import Tensor


WITHIN = ("state_dict", "model", "model_state_dict", "net", "network")
"""Names under which training checkpoints keep their weights: open_clip's and Lightning's, MONAI's, PyTorch's tutorial's."""


def read_weights(path: Path, ways_out: str = WAYS_OUT) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without the `module.` that distributed training puts in front.

    Reads .safetensors, torch.save files (a state dict, or a training checkpoint that has one, see `WITHIN`) and the TorchScript
    archives in which OpenAI published CLIP. From pickles nothing but tensors and plain numbers is taken.

    Raises
    ------
    ModelError
        If the file is none of these; ways_out: how its sentence ends.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        elif is_torchscript(path):
            content = dict(torch.jit.load(path, map_location="cpu").state_dict())
            for not_weights in ("input_resolution", "context_length", "vocab_size"):
                content.pop(not_weights, None)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own errors for a broken file
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            raise ModelError(
                f"{path} holds more than weights, and opening it could run code hidden in it: "
                f"save its state dict as .safetensors, or {ways_out}."
            ) from error
        plain = first_line(error) if isinstance(error, OSError | RuntimeError) else type(error).__name__
        raise ModelError(f"{path} cannot be read as a checkpoint ({plain}); {ways_out}.") from error
    if isinstance(content, dict):
        content = next((content[name] for name in WITHIN if isinstance(content.get(name), dict)), content)
    tensors = isinstance(content, dict) and all(isinstance(value, torch.Tensor) for value in content.values())
    if not content or not tensors:
        raise ModelError(f"{path} holds no weights of a network; {ways_out}.")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def save_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Save tensors by name as .safetensors, a format that knows no shared memory."""
    from safetensors.torch import save_file

    apart, seen = {}, set()
    for name, tensor in weights.items():
        memory = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if memory in seen else tensor.contiguous()
        seen.add(memory)
    save_file(apart, path)


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, which torch.load refuses to open safely."""
    if path.suffix == ".safetensors" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def bert_config(path: Path) -> dict[str, Any]:
    """A BERT's config.json, read off the shapes of a CLIP's weights (.safetensors).

    BiomedCLIP's folder does not hold the config of its PubMedBERT, only the hub does. Heads have 64 channels in every BERT
    (Devlin et al., 2019, section 3) and in its children; the rest are transformers' defaults.

    Raises
    ------
    ModelError
        If the text tower is no BERT.
    """
    from safetensors import safe_open

    prefix = "text.transformer."
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        shapes = {name.removeprefix(prefix): file.get_slice(name).get_shape() for name in names}
    vocabulary, width = shapes.get("embeddings.word_embeddings.weight", (0, 0))
    positions, _ = shapes.get("embeddings.position_embeddings.weight", (0, 0))
    kinds, _ = shapes.get("embeddings.token_type_embeddings.weight", (0, 0))
    wide, _ = shapes.get("encoder.layer.0.intermediate.dense.weight", (0, 0))
    if kinds != 2 or not wide:  # RoBERTa has one kind of token, and pads differently
        raise ModelError(
            "The config.json of this model's text tower is not on this machine: put it beside the weights, "
            "or choose another model, such as embedded."
        )
    return {
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": len({name.split(".")[2] for name in shapes if name.startswith("encoder.layer.")}),
        "num_attention_heads": max(1, width // 64),
        "intermediate_size": wide,
        "max_position_embeddings": positions,
        "type_vocab_size": kinds,
    }
