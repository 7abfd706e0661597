"""Training the student: a CNN that learns from the cleaned set, and sees pixels where earlier stages see frozen features.

Two students are trained, each on one half of the images whose labels are not in doubt, and each image is judged by the
one that never saw its label (cross-fitting). So every row of `StudentResult.probabilities` is evidence about its image,
none is memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate._internal.progress import Track, silent
from autoannotate.errors import UsageError
from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.student import (
    StudentResult,
    judge,
    mean_over_classes,
    stopped,
    surely_worse,
    untrained,
)
from autoannotate.labelling.label_errors.student_decision import Decision

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from autoannotate.models.training_checkpoints import Checkpoints

FOLDS = 2
MIN_IMAGES = 40
MIN_CLEAN_PER_CLASS = 5
PASSES, FAST_PASSES = 20000, 6000  # images that a student trains on in all; about 10 ms each on two cores
HALF_WAY = 400  # images, at most, by which the first network is compared
FORWARD = 3  # images judged in the time of one training pass


@dataclass(frozen=True, eq=False)
class StudentTrainer:
    """How a student is trained on a set of images, for the pipeline to call when it has cleaned labels.

    Parameters
    ----------
    images : gives image i as a PIL image.
    kind : a name in `models.student_network.BACKBONES`, or the folder of a pretrained student.
    passes : the budget, see `train_student`.
    rounds : how often it is trained at most, each time on better labels.
    rows : (M,) which of the images the pipeline sees; all if None.
    keep : whether the result holds the trained networks.
    checkpoints : where training goes on after it was killed; None begins anew.
    """

    images: Callable[[int], Image.Image] | Sequence[Image.Image]
    kind: str = "embedded"
    encoder: Any = None
    passes: int = PASSES
    rounds: int = 2
    device: str = "auto"
    track: Track = silent
    rows: np.ndarray | None = None
    keep: bool = False
    checkpoints: Checkpoints | None = None

    @classmethod
    def of(
        cls,
        images: Callable[[int], Image.Image] | Sequence[Image.Image],
        kind: str,
        encoder: Any = None,
        *,
        fast: bool = False,
        device: str = "auto",
        track: Track = silent,
        checkpoints: Path | None = None,
    ) -> StudentTrainer | None:
        """The trainer with the usual budget, or a short one where time goes before quality; None for the kind `none`.

        checkpoints : the folder where they are kept
        """
        if kind == "none":
            return None
        from autoannotate.models.training_checkpoints import Checkpoints

        budget = FAST_PASSES if fast else PASSES
        kept = None if checkpoints is None else Checkpoints(checkpoints)
        return cls(
            images, kind, encoder, passes=budget, rounds=1 if fast else 2, device=device, track=track, checkpoints=kept
        )

    def take(self, rows: np.ndarray) -> StudentTrainer:
        """The trainer for some of the images."""
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def done(self) -> None:
        """Forget the checkpoints: what was trained for is there."""
        if self.checkpoints is not None:
            self.checkpoints.clear()

    def __call__(
        self,
        features: Features,
        labels: np.ndarray,
        weights: np.ndarray,
        *,
        baseline: np.ndarray,
        groups: np.ndarray,
        given: np.ndarray,
        seed: int,
    ) -> StudentResult:
        """Train on N labels, and judge the N images: see `train_student`."""
        read = self.images if callable(self.images) else self.images.__getitem__
        rows = self.rows
        return train_student(
            read if rows is None else (lambda i: read(int(rows[i]))), features, labels, weights, baseline=baseline,
            kind=self.kind, encoder=self.encoder, groups=groups, passes=self.passes, seed=seed, device=self.device,
            given=given, track=self.track, keep=self.keep, checkpoints=self.checkpoints,
        )  # fmt: skip


def train_student(
    images: Callable[[int], Image.Image] | Sequence[Image.Image],
    features: Features | np.ndarray,
    labels: np.ndarray,
    clean: np.ndarray,
    *,
    baseline: np.ndarray,
    kind: str = "embedded",
    encoder: Any = None,
    groups: np.ndarray | None = None,
    passes: int = 20000,
    max_training_images: int = 2000,
    seed: int = 0,
    device: str = "auto",
    given: np.ndarray | None = None,
    track: Track = silent,
    keep: bool = False,
    checkpoints: Checkpoints | None = None,
) -> StudentResult:
    """Train the student on the cleaned set and let it judge every image.

    images : gives image i as a PIL image; called once an image, in no particular order.
    features : (N, F) descriptors, that say which images are nearly the same picture if `groups` does not.
    labels : (N,) int class of each image, possibly wrong.
    clean : (N,) bool, or weights >= 0: images with a positive weight are trained on.
    baseline : (N, K) out-of-sample probabilities of what the student has to beat (the cross-validated probe).
    kind : a name in `models.student_network.BACKBONES`; encoder : the loaded embedded encoder, loaded if not given.
    groups : (N,) ids; images of one group (near duplicates, one patient) stay on one side of the split, so a
        student never judges an image whose near duplicate it was trained on.
    passes : the budget, in image passes of training over both students; sets the number of epochs (1 to 12), and
        takes about 10 ms a pass on two cores.
    given : (N,) the labels before they were cleaned, by which the first of the two networks is compared with the baseline:
        where it is surely worse, the second is not trained. Of cleaned labels the baseline knows more than it should.
    max_training_images : the cleaned set is sampled down to this many, or to what `passes` allows, balanced over classes;
        memory stays at 50 kB for each of them, since all other images are read, judged and let go.
    keep : whether the result's `networks` hold the students, to judge other images.
    checkpoints : written after every epoch, and gone on from, see `models.training_checkpoints`.
    """
    baseline = np.asarray(baseline, dtype=np.float64)
    if kind == "none":
        return untrained(baseline, Decision.NOT_ASKED, "No student was asked for.")
    labels = np.asarray(labels, dtype=np.int64)
    weights = np.asarray(clean, dtype=np.float64)
    count, classes = baseline.shape
    if len(labels) != count or len(weights) != count or len(features) != count:
        raise UsageError("The student needs one label, one weight and one row of baseline for each image.")
    per_class = np.bincount(labels[weights > 0], minlength=classes)
    present = np.unique(labels)
    if len(present) < 2:
        return untrained(baseline, Decision.TOO_FEW, "No student was trained: all images have the same label.")
    if count < MIN_IMAGES or per_class[present].min() < MIN_CLEAN_PER_CLASS:
        return untrained(
            baseline,
            Decision.TOO_FEW,
            f"No student was trained: it needs {MIN_IMAGES} images and {MIN_CLEAN_PER_CLASS} labels of each class "
            f"that are not in doubt (here {count} images, at the least {per_class[present].min()} labels of a class).",
        )

    from autoannotate.models import student_network
    from autoannotate.models.encoder import choose_device
    from autoannotate.models.student_checkpoint import load_backbone

    backbone = load_backbone(kind, encoder, seed)
    where = choose_device(device)
    rng = np.random.default_rng(seed)
    if groups is None:
        groups = Features.of(features).duplicate_groups
    groups = np.unique(groups, return_inverse=True)[1]
    fold = two_halves(labels, groups, rng)
    most = int(min(max_training_images, max(passes / backbone.cost, MIN_IMAGES))) // FOLDS
    samples = [_balanced_sample(np.flatnonzero((weights > 0) & (fold == k)), labels, most, rng) for k in range(FOLDS)]
    if any(len(np.unique(labels[sample])) < len(present) for sample in samples):
        return untrained(
            baseline,
            Decision.TOO_FEW,
            "No student was trained: the images of some class are all near duplicates of each other.",
        )
    pictures = Pictures(images, backbone.size)
    training = np.concatenate(samples)
    for i in track(training.tolist(), "student: reading", total=len(training)):
        pictures.keep(i)

    epochs = int(np.clip(round(passes / (len(training) * backbone.cost)), 1, backbone.max_epochs))
    asked = _balanced_sample(training, labels, 160, rng)
    symmetries = student_network.find_symmetries(backbone, pictures[asked], labels[asked], seed=seed, device=where)
    steps = iter(track(range(FOLDS * epochs), "student: training", total=FOLDS * epochs))
    students, stopped_by, passed = [], [], 0
    for k, (mine, others) in enumerate(zip(samples, samples[::-1], strict=True)):
        held_out = _balanced_sample(others, labels, min(150, len(others) // 3), rng)
        walk, recipe = islice(steps, epochs), student_network.Recipe(epochs=epochs)
        learned = pictures[mine], labels[mine], weights[mine] * per_class[labels[mine]] ** -0.5
        asked_at_the_end = pictures[held_out], labels[held_out]
        student = student_network.fit(
            backbone,
            *learned,
            classes,
            recipe,
            symmetries,
            score=_agreement(*asked_at_the_end),
            walk=walk,
            seed=seed + k,
            device=where,
            checkpoint=None
            if checkpoints is None
            else checkpoints.of(
                backbone.stem,
                backbone.body,
                *learned,
                *asked_at_the_end,
                classes,
                recipe,
                symmetries,
                seed + k,
                where.type,
            ),
        )
        passed += (epochs - sum(1 for _ in walk)) * len(mine)
        students.append(student)
        stopped_by.append(held_out)
        if k == 0 and given is not None:
            unseen = np.setdiff1d(np.flatnonzero(~np.isin(groups, groups[mine])), held_out)
            unseen = unseen if len(unseen) <= HALF_WAY else np.sort(rng.permutation(unseen)[:HALF_WAY])
            counted = _stand_in(held_out, weights > 0, labels)[unseen]
            predicted = student_network.predict(student, pictures[unseen], where).argmax(axis=1)
            right, before = (each == given[unseen] for each in (predicted, baseline[unseen].argmax(axis=1)))
            if surely_worse(right, before, counted):
                deque(steps, maxlen=0)  # lets the bar close
                return stopped(baseline, right, before, counted, passed)
    next(steps, None)  # lets the bar close

    mirrorings = symmetries.mirrorings
    if FOLDS * len(mirrorings) * count > FORWARD * passes / 2:  # judging should take half as long as training at most
        mirrorings = mirrorings[:1]
    did_not_see = np.stack([~np.isin(groups, groups[sample]) for sample in samples], axis=1)
    logits = np.zeros((count, FOLDS, classes), dtype=np.float32)
    together = student_network.jointly(students)
    watched = iter(track(range(count), "student: judging", total=count))
    while chunk := list(islice(watched, 4 * student_network.PREDICT_BATCH)):
        logits[chunk] = student_network.predict(together, pictures[np.array(chunk)], where, mirrorings)
        pictures.drop(chunk)
    counted = _stand_in(np.concatenate(stopped_by), weights > 0, labels)
    result = judge(logits, did_not_see, labels, counted, baseline, image_passes=passed)
    if not keep:
        return result
    from autoannotate.models.saved_students import Students

    made = Students(kind, tuple(model.cpu() for model in students), backbone.size, tuple(mirrorings), result.sharpness)
    return replace(result, networks=made)


def two_halves(labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) fold of each image, 0 or 1: groups whole, their first image's classes dealt out in turn.

    Parameters
    ----------
    labels : (N,)
    groups : (N,) ids
    """
    ids, first = np.unique(groups, return_index=True)
    order = rng.permutation(len(ids))
    order = order[np.argsort(labels[first[order]], kind="stable")]
    fold_of_group = np.empty(len(ids), dtype=np.int64)
    fold_of_group[order] = np.arange(len(ids)) % FOLDS
    return fold_of_group[np.searchsorted(ids, groups)]


def _balanced_sample(index: np.ndarray, labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """At most `size` of the images in `index`, as even over classes as they allow, sorted."""
    index = rng.permutation(index)
    rank = np.empty(len(index), dtype=np.int64)
    for label in np.unique(labels[index]):
        members = labels[index] == label
        rank[members] = np.arange(members.sum())
    return np.sort(index[np.argsort(rank, kind="stable")[:size]])


def _agreement(pixels: np.ndarray, labels: np.ndarray) -> Callable[[Any], float]:
    """A score for early stopping: agreement with labels not in doubt that were not trained on, mean over classes.

    Hard agreement is a bounded loss: noise that is the same for all classes does not change which epoch is best
    (Ghosh et al., AAAI 2017), and a label that is surely wrong costs no more than one that is a little wrong.
    """
    from autoannotate.models import student_network

    def score(model: student_network.Classifier) -> float:
        guesses = student_network.predict(model, pixels, model.device).argmax(axis=1)
        return mean_over_classes(guesses == labels, labels, np.ones(len(labels)))

    return score


def _stand_in(left_out: np.ndarray, clean: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) how many images each stands for: those left out 0, the other clean ones of their class for them too."""
    counted = np.ones(len(labels))
    counted[left_out] = 0.0
    for label in np.unique(labels[left_out]):
        members = clean & (labels == label)
        if not counted[members].any():  # so rare that all of it chose when to stop: better biased than unheard
            counted[members] = 1.0
        counted[members] *= members.sum() / counted[members].sum()
    return counted


class Pictures:
    """Images as pixels, each read when first asked for and held until dropped."""

    def __init__(self, images: Callable[[int], Image.Image] | Sequence[Image.Image], size: int) -> None:
        self._read = images if callable(images) else images.__getitem__
        self._size = size
        self._held: dict[int, np.ndarray] = {}

    def keep(self, i: int) -> np.ndarray:
        """Image i as (S, S, 3) uint8."""
        from autoannotate.models import student_network

        if i not in self._held:
            self._held[i] = student_network.to_pixels(self._read(i), self._size)
        return self._held[i]

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return np.stack([self.keep(i) for i in index.tolist()])

    def drop(self, index: Sequence[int]) -> None:
        """Forget the pictures of these rows."""
        for i in index:
            self._held.pop(i, None)
