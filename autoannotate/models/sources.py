"""From what a user writes after `--model` to files on this machine from which open_clip can build the model.

    embedded, biomedclip …          a short name of the catalogue
    ViT-B-32/openai                 an architecture of open_clip and the tag of its weights
    hf-hub:org/name                 a repository of the Hugging Face hub, in open_clip's or transformers' CLIP format
    path/to/folder                  the same two formats in a local folder
    ViT-B-32@path/to/epoch_10.pt    one checkpoint file (open_clip training, .safetensors, OpenAI's .pt) of that architecture
    path/to/epoch_10.pt             the same, where an open_clip_config.json lies beside the file

The local caches are asked first and the network only for a model named by the user, after a look whether the hub answers at
all, because the hub's own client keeps trying for half a minute. Pickles are opened for their tensors only.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import pickle
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate.errors import ModelError
from autoannotate.models import (
    CATALOGUE,
    EMBEDDED,
    OPEN_CLIP_WEIGHTS,
    TRANSFORMERS_WEIGHTS,
    cached_file,
    transformers_clip,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

_WAYS_OUT = "choose another model, such as embedded, or give the path of a local checkpoint"
_OPEN_CLIP_CONFIG = "open_clip_config.json"
_HUB_TIMEOUT_S = 5.0
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)


@dataclass(frozen=True)
class Source:
    """All that is needed to build one model without the network.

    name: what the user asked for
    model_cfg, preprocess_cfg: as in an open_clip_config.json
    weights: the checkpoint file; `transformers` says whether it is in the format of transformers' CLIPModel
    text_config: config.json of a Hugging Face text tower, {} if its weights must tell, None if the text tower is open_clip's
    tokenizer: folder with the files of a Hugging Face tokenizer; None for open_clip's own
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
    """Find the files of a model, see the head of this module for what `model` may be; downloads what is named and not here.

    Raises ModelError with one sentence when there is no such model or its weights cannot be had.
    """
    if model in CATALOGUE:
        return _find(CATALOGUE[model].source, model) if CATALOGUE[model].source else _embedded()
    return _find(model, model)


def _find(model: str, name: str) -> Source:
    if model.startswith("hf-hub:"):
        return _from_folder(_hub_folder(model.removeprefix("hf-hub:"), name), name, download=True)
    path = Path(model.removeprefix("local-dir:")).expanduser()
    if path.is_dir():
        return _from_folder(path, name)
    if path.is_file():
        return _from_lone_file(path, name)
    architecture, at, file = model.partition("@")
    if at:
        return _from_file(Path(file).expanduser(), architecture, name)
    architecture, _, tag = model.partition("/")
    return _from_tag(architecture, tag, name)


def build(source: Source) -> tuple[nn.Module, Callable[[list[str]], Tensor]]:
    """Build the network, in evaluation mode on the CPU in float32, and its tokenizer.

    Every form goes through one door, `open_clip.create_model` on a folder in open_clip's own layout, which is written to a
    temporary place; so names of text towers and tokenizers are local paths by then and nothing is fetched.
    Raises ModelError if the weights cannot be read or do not fit the architecture.
    """
    import open_clip

    with tempfile.TemporaryDirectory() as stage, _quiet():
        weights = _safe_weights(source, Path(stage))
        model_cfg = json.loads(json.dumps(source.model_cfg))
        if source.text_config is not None:
            _need_transformers(source.name)
            text_config = source.text_config or _bert_config(weights)
            (Path(stage) / "config.json").write_text(json.dumps(text_config), encoding="utf-8")
            model_cfg["text_cfg"]["hf_model_name"] = stage
        if source.tokenizer is not None:
            _need_transformers(source.name)
            for file in _TOKENIZER_FILES:
                if (source.tokenizer / file).is_file():
                    shutil.copy(source.tokenizer / file, stage)
        config = {"model_cfg": model_cfg, "preprocess_cfg": source.preprocess_cfg}
        (Path(stage) / _OPEN_CLIP_CONFIG).write_text(json.dumps(config), encoding="utf-8")
        try:
            network = open_clip.create_model(f"local-dir:{stage}", load_weights=False, pretrained_text=False)
            tokenizer = open_clip.get_tokenizer(f"local-dir:{stage}")
        except Exception as error:  # whatever a foreign config can cause, in open_clip, timm or transformers
            raise ModelError(
                f"The model {source.name} cannot be built ({_first_line(error)}); {_WAYS_OUT}."
            ) from error
        try:
            open_clip.load_checkpoint(network, str(weights))
        except Exception as error:
            raise ModelError(
                f"The weights in {source.weights} do not fit the architecture of {source.name}; "
                "check that they belong together, or choose another model, such as embedded."
            ) from error
    return network.eval(), tokenizer


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file by name, without `module.` prefixes; from pickles nothing but tensors is taken.

    Reads .safetensors, torch.save files (a state dict, or open_clip's training checkpoints) and OpenAI's TorchScript archives.
    Raises ModelError if the file is none of them.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        elif _is_torchscript(path):
            content = dict(torch.jit.load(path, map_location="cpu").state_dict())
            for not_weights in ("input_resolution", "context_length", "vocab_size"):
                content.pop(not_weights, None)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than weights, and opening it could run code hidden in it; "
            "save its state dict as .safetensors, or choose another model, such as embedded."
        ) from error
    except Exception as error:
        raise ModelError(
            f"{path} cannot be read as a checkpoint ({_first_line(error)}); {_WAYS_OUT}."
        ) from error
    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    if not (
        isinstance(content, dict)
        and content
        and all(isinstance(tensor, torch.Tensor) for tensor in content.values())
    ):
        raise ModelError(f"{path} holds no weights of a CLIP model; {_WAYS_OUT}.")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


# ---------------------------------------------------------------------------------------------------------- local forms


def _embedded() -> Source:
    if not (EMBEDDED / _OPEN_CLIP_CONFIG).is_file():
        raise ModelError(
            "The embedded model is missing from this installation; "
            "install autoannotate again, or give the path of a local checkpoint."
        )
    return _from_folder(EMBEDDED, "embedded")


def _from_folder(folder: Path, name: str, download: bool = False) -> Source:
    if (folder / _OPEN_CLIP_CONFIG).is_file():
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
        f"The folder {folder} holds no CLIP model (an open_clip_config.json with weights, or a CLIPModel saved by transformers); "
        "choose another model, such as embedded, or another path."
    )


def _open_clip_source(folder: Path, weights: Path, name: str, download: bool = False) -> Source:
    config = _read_json(folder / _OPEN_CLIP_CONFIG)
    model_cfg = config.get("model_cfg", config)
    if (
        not all(isinstance(model_cfg.get(key), dict) for key in ("vision_cfg", "text_cfg"))
        or "embed_dim" not in model_cfg
    ):
        raise ModelError(f"{folder / _OPEN_CLIP_CONFIG} describes no CLIP model; {_WAYS_OUT}.")
    return Source(
        name=name,
        model_cfg=model_cfg,
        preprocess_cfg=config.get("preprocess_cfg") or {},
        weights=weights,
        text_config=_text_config(model_cfg, folder, name, download),
        tokenizer=_tokenizer(model_cfg, folder, name, download),
    )


def _from_lone_file(path: Path, name: str) -> Source:
    if (path.parent / _OPEN_CLIP_CONFIG).is_file():
        return _open_clip_source(path.parent, path, name)
    raise ModelError(
        f"{path} does not say which architecture it holds: name it in front, as in ViT-B-32@{path}, "
        f"or put an {_OPEN_CLIP_CONFIG} beside it."
    )


def _from_file(path: Path, architecture: str, name: str) -> Source:
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    model_cfg = open_clip.get_model_config(architecture) if architecture in open_clip.list_models() else None
    if model_cfg is None:
        raise ModelError(
            f"open_clip has no architecture {architecture}{_guess(architecture, open_clip.list_models())}."
        )
    if not path.is_file():
        raise ModelError(
            f"There is no file {path}; check the path or choose another model, such as embedded."
        )
    if _is_torchscript(path):
        model_cfg["quick_gelu"] = True
    # A fine-tuned checkpoint sees images as the weights it began with did; all tags of an architecture mostly agree on that.
    seen = [
        _preprocess_cfg(get_pretrained_cfg(architecture, tag))
        for tag in list_pretrained_tags_by_model(architecture)
    ]
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
                f"{folder} holds {len(found)} checkpoints: give the path of the one to use, such as {found[0]}."
            )
    raise ModelError(f"{folder} describes a model but holds no weights ({preferred[0]}); {_WAYS_OUT}.")


def _text_config(model_cfg: dict[str, Any], folder: Path, name: str, download: bool) -> dict[str, Any] | None:
    """config.json of the text tower, if it is one of transformers: beside the weights, where the config points, or the hub's."""
    tower = model_cfg["text_cfg"].get("hf_model_name")
    if not tower:
        return None
    for config in (folder / "config.json", folder / tower / "config.json"):
        if config.is_file() and _read_json(config).get("model_type") != "clip":
            return _read_json(config)
    cached = (
        cached_file(tower, ["config.json"]) if "/" not in tower.strip("/") or tower.count("/") == 1 else None
    )
    if cached is None and download:
        cached = _hub_file(tower, ["config.json"], name)
    return _read_json(cached) if cached else {}


def _tokenizer(model_cfg: dict[str, Any], folder: Path, name: str, download: bool) -> Path | None:
    """The folder with the tokenizer's files, if it is one of transformers."""
    tokenizer = model_cfg["text_cfg"].get("hf_tokenizer_name")
    if not tokenizer:
        return None
    for place in (folder, folder / tokenizer):
        if any((place / file).is_file() for file in _VOCABULARIES):
            return place
    cached = cached_file(tokenizer, _VOCABULARIES) if not Path(tokenizer).is_absolute() else None
    if cached is None and download:
        cached = _hub_file(tokenizer, _VOCABULARIES, name)
        for file in _TOKENIZER_FILES:
            _hub_file(tokenizer, [file], name)
    if cached is None:
        raise ModelError(
            f"The tokenizer of {name} ({tokenizer}) is not on this machine: "
            f"put its files ({', '.join(_TOKENIZER_FILES[:2])}, …) into {folder}, or choose another model, such as embedded."
        )
    return cached.parent


# ------------------------------------------------------------------------------------------------------ tags and the hub


def _from_tag(architecture: str, tag: str, name: str) -> Source:
    import open_clip
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model

    if architecture not in open_clip.list_models() or not list_pretrained_tags_by_model(architecture):
        raise ModelError(
            f"There is no model or path {name}{_guess(name, [*CATALOGUE, *open_clip.list_models()])}; "
            "`autoannotate models` lists the named ones, and a local path works too."
        )
    pretrained = get_pretrained_cfg(architecture, tag)
    if not pretrained:
        known = ", ".join(f"{architecture}/{tag}" for tag in list_pretrained_tags_by_model(architecture)[:6])
        raise ModelError(
            f"open_clip has no weights {tag or '(none named)'} for {architecture}: it has {known}, …; {_WAYS_OUT}."
        )
    repo, _, file = pretrained.get("hf_hub", "").rpartition("/")
    names = (str(Path(file).with_suffix(".safetensors")), file) if file else OPEN_CLIP_WEIGHTS
    weights = cached_file(repo, names) if repo else None
    old_cache = Path.home() / ".cache" / "clip" / pretrained.get("url", "").rpartition("/")[2]
    if weights is None and old_cache.is_file():
        weights = old_cache
    if weights is None and repo:
        weights = _hub_file(repo, names, name)
    if weights is None:
        with _reaching_the_hub(pretrained.get("url", repo), name):
            weights = Path(download_pretrained(pretrained))
    model_cfg = open_clip.get_model_config(architecture)
    if pretrained.get("quick_gelu"):
        model_cfg["quick_gelu"] = True  # open_clip only warns, and its zero-shot answers get worse
    return Source(
        name=name,
        model_cfg=model_cfg,
        preprocess_cfg=_preprocess_cfg(pretrained),
        weights=weights,
        text_config=_text_config(model_cfg, weights.parent, name, download=True),
        tokenizer=_tokenizer(model_cfg, weights.parent, name, download=True),
    )


def _hub_folder(repo: str, name: str) -> Path:
    """The local folder of a repository's model, in open_clip's form if it has one, else in transformers'."""
    forms = ((_OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS), ("config.json", TRANSFORMERS_WEIGHTS))
    for config, weights in forms:
        cached = cached_file(repo, [config])
        if cached and cached_file(repo, weights):
            return cached.parent
    for config, weights in forms:
        found = _hub_file(repo, [config], name)
        if found and _hub_file(repo, weights, name):
            for extra in (*_TOKENIZER_FILES, "preprocessor_config.json", "config.json"):
                _hub_file(repo, [extra], name)
            return found.parent
    raise ModelError(f"The repository {repo} on the Hugging Face hub holds no CLIP weights; {_WAYS_OUT}.")


def _hub_file(repo: str, names: tuple[str, ...] | list[str], name: str) -> Path | None:
    """The first of the named files, from the cache or else the network; None if the repository has none of them."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    cached = cached_file(repo, names)
    if cached:
        return cached
    with _reaching_the_hub(repo, name):
        for file in names:
            try:
                return Path(hf_hub_download(repo, file, etag_timeout=_HUB_TIMEOUT_S))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                continue
    return None


@contextmanager
def _reaching_the_hub(repo: str, name: str) -> Iterator[None]:
    """Turn whatever keeps a download from coming into one sentence, and soon."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        if not _hub_answers():
            raise ModelError(
                f"The weights of {name} ({repo}) are not on this machine and the Hugging Face hub cannot be reached: {_WAYS_OUT}."
            )
        with _quiet():
            yield
    except ModelError:
        raise
    except GatedRepoError as error:
        raise ModelError(
            f"The weights of {name} are given only to those who accept their terms at https://huggingface.co/{repo} "
            f"and log in with `hf auth login`; or {_WAYS_OUT}."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no repository {repo} on the Hugging Face hub, or it is private; {_WAYS_OUT}."
        ) from error
    except Exception as error:
        raise ModelError(
            f"The weights of {name} ({repo}) cannot be downloaded ({_first_line(error)}); {_WAYS_OUT}."
        ) from error


def _hub_answers() -> bool:
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_HUB_TIMEOUT_S)
    except Exception:  # a proxy, a name server, a certificate: all the same to the user
        return False
    return True


# ---------------------------------------------------------------------------------------------------------------- weights


def _safe_weights(source: Source, stage: Path) -> Path:
    """The weights as a .safetensors file under open_clip's names: the file itself, or a copy made without running a pickle."""
    from safetensors.torch import save_file

    if source.weights.suffix == ".safetensors" and not source.transformers:
        return source.weights
    weights = read_weights(source.weights)
    if source.transformers:
        weights = transformers_clip.convert(weights)
    seen: set[int] = set()
    for name, tensor in weights.items():
        memory = tensor.untyped_storage().data_ptr()
        weights[name] = (
            tensor.clone() if memory in seen else tensor.contiguous()
        )  # the format knows no shared tensors
        seen.add(memory)
    copy = stage / "weights.safetensors"
    save_file(weights, copy)
    return copy


def _bert_config(weights: Path) -> dict[str, Any]:
    """A BERT's config.json, read off the shapes of its weights: BiomedCLIP's own folder does not hold the one of its PubMedBERT.

    Heads have 64 channels in every BERT of Devlin et al. (2019) and its children, and the rest of the config is the default.
    """
    from safetensors import safe_open

    with safe_open(weights, "pt") as file:
        shapes = {
            name.removeprefix("text.transformer."): file.get_slice(name).get_shape()
            for name in file.keys()  # noqa: SIM118
            if name.startswith("text.transformer.")
        }
    try:
        vocabulary, width = shapes["embeddings.word_embeddings.weight"]
        kinds, _ = shapes["embeddings.token_type_embeddings.weight"]
        positions, _ = shapes["embeddings.position_embeddings.weight"]
        wide, _ = shapes["encoder.layer.0.intermediate.dense.weight"]
        if kinds != 2:  # a RoBERTa, whose padding differs
            raise KeyError
    except KeyError as error:
        raise ModelError(
            "The config.json of this model's text tower is not on this machine: put it beside the weights, "
            "or choose another model, such as embedded."
        ) from error
    return {
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": len(
            {name.split(".")[2] for name in shapes if name.startswith("encoder.layer.")}
        ),
        "num_attention_heads": max(1, width // 64),
        "intermediate_size": wide,
        "max_position_embeddings": positions,
        "type_vocab_size": kinds,
    }


def _is_torchscript(path: Path) -> bool:
    import zipfile

    if path.suffix == ".safetensors" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


# ------------------------------------------------------------------------------------------------------------------ small


def _preprocess_cfg(pretrained: dict[str, Any]) -> dict[str, Any]:
    return {
        key: pretrained[key] for key in ("mean", "std", "interpolation", "resize_mode") if pretrained.get(key)
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({_first_line(error)}); {_WAYS_OUT}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} describes no model; {_WAYS_OUT}.")
    return content


def _need_transformers(name: str) -> None:
    import importlib.util

    if importlib.util.find_spec("transformers") is None:
        raise ModelError(
            f"The model {name} needs the package transformers: "
            "install it with pip install 'autoannotate[hf]', or choose another model, such as embedded."
        )


def _guess(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".;: ")[:200] if lines else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip logs and warns about every choice it makes; here they are made on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
