"""A labeller: an encoder by name, its prompts, and a classifier learned from a run. One folder: safetensors and JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoannotate._internal.files import plain_errors, write_files
from autoannotate._internal.progress import Track, silent
from autoannotate._internal.version import __version__
from autoannotate.annotator.annotator import Annotator
from autoannotate.annotator.embedded_rows import rows_of
from autoannotate.annotator.estimator import FeatureClassifier
from autoannotate.errors import InputError
from autoannotate.images import ImageRef
from autoannotate.labelling.features import Features, unit
from autoannotate.labelling.label_errors.out_of_sample import inverse_temperature, sharpened
from autoannotate.labelling.zero_shot import classifier as zero_shot
from autoannotate.runs.run import Run

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.models.encoding import Encoded
    from autoannotate.models.saved_students import Students

FOLDER = "labeller"
ABOUT, ARRAYS, STUDENT, CARD = "labeller.json", "labeller.safetensors", "student.safetensors", "CARD.md"
FORMAT = 2
CLINICIAN = 3.0  # a clinician's label counts for this many of the machine's
FOLDS = 5
FITTED = ("mean_", "scale_", "axes_", "coef_", "intercept_", "points_", "codes_")


@dataclass(frozen=True, eq=False)
class Labeller:
    """What labels new images as a run labelled its own.

    Parameters
    ----------
    model : FeatureClassifier
        The probe on the encoder's features.
    centre : ndarray of shape (D,)
        Half of the mean embedding of the training images, which zero-shot takes away.
    texts : ndarray of shape (K, D)
        Embedding of each class's prompts.
    sources : ndarray of shape (N,)
        What gave each training image its label, as numbers of `about["sources"]`.
    about : mapping
        Encoder, classes, seed, digest of the labels, and the card.
    students : Students, optional
        Trained networks, where they were as good as the probe on labels that neither saw: then the mean of both is given.
    """

    model: FeatureClassifier
    centre: NDArray[np.float32]
    texts: NDArray[np.float32]
    sources: NDArray[np.int64]
    about: Mapping[str, Any]
    students: Students | None = None

    @property
    def classes(self) -> list[str]:
        """The K classes that were asked for, in their order."""
        return [str(name) for name in self.about["classes"]]

    @property
    def of_file(self) -> bool:
        """Whether it learned from another model's embeddings (`--embeddings`), and can only label such."""
        return self.about["encoder"] is None

    def annotator(self, device: str = "auto", cache: Path | bool = True) -> Annotator:
        """What encodes images for this labeller.

        Raises
        ------
        InputError
            Where the encoder is another one by now.
        """
        annotator = Annotator(self.classes, self.about["encoder"]["name"], device=device, cache=cache)
        if annotator.encoder.weights_hash != self.about["encoder"]["weights_sha256"]:
            raise InputError(
                f"The labeller learned from another {self.about['encoder']['name']} model than the one that is here: "
                "make it again from its run."
            )
        return annotator

    def probabilities(
        self, features: NDArray[np.floating], of_students: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """(N, K') class probabilities in the order of `model.classes_`: the probe's, or the mean with its students'."""
        of_probe = sharpened(self.model.predict_proba(features), self.about["sharpness"])
        return of_probe if of_students is None else (of_probe + of_students) / 2

    def predict(
        self,
        features: NDArray[np.floating],
        embeddings: NDArray[np.floating] | None,
        scale: float,
        images: Iterable[Image.Image] = (),
        device: str = "auto",
    ) -> tuple[pd.DataFrame, NDArray[np.float64]]:
        """A row an image with the columns of labels.csv but for path, then novelty, unlike_training and in_training; and
        probabilities (N, K').

        Parameters
        ----------
        features : (N, F)
        embeddings : (N, D), or None where zero-shot has nothing to say
        scale : the encoder's `logit_scale`
        images : the N pictures, for the students
        """
        of_students = None if self.students is None else self.students.predict(images, device)
        probabilities = self.probabilities(features, of_students)
        codes, known = probabilities.argmax(axis=1), self.model.known_rows(features)
        codes = np.where(known >= 0, self.model.codes_[np.maximum(known, 0)], codes)
        labels, chosen = self.model.classes_.astype(str)[codes], probabilities[np.arange(len(codes)), codes]
        own = np.array(self.about["sources"], dtype=object)[self.sources[np.maximum(known, 0)]]
        novelty = self.model.novelty(features)
        unlike = novelty > self.model.threshold_
        table = pd.DataFrame(
            {
                "label": labels,
                "confidence": chosen,
                "source": np.where(known >= 0, own, "probe" if self.students is None else "student"),
                "suspect": (unlike | (chosen < 0.5)).astype(int),
                "suspect_score": np.clip(np.maximum(1.0 - chosen, np.where(unlike, 0.5, 0.0)), 0.0, 1.0),
                "clip_label": "",
                "clip_confidence": float("nan"),
                "novelty": novelty,
                "unlike_training": unlike.astype(int),
                "in_training": (known >= 0).astype(int),
            }
        )
        if embeddings is not None:
            clip = zero_shot.probabilities(np.asarray(embeddings) - self.centre, self.texts, scale)
            table["clip_label"] = np.array(self.classes, dtype=object)[clip.argmax(axis=1)]
            table["clip_confidence"] = clip.max(axis=1)
        return table, probabilities

    def save(self, folder: Path) -> None:
        """Write `labeller.safetensors`, `labeller.json` and `CARD.md`.

        Raises
        ------
        OutputError
            Where that cannot be.
        """
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(getattr(self.model, name)) for name in FITTED}
        arrays |= {name: np.ascontiguousarray(getattr(self, name)) for name in ("centre", "texts", "sources")}
        about = {**self.about, "size_": self.model.size_, "threshold_": self.model.threshold_}
        with plain_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        files = {
            folder / ARRAYS: save(arrays),
            folder / CARD: card(self.about).encode(),
            folder / ABOUT: (json.dumps(about, indent=2) + "\n").encode(),
        }
        if self.students is not None:
            from safetensors.torch import save as save_tensors

            files[folder / STUDENT] = save_tensors(self.students.tensors())
        write_files(files)
        if self.students is None:
            (folder / STUDENT).unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path) -> Labeller:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            Where the folder holds no labeller, or one that is broken.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            arrays = load((folder / ARRAYS).read_bytes())
            if about["format"] != FORMAT:
                way = "update this one to use it" if about["format"] > FORMAT else "make it again from its run"
                raise InputError(f"The labeller in {folder} was made by another version of autoannotate: {way}.")
            model = FeatureClassifier(keep_labels=True)
            for name in FITTED:
                setattr(model, name, arrays[name])
            model.size_, model.threshold_ = about["size_"], about["threshold_"]
            model.classes_, model.n_features_in_ = np.array(about["learned"], dtype=object), len(model.mean_)
            students = None
            if about["student"]:
                from safetensors.torch import load_file

                from autoannotate.models.saved_students import Students

                students = Students.of(about["student"], load_file(folder / STUDENT))
            _check_shapes(arrays, about)
            return cls(model, arrays["centre"], arrays["texts"], arrays["sources"], about, students)
        except FileNotFoundError as error:
            if (folder / ABOUT).is_file():
                raise InputError(
                    f"The labeller in {folder} lacks {Path(error.filename or STUDENT).name}: copy the whole folder, or make it "
                    "again from its run."
                ) from None
            raise InputError(f"There is no labeller in {folder}: give the folder of a run, or of a labeller.") from None
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"The labeller in {folder} is broken ({type(error).__name__}): make it again from its run."
            ) from None


def _check_shapes(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Raise `ValueError` where the arrays of a labeller and its classes do not belong together."""
    features, axes = arrays["axes_"].shape
    rows, classes = len(arrays["points_"]), len(about["learned"])
    scores = classes if classes > 2 else 1
    expected = {
        "mean_": (features,), "scale_": (features,), "coef_": (scores, axes), "intercept_": (scores,),
        "points_": (rows, axes), "codes_": (rows,), "sources": (rows,),
    }  # fmt: skip
    if wrong := [name for name, shape in expected.items() if arrays[name].shape != shape]:
        raise ValueError(f"{wrong[0]} has another shape")
    if not set(about["learned"]) <= set(about["classes"]):
        raise ValueError("it learned other classes")


def digest(run: Run) -> str:
    """What changes when the labels of a run do."""
    rows = "\n".join(
        f"{p}\t{label}\t{source}" for p, label, source in run.table[["path", "label", "source"]].to_numpy()
    )
    return hashlib.sha256(rows.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def learn(run: Run, refs: Sequence[ImageRef], annotator: Annotator, track: Track = silent) -> Labeller:
    """Make a labeller of a run's labels.

    A probe learns from the run's labels, weighted by confidence, a clinician's three times; students are trained as
    `label` trains them, where the run had some, and are kept where they are
    not worse than the probe on labels that neither saw. Images of none of the classes are left out. Held-out quality is by
    `FOLDS` folds for the probe and two for the students, near duplicates on one side.

    Raises
    ------
    InputError
        Where fewer than two classes have labels.
    """
    by_file = annotator.embeddings is not None
    encoded = rows_of(annotator.embeddings, refs) if by_file else annotator.encode(refs, track)
    trainer = None if by_file else annotator.trainer
    return learn_from(run, encoded, annotator, trainer=trainer, track=track)


def learn_from(
    run: Run,
    encoded: Encoded,
    annotator: Annotator,
    *,
    trainer: Callable[[Sequence[ImageRef], Track], Any] | None = None,
    track: Track = silent,
) -> Labeller:
    """The same of images that are encoded; without a trainer there are no students."""
    refs, seen = encoded.refs, encoded.features
    table = run.table.set_index("path").reindex([ref.path for ref in refs])
    classes = list(run.record.classes)
    kept = np.flatnonzero(table["label"].isin(classes).to_numpy())
    labels = table["label"].to_numpy()[kept].astype(str)
    if len(np.unique(labels)) < 2:
        raise InputError("A labeller needs labels of two classes: all images of the run have the same.")
    features = seen[kept]
    by_clinician = (table["source"] == "clinician").to_numpy()[kept]
    weights = np.where(by_clinician, CLINICIAN, np.maximum(table["confidence"].to_numpy(np.float64)[kept], 0.05))
    learned, codes = np.unique(labels, return_inverse=True)
    model = FeatureClassifier(keep_labels=True).fit(features, labels, weights)
    model.classes_ = model.classes_.astype(object)
    groups = Features(features).duplicate_groups
    outside = _out_of_fold(features, labels, weights, groups)
    sharpness = inverse_temperature(outside, codes)
    outside = sharpened(outside, sharpness)
    training = None if trainer is None else trainer([refs[row] for row in kept], track)
    said, students = "The run had no student.", None
    if training is not None:
        result = replace(training, keep=True)(
            Features(features),
            codes,
            weights,
            baseline=outside,
            groups=groups,
            given=codes,
            seed=annotator.seed,
        )
        training.done()
        said = result.note
        if result.reliable and result.networks is not None:
            students, outside = result.networks, (outside + result.probabilities) / 2
    prompts = run.record.prompts
    texts, units = np.zeros((0, 0), dtype=np.float32), None
    if annotator.embeddings is None:
        texts = zero_shot.class_embeddings(
            [annotator.encoder.encode_texts(prompts.get(name) or [name]) for name in classes]
        )
        units = unit(encoded.embeddings)
    sources, source_codes = np.unique(table["source"].to_numpy()[kept].astype(str), return_inverse=True)
    counts = {name: int((labels == name).sum()) for name in classes}
    about = {
        "format": FORMAT,
        "version": __version__,
        "classes": classes,
        "learned": [str(name) for name in model.classes_],
        "encoder": None
        if annotator.embeddings
        else {"name": annotator.model, "weights_sha256": annotator.encoder.weights_hash},
        "labels": digest(run),
        "seed": run.record.seed,
        "item": annotator.item,
        "prompts": {name: list(prompts.get(name, [])) for name in classes},
        "kinds": run.record.modality,
        "images": len(kept),
        "clinician": int(by_clinician.sum()),
        "sources": [str(name) for name in sources],
        "taught_by": {str(name): int((source_codes == k).sum()) for k, name in enumerate(sources)},
        "per_class": counts,
        "never_seen": [name for name in classes if not counts[name]],
        "held_out": _quality(learned[outside.argmax(axis=1)], labels, by_clinician),
        "sharpness": sharpness,
        "student": None if students is None else students.about(),
        "about_student": said,
        "meaningful": run.record.reliability.meaningful is not False,
    }
    centre = np.zeros(0, dtype=np.float32) if units is None else (units.mean(axis=0) / 2).astype(np.float32)
    return Labeller(model, centre, texts.astype(np.float32), source_codes.astype(np.int64), about, students)


def _out_of_fold(
    features: NDArray[np.floating],
    labels: NDArray[Any],
    weights: NDArray[np.float64],
    groups: NDArray[np.integer],
) -> NDArray[np.float64]:
    """(N, K') probabilities by probes that did not see the image, nor one that is nearly the same."""
    from sklearn.model_selection import GroupKFold

    learned, codes = np.unique(labels, return_inverse=True)
    found = np.tile(np.bincount(codes) / len(codes), (len(codes), 1))
    folds = min(FOLDS, len(np.unique(groups)))
    if folds < 2:
        return found
    for train, test in GroupKFold(folds).split(features, groups=groups):
        here = np.unique(codes[train])
        if len(here) < 2:
            found[test] = np.eye(len(learned))[here[0]]
            continue
        probe = FeatureClassifier().fit(features[train], labels[train], weights[train])
        found[test] = 0.0
        found[np.ix_(test, here)] = probe.predict_proba(features[test])
    return found


def _quality(found: NDArray[Any], labels: NDArray[Any], by_clinician: NDArray[np.bool_]) -> dict[str, Any]:
    """Agreement with labels that were not learned from: with all of them, and with clinicians' alone, per class."""

    def agreement(rows: NDArray[np.bool_]) -> dict[str, Any]:
        right = found[rows] == labels[rows]
        each = {}
        for name in np.unique(labels[rows]):
            given, said = labels[rows] == name, found[rows] == name
            each[str(name)] = {
                "n": int(given.sum()),
                "recall": round(float(right[given].mean()), 4),
                "precision": round(float(right[said].mean()), 4) if said.any() else None,
            }
        return {"n": int(rows.sum()), "accuracy": round(float(right.mean()), 4), "per_class": each}

    quality = {"labels of the run": agreement(np.ones(len(labels), dtype=bool))}
    if by_clinician.sum() >= 10:
        quality["labels by clinicians"] = agreement(by_clinician)
    return quality


def card(about: Mapping[str, Any]) -> str:
    """The card, as Markdown."""
    encoder = "Encoder: none, it reads another model's embeddings."
    if about["encoder"] is not None:
        encoder = f"Encoder: {about['encoder']['name']}."
    student = "No student: a probe on the encoder's features alone."
    if about["student"]:
        student = f"A probe on features, and {about['student']['count']} students ({about['student']['backbone']}): their mean."
    lines = [
        "# A labeller made by autoannotate", "",
        f"Classes: {', '.join(about['classes'])}. {encoder} {student}", "",
        "## What it learned from", "",
        f"{about['images']:,} labelled images, {about['clinician']:,} of the labels by clinicians, the others by the machine.",
        *(f"- {name}: {count:,}" for name, count in about["per_class"].items()), "",
        "What gave these labels their value: "
        + ", ".join(f"{name} {count:,}" for name, count in about["taught_by"].items()) + ".", "",
        "Each label counts by the confidence that the run gave it, after all that it knew of wrong labels and of answers; a",
        f"clinician's counts {CLINICIAN:g} times. The run's model of wrong labels itself is not part of the labeller.", "",
    ]  # fmt: skip
    if not about["meaningful"]:
        lines += ["**The labels of the run were close to guesses, and so are these.**", ""]
    lines += ["## How good it is", "", "Agreement with labels that were kept aside, near duplicates kept together."]
    if "labels by clinicians" not in about["held_out"]:
        lines.append("No clinician's labels were among them, so this is agreement with the machine, not accuracy.")
    for name, quality in about["held_out"].items():
        lines += ["", f"| {name} | images | recall | precision |", "|---|---:|---:|---:|"]
        for one, row in quality["per_class"].items():
            precision = "–" if row["precision"] is None else f"{100 * row['precision']:.1f}%"
            lines += [f"| {one} | {row['n']:,} | {100 * row['recall']:.1f}% | {precision} |"]
        lines += [f"| all | {quality['n']:,} | {100 * quality['accuracy']:.1f}% | |"]
    lines += ["", about["about_student"]]
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
