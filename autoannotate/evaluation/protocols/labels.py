"""How many labels the student needs, with and without pretraining on unlabelled images (SimCLR).

The student learns from more and more of the training images with their true labels, in nested random draws that hold the
classes in balance, and labels the test images (images of one group on one side). It starts from nothing (`scratch`, a
ResNet-18) or from the embedded encoder's image tower (`embedded`), each also after SimCLR on all training images without their
labels (`…-simclr`); `probe`, a linear probe on the encoder's frozen features, is the line to hold them against.
`saving` is the share of labels that pretraining saves for the same accuracy, the best that both reach: `…-simclr` against the
student without it, `embedded` and `probe` against `scratch`.

`area` is the mean accuracy on the test images over the logarithm of the number of labels, so that few labels count as much as
many; `accuracy` is that with all labels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.errors import UsageError
from autoannotate.evaluation import metrics
from autoannotate.evaluation.protocols import Curve
from autoannotate.evaluation.study import MODEL, SPLIT, Outcome

if TYPE_CHECKING:
    from autoannotate.evaluation.labelled_set import LabelledSet
    from autoannotate.evaluation.study import Options, Study
    from autoannotate.models.student_network import Backbone

BASELINE = "scratch"
DEFAULT = ("scratch", "scratch-simclr", "embedded", "embedded-simclr", "probe")
HEADLINE = ("saving", "accuracy", "area")
OPTIONS = frozenset({"count", "test", "pixels", "model", "fast", "simclr_epochs"})
CURVE = Curve("labels", "accuracy", "labelled images", "test images labelled right")
LEAST = 20  # images of a class: enough for both sides of the split
BACKBONES = {"scratch": "resnet18", "embedded": "embedded"}  # names in student_network.BACKBONES
AGAINST = {"scratch-simclr": "scratch", "embedded-simclr": "embedded", "embedded": "scratch", "probe": "scratch"}
SHARES = (0.025, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of the training images that are labelled
DRAW = 51  # salt
STRENGTHS = (1e-3, 1e-2, 1e-1)  # inverse regularisation of the probe, chosen by cross-validation
# epochs of the student, at least (a student from nothing needs as many) and at most, for so many image passes; True: --fast
EPOCHS = {False: (30, 60), True: (5, 60)}
PASSES = {False: 4000, True: 1500}
PRETRAINING = {False: 30, True: 10}  # epochs of SimCLR, where the options do not say


def methods() -> tuple[str, ...]:
    return DEFAULT


def check(data: LabelledSet, options: Options) -> None:
    data.require(LEAST, "the protocol labels")
    if not 0.05 <= options.test <= 0.9:
        raise UsageError(f"--test is the share of images held for testing, 0.05 to 0.9, not {options.test:g}.")


def run_once(study: Study, seed: int, method: str) -> Outcome:
    """One student's curve. accuracy, balanced_accuracy: with all labels. area: the mean accuracy over the logarithm of the
    number of labels. saving: see above; below 0 where more labels are needed."""
    own = curve(study, seed, method)
    labels, accuracy = (np.array([point[name] for point in own]) for name in ("labels", "accuracy"))
    saved = math.nan
    if method in AGAINST:
        other = curve(study, seed, AGAINST[method])
        saved = saving(labels, accuracy, np.array([point["accuracy"] for point in other]))
    told = {
        "accuracy": own[-1]["accuracy"],
        "balanced_accuracy": own[-1]["balanced_accuracy"],
        "area": area(labels, accuracy),
        "saving": saved,
    }
    return Outcome(told, tuple(own))


def curve(study: Study, seed: int, method: str) -> list[dict[str, float]]:
    """Test accuracy by number of labels, the fewest first."""
    return study.once(f"curve of {method}", seed, lambda: make_curve(study, seed, method))


def make_curve(study: Study, seed: int, method: str) -> list[dict[str, float]]:
    """Test accuracy for each number of labels that a method learns from, a point each."""
    rows = study.sample(seed)
    data = study.data.take(rows)
    train = data.split(study.options.test, study.rng(seed, SPLIT))
    draws = nested(data.labels, np.flatnonzero(train), study.rng(seed, DRAW))
    learner = Probe(study.features[rows]) if method == "probe" else Student(study, seed, method, np.flatnonzero(train))
    points = []
    for chosen in draws:
        guessed = learner.labels(chosen, data.labels[chosen], np.flatnonzero(~train), len(data.class_names))
        truth = data.labels[~train]
        points.append(
            {
                "labels": float(len(chosen)),
                "accuracy": float((guessed == truth).mean()),
                "balanced_accuracy": metrics.balanced_accuracy(truth, guessed),
            }
        )
    return points


def nested(labels: NDArray[np.integer], rows: NDArray[np.integer], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Ever larger draws of `rows`, each within the next, as even over classes as they allow; the last is all of them.

    Each has two images of every class, or one where there are no more: a class that nobody labelled cannot be learned.
    """
    shuffled = rng.permutation(rows)
    turn = np.empty(len(rows), dtype=np.int64)
    for k in np.unique(labels[rows]):
        members = labels[shuffled] == k
        turn[members] = np.arange(members.sum())
    ordered = shuffled[np.argsort(turn, kind="stable")]
    least = 2 * len(np.unique(labels[rows]))
    sizes = sorted({min(len(rows), max(least, round(share * len(rows)))) for share in SHARES})
    return [np.sort(ordered[:size]) for size in sizes]


def area(labels: NDArray[np.float64], accuracy: NDArray[np.float64]) -> float:
    """The mean of a curve over log labels."""
    if len(labels) < 2:
        return float(accuracy.mean())
    steps = np.log(labels)
    return float(np.trapezoid(accuracy, steps) / (steps[-1] - steps[0]))


def saving(labels: NDArray[np.float64], accuracy: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The share of labels saved for the best accuracy that both curves reach over the same numbers of labels: 1 − (labels
    that this one needs) / (labels that the `other` needs); below 0 where it needs more.

    Curves are made to rise first (isotonic regression), then read between their points over log labels.
    """
    from sklearn.isotonic import IsotonicRegression

    steps = np.log(labels)
    mine, others = (IsotonicRegression().fit_transform(steps, curve) for curve in (accuracy, other))

    def needed(curve: NDArray[np.float64], level: float) -> float:
        i = int(np.argmax(curve >= level - 1e-12))
        if i == 0:
            return float(labels[0])
        part = (level - curve[i - 1]) / max(curve[i] - curve[i - 1], 1e-12)
        return float(np.exp(steps[i - 1] + part * (steps[i] - steps[i - 1])))

    both = min(mine[-1], others[-1])
    return 1.0 - needed(mine, both) / needed(others, both)


class Probe:
    """Logistic regression on frozen features."""

    def __init__(self, features: NDArray[np.floating]) -> None:
        from autoannotate.labelling.features import standardised

        self.points = standardised(features)

    def labels(
        self, rows: NDArray[np.integer], truth: NDArray[np.integer], test: NDArray[np.integer], classes: int
    ) -> NDArray[np.int64]:
        """Labels of the rows `test`, learned from the labels `truth` of `rows`."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV

        folds = int(min(5, np.bincount(truth)[np.unique(truth)].min()))
        probe = LogisticRegression(C=STRENGTHS[1], max_iter=300)
        if folds > 1:
            probe = GridSearchCV(probe, {"C": STRENGTHS}, cv=folds)
        return probe.fit(self.points[rows], truth).predict(self.points[test])


class Student:
    """The CNN of a run of `autoannotate label`, trained on true labels and without early stopping: all labels train it."""

    def __init__(self, study: Study, seed: int, method: str, train: NDArray[np.integer]) -> None:
        from autoannotate.models import student_network
        from autoannotate.models.encoder import choose_device
        from autoannotate.models.student_checkpoint import load_backbone

        self.start, _, pretraining = method.partition("-")
        self.fast, self.device = study.options.fast, choose_device(study.device)
        self.seed = int(study.rng(seed, MODEL).integers(2**31))
        encoder = study.annotator.encoder if self.start == "embedded" and study.options.model == "embedded" else None
        self.backbone: Backbone = load_backbone(BACKBONES[self.start], encoder, self.seed)
        size = self.backbone.size
        self.pixels = study.once(f"pixels at {size}", seed, lambda: read_pixels(study, seed, size))
        some = np.sort(study.rng(seed, DRAW).permutation(train)[:160])
        self.symmetries = student_network.find_symmetries(
            self.backbone, self.pixels[some], np.zeros(len(some), dtype=int), seed=self.seed, device=self.device
        )
        if pretraining:
            from autoannotate.models.pretraining.simclr import LARGER, pretrain_backbone

            larger = study.once(f"larger than {size}", seed, lambda: read_pixels(study, seed, math.ceil(LARGER * size)))
            epochs = study.options.simclr_epochs or PRETRAINING[self.fast]
            self.backbone = pretrain_backbone(
                self.backbone, larger[train], epochs=epochs, seed=self.seed, device=str(self.device)
            )

    def labels(
        self, rows: NDArray[np.integer], truth: NDArray[np.integer], test: NDArray[np.integer], classes: int
    ) -> NDArray[np.int64]:
        """Labels of the rows `test`, learned from the labels `truth` of `rows`."""
        from autoannotate.models import student_network

        epochs = int(np.clip(round(PASSES[self.fast] / len(rows)), *EPOCHS[self.fast]))
        model = student_network.fit(
            self.backbone,
            self.pixels[rows],
            truth,
            np.ones(len(rows)),
            classes,
            student_network.Recipe(epochs=epochs),
            self.symmetries,
            score=lambda _: 0.0,
            walk=range(epochs),
            seed=self.seed,
            device=self.device,
        )
        return student_network.predict(model, self.pixels[test], self.device).argmax(axis=1)


def read_pixels(study: Study, seed: int, size: int) -> NDArray[np.uint8]:
    """The sample's pictures, (N, size, size, 3)."""
    from autoannotate.models import student_network

    rows = study.sample(seed)
    picture = study.images(rows)
    return np.stack([student_network.to_pixels(picture(i), size) for i in range(len(rows))])
