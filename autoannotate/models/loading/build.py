"""From files on this machine to a network and its tokenizer."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from autoannotate.errors import ModelError
from autoannotate.models.loading import transformers_clip
from autoannotate.models.loading.common import OPEN_CLIP_CONFIG, TOKENIZER_FILES, WAYS_OUT, first_line, quiet
from autoannotate.models.loading.sources import Source
from autoannotate.models.loading.weights import bert_config, read_weights, save_weights

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(source: Source) -> tuple[nn.Module, Callable[[list[str]], Tensor]]:
    """Build the network, in evaluation mode on the CPU in float32, and its tokenizer.

    Every form goes through one door: a folder in open_clip's own layout, written to a temporary place, in which text towers and
    tokenizers are local files. So nothing is fetched, and open_clip checks that the weights fit.

    Raises
    ------
    ModelError
        If the weights cannot be read or do not fit.
    """
    import open_clip

    if (source.text_config is not None or source.tokenizer) and not importlib.util.find_spec("transformers"):
        raise ModelError(
            f"The model {source.name} needs the package transformers: "
            "install it with pip install 'autoannotate[hf]', or choose another model, such as embedded."
        )
    with tempfile.TemporaryDirectory() as temporary, quiet():
        stage = Path(temporary)
        weights = _safetensors(source, stage)
        model_cfg = copy.deepcopy(source.model_cfg)
        if source.text_config is not None:
            _write_json(source.text_config or bert_config(weights), stage / "config.json")
            model_cfg["text_cfg"]["hf_model_name"] = temporary
        if source.tokenizer is not None:
            for file in TOKENIZER_FILES:
                if (source.tokenizer / file).is_file():
                    shutil.copy(source.tokenizer / file, stage)
        _write_json({"model_cfg": model_cfg, "preprocess_cfg": source.preprocess_cfg}, stage / OPEN_CLIP_CONFIG)
        try:
            network = open_clip.create_model(f"local-dir:{stage}", load_weights=False, pretrained_text=False)
            tokenizer = open_clip.get_tokenizer(f"local-dir:{stage}")
        except Exception as error:  # whatever a foreign config can cause in open_clip, timm and transformers
            raise ModelError(f"The model {source.name} cannot be built ({first_line(error)}); {WAYS_OUT}.") from error
        try:
            open_clip.load_checkpoint(network, str(weights))
        except Exception as error:
            read_weights(source.weights)  # has its own sentence for a broken file
            raise ModelError(
                f"The weights in {source.weights} do not fit the architecture of {source.name}: "
                "check that they belong together, or choose another model, such as embedded."
            ) from error
    return network.eval(), tokenizer


def _safetensors(source: Source, stage: Path) -> Path:
    """The weights under open_clip's names, in a file that cannot hold code: itself, or a copy of its tensors."""
    if source.weights.suffix == ".safetensors" and not source.transformers:
        return source.weights
    weights = read_weights(source.weights)
    save_weights(transformers_clip.convert(weights) if source.transformers else weights, stage / "w.safetensors")
    return stage / "w.safetensors"


def _write_json(content: dict, path: Path) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
