"""What a clinician's minute buys: a simulated clinician answers from the top of each ranking, and the labels are measured.

The set is noisy (`--noise`), a share of the images is held out for testing. After every batch, about one in a hundred images,
the labels are updated and ranked anew. *Downstream* is the accuracy, on the test images, of a linear probe trained on the
labels as they are, what a user would do with them; a mean over bootstrap samples of the images, the same for all labels, where
there are few test images (one wrong label of a hundred moves a single probe's accuracy on 200 images by up to two points either
way, which is more than is asked about). Headline: the share of the set that was reviewed when downstream first
reached 99% of what a probe trained on true labels reaches. `random`, `cleanlab`, `reranked`, `margin` and `entropy` keep every
label until it is reviewed, which is how they are used; `corrected-…` are the same rankings within our correction; `ours` is
the product, with the spot checks of its proposals first, `ours-…` its other strategies by name. `oracle` and `corrected-
oracle` know which labels are wrong and ask about these first: what they still need no ranking saves, only better labels. One
answer settles the near-identical images beside it in `ours`, and whether that was right is measured too.

`area` and `label area` are the means, over all shares reviewed from none to the whole set, of downstream (as a share of what
true labels give) and of the share of labels that are right. `reviewed to 99% labels` is the share reviewed when 99% of the
labels are right, `accuracy at 5%` the share of right labels when 5% is reviewed. `settled` is the share of the set whose label
came from a near-identical image's answer, `settled right` how many of these are right. With `--fast` a curve ends at the goal,
so only the headline is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.errors import UsageError
from autoannotate.evaluation.noise_injection import read_noise
from autoannotate.evaluation.protocols import Curve
from autoannotate.evaluation.protocols.noise import GIVEN
from autoannotate.evaluation.protocols.noise import check as check_noise
from autoannotate.evaluation.study import SPLIT, Outcome
from autoannotate.labelling.features import standardised
from autoannotate.labelling.queries.strategies import DEFAULT as OUR_STRATEGY
from autoannotate.labelling.queries.strategies import STRATEGIES

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.evaluation.labelled_set import LabelledSet
    from autoannotate.evaluation.study import Options, Study
    from autoannotate.labelling.pipeline import Labelled
    from autoannotate.labelling.task import Task

BASELINE = "random"
HEADLINE = ("reviewed_to_99", "area", "label_area")
LOWER = frozenset({"reviewed_to_99", "reviewed_to_99_labels"})
OPTIONS = frozenset({"count", "noise", "test", "pixels", "model", "student", "fast", "error"})
CURVE = Curve("reviewed", "accuracy", "share of the set reviewed", "labels that are right")
LEAST = 20  # images of a class: enough for both sides of the split
CLINICIAN, ORDER, RESAMPLED = 41, 42, 43  # salts
# inverse regularisation of the downstream probe, as of the rivals': 1e-2 fits noise that users would see
STRENGTH = 3e-3
TESTED = 2000  # images that are tested in all for one point of a curve: the set held out, by so many probes …
PROBES = 10  # … but at most these
GOAL = 0.99
STEPS = ((0.2, 0.01), (0.5, 0.025), (1.0, 0.1))  # up to this share of the set, batches of this share
AT = (0.05, 0.1, 0.2)  # shares at which labels are told apart in the table
"""Metrics: `reviewed_to_99`, and `reviewed_to_99_labels`, the share reviewed when 99% of the *labels* are right; `area` and
`label_area`, the mean over reviewed shares of downstream (as a share of what true labels give) and of label accuracy;
`accuracy_at_5` …; `settled` labels by near-identical images (a share of the set) and `settled_right`."""


@dataclass(frozen=True, eq=False)
class Setup:
    """One run's set of N images, and the M held out. points: (N, d) and test_points: (M, d), what the probes see. says: (N,),
    what the clinician would say of each image. order: (N,), a random ranking."""

    features: NDArray[np.floating]
    points: NDArray[np.float64]
    truth: NDArray[np.int64]
    given: NDArray[np.int64]
    says: NDArray[np.int64]
    test_points: NDArray[np.float64]
    test_truth: NDArray[np.int64]
    best: float
    class_names: list[str]
    names: list[str]
    order: NDArray[np.int64]
    images: Callable[[int], Image.Image]
    seed: int

    def downstream(self, labels: NDArray[np.int64]) -> float:
        """Accuracy on the test images of probes trained on the labels."""
        return downstream(self.points, labels, self.test_points, self.test_truth, self.seed)


Update = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]
"""Labels, (N,), after the answers so far; unanswered images, the next to be asked first; and which labels, (N,), the answer
to a near-identical image settled."""
Rank = Callable[[Setup, NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]
RANKS: dict[str, Rank] = {
    "random": lambda setup, labels, outside: -np.argsort(setup.order).astype(float),
    "reranked": lambda setup, labels, outside: 1.0 - outside[np.arange(len(labels)), labels],
    "margin": lambda setup, labels, outside: -np.diff(np.sort(outside, axis=1)[:, -2:], axis=1)[:, 0],
    "entropy": lambda setup, labels, outside: -(outside * np.log(np.maximum(outside, 1e-12))).sum(axis=1),
    "oracle": lambda setup, labels, outside: (labels != setup.truth) - np.argsort(setup.order) / len(labels),
}
"""How much each image should be asked about, (N,), by labels (N,) and out-of-sample probabilities (N, K): at random; by
cleanlab's self-confidence; by margin and entropy sampling; by the truth."""
RAW = ("random", "cleanlab", *(name for name in RANKS if name != "random"))
ORACLES = ("oracle", "corrected-oracle")
DEFAULT = (*(n for n in (*RAW, *(f"corrected-{name}" for name in RANKS)) if n not in ORACLES), "ours")


def methods() -> tuple[str, ...]:
    return (*DEFAULT, *(f"ours-{name}" for name in STRATEGIES if name != OUR_STRATEGY), *ORACLES)


def check(data: LabelledSet, options: Options) -> None:
    data.require(LEAST, "the protocol clinician")
    check_noise(data, options)
    if not 0.05 <= options.test <= 0.9:
        raise UsageError(f"--test is the share of images held for testing, 0.05 to 0.9, not {options.test:g}.")
    if not 0 <= options.error < 1:
        raise UsageError(f"--error is how often the clinician is wrong, at least 0 and under 1, not {options.error:g}.")


def run_once(study: Study, seed: int, method: str) -> Outcome:
    """One ranking's curve on one set."""
    setup = study.once("setup", seed, lambda: make_setup(study, seed))
    if method in RAW:
        update: Kept | Updated = Kept(setup, method)
    else:
        update = Updated(setup, method, study.once("student", seed, lambda: trained(study, setup)))
    answers = np.full(len(setup.truth), -1)
    points: list[dict[str, float]] = []
    settled = right = 0
    for size in (*batches(len(answers)), 0):
        labels, ranking, by_twin = update(answers)
        settled, right = int(by_twin.sum()), int((labels == setup.truth)[by_twin].sum())
        points.append(measured(setup, labels, int((answers >= 0).sum())))
        if study.options.fast and points[-1]["relative"] >= GOAL:
            break
        chosen = ranking[:size]
        answers[chosen] = setup.says[chosen]
    told = summary(points)
    told["settled"] = settled / len(answers)
    told["settled_right"] = right / settled if settled else float("nan")
    if study.options.fast:  # a curve that ended early says only when it ended
        told = {name: value if name == HEADLINE[0] else float("nan") for name, value in told.items()}
    return Outcome(told, tuple(points))


def make_setup(study: Study, seed: int) -> Setup:
    """A sample, its noise, its split, and what the clinician would say."""
    rows = study.sample(seed)
    data, features = study.data.take(rows), study.features[rows]
    classes = len(data.class_names)
    if study.options.noise == GIVEN:
        assert data.given is not None
        given = data.given
    else:
        given = read_noise(study.options.noise).inject(data.labels, features, seed)
    mine = data.split(study.options.test, study.rng(seed, SPLIT))
    truth, points = data.labels[mine], standardised(features)
    rng = study.rng(seed, CLINICIAN)
    slips = rng.random(len(truth)) < study.options.error
    others = (truth + rng.integers(1, max(classes, 2), len(truth))) % classes
    return Setup(
        features=features[mine],
        points=points[mine],
        truth=truth,
        given=given[mine],
        says=np.where(slips, others, truth),
        test_points=points[~mine],
        test_truth=data.labels[~mine],
        best=downstream(points[mine], truth, points[~mine], data.labels[~mine], seed),
        class_names=list(data.class_names),
        names=[ref.path for ref, here in zip(data.refs, mine, strict=True) if here],
        order=study.rng(seed, ORDER).permutation(len(truth)),
        images=study.images(rows[mine]),
        seed=seed,
    )


def trained(study: Study, setup: Setup) -> NDArray[np.float64] | None:
    """What the student of the run that comes before the first answer predicts; None where none could be trained."""
    from autoannotate.labelling.pipeline import label
    from autoannotate.models.student_training import StudentTrainer

    options = study.options
    trainer = StudentTrainer.of(setup.images, options.student, study.annotator.encoder, fast=options.fast)
    if trainer is None:
        return None
    student = label(task_of(setup), trainer=trainer).corrected.student
    return None if student.held_out_accuracy is None else student.probabilities


def task_of(setup: Setup, student: NDArray[np.float64] | None = None) -> Task:
    """What the pipeline is given: labels that exist."""
    from autoannotate.labelling.features import Features
    from autoannotate.labelling.task import Task

    nothing = np.full((len(setup.truth), len(setup.class_names)), 1.0 / len(setup.class_names))
    return Task(
        Features.of(setup.features), nothing, setup.class_names, given=setup.given, student=student,
        image_names=setup.names, seed=setup.seed,
    )  # fmt: skip


def downstream(
    points: NDArray[np.float64],
    labels: NDArray[np.integer],
    test: NDArray[np.float64],
    truth: NDArray[np.integer],
    seed: int,
) -> float:
    """Accuracy on test points (M, d) and their truth (M,) of logistic regressions on points (N, d) and labels (N,).

    A mean over bootstrap samples of the points (Efron 1979), as many as `TESTED` and `PROBES` say; with M large, of one probe
    on all points. The `seed` draws the same samples whatever the labels, so that two sets of labels are compared in pairs.
    """
    many = min(PROBES, round(TESTED / max(len(truth), 1)))
    if many < 2:
        return _accuracy(points, labels, test, truth)
    rng = np.random.default_rng([seed, RESAMPLED])
    rows = rng.integers(0, len(points), (many, len(points)))
    return float(np.mean([_accuracy(points[some], labels[some], test, truth) for some in rows]))


def _accuracy(
    points: NDArray[np.float64], labels: NDArray[np.integer], test: NDArray[np.float64], truth: NDArray[np.integer]
) -> float:
    """Of one logistic regression."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return float((truth == labels[0]).mean())
    probe = LogisticRegression(C=STRENGTH, max_iter=300, tol=1e-3).fit(points, labels)
    return float((probe.predict(test) == truth).mean())


def batches(count: int) -> list[int]:
    """How many images to review between updates, until all are."""
    ends, share = [], 0.0
    for until, step in STEPS:
        while share < until - 1e-9:
            share = min(share + step, until)
            ends.append(round(share * count))
    sizes = np.diff([0, *ends])
    return [int(size) for size in sizes if size > 0]


def measured(setup: Setup, labels: NDArray[np.int64], asked: int) -> dict[str, float]:
    """One point of the curve."""
    found = setup.downstream(labels)
    return {
        "reviewed": asked / len(labels),
        "accuracy": float((labels == setup.truth).mean()),
        "downstream": found,
        "relative": found / max(setup.best, 1e-9),
    }


def summary(points: list[dict[str, float]]) -> dict[str, float]:
    """The metrics of a curve; what was never reached counts as the whole set."""
    shares, accuracy, relative = (np.array([p[name] for p in points]) for name in ("reviewed", "accuracy", "relative"))

    def reached(values: NDArray[np.float64]) -> float:
        return float(shares[np.argmax(values >= GOAL)]) if (values >= GOAL).any() else 1.0

    def area(values: NDArray[np.float64]) -> float:
        """The mean over [0, 1]; a curve that was cut short stays where it ended."""
        return float(np.trapezoid([*values, values[-1]], [*shares, 1.0]))

    at = {f"accuracy_at_{round(100 * share)}": float(np.interp(share, shares, accuracy)) for share in AT}
    return {
        "reviewed_to_99": reached(relative),
        "area": area(relative),
        "label_area": area(accuracy),
        "reviewed_to_99_labels": reached(accuracy),
        **at,
    }


class Kept:
    """Labels stay as they came until they are reviewed; the ranking is made again after each batch, or once (`cleanlab`)."""

    def __init__(self, setup: Setup, method: str) -> None:
        self.setup, self.method = setup, method
        self.doubt: NDArray[np.float64] | None = None

    def __call__(self, answers: NDArray[np.int64]) -> Update:
        labels = np.where(answers >= 0, answers, self.setup.given)
        if self.doubt is None or self.method not in ("random", "cleanlab"):
            rank = RANKS["reranked" if self.method == "cleanlab" else self.method]
            blind = self.method in ("random", "oracle")
            outside = np.empty((len(labels), 0)) if blind else self.outside(labels)
            self.doubt = rank(self.setup, labels, outside)
        return labels, first(self.doubt, answers), np.zeros(len(labels), dtype=bool)

    def outside(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        from autoannotate.evaluation.baselines import cleanlab
        from autoannotate.evaluation.baselines.shared import cross_validated

        setup = self.setup
        everyone = np.ones(len(labels), dtype=bool)
        return cross_validated(setup.points, labels, everyone, len(setup.class_names), cleanlab.STRENGTH, setup.seed)


class Updated:
    """The pipeline with the answers so far, as in an update, and its own ranking by a strategy, or one of `RANKS`.

    What takes seconds, out-of-sample probabilities and the settings of learning from answers, is found again whenever the
    answers have doubled. The student is the one that was trained before the first answer.
    """

    def __init__(self, setup: Setup, method: str, student: NDArray[np.float64] | None) -> None:
        self.setup = setup
        self.kind, _, self.name = method.partition("-")
        self.task = task_of(setup, student)
        self.previous: Labelled | None = None
        self.since = 0

    def __call__(self, answers: NDArray[np.int64]) -> Update:
        from autoannotate.labelling.duplicates import Spread
        from autoannotate.labelling.pipeline import label, ranking

        asked = int((answers >= 0).sum())
        answers = answers.copy()
        task = replace(self.task, answers=answers)
        if self.kind != "ours":  # an answer is about one image
            task.__dict__["spread"] = Spread(answers, np.full(len(answers), -1))
        anew = self.previous is None or asked >= 2 * self.since
        found = label(task, previous=None if anew else self.previous, proposing=self.kind == "ours")
        if anew:
            self.since, self.previous = max(asked, 1), found
        if asked == 0 and self.kind == "ours":
            self.task = replace(self.task, proposals=found.proposals)
        if self.kind == "ours":
            return found.labels, ranking(task, found, self.name or OUR_STRATEGY), found.duplicate_of >= 0
        rank = RANKS["reranked" if self.name == "cleanlab" else self.name]
        asked_next = first(rank(self.setup, found.labels, found.probabilities), answers)
        return found.labels, asked_next, np.zeros(len(answers), dtype=bool)


def first(doubt: NDArray[np.float64], answers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The images that nobody answered, the most doubtful first."""
    rows = np.flatnonzero(answers < 0)
    return rows[np.argsort(-doubt[rows], kind="stable")]
