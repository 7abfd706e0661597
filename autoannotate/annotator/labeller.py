"""A labeller: an encoder by name, its prompts, and a classifier learned from a run. One folder: safetensors and JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoannotate._internal.files import plain_errors, write_files
from autoannotate._internal.progress import Track, silent
from autoannotate._internal.version import __version__
from autoannotate.annotator.annotator import Annotator
from autoannotate.annotator.estimator import FeatureClassifier
from autoannotate.errors import InputError
from autoannotate.images import ImageRef
from autoannotate.labelling.features import Features
from autoannotate.labelling.zero_shot import classifier as zero_shot
from autoannotate.runs.run import Run

if TYPE_CHECKING:
    from autoannotate.models.encoding import Encoded

FOLDER = "labeller"
ABOUT, ARRAYS, CARD = "labeller.json", "labeller.safetensors", "CARD.md"
FORMAT = 1
CLINICIAN = 3.0  # a clinician's label counts for this many of the machine's
FOLDS = 5
FITTED = ("mean_", "scale_", "axes_", "coef_", "intercept_", "points_", "codes_")


@dataclass(frozen=True, eq=False)
class Labeller:
    """What labels new images as a run labelled its own.

    Parameters
    ----------
    model : FeatureClassifier
    centre : ndarray of shape (D,)
        Half of the mean embedding of the training images, which zero-shot takes away.
    texts : ndarray of shape (K, D)
        Embedding of each class's prompts.
    about : mapping
        Encoder, classes, seed, digest of the labels, and the card.
    """

    model: FeatureClassifier
    centre: NDArray[np.float32]
    texts: NDArray[np.float32]
    about: Mapping[str, Any]

    @property
    def classes(self) -> list[str]:
        return [str(name) for name in self.about["classes"]]

    def annotator(self, device: str = "auto", cache: Path | bool = True) -> Annotator:
        """What encodes images for this labeller. Raises `InputError` where the encoder is another one by now."""
        annotator = Annotator(self.classes, self.about["encoder"]["name"], device=device, cache=cache)
        if annotator.encoder.weights_hash != self.about["encoder"]["weights_sha256"]:
            raise InputError(
                f"The labeller learned from another {self.about['encoder']['name']} model than the one that is here: "
                "make it again from its run."
            )
        return annotator

    def predict(self, features: NDArray[np.floating], embeddings: NDArray[np.floating], scale: float) -> pd.DataFrame:
        """One row an image with the columns of labels.csv but for path, then novelty and unlike_training.

        features: (N, F). embeddings: (N, D). scale: the encoder's `logit_scale`.
        """
        probabilities, labels = self.model.predict_proba(features), self.model.predict(features).astype(str)
        row = {name: k for k, name in enumerate(self.model.classes_.astype(str))}
        chosen = probabilities[np.arange(len(labels)), [row[name] for name in labels]]
        clip = zero_shot.probabilities(np.asarray(embeddings) - self.centre, self.texts, scale)
        novelty = self.model.novelty(features)
        unlike = novelty > self.model.threshold_
        known = self.model.known_rows(features) >= 0
        return pd.DataFrame(
            {
                "label": labels,
                "confidence": chosen,
                "source": "student",
                "suspect": (unlike | (chosen < 0.5)).astype(int),
                "suspect_score": np.clip(np.maximum(1.0 - chosen, np.where(unlike, 0.5, 0.0)), 0.0, 1.0),
                "clip_label": np.array(self.classes, dtype=object)[clip.argmax(axis=1)],
                "clip_confidence": clip.max(axis=1),
                "novelty": novelty,
                "unlike_training": unlike.astype(int),
                "in_training": known.astype(int),
            }
        )

    def save(self, folder: Path) -> None:
        """Write `labeller.safetensors`, `labeller.json` and `CARD.md`. Raises `OutputError` where that cannot be."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(getattr(self.model, name)) for name in FITTED}
        arrays |= {"centre": np.ascontiguousarray(self.centre), "texts": np.ascontiguousarray(self.texts)}
        about = {**self.about, "size_": self.model.size_, "threshold_": self.model.threshold_}
        with plain_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        files = {
            folder / ARRAYS: save(arrays),
            folder / CARD: card(self.about).encode(),
            folder / ABOUT: (json.dumps(about, indent=2) + "\n").encode(),
        }
        write_files(files)

    @classmethod
    def load(cls, folder: Path) -> Labeller:
        """Read what `save` wrote. Raises `InputError` where the folder holds no labeller, or one that is broken."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            arrays = load((folder / ARRAYS).read_bytes())
            if about["format"] > FORMAT:
                raise InputError(
                    f"The labeller in {folder} was made by a newer autoannotate: update this one to use it."
                )
            model = FeatureClassifier(keep_labels=True)
            for name in FITTED:
                setattr(model, name, arrays[name])
            model.size_, model.threshold_ = about["size_"], about["threshold_"]
            model.classes_, model.n_features_in_ = np.array(about["learned"], dtype=object), len(model.mean_)
            return cls(model, arrays["centre"], arrays["texts"], about)
        except FileNotFoundError:
            raise InputError(f"There is no labeller in {folder}: give the folder of a run, or of a labeller.") from None
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise InputError(
                f"The labeller in {folder} is broken ({type(error).__name__}): make it again from its run."
            ) from None


def digest(run: Run) -> str:
    """What changes when the labels of a run do."""
    rows = "\n".join(
        f"{p}\t{label}\t{source}" for p, label, source in run.table[["path", "label", "source"]].to_numpy()
    )
    return hashlib.sha256(rows.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def learn(run: Run, refs: Sequence[ImageRef], annotator: Annotator, track: Track = silent) -> Labeller:
    """Make a labeller of a run's labels.

    Learned from are the run's final labels, weighted by confidence, a clinician's three times; images of none of the classes
    are left out. Held-out quality is by `FOLDS` folds, near duplicates on one side.

    Raises
    ------
    InputError
        Where fewer than two classes have labels.
    """
    return learn_from(run, annotator.encode(refs, track), annotator)


def learn_from(run: Run, encoded: Encoded, annotator: Annotator) -> Labeller:
    """The same of images that are encoded."""
    table = run.table.set_index("path").reindex([ref.path for ref in encoded.refs])
    classes = list(run.record.classes)
    kept = table["label"].isin(classes).to_numpy()
    labels = table["label"].to_numpy()[kept].astype(str)
    if len(np.unique(labels)) < 2:
        raise InputError("A labeller needs labels of two classes: all images of the run have the same.")
    features = encoded.features[kept]
    by_clinician = (table["source"] == "clinician").to_numpy()[kept]
    weights = np.where(by_clinician, CLINICIAN, np.maximum(table["confidence"].to_numpy(np.float64)[kept], 0.05))
    model = FeatureClassifier(keep_labels=True).fit(features, labels, weights)
    model.classes_ = model.classes_.astype(object)
    quality = _held_out(features, labels, weights, by_clinician)
    prompts = run.record.prompts
    texts = zero_shot.class_embeddings(
        [annotator.encoder.encode_texts(prompts.get(name) or [name]) for name in classes]
    )
    units = encoded.embeddings / np.maximum(np.linalg.norm(encoded.embeddings, axis=1, keepdims=True), 1e-12)
    counts = {name: int((labels == name).sum()) for name in classes}
    about = {
        "format": FORMAT,
        "version": __version__,
        "classes": classes,
        "learned": [str(name) for name in model.classes_],
        "encoder": {"name": annotator.model, "weights_sha256": annotator.encoder.weights_hash},
        "labels": digest(run),
        "seed": run.record.seed,
        "item": annotator.item,
        "prompts": {name: list(prompts.get(name, [])) for name in classes},
        "kinds": run.record.modality,
        "images": int(kept.sum()),
        "clinician": int(by_clinician.sum()),
        "per_class": counts,
        "never_seen": [name for name in classes if not counts[name]],
        "held_out": quality,
        "meaningful": run.record.reliability.meaningful is not False,
    }
    return Labeller(model, (units.mean(axis=0) / 2).astype(np.float32), texts, about)


def _held_out(
    features: NDArray[np.floating], labels: NDArray[Any], weights: NDArray[np.float64], by_clinician: NDArray[np.bool_]
) -> dict[str, Any]:
    """Agreement with labels that were not learned from: with all of them, and with clinicians' alone, per class."""
    from sklearn.model_selection import GroupKFold

    groups = Features(features).duplicate_groups
    folds = min(FOLDS, len(np.unique(groups)))
    found = labels.astype(object).copy()
    if folds > 1:
        for train, test in GroupKFold(folds).split(features, groups=groups):
            if len(np.unique(labels[train])) < 2:
                found[test] = labels[train][0]
                continue
            found[test] = (
                FeatureClassifier().fit(features[train], labels[train], weights[train]).predict(features[test])
            )

    def told(rows: NDArray[np.bool_]) -> dict[str, Any]:
        right = found[rows] == labels[rows]
        each = {
            name: {
                "n": int((labels[rows] == name).sum()),
                "recall": round(float(right[labels[rows] == name].mean()), 4),
            }
            for name in np.unique(labels[rows])
        }
        return {"n": int(rows.sum()), "accuracy": round(float(right.mean()), 4), "per_class": each}

    quality = {"labels of the run": told(np.ones(len(labels), dtype=bool))}
    if by_clinician.sum() >= 10:
        quality["labels by clinicians"] = told(by_clinician)
    return quality


def card(about: Mapping[str, Any]) -> str:
    """The card, as Markdown."""
    lines = [
        "# A labeller made by autoannotate", "",
        f"Classes: {', '.join(about['classes'])}. Encoder: {about['encoder']['name']}.", "",
        "## What it learned from", "",
        f"{about['images']:,} labelled images, {about['clinician']:,} of the labels by clinicians, the others by the machine.",
        *(f"- {name}: {count:,}" for name, count in about["per_class"].items()), "",
    ]  # fmt: skip
    if not about["meaningful"]:
        lines += ["**The labels of the run were close to guesses, and so are these.**", ""]
    lines += ["## How good it is", "", "Agreement with labels that were kept aside, near duplicates kept together."]
    if "labels by clinicians" not in about["held_out"]:
        lines.append("No clinician's labels were among them, so this is agreement with the machine, not accuracy.")
    for name, quality in about["held_out"].items():
        lines += ["", f"| {name} | images | recall |", "|---|---:|---:|"]
        lines += [f"| {one} | {row['n']:,} | {100 * row['recall']:.1f}% |" for one, row in quality["per_class"].items()]
        lines += [f"| all | {quality['n']:,} | {100 * quality['accuracy']:.1f}% |"]
    kinds = about["kinds"] if isinstance(about["kinds"], str) else ", ".join(about["kinds"] or [])
    lines += [
        "", "## What it has never seen", "",
        f"Anything but {kinds or 'images like those of the run'}: such images get one of its classes all the same, and are",
        "marked `unlike_training`. So are images from another scanner or site, where they look different to the encoder.",
    ]  # fmt: skip
    if about["never_seen"]:
        lines.append(f"No image of: {', '.join(about['never_seen'])}. It never gives these labels.")
    lines += ["", "Images that it learned from keep the labels of the run. For research use.", ""]
    return "\n".join(lines)
