"""From what a user writes after `--model` to files on this machine from which open_clip can build the model.

    embedded, biomedclip …          a short name of the catalogue
    ViT-B-32/openai                 an architecture of open_clip and the tag of its weights
    hf-hub:org/name                 a repository of the Hugging Face hub: open_clip's, or a CLIPModel
    path/to/folder                  a local folder in one of these forms
    ViT-B-32@path/to/epoch_10.pt    one file of that architecture: open_clip's training, OpenAI's, …
    path/to/epoch_10.pt             the same, where an open_clip_config.json lies beside the file

The local caches are asked first, and the network only for a model that the user named.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoannotate.errors import ModelError
from autoannotate.models import (
    CATALOGUE,
    EMBEDDED,
    OPEN_CLIP_WEIGHTS,
    TRANSFORMERS_WEIGHTS,
    cached_file,
)
from autoannotate.models.loading import hub, transformers_clip
from autoannotate.models.loading.common import OPEN_CLIP_CONFIG, TOKENIZER_FILES, VOCABULARIES, WAYS_OUT, first_line
from autoannotate.models.loading.weights import is_torchscript


@dataclass(frozen=True)
class Source:
    """All that is needed to build one model without the network.

    Attributes
    ----------
    name : what the user asked for model_cfg, preprocess_cfg: as in an open_clip_config.json weights: the checkpoint file;
        `transformers` says whether it is in the form of transformers' CLIPModel text_config: config.json of a text tower from
        transformers; {} if the weights must tell it, None for open_clip's tokenizer: folder with the files of a tokenizer from
        transformers; None for open_clip's own
    """

    name: str
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]
    weights: Path
    transformers: bool = False
    text_config: dict[str, Any] | None = None
    tokenizer: Path | None = None

    def weights_hash(self) -> str:
        """SHA-256 of the checkpoint file, in hex."""
        with self.weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def find(model: str) -> Source:
    """Find the files of a model, downloading what is named and not here; see above for what `model` may be.

    Raises
    ------
    ModelError
        One sentence with a way out, when there is no such model or its weights cannot be had.
    """
    if model in CATALOGUE:
        return _find(CATALOGUE[model].source, model) if CATALOGUE[model].source else _embedded()
    return _find(model, model)


def _find(model: str, name: str) -> Source:
    if model.startswith("hf-hub:"):
        return _from_folder(hub.model_folder(model.removeprefix("hf-hub:"), name), name, download=True)
    path = Path(model.removeprefix("local-dir:")).expanduser()
    if path.is_dir():
        return _from_folder(path, name)
    if path.is_file():
        return _from_described_file(path, name)
    architecture, at, file = model.partition("@")
    if at:
        return _from_file(Path(file).expanduser(), architecture, name)
    architecture, _, tag = model.partition("/")
    return _from_tag(architecture, tag, name)


# ------------------------------------------------------------------------------------------------ local forms


def _embedded() -> Source:
    if not (EMBEDDED / OPEN_CLIP_CONFIG).is_file():
        raise ModelError(
            "The embedded model is missing from this installation: "
            "install autoannotate again, or give the path of a local checkpoint."
        )
    return _from_folder(EMBEDDED, "embedded")


def _from_folder(folder: Path, name: str, download: bool = False) -> Source:
    if (folder / OPEN_CLIP_CONFIG).is_file():
        return _open_clip_source(folder, _weights_in(folder, OPEN_CLIP_WEIGHTS), name, download)
    config = _read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if config.get("model_type") == "clip":
        preprocessor = folder / "preprocessor_config.json"
        return Source(
            name=name,
            model_cfg=transformers_clip.model_config(config),
            preprocess_cfg=transformers_clip.preprocess_config(
                _read_json(preprocessor) if preprocessor.is_file() else {}
            ),
            weights=_weights_in(folder, TRANSFORMERS_WEIGHTS),
            transformers=True,
        )
    raise ModelError(
        f"The folder {folder} holds no CLIP model, neither one of open_clip ({OPEN_CLIP_CONFIG} and weights) "
        "nor a CLIPModel of transformers: choose another model, such as embedded, or another path."
    )


def _open_clip_source(folder: Path, weights: Path, name: str, download: bool = False) -> Source:
    config = _read_json(folder / OPEN_CLIP_CONFIG)
    model_cfg = config.get("model_cfg", config)
    if not {"embed_dim", "vision_cfg", "text_cfg"} <= model_cfg.keys():
        raise ModelError(f"{folder / OPEN_CLIP_CONFIG} describes no CLIP model; {WAYS_OUT}.")
    return Source(
        name=name,
        model_cfg=model_cfg,
        preprocess_cfg=config.get("preprocess_cfg") or {},
        weights=weights,
        text_config=_text_config(model_cfg, folder, name, download),
        tokenizer=_tokenizer(model_cfg, folder, name, download),
    )


def _from_described_file(path: Path, name: str) -> Source:
    if (path.parent / OPEN_CLIP_CONFIG).is_file():
        return _open_clip_source(path.parent, path, name)
    raise ModelError(
        f"{path} does not say which architecture it holds: name it in front, as in ViT-B-32@{path}, "
        f"or put an {OPEN_CLIP_CONFIG} beside it."
    )


def _from_file(path: Path, architecture: str, name: str) -> Source:
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    if architecture not in open_clip.list_models():
        near = _guess(architecture, open_clip.list_models())
        raise ModelError(f"open_clip has no architecture {architecture}{near}; {WAYS_OUT}.")
    if not path.is_file():
        raise ModelError(f"There is no file {path}: check the path, or choose another model, such as embedded.")
    model_cfg = open_clip.get_model_config(architecture)
    if is_torchscript(path):  # OpenAI's own file
        model_cfg["quick_gelu"] = True
    # A fine-tuned checkpoint sees images as the weights it began with did, and an architecture's tags mostly
    # agree.
    tags = list_pretrained_tags_by_model(architecture)
    seen = [_preprocess_cfg(get_pretrained_cfg(architecture, tag)) for tag in tags]
    return Source(
        name=name,
        model_cfg=model_cfg,
        preprocess_cfg=seen[0] if seen and all(cfg == seen[0] for cfg in seen) else {},
        weights=path,
        text_config=_text_config(model_cfg, path.parent, name, download=False),
        tokenizer=_tokenizer(model_cfg, path.parent, name, download=False),
    )


def _weights_in(folder: Path, preferred: tuple[str, ...]) -> Path:
    for name in preferred:
        if (folder / name).is_file():
            return folder / name
    for pattern in ("*.safetensors", "*.bin", "*.pth", "*.pt"):
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            raise ModelError(
                f"{folder} holds {len(found)} checkpoints: give the path of the one to use, such as {found[-1]}."
            )
    raise ModelError(f"{folder} describes a model but holds no weights ({preferred[0]}): {WAYS_OUT}.")


def _text_config(model_cfg: dict[str, Any], folder: Path, name: str, download: bool) -> dict[str, Any] | None:
    """config.json of a text tower from transformers: beside the weights, where the config points, the hub's."""
    tower = model_cfg["text_cfg"].get("hf_model_name")
    if not tower:
        return None
    for config in (folder / "config.json", folder / tower / "config.json"):
        if config.is_file() and _read_json(config).get("model_type") != "clip":
            return _read_json(config)
    found = cached_file(tower, ["config.json"]) if _is_hub_id(tower) else None
    if found is None and download:
        with suppress(ModelError):  # the shapes of the weights may tell it too
            found = hub.file(tower, ["config.json"], name)
    return _read_json(found) if found else {}


def _tokenizer(model_cfg: dict[str, Any], folder: Path, name: str, download: bool) -> Path | None:
    """The folder of a tokenizer from transformers: the weights', where the config points, or the hub's."""
    tokenizer = model_cfg["text_cfg"].get("hf_tokenizer_name")
    if not tokenizer:
        return None
    for place in (folder, folder / tokenizer):
        if any((place / file).is_file() for file in VOCABULARIES):
            return place
    if _is_hub_id(tokenizer):
        found = cached_file(tokenizer, VOCABULARIES)
        if found is None and download:
            found = hub.file(tokenizer, VOCABULARIES, name)
            for file in TOKENIZER_FILES:
                hub.file(tokenizer, [file], name)
        if found:
            return found.parent
    raise ModelError(
        f"The tokenizer of {name} ({tokenizer}) is not on this machine: "
        f"put its files (tokenizer.json or vocab.txt) into {folder}, or choose another model, "
        "such as embedded."
    )


# -------------------------------------------------------------------------------------------- open_clip's tags


def _from_tag(architecture: str, tag: str, name: str) -> Source:
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tags = list_pretrained_tags_by_model(architecture)
    if not tags:
        near = _guess(name, [*CATALOGUE, *open_clip.list_models()])
        raise ModelError(
            f"There is no model and no path {name}{near}: `autoannotate models` lists the named ones, "
            "or give the path of a local checkpoint."
        )
    pretrained = get_pretrained_cfg(architecture, tag)
    if not pretrained:
        some = ", ".join(f"{architecture}/{known}" for known in tags[:5]) + (", …" if len(tags) > 5 else "")
        wanted = f"weights {tag}" if tag else "weights of that name alone"
        raise ModelError(f"open_clip has no {wanted} for {architecture}, but has {some}: {WAYS_OUT}.")
    model_cfg = open_clip.get_model_config(architecture)
    if pretrained.get("quick_gelu"):
        model_cfg["quick_gelu"] = True  # open_clip only warns of the mismatch, and encodes worse
    weights = _tagged_weights(pretrained, name)
    return Source(
        name=name,
        model_cfg=model_cfg,
        preprocess_cfg=_preprocess_cfg(pretrained),
        weights=weights,
        text_config=_text_config(model_cfg, weights.parent, name, download=True),
        tokenizer=_tokenizer(model_cfg, weights.parent, name, download=True),
    )


def _tagged_weights(pretrained: dict[str, Any], name: str) -> Path:
    """The weights of a tag: in the hub's cache, in that of OpenAI's package and older open_clips, or the hub."""
    repo, _, file = pretrained["hf_hub"].rpartition("/")
    files = (str(Path(file).with_suffix(".safetensors")), file) if file else OPEN_CLIP_WEIGHTS
    url = pretrained.get("url", "")
    older = Path.home() / ".cache" / "clip" / url.rpartition("/")[2]
    weights = cached_file(repo, files) or (older if url and older.is_file() else hub.file(repo, files, name))
    if weights is None:
        raise ModelError(f"The repository {repo} on the Hugging Face hub holds no CLIP weights; {WAYS_OUT}.")
    return weights


def _preprocess_cfg(pretrained: dict[str, Any]) -> dict[str, Any]:
    keys = ("mean", "std", "interpolation", "resize_mode")
    return {key: pretrained[key] for key in keys if pretrained.get(key)}


# ------------------------------------------------------------------------------------------------------- small


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({first_line(error)}); {WAYS_OUT}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} describes no model; {WAYS_OUT}.")
    return content


def _is_hub_id(name: str) -> bool:
    return name.count("/") <= 1 and not name.startswith(("/", ".", "~"))


def _guess(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
