"""The Annotator: images in, labels out. The stages in their order, and nothing else."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from autoannotate._internal.progress import Clock, Track, silent
from autoannotate._internal.version import __version__
from autoannotate.annotations import Annotations
from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import ImageRef, find_images, fingerprint, read_image, stamp
from autoannotate.runs import student_predictions
from autoannotate.runs.run import UNREADABLE, Run, check_classes

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.labelling.label_errors.correction import Corrected
    from autoannotate.labelling.queries.queue import Queue
    from autoannotate.labelling.zero_shot.prompts import ClassPrompts
    from autoannotate.labelling.zero_shot.reliability import Reliability
    from autoannotate.models.encoder import Encoder

ENCODED_AT_ONCE = 256  # images between two commits to the cache: what an interruption costs at most
IMAGES_FOR_KIND = 400  # looked at to find out what kind of images a set holds
SHARE_OF_A_KIND = 0.1  # a kind of image counts when it is this common
UNRELATED = (  # what no class of a medical set is: how far the words alone spread the scores
    "a bicycle", "a guitar", "a mountain lake", "a kitchen table", "a newspaper", "a railway station", "orange juice",
    "a blue car", "a wooden chair", "a football match", "a bird in a tree", "a city at night", "a sailing boat",
    "garden flowers", "an old book", "a winter coat", "bread and cheese", "a computer screen", "a mathematics lesson",
    "a birthday party", "desert sand", "a glass of water", "a horse race", "a music concert", "a stone bridge",
    "a wedding dress", "a telephone call", "a forest path", "an airplane wing", "a clock tower", "a coffee mug", "a cat",
)  # fmt: skip


@dataclass(frozen=True)
class Encoded:
    """Images as the encoder sees them: refs, embeddings (N, D) in the space of the texts, features (N, F); and (path,
    reason) of those that could not be read."""

    refs: list[ImageRef]
    embeddings: np.ndarray
    features: np.ndarray
    unreadable: list[tuple[str, str]]


@dataclass(frozen=True)
class ZeroShot:
    """What CLIP says: kinds of image, the sentences asked, probabilities (N, K), and how much they are worth."""

    kinds: str | list[str]
    prompts: list[ClassPrompts]
    probabilities: np.ndarray
    reliability: Reliability


class Annotator:
    """Labels a set of images with some classes.

    >>> annotator = Annotator(["chest", "breast"])                                    # doctest: +SKIP
    >>> annotations = annotator.label("scans/")                                       # doctest: +SKIP
    >>> annotations.table[["path", "label", "confidence", "suspect"]]                 # doctest: +SKIP
    """

    def __init__(
        self,
        classes: Sequence[str],
        model: str = "embedded",
        *,
        student: str = "embedded",
        prompts: Path | str | None = None,
        modality: str | None = None,
        prior: Mapping[str, float] | None = None,
        seed: int = 0,
        device: str = "auto",
        cache: Path | str | bool = True,
        fast: bool = False,
    ) -> None:
        """classes: what an image can be, at least two.

        model: a CLIP model, see `autoannotate.models.encoder.load_encoder`. student: the network that learns from the cleaned
        labels (embedded, resnet18) or none. prompts: a YAML file of the user's own words. modality: what all images are
        ("chest X-ray"); else it is found out. prior: how common each class is, where that is known. cache: where encoded
        images are kept for the next run: a folder, True for the user's own cache folder, False for nowhere. fast: one short
        lesson for the student, where time goes before quality.
        Raises UsageError for classes that cannot be told apart by name.
        """
        self.classes = check_classes(classes)
        self.model, self.student, self.seed, self.device = model, student, seed, device
        self.prompts = Path(prompts) if prompts else None
        self.modality, self.cache, self.fast = modality, cache, fast
        self.prior = None if prior is None else np.array([prior.get(name, 0.0) for name in self.classes])
        self._encoder: Encoder | None = None

    @classmethod
    def from_run(cls, annotations: Run, **changes: Any) -> Annotator:
        """The annotator that made a run, from its run.json; `changes` replace arguments, as in device="cpu"."""
        run = annotations.run
        asked = {
            name: run.get("arguments", {}).get(name)
            for name in ("student", "prompts", "modality", "prior", "device", "cache", "fast")
        }
        known = {name: value for name, value in asked.items() if value is not None}
        return cls(**{"classes": run["classes"], "model": run["model"]["name"], "seed": run["seed"]} | known | changes)

    @property
    def encoder(self) -> Encoder:
        """The CLIP model, loaded when it is first needed."""
        if self._encoder is None:
            from autoannotate.models.encoder import load_encoder

            self._encoder = load_encoder(self.model, self.device)
        return self._encoder

    def label(self, images: str | Path, track: Track = silent) -> Annotations:
        """Label every image of a folder (or one file).

        track: shows progress, see `autoannotate._internal.progress`. Raises InputError when there is no image that can be
        read, and ModelError when the model cannot be had. A call that is interrupted finds its encoded images in the cache.
        """
        from autoannotate.labelling.label_errors.correction import UNANSWERED, correct
        from autoannotate.labelling.queries.queue import choose
        from autoannotate.labelling.semi_supervised.initial_labels import start_from

        clock = Clock()
        with clock("find images"):
            found = find_images(Path(images))
        with clock("load the encoder"):
            encoder = self.encoder
        with clock("encode images"):
            encoded = self.encode(found, track)
        refs, features = encoded.refs, encoded.features

        with clock("zero-shot"):
            clip = self.zero_shot(encoded.embeddings)
        with clock("pseudo-labels"):
            start = start_from(self, clip, features, np.full(len(refs), UNANSWERED))
            clip, meaningful = start.clip, start.clip.reliability.meaningful

        with clock("correction"):
            corrected = correct(
                features, start.probabilities, clip.probabilities, self.classes, images=lambda i: read_image(refs[i]),
                student=self.student, encoder=encoder, image_names=[ref.path for ref in refs], meaningful=meaningful,
                seed=self.seed, device=self.device, track=track, fast=self.fast,
            )  # fmt: skip
        asked = None
        if not meaningful:  # then doubts are guesses too: ask for what teaches the labels, as an update does
            with clock("queue"):
                asked = choose(features, corrected, self.classes, meaningful=False, seed=self.seed)
        return self.annotations(images, encoded, clip, corrected, clock.seconds, asked)

    def update(self, annotations: Annotations, track: Track = silent, strategy: str | None = None) -> Annotations:
        """Let the clinicians' answers improve the other labels, and keep that as a new round: see `autoannotate.update`."""
        from autoannotate.update import update

        return update(self, annotations, track, strategy)

    def zero_shot(self, embeddings: np.ndarray) -> ZeroShot:
        """What CLIP says of images with these embeddings, (N, D), and how much that is worth."""
        from autoannotate.labelling.zero_shot import classifier
        from autoannotate.labelling.zero_shot.prompts import class_prompts
        from autoannotate.labelling.zero_shot.reliability import estimate_reliability

        kinds = self.modality or self.kinds_of(embeddings)
        prompts = class_prompts(self.classes, file=self.prompts, modality=kinds)
        texts = [self.encoder.encode_texts(prompt.texts) for prompt in prompts]
        normalised = classifier.distribution_normalised(embeddings)
        scale = self.encoder.logit_scale
        probabilities = classifier.probabilities(normalised, classifier.class_embeddings(texts), scale)
        reliability = estimate_reliability(normalised, texts, self.encoder.encode_texts(UNRELATED), seed=self.seed)
        return ZeroShot(kinds, prompts, probabilities, reliability)

    def annotations(
        self,
        images: str | Path,
        encoded: Encoded,
        clip: ZeroShot,
        corrected: Corrected,
        timings: Mapping[str, float],
        asked: Queue | None = None,
    ) -> Annotations:
        """The tables and the account of a run. asked: what a person should look at; else what the correction doubts."""
        from autoannotate.labelling.queries.queue import flagged

        labels, queue, student = corrected.labels, corrected.queue, corrected.student
        asked = flagged(corrected) if asked is None else asked
        table = pd.DataFrame(
            {
                "path": [ref.path for ref in encoded.refs],
                "label": self._names(labels),
                "confidence": corrected.confidence,
                "source": np.where(corrected.by_student, "student", "clip"),
                "suspect": np.isin(np.arange(len(labels)), asked.rows).astype(int),
                "suspect_score": queue.score,
                "clip_label": self._names(clip.probabilities.argmax(1)),
                "clip_confidence": clip.probabilities.max(1),
            }
        )
        trained = student.held_out_accuracy is not None
        said = student_predictions.pack(student.opinion) if trained else None
        disagreements = int((student.probabilities.argmax(1) != clip.probabilities.argmax(1)).sum())
        run = {
            **self._settings(images),
            "modality": clip.kinds,
            "prompts": {prompt.name: list(prompt.texts) for prompt in clip.prompts},
            "counts": {
                "images": len(encoded.refs),
                "unreadable": len(encoded.unreadable),
                "suspects": len(asked.rows),
                "clip_student_disagreements": disagreements if trained else None,
                "per_class": {name: int((labels == k).sum()) for k, name in enumerate(self.classes)},
            },
            "reliability": asdict(clip.reliability),
            "student": {
                "kind": self.student if trained else "none",
                "reliable": student.reliable,
                "held_out_accuracy": student.held_out_accuracy,
                "baseline_accuracy": student.baseline_accuracy,
                "note": student.note,
                "said": None if said is None else student_predictions.digest(said),
            },
            # of guesses nobody knows
            "estimated_error_rate": queue.error_rate if clip.reliability.meaningful else None,
            "timings": dict(timings),
            # 8 digits an image, to tell a replaced one
            "stamps": "".join(stamp(ref).ljust(8, "0") for ref in encoded.refs),
        }
        unreadable = pd.DataFrame(encoded.unreadable, columns=UNREADABLE)
        queued = self._queue(table, asked, queue.suggested)
        return Annotations(table, queued, unreadable, run, encoded.refs, student=said)

    def _names(self, labels: np.ndarray) -> np.ndarray:
        return np.array(self.classes, dtype=object)[labels]

    def _queue(self, table: pd.DataFrame, asked: Queue, suggested: np.ndarray) -> pd.DataFrame:
        """What a person should look at, the first one first, as the table of suspects."""
        rows = asked.rows
        return pd.DataFrame(
            {
                "rank": np.arange(1, len(rows) + 1),
                "path": table["path"].to_numpy()[rows],
                "label": table["label"].to_numpy()[rows],
                "suggested_label": self._names(suggested[rows]),
                "suspect_score": table["suspect_score"].to_numpy()[rows],
                "reason": list(asked.reasons),
            }
        )

    def _settings(self, images: str | Path) -> dict[str, Any]:
        """What it takes to repeat the run."""
        packages = ("torch", "open_clip_torch", "timm", "cleanlab", "scikit-learn", "numpy", "pillow")
        return {
            "version": __version__,
            "arguments": {
                "images": Path(images).absolute().as_posix(),
                "modality": self.modality,
                "student": self.student,
                "prompts": None if self.prompts is None else self.prompts.as_posix(),
                "prior": None if self.prior is None else dict(zip(self.classes, self.prior.tolist(), strict=True)),
                "device": self.device,
                "fast": self.fast,
                "cache": self.cache if isinstance(self.cache, bool) else Path(self.cache).as_posix(),
            },
            "seed": self.seed,
            "classes": self.classes,
            "model": {
                "name": self.model,
                "weights_sha256": self.encoder.weights_hash,
                "image_size": self.encoder.image_size,
                "device": str(self.encoder.device),
            },
            "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        }

    def encode(self, found: Sequence[ImageRef], track: Track = silent) -> Encoded:
        """What the encoder sees in each image, from the cache where it is known. Raises InputError where none can be read."""
        from autoannotate.models.embedding_cache import EncodingCache, default_folder

        folder = Path(self.cache) if not isinstance(self.cache, bool) else default_folder() if self.cache else None
        cache = EncodingCache(folder, self.encoder.weights_hash)
        keys: dict[ImageRef, str] = {}
        unreadable: dict[ImageRef, str] = {}
        for ref in found:
            try:
                keys[ref] = fingerprint(ref)
            except UnreadableImageError as error:
                unreadable[ref] = str(error)
        here = cache.known(list(keys.values()))
        todo = [ref for ref in keys if keys[ref] not in here]
        waiting = track(todo, "reading and encoding", len(todo))
        seen: list[ImageRef] = []

        def pictures() -> Iterator[Image.Image]:
            for ref in islice(waiting, ENCODED_AT_ONCE):
                try:
                    image = read_image(ref)
                except UnreadableImageError as error:
                    unreadable[ref] = str(error)
                else:
                    seen.append(ref)
                    yield image

        for _ in range(0, len(todo), ENCODED_AT_ONCE):
            first = len(seen)
            encodings = self.encoder.encode_images(pictures(), closer=True)
            cache.put([keys[ref] for ref in seen[first:]], encodings.embeddings, encodings.features)
        next(waiting, None)  # past the last image, so that the progress bar ends
        refs = [ref for ref in found if ref not in unreadable]
        if not refs:
            raise InputError(
                f"None of the {len(found)} images could be read. The first: {found[0].path}: {unreadable[found[0]]}"
            )
        embeddings, features = cache.get([keys[ref] for ref in refs])
        cache.close()
        return Encoded(refs, embeddings, features, [(ref.path, reason) for ref, reason in unreadable.items()])

    def kinds_of(self, embeddings: np.ndarray) -> list[str]:
        """What kinds of image these are, the commonest first, by zero-shot over all kinds that the prompts know."""
        from autoannotate.labelling.zero_shot import classifier
        from autoannotate.labelling.zero_shot.prompts import modality_prompts

        kinds = modality_prompts(self.prompts)
        texts = [self.encoder.encode_texts(kind.texts) for kind in kinds]
        some = np.random.default_rng(self.seed).permutation(len(embeddings))[:IMAGES_FOR_KIND]
        of_each = classifier.probabilities(
            embeddings[some], classifier.class_embeddings(texts), self.encoder.logit_scale
        )
        shares = np.bincount(of_each.argmax(1), minlength=len(kinds)) / len(some)
        return [kinds[k].name for k in np.argsort(-shares, kind="stable") if shares[k] >= SHARE_OF_A_KIND]
