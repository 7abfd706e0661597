"""The named models: one entry each, and nothing else to change when one is added.

`list_models()` is the table that `autoannotate models` prints. It looks at this machine only (the package
itself and the local cache of the Hugging Face hub), never at the network, and does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

EMBEDDED = Path(__file__).parent / "embedded"

OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TRANSFORMERS_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class NamedModel:
    """A short name for a CLIP model.

    Attributes
    ----------
    source : what `load_encoder` would take instead (`ARCH/tag`, `hf-hub:org/name`); "" for the one in the package
    hub : the repository of the weights on the Hugging Face hub
    megabytes : size of the weights as they are downloaded
    """

    name: str
    source: str
    hub: str
    megabytes: int
    licence: str
    good_for: str


@dataclass(frozen=True)
class ModelRow:
    """One row of the table of models; `here` says whether the weights are on this machine."""

    name: str
    source: str
    megabytes: int
    licence: str
    good_for: str
    here: bool


CATALOGUE: dict[str, NamedModel] = {
    model.name: model
    for model in (
        NamedModel(
            "embedded",
            "",
            "",
            26,
            "research use; see its model card",
            "telling modalities and organs apart, offline and fast on a CPU; not diseases",
        ),
        NamedModel(
            "openai-b32",
            "ViT-B-32/openai",
            "timm/vit_base_patch32_clip_224.openai",
            605,
            "MIT",
            "everyday photographs; the quickest of the general models",
        ),
        NamedModel(
            "openai-b16",
            "ViT-B-16/openai",
            "timm/vit_base_patch16_clip_224.openai",
            599,
            "MIT",
            "everyday photographs, with finer detail than openai-b32",
        ),
        NamedModel(
            "openai-l14",
            "ViT-L-14/openai",
            "timm/vit_large_patch14_clip_224.openai",
            1710,
            "MIT",
            "the strongest general model here; slow without a GPU",
        ),
        NamedModel(
            "laion-b32",
            "ViT-B-32/laion2b_s34b_b79k",
            "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
            605,
            "MIT",
            "general images and web text, trained on public data",
        ),
        NamedModel(
            "biomedclip",
            "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
            "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
            784,
            "MIT; meant for research",
            "figures of the biomedical literature: radiology, histology, microscopy, many diseases by name",
        ),
        NamedModel(
            "pubmedclip",
            "hf-hub:flaviagiammarino/pubmed-clip-vit-base-patch32",
            "flaviagiammarino/pubmed-clip-vit-base-patch32",
            605,
            "MIT",
            "radiology: X-ray, CT, MR and ultrasound figures (trained on ROCO)",
        ),
    )
}


def list_models() -> list[ModelRow]:
    """Every named model, in the order of the catalogue, and whether its weights are on this machine.

    >>> [row.name for row in list_models()][:2]
    ['embedded', 'openai-b32']
    """
    return [
        ModelRow(
            name=model.name,
            source=model.source or "in the package",
            megabytes=_megabytes(model),
            licence=model.licence,
            good_for=model.good_for,
            here=_here(model),
        )
        for model in CATALOGUE.values()
    ]


def cached_file(repo: str, names: Sequence[str]) -> Path | None:
    """The first of the named files in the local cache of the Hugging Face hub for `repo`; asks no network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    with suppress(HFValidationError):  # not the name of a repository
        for name in names:
            found = try_to_load_from_cache(repo, name)
            if isinstance(found, str):
                return Path(found)
    return None


def _megabytes(model: NamedModel) -> int:
    embedded = EMBEDDED / OPEN_CLIP_WEIGHTS[0]
    return model.megabytes if model.source or not embedded.is_file() else round(embedded.stat().st_size / 1e6)


def _here(model: NamedModel) -> bool:
    if not model.source:
        return (EMBEDDED / OPEN_CLIP_WEIGHTS[0]).is_file()
    return cached_file(model.hub, OPEN_CLIP_WEIGHTS + TRANSFORMERS_WEIGHTS) is not None
