"""The Annotator: images in, labels out. The stages in their order, and nothing else."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate import __version__
from autoannotate.annotations import LABELS, SUSPECTS, UNREADABLE, Annotations, check_classes
from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import ImageRef, find_images, fingerprint, read_image
from autoannotate.progress import Track, silent

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.encoder import Encoder

ENCODED_AT_ONCE = 256  # images between two commits to the cache: what an interruption costs at most
IMAGES_FOR_KIND = 400  # looked at to find out what kind of images a set holds
SHARE_OF_A_KIND = 0.1  # a kind of image counts when it is this common


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
            kinds = self.modality or self._kinds_of(embeddings)
            prompts = class_prompts(self.classes, file=self.prompts, modality=kinds)
            texts = [encoder.encode_texts(prompt.texts) for prompt in prompts]
            clip = zeroshot.probabilities(embeddings, zeroshot.class_embeddings(texts), encoder.logit_scale)
            reliability = estimate_reliability(embeddings, features, texts, encoder.logit_scale, seed=self.seed)

        with clock("pseudo-labels"):
            refined = refine(features, clip, trust=reliability.trust, prior=self.prior, seed=self.seed)
            labels = refined.argmax(1)

        with clock("suspects"):
            names = [ref.path for ref in refs]
            doubts = find_suspects(
                features, labels, clip, self.classes, seed=self.seed, track=track, image_names=names
            )

        with clock("student"):
            student = train_student(
                lambda i: read_image(refs[i]), features, labels, ~doubts.flagged, baseline=doubts.out_of_sample,
                kind=self.student if reliability.meaningful else "none", encoder=encoder, seed=self.seed,
                device=self.device, track=track,
            )  # fmt: skip
            final, confidence, by_student = overrule(
                labels, refined, student, doubts.flagged, doubts.out_of_sample
            )

        with clock("queue"):
            queue = find_suspects(
                features, final, clip, self.classes, seed=self.seed, track=track, image_names=names,
                student=student.probabilities if student.reliable else None,
            )  # fmt: skip

        table = {
            "path": names,
            "label": self._names(final),
            "confidence": confidence,
            "source": np.where(by_student, "student", "clip"),
            "suspect": queue.flagged.astype(int),
            "suspect_score": queue.score,
            "clip_label": self._names(clip.argmax(1)),
            "clip_confidence": clip.max(1),
        }
        disagreements = int((student.probabilities.argmax(1) != clip.argmax(1)).sum()) if student.trained else None
        run = self._settings(images) | {
            "modality": kinds,
            "prompts": {prompt.name: list(prompt.texts) for prompt in prompts},
            "counts": {
                "images": len(refs),
                "unreadable": len(unreadable),
                "suspects": int(queue.flagged.sum()),
                "clip_student_disagreements": disagreements,
                "per_class": {name: int((final == k).sum()) for k, name in enumerate(self.classes)},
            },
            "reliability": reliability.as_dict(),
            "student": {"kind": self.student, **student.as_dict()},
            "estimated_error_rate": queue.error_rate,
            "timings": clock.seconds,
        }
        return annotations_of(table, queue, unreadable, run, refs)

    def _encode(
        self, found: Sequence[ImageRef], track: Track
    ) -> tuple[list[ImageRef], np.ndarray, np.ndarray, list[tuple[str, str]]]:
        """Embeddings (N, D) and features (N, F) of the images that can be read, and (path, reason) of the others."""
        from autoannotate.cache import EncodingCache, default_folder

        folder = Path(self.cache) if not isinstance(self.cache, bool) else default_folder() if self.cache else None
        cache = EncodingCache(folder, self.encoder.weights_hash)
        keys = {ref: fingerprint(ref) for ref in found}
        here = cache.known(list(keys.values()))
        todo = [ref for ref in found if keys[ref] not in here]
        waiting = track(todo, "reading and encoding", len(todo))
        unreadable: dict[ImageRef, str] = {}
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

        while todo and len(seen) + len(unreadable) < len(todo):
            first = len(seen)
            encodings = self.encoder.encode_images(pictures())
            cache.put([keys[ref] for ref in seen[first:]], encodings.embeddings, encodings.features)
        refs = [ref for ref in found if ref not in unreadable]
        if not refs:
            raise InputError(
                f"None of the {len(found)} images could be read. The first: {found[0].path}: {unreadable[found[0]]}"
            )
        embeddings, features = cache.get([keys[ref] for ref in refs])
        cache.close()
        return refs, embeddings, features, [(ref.path, reason) for ref, reason in unreadable.items()]

    def _kinds_of(self, embeddings: np.ndarray) -> list[str]:
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
