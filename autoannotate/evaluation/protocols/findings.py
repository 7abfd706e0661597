"""Several findings an image: how well each is told after few answers, or among values of which some were left out.

Without `--omitted` a clinician answers so many images a finding (`--answers`, half with it and half without, fewer where that
would leave too few of either to judge by) and every method tells the other images. With `--omitted 0.2` a fifth of the images
with a finding are given as without it, as labels drawn from reports leave findings out, and every method doubts and corrects
the given values. Patients stay together in folds. Findings that fewer than 20 images have, or have not, are left out.

`AUROC`, `average precision` and `F1` (at the threshold that the method chose) are means over the findings of what a method says
beside the truth; among given values ours weighs the value too, and `probe`, `cleanlab` and `knn` say what the other images do.
`recall of wrong` is the share of the left-out values among as many of the most doubtful values as there are,
and `AUROC of doubt` that of the doubt for them, among the images given as without. `… low` and `… high` are the ends of 95%
intervals by a bootstrap over patients, which leaves out what the draw of answers or noise adds; the interval of the mean over
runs has that alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.errors import InputError, UsageError
from autoannotate.evaluation.study import MODEL, Outcome
from autoannotate.labelling.findings import PRESENT, label_findings
from autoannotate.labelling.task import Task

if TYPE_CHECKING:
    from autoannotate.evaluation.labelled_set import LabelledSet
    from autoannotate.evaluation.study import Options, Study

BASELINE = "probe"
DEFAULT = ("given", "clip", "probe", "cleanlab", "knn", "ours")
HEADLINE = ("auroc", "average_precision", "f1", "recall_of_wrong")
OPTIONS = frozenset({"model", "findings", "answers", "omitted"})
CURVE = None
LEAST = 1
FEWEST = 10  # images with a finding, and without it, that are left to judge by
DRAWS = 100  # of the bootstrap
NEAREST = 10


@dataclass(frozen=True, eq=False)
class Asked:
    """What methods are given: a task a finding, with answers or given values; judged: (N, F) bool, where the truth decides."""

    tasks: list[Task]
    truth: NDArray[np.int64]
    groups: NDArray[np.int64]
    judged: NDArray[np.bool_]
    seed: int

    @property
    def given(self) -> NDArray[np.int64] | None:
        """(N, F), with omissions, what is not known as absent; None where nothing is given but answers."""
        if self.tasks[0].given is None:
            return None
        return np.stack([np.maximum(task.given, 0) for task in self.tasks if task.given is not None], axis=1)


@dataclass(frozen=True)
class Told:
    """probability: (N, F) of presence. values: (N, F), 1 where a method says so. doubt: (N, F) of given values, or None."""

    probability: NDArray[np.float64]
    values: NDArray[np.int64]
    doubt: NDArray[np.float64] | None = None


def given(asked: Asked) -> Told:
    """The given values as they came; nothing is known where only answers are."""
    values = asked.given
    if values is None:
        return Told(np.full(asked.truth.shape, 0.5), np.zeros_like(asked.truth))
    return Told(values.astype(np.float64), values)


def clip(asked: Asked) -> Told:
    """Zero-shot alone; a value at even odds."""
    probability = np.stack([task.zero_shot[:, PRESENT] for task in asked.tasks], axis=1)
    return Told(probability, (probability >= 0.5).astype(np.int64))


def probe(asked: Asked) -> Told:
    """A logistic probe a finding: on the answers, or out of sample on the given values."""
    from sklearn.linear_model import LogisticRegression

    if asked.given is not None:
        probability = _out_of_sample(asked)
        return Told(probability, (probability >= 0.5).astype(np.int64))
    probability = np.full(asked.truth.shape, 0.5)
    points = asked.tasks[0].features.standardised
    for f, task in enumerate(asked.tasks):
        rows = np.flatnonzero(task.answers >= 0) if task.answers is not None else np.zeros(0, dtype=int)
        if task.answers is not None and len(np.unique(task.answers[rows])) > 1:
            model = LogisticRegression(C=0.1, max_iter=500, class_weight="balanced").fit(
                points[rows], task.answers[rows]
            )
            probability[:, f] = model.predict_proba(points)[:, 1]
    return Told(probability, (probability >= 0.5).astype(np.int64))


def cleanlab(asked: Asked) -> Told:
    """cleanlab's multi-label filter and scorer (Thyagarajan et al. 2022, arXiv 2211.13895) on the probe."""
    from cleanlab.internal.multilabel_scorer import ClassLabelScorer, MultilabelScorer
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

    given = asked.given
    if given is None:
        return probe(asked)
    probability = _out_of_sample(asked)
    scorer = MultilabelScorer(base_scorer=ClassLabelScorer.SELF_CONFIDENCE)
    doubt = 1.0 - scorer.get_class_label_quality_scores(given, probability)
    labels = [np.flatnonzero(row).tolist() for row in given]
    issues = np.asarray(find_multilabel_issues_per_class(labels, probability))
    return Told(probability, np.where(issues, 1 - given, given), doubt)


def knn(asked: Asked) -> Told:
    """The share of the nearest images, or of the nearest answered ones, with the finding."""
    features, given = asked.tasks[0].features, asked.given
    if given is not None:
        share = given[features.neighbours.index].mean(axis=1)
        return Told(share, (share >= 0.5).astype(np.int64), np.abs(given - share))
    points = features.standardised
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    share = np.full(asked.truth.shape, 0.5)
    for f, task in enumerate(asked.tasks):
        rows = np.flatnonzero(task.answers >= 0) if task.answers is not None else np.zeros(0, dtype=int)
        if task.answers is not None and len(rows):
            nearest = np.argsort(-(points @ points[rows].T), axis=1, kind="stable")[:, :NEAREST]
            share[:, f] = task.answers[rows][nearest].mean(axis=1)
    return Told(share, (share >= 0.5).astype(np.int64))


def ours(asked: Asked) -> Told:
    """What `label`, `update` and `audit` make of findings."""
    made = label_findings(asked.tasks)
    doubt = None
    if asked.given is not None:
        doubt = np.stack([part.corrected.doubt for part in made.of_each], axis=1)
    return Told(made.probability, (made.values == PRESENT).astype(np.int64), doubt)


METHODS: dict[str, Callable[[Asked], Told]] = {
    "given": given, "clip": clip, "probe": probe, "cleanlab": cleanlab, "knn": knn, "ours": ours,
}  # fmt: skip


def methods() -> tuple[str, ...]:
    return tuple(METHODS)


def read(sources: Sequence[str], options: Options) -> LabelledSet:
    """The set, with its findings, see `evaluation.findings_sets`."""
    from autoannotate.evaluation.findings_sets import read_findings_set

    return read_findings_set(sources, [name.strip() for name in options.findings.split(",") if name.strip()])


def check(data: LabelledSet, options: Options) -> None:
    if data.values is None:
        raise InputError("The protocol findings needs several findings an image, and this set has one class each.")
    if not measured(data.values):
        raise InputError(
            f"No finding has {2 * FEWEST} images with it and {2 * FEWEST} without: nothing can be measured."
        )
    if options.omitted is not None and not 0.0 < options.omitted < 1.0:
        raise UsageError(f"--omitted is a share of the images with a finding, as in 0.2; {options.omitted:g} is not.")
    if options.answers and options.omitted is not None:
        raise UsageError("--answers and --omitted are two measurements: give one of them.")


def measured(values: NDArray[np.int64]) -> list[int]:
    """The findings with enough images with and without them."""
    return [f for f, column in enumerate(values.T) if min((column == 1).sum(), (column == 0).sum()) >= 2 * FEWEST]


def run_once(study: Study, seed: int, method: str) -> Outcome:
    """One method in one run: all metrics, and the AUROC of each finding."""
    asked, names = study.once("asked", seed, lambda: make_asked(study, seed))
    told = METHODS[method](asked)
    values = asked.given
    found: dict[str, float] = {}
    columns = [(f, np.flatnonzero(asked.judged[:, f])) for f in range(asked.truth.shape[1])]
    truth, rng = asked.truth, np.random.default_rng([seed, MODEL])

    def about(measure: Callable[[NDArray, NDArray], float], score: NDArray) -> Callable[[int, NDArray], float]:
        return lambda f, rows: measure(score[rows, f], truth[rows, f])

    wanted: dict[str, Callable[[int, NDArray], float]] = {
        "auroc": about(area, told.probability), "average_precision": about(precision, told.probability),
        "f1": about(f1, told.values),
    }  # fmt: skip
    if values is not None and told.doubt is not None:
        doubt, wrong = told.doubt, ((values == 0) & (truth == 1)).astype(np.int64)
        wanted["recall_of_wrong"] = lambda f, rows: recall(doubt[rows, f], wrong[rows, f])
        wanted["auroc_of_doubt"] = lambda f, rows: area(
            doubt[rows[values[rows, f] == 0], f], wrong[rows[values[rows, f] == 0], f]
        )
    for name, measure in wanted.items():
        each = [measure(f, rows) for f, rows in columns]
        found[name] = float(np.nanmean(each))
        found[f"{name}_low"], found[f"{name}_high"] = _interval(measure, columns, asked.groups, rng)
        if name == "auroc":
            found |= {f"auroc of {names[f]}": value for (f, _), value in zip(columns, each, strict=True)}
    return Outcome(found)


def _interval(
    measure: Callable[[int, NDArray], float],
    columns: Sequence[tuple[int, NDArray]],
    groups: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[float, float]:
    """The 95% interval of the mean over findings by a bootstrap over patients (Field and Welsh 2007, the cluster bootstrap)."""
    count = int(groups.max()) + 1
    drawn: list[float] = []
    for _ in range(DRAWS):
        weight = np.bincount(rng.integers(0, count, count), minlength=count)
        values = [measure(f, np.repeat(rows, weight[groups[rows]])) for f, rows in columns]
        drawn.append(float(np.nanmean(values)) if not np.isnan(values).all() else float("nan"))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def area(score: NDArray, truth: NDArray) -> float:
    """The area under the ROC curve, NaN where there is one class.

    >>> area(np.array([0.1, 0.9, 0.4]), np.array([0, 1, 0]))
    1.0
    """
    from scipy.stats import rankdata

    m, n = int((truth == 1).sum()), int((truth == 0).sum())
    return float((rankdata(score)[truth == 1].sum() - m * (m + 1) / 2) / (m * n)) if m and n else float("nan")


def precision(score: NDArray, truth: NDArray) -> float:
    """Average precision, as scikit-learn's `average_precision_score`, faster; NaN without positives.

    >>> round(precision(np.array([0.9, 0.4, 0.4, 0.1]), np.array([1, 1, 0, 0])), 4)
    0.8333
    """
    if not truth.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(score[order][1:] != score[order][:-1], True))  # of equal scores the last
    hits = np.cumsum(truth[order])[ends]
    return float((np.diff(hits, prepend=0) * hits / (ends + 1)).sum() / hits[-1])


def f1(values: NDArray, truth: NDArray) -> float:
    """Twice the hits among the values and the truth that are 1 together.

    >>> f1(np.array([1, 1, 0]), np.array([1, 0, 0]))
    0.6666666666666666
    """
    together = values.sum() + truth.sum()
    return float(2 * (values * truth).sum() / together) if together else float("nan")


def recall(doubt: NDArray, wrong: NDArray) -> float:
    """The share of the wrong values among as many of the most doubtful; of equal doubts in the order of the images."""
    count = int(wrong.sum())
    return float(wrong[np.argsort(-doubt, kind="stable")[:count]].mean()) if count else float("nan")


def make_asked(study: Study, seed: int) -> tuple[Asked, list[str]]:
    """The findings that can be measured, with answers or with values left out, and their names."""
    from autoannotate.annotator.findings_annotator import FindingsAnnotator
    from autoannotate.labelling.features import Features

    annotator = study.annotator
    assert isinstance(annotator, FindingsAnnotator)
    rows = study.sample(seed)
    assert study.data.values is not None
    kept = measured(study.data.values[rows])
    truth = study.data.values[rows][:, kept]
    names = [study.data.class_names[f] for f in kept]
    groups = np.arange(len(rows)) if study.data.groups is None else study.data.groups[rows]
    groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    clips = annotator.zero_shot_findings(study.embeddings[rows])
    features, options = Features(study.features[rows]), study.options
    tasks, judged = [], truth >= 0
    for column, (name, f) in enumerate(zip(names, kept, strict=True)):
        rng, said = np.random.default_rng([seed, MODEL, column]), clips[f]
        known: dict[str, NDArray] = {"groups": groups}
        if options.omitted is not None:
            known["given"] = omitted(truth[:, column], options.omitted, rng)
        elif options.answers:
            known["answers"] = answered(truth[:, column], options.answers, rng)
            judged[:, column] &= known["answers"] < 0
        tasks.append(
            Task(
                features, said.probabilities, [f"no {name}", name], trust=said.reliability.trust,
                meaningful=said.reliability.meaningful, image_names=[study.data.refs[row].path for row in rows], seed=seed,
                **known,  # type: ignore[arg-type]
            )
        )  # fmt: skip
    return Asked(tasks, truth, groups, judged, seed), names


def answered(truth: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Half of the answers to images with the finding and half to images without, (N,), -1 where there is none."""
    answers = np.full(len(truth), -1)
    for value in (0, 1):
        rows = rng.permutation(np.flatnonzero(truth == value))
        answers[rows[: max(0, min(count // 2, len(rows) - FEWEST))]] = value
    return answers


def omitted(truth: NDArray[np.int64], rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The values, (N,), a share of those that are 1 given as 0; one of them at least.

    >>> omitted(np.array([1, 1, 0, 0]), 0.5, np.random.default_rng(0)).sum()
    np.int64(1)
    """
    given, rows = truth.copy(), np.flatnonzero(truth == 1)
    given[rng.permutation(rows)[: max(1, round(rate * len(rows)))]] = 0
    return given


def _out_of_sample(asked: Asked) -> NDArray[np.float64]:
    """A logistic probe a finding by 5-fold cross-validation that keeps patients together, (N, F)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict

    given, points = asked.given, asked.tasks[0].features.standardised
    assert given is not None
    model = LogisticRegression(C=0.01, max_iter=500)
    made = [
        cross_val_predict(model, points, column, groups=asked.groups, cv=GroupKFold(5), method="predict_proba")[:, 1]
        for column in given.T
    ]
    return np.stack(made, axis=1)
