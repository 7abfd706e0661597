"""The Annotator: images in, labels out. The stages in their order, and nothing else."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from autoannotate import __version__
from autoannotate.annotations import UNREADABLE, Annotations, check_classes
from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import ImageRef, find_images, fingerprint, read_image
from autoannotate.progress import Track, silent

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.encoder import Encoder
    from autoannotate.suspects import Suspects

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
    ) -> None:
        """classes: what an image can be, at least two.

        model: a CLIP model, see `autoannotate.encoder.load_encoder`. student: the network that learns from the cleaned
        labels (embedded, resnet18) or none. prompts: a YAML file of the user's own words. modality: what all images are
        ("chest X-ray"); else it is found out. prior: how common each class is, where that is known. cache: where encoded
        images are kept for the next run: a folder, True for the user's own cache folder, False for nowhere.
        Raises UsageError for classes that cannot be told apart by name.
        """
        self.classes = check_classes(classes)
        self.model, self.student, self.seed, self.device = model, student, seed, device
        self.prompts = Path(prompts) if prompts else None
        self.modality, self.cache = modality, cache
        self.prior = None if prior is None else np.array([prior.get(name, 0.0) for name in self.classes])
        self._encoder: Encoder | None = None

    @property
    def encoder(self) -> Encoder:
        """The CLIP model, loaded when it is first needed."""
        if self._encoder is None:
            from autoannotate.encoder import load_encoder

            self._encoder = load_encoder(self.model, self.device)
        return self._encoder

    def label(self, images: str | Path, track: Track = silent) -> Annotations:
        """Label every image of a folder (or one file).

        track: shows progress, see `autoannotate.progress`. Raises InputError when there is no image that can be read, and
        ModelError when the model cannot be had. A call that is interrupted finds its encoded images in the cache.
        """
        from autoannotate import zeroshot
        from autoannotate.prompts import class_prompts
        from autoannotate.pseudolabels import refine
        from autoannotate.reliability import estimate_reliability
        from autoannotate.student import overrule, train_student
        from autoannotate.suspects import find_suspects

        clock = Clock()
        with clock("find images"):
            found = find_images(Path(images))
        with clock("load the encoder"):
            encoder = self.encoder
        with clock("encode images"):
            refs, embeddings, features, unreadable = self._encode(found, track)

        with clock("zero-shot"):
            kinds = self.modality or self.kinds_of(embeddings)
            prompts = class_prompts(self.classes, file=self.prompts, modality=kinds)
            texts = [encoder.encode_texts(prompt.texts) for prompt in prompts]
            normalised = zeroshot.distribution_normalised(embeddings)
            clip = zeroshot.probabilities(normalised, zeroshot.class_embeddings(texts), encoder.logit_scale)
            unrelated = encoder.encode_texts(UNRELATED)
            reliability = estimate_reliability(normalised, texts, unrelated, seed=self.seed)

        with clock("pseudo-labels"):
            trust = reliability.trust if reliability.meaningful else 0.0
            refined = refine(features, clip, trust=trust, prior=self.prior, seed=self.seed)
            labels = refined.argmax(1)

        with clock("suspects"):
            names = [ref.path for ref in refs]
            doubts = find_suspects(features, labels, clip, self.classes, seed=self.seed, track=track, image_names=names)

        with clock("student"):
            student = train_student(
                lambda i: read_image(refs[i]), features, labels, ~doubts.flagged, baseline=doubts.out_of_sample,
                kind=self.student if reliability.meaningful else "none", encoder=encoder, seed=self.seed,
                device=self.device, track=track,
            )  # fmt: skip
            if not reliability.meaningful:
                student = replace(
                    student, note="No student was trained: the labels it would learn are close to guesses."
                )
            final, confidence, by_student = overrule(labels, refined, student, doubts.flagged, doubts.out_of_sample)

        with clock("queue"):
            queue = find_suspects(
                features, final, clip, self.classes, seed=self.seed, track=track, image_names=names,
                student=student.probabilities if student.reliable else None,
            )  # fmt: skip

        table = pd.DataFrame(
            {
                "path": names,
                "label": self._names(final),
                "confidence": confidence,
                "source": np.where(by_student, "student", "clip"),
                "suspect": queue.flagged.astype(int),
                "suspect_score": queue.score,
                "clip_label": self._names(clip.argmax(1)),
                "clip_confidence": clip.max(1),
            }
        )
        trained = student.held_out_accuracy is not None
        run = {
            **self._settings(images),
            "modality": kinds,
            "prompts": {prompt.name: list(prompt.texts) for prompt in prompts},
            "counts": {
                "images": len(refs),
                "unreadable": len(unreadable),
                "suspects": int(queue.flagged.sum()),
                "clip_student_disagreements": int((student.probabilities.argmax(1) != clip.argmax(1)).sum())
                if trained
                else None,
                "per_class": {name: int((final == k).sum()) for k, name in enumerate(self.classes)},
            },
            "reliability": asdict(reliability),
            "student": {
                "kind": self.student if trained else "none",
                "reliable": student.reliable,
                "held_out_accuracy": student.held_out_accuracy,
                "baseline_accuracy": student.baseline_accuracy,
                "note": student.note,
            },
            "estimated_error_rate": queue.error_rate,
            "timings": clock.seconds,
        }
        return Annotations(table, self._queue(table, queue), pd.DataFrame(unreadable, columns=UNREADABLE), run, refs)

    def _names(self, labels: np.ndarray) -> np.ndarray:
        return np.array(self.classes, dtype=object)[labels]

    def _queue(self, table: pd.DataFrame, queue: Suspects) -> pd.DataFrame:
        """The flagged images, the most doubtful first, as the table of suspects."""
        rows = np.flatnonzero(queue.flagged)
        rows = rows[np.argsort(-queue.score[rows], kind="stable")]
        return pd.DataFrame(
            {
                "rank": np.arange(1, len(rows) + 1),
                "path": table["path"].to_numpy()[rows],
                "label": table["label"].to_numpy()[rows],
                "suggested_label": self._names(queue.suggested[rows]),
                "suspect_score": queue.score[rows],
                "reason": [queue.reasons[i] for i in rows],
            }
        )

    def _settings(self, images: str | Path) -> dict[str, Any]:
        """What it takes to repeat the run."""
        packages = ("torch", "open_clip_torch", "timm", "cleanlab", "scikit-learn", "numpy", "pillow")
        return {
            "version": __version__,
            "arguments": {"images": str(images), "modality": self.modality, "student": self.student},
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

    def _encode(
        self, found: Sequence[ImageRef], track: Track
    ) -> tuple[list[ImageRef], np.ndarray, np.ndarray, list[tuple[str, str]]]:
        """Embeddings (N, D) and features (N, F) of the images that can be read, and (path, reason) of the others."""
        from autoannotate.cache import EncodingCache, default_folder

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
            encodings = self.encoder.encode_images(pictures())
            cache.put([keys[ref] for ref in seen[first:]], encodings.embeddings, encodings.features)
        next(waiting, None)  # past the last image, so that the progress bar ends
        refs = [ref for ref in found if ref not in unreadable]
        if not refs:
            raise InputError(
                f"None of the {len(found)} images could be read. The first: {found[0].path}: {unreadable[found[0]]}"
            )
        embeddings, features = cache.get([keys[ref] for ref in refs])
        cache.close()
        return refs, embeddings, features, [(ref.path, reason) for ref, reason in unreadable.items()]

    def kinds_of(self, embeddings: np.ndarray) -> list[str]:
        """What kinds of image these are, the commonest first, by zero-shot over all kinds that the prompts know."""
        from autoannotate import zeroshot
        from autoannotate.prompts import modality_prompts

        kinds = modality_prompts(self.prompts)
        texts = [self.encoder.encode_texts(kind.texts) for kind in kinds]
        some = np.random.default_rng(self.seed).permutation(len(embeddings))[:IMAGES_FOR_KIND]
        of_each = zeroshot.probabilities(embeddings[some], zeroshot.class_embeddings(texts), self.encoder.logit_scale)
        shares = np.bincount(of_each.argmax(1), minlength=len(kinds)) / len(some)
        return [kinds[k].name for k in np.argsort(-shares, kind="stable") if shares[k] >= SHARE_OF_A_KIND]


class Clock:
    """Wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - started, 2)
