"""Several findings an image: each is a binary problem, absent or present, of the one pipeline, and they share the features.

Binary relevance (Zhang and Zhou 2014, "A Review on Multi-Label Learning Algorithms", section 3.1): what is made of a finding is
made by `pipeline.label` with two classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.labelling.examples import Examples, joined_findings, without_examples
from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.correction import training_weights
from autoannotate.labelling.label_errors.findings_student import FindingsTrainer, StudentOfFindings
from autoannotate.labelling.label_errors.issues import roc_area
from autoannotate.labelling.label_errors.noisy_mixture import discriminant
from autoannotate.labelling.label_errors.out_of_sample import SHRINK
from autoannotate.labelling.label_errors.student import useless
from autoannotate.labelling.neighbours import propagate
from autoannotate.labelling.pipeline import Labelled, label
from autoannotate.labelling.queries.queue import Queue
from autoannotate.labelling.rules import Rules
from autoannotate.labelling.semi_supervised.refinement import match_prior
from autoannotate.labelling.soft_rules import Learned, learn, use
from autoannotate.labelling.task import Task

ABSENT, PRESENT, UNDECIDED = 0, 1, -1
FEWEST = 2  # images with a finding, and without it, below which given labels teach nothing
FIRM = 32.0  # how firmly the pool of few-shot models holds on to equal weights; chosen on NIH, see eval/findings/firmness.md
FEWEST_TOLD = 5  # the same, below which nothing is said of telling it
BROKEN = 0.97  # how doubtful given values are that break a rule: one of them is wrong for sure
LEAST_AREA = 0.6  # as for two classes in `label_errors.issues`


@dataclass(frozen=True, eq=False)
class LabelledFindings:
    """What the pipeline makes of N images and F findings.

    Attributes
    ----------
    names : F names
    values : (N, F) int array
        1 present, 0 absent, -1 undecided: not given, unsure, or a guess that nothing calibrates.
    probability : (N, F) array
        That the finding is present.
    zero_shot : (N, F) array
    source : (N, F) array of str
        As `pipeline.Labelled.source`.
    suspect : (N, F) bool array
    suspect_score : (N, F) array in [0, 1]
    suggested : (N, F) int array
        1 or 0, what the finding should rather be.
    reasons : by image and finding, why it is asked about
    queue : Queue
        The images that a clinician should look at, the first one first.
    of_each : F of `pipeline.Labelled`
    excluded : (N,) bool array
        Images that a clinician found not usable.
    learned : what soft rules are worth
    likeliest : (N, F) int array, optional
        Where there are rules, the most probable values that keep them.
    student : StudentOfFindings, optional
        What one student of all findings says, where it was trained.
    about_student : str
        A plain sentence on it, or on why there is none.
    """

    names: tuple[str, ...]
    values: NDArray[np.int64]
    probability: NDArray[np.float64]
    zero_shot: NDArray[np.float64]
    source: NDArray[np.object_]
    suspect: NDArray[np.bool_]
    suspect_score: NDArray[np.float64]
    suggested: NDArray[np.int64]
    reasons: dict[tuple[int, int], str]
    queue: Queue
    of_each: tuple[Labelled, ...]
    excluded: NDArray[np.bool_]
    learned: tuple[Learned, ...] = ()
    likeliest: NDArray[np.int64] | None = None
    student: StudentOfFindings | None = None
    about_student: str = ""

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(N, F), that each value is right; of an undecided one, that the more probable one is."""
        sure = np.where(self.values == PRESENT, self.probability, 1.0 - self.probability)
        return np.where(self.values == UNDECIDED, np.maximum(self.probability, 1.0 - self.probability), sure)


def label_findings(
    tasks: Sequence[Task],
    *,
    rules: Rules | None = None,
    strategy: str | None = None,
    fit_on: int | None = None,
    trainer: FindingsTrainer | None = None,
    track: Track = silent,
) -> LabelledFindings:
    """Label F findings of the same N images.

    Parameters
    ----------
    tasks : one task a finding, of two classes, absent and present, over the same features. `given` is -1 where the finding is
        unknown: there its models are those of the other images, and its value stays undecided.
    rules : between the findings, which probabilities and values then keep; values that are given and kept stay
    strategy, fit_on : see `pipeline.label`
    trainer : trains one student of all findings, where it could help; without it there is none
    """
    tasks = [replace(task, firm=FIRM) for task in tasks]
    parts = [_label_one(task, strategy, fit_on, track) for task in tasks]
    student, why = None, ""
    if trainer is not None:
        student, why = train_once(tasks, parts, trainer)
    if student is not None:
        tasks = [replace(task, student=student.of(f)) if student.reliable[f] else task for f, task in enumerate(tasks)]
        parts = [
            _label_one(task, strategy, fit_on, track) if student.reliable[f] else parts[f]
            for f, task in enumerate(tasks)
        ]
    parts = [_all_doubted(task, part) for task, part in zip(tasks, parts, strict=True)]
    shape = len(tasks[0]), len(tasks)
    values, source = np.zeros(shape, dtype=np.int64), np.empty(shape, dtype=object)
    probability, score = np.zeros(shape), np.zeros(shape)
    suspect, suggested = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int64)
    reasons: dict[tuple[int, int], str] = {}
    for f, (task, part) in enumerate(zip(tasks, parts, strict=True)):
        values[:, f], probability[:, f] = _outcome(task, part)
        source[:, f], score[:, f] = part.source, part.suspect_score
        if _guessed(task, part):  # no model says more than zero-shot
            sure = np.maximum(probability[:, f], 1.0 - probability[:, f])
            source[:, f] = np.where(task.answered, part.source, "clip")
            score[:, f] = np.where(task.answered, 0.0, 1.0 - sure)
        looked = task.left_out if task.unsure is None else task.left_out | task.unsure
        source[looked, f] = "clinician"
        suspect[part.queue.rows, f] = True
        suggested[:, f] = part.suggested
        reasons |= {(int(row), f): why for row, why in zip(part.queue.rows, part.queue.reasons, strict=True)}
    names = tuple(task.class_names[PRESENT] for task in tasks)
    made = LabelledFindings(
        names, values, probability, np.stack([task.zero_shot[:, PRESENT] for task in tasks], axis=1), source, suspect, score,
        suggested, reasons, _together(names, tasks, parts, score, reasons), tuple(parts), tasks[0].left_out,
        student=student, about_student=why,
    )  # fmt: skip
    return made if rules is None or not rules.rules else _ruled(made, tasks, rules)


def label_findings_with_examples(
    tasks: Sequence[Task], examples: Examples, zero_shot: Sequence[NDArray[np.float64]], **how: Any
) -> LabelledFindings:
    """Label F findings, learning from M images of which they are known too.

    Parameters
    ----------
    zero_shot : F arrays, (M, 2), of the examples
    how : as for `label_findings`
    """
    found, n = label_findings(joined_findings(tasks, examples, zero_shot), **how), len(tasks[0])
    here = np.flatnonzero(found.queue.rows < n)
    queue = replace(
        found.queue, rows=found.queue.rows[here], reasons=tuple(found.queue.reasons[q] for q in here.tolist())
    )
    return replace(
        found, values=found.values[:n], probability=found.probability[:n], zero_shot=found.zero_shot[:n],
        source=found.source[:n], suspect=found.suspect[:n], suspect_score=found.suspect_score[:n],
        suggested=found.suggested[:n], queue=queue, excluded=found.excluded[:n],
        reasons={(row, f): why for (row, f), why in found.reasons.items() if row < n},
        of_each=tuple(without_examples(part, n) for part in found.of_each),
        likeliest=None if found.likeliest is None else found.likeliest[:n],
        student=None if found.student is None else replace(found.student, probability=found.student.probability[:n]),
    )  # fmt: skip


def with_evidence(tasks: Sequence[Task], evidence: NDArray[np.floating]) -> list[Task]:
    """The tasks, each with what one student says of its finding, (N, 2 F), see `StudentOfFindings.evidence`."""
    pairs = evidence.reshape(len(evidence), len(tasks), 2) * len(tasks)
    silent_of = np.isclose(pairs, 0.5, atol=1e-3).all(axis=(0, 2))  # kept in half precision
    return [task if silent_of[f] else replace(task, student=pairs[:, f]) for f, task in enumerate(tasks)]


def train_once(
    tasks: Sequence[Task], parts: Sequence[Labelled], trainer: FindingsTrainer
) -> tuple[StudentOfFindings | None, str]:
    """One student of all findings, trained on what was made of each without it; None where it could help with none, and why.

    A value that is unknown, a guess or in doubt is masked.
    """
    shape = len(tasks[0]), len(tasks)
    values, weights, baseline = np.zeros(shape, dtype=np.int64), np.zeros(shape), np.full(shape, 0.5)
    wanted = np.zeros(len(tasks), dtype=bool)
    for f, (task, part) in enumerate(zip(tasks, parts, strict=True)):
        noise, rows = part.corrected.estimate, part.rows
        if noise is None or len(noise.predicted) != len(rows) or _guessed(task, part):
            continue
        inside = task.take(rows)
        values[rows, f], baseline[rows, f] = part.corrected.labels, noise.predicted[:, PRESENT]
        weights[rows, f] = training_weights(noise, part.corrected.labels, inside)
        wanted[f] = useless(noise, part.corrected.labels, task.keep) is None
    if not weights.any():
        return None, "No student was trained: the findings are close to guesses, which it would learn."
    if not wanted.any():
        return None, "No student was trained: it could correct next to nothing of any finding."
    student = trainer(tasks[0].features, values, weights, baseline=baseline, groups=tasks[0].groups, seed=tasks[0].seed)
    if student is None:
        return None, "No student was trained: of too few images is a finding known, present and absent."
    student = replace(student, reliable=student.reliable & wanted)
    return student, student.note


def _ruled(labelled: LabelledFindings, tasks: Sequence[Task], rules: Rules) -> LabelledFindings:
    """What was labelled, with probabilities and values that keep the rules."""
    answered = np.stack([task.answered for task in tasks], axis=1)
    predicted = labelled.probability.copy()
    for f, part in enumerate(labelled.of_each):
        if len(part.corrected.queue.out_of_sample):
            predicted[part.rows, f] = part.corrected.queue.out_of_sample[:, PRESENT]
    clean = answered if tasks[0].given is None else ~labelled.suspect | answered
    learned = learn(rules, np.where(clean, labelled.values, UNDECIDED), predicted, tasks[0].seed)
    probability, likeliest = rules.project(use(rules, learned, labelled.probability, answered), answered)
    values, source = labelled.values, labelled.source
    if not tasks[0].keep:
        values = np.where(values == UNDECIDED, UNDECIDED, likeliest)
        source = np.where((values != labelled.values) & ~answered, "rule", source)
    ruled = replace(
        labelled, probability=probability, values=values, source=source, learned=tuple(learned), likeliest=likeliest
    )
    return _with_broken(ruled, rules) if tasks[0].keep else ruled


def _with_broken(labelled: LabelledFindings, rules: Rules) -> LabelledFindings:
    """With the images whose values break a rule first in the queue: one of these values is wrong for sure."""
    broken = np.flatnonzero(rules.breaks(labelled.values))
    if not len(broken) or labelled.likeliest is None:
        return labelled
    other = np.zeros_like(labelled.suspect)
    other[broken] = (labelled.values != labelled.likeliest)[broken] & (labelled.values[broken] != UNDECIDED)
    why = dict(zip(labelled.queue.rows.tolist(), labelled.queue.reasons, strict=True))
    reasons = []
    for row in broken.tolist():
        values = dict(zip(labelled.names, labelled.values[row].tolist(), strict=True))
        said = f"breaks the rule: {'; '.join(rules.broken(values))}"
        reasons.append(f"{said}; {why[row]}" if row in why else said)
    kept = np.flatnonzero(~np.isin(labelled.queue.rows, broken))
    queue = Queue(
        np.concatenate([broken, labelled.queue.rows[kept]]), (*reasons, *(labelled.queue.reasons[q] for q in kept))
    )
    return replace(
        labelled, queue=queue, suspect=labelled.suspect | other,
        suspect_score=np.where(other, np.maximum(labelled.suspect_score, BROKEN), labelled.suspect_score),
        suggested=np.where(other, labelled.likeliest, labelled.suggested),
    )  # fmt: skip


def area_of_given(values: NDArray[np.integer], part: Labelled) -> tuple[float, float, float] | None:
    """The area under the ROC curve of out-of-sample probabilities for the given values, with its 95% interval.

    Parameters
    ----------
    values : (N,) int array, of one finding
    part : what the pipeline makes of it

    Returns
    -------
    area, low, high : float, or None where too few images have the finding, or too few have it not
    """
    of_part, score = values[part.rows], part.corrected.queue.out_of_sample
    ours, theirs = (score[of_part == value, PRESENT] for value in (PRESENT, ABSENT)) if len(score) else ([], [])
    if min(len(ours), len(theirs)) < FEWEST_TOLD:
        return None
    area, spread = roc_area(np.asarray(ours), np.asarray(theirs))
    return area, max(area - 1.96 * spread, 0.0), min(area + 1.96 * spread, 1.0)


def can_be_told(area: tuple[float, float, float] | None) -> bool:
    """Whether given values can be told from the images, by `area_of_given`; else doubts about them are guesses."""
    return area is not None and area[1] > 0.5 and area[0] >= LEAST_AREA


def doubted(given: NDArray[np.integer], part: Labelled) -> NDArray[np.int64]:
    """The images whose given value, (N,), -1 unknown, the images contradict: flagged, or rather wrong than right."""
    if not can_be_told(area_of_given(given, part)):
        return part.rows[:0]
    corrected, known = part.corrected, given[part.rows] != UNDECIDED
    flagged = corrected.queue.flagged & (corrected.labels == given[part.rows])  # else the new value is doubted
    return part.rows[known & (flagged | (corrected.doubt >= 0.5))]


def _all_doubted(task: Task, part: Labelled) -> Labelled:
    """With all values that are doubted in the queue, where given values are kept."""
    if task.given is None or not task.keep:
        return part
    given = np.where(task.answered | task.left_out, UNDECIDED, task.given)
    more = doubted(given, part)
    more = more[~np.isin(more, part.queue.rows)]
    if not len(more):
        return part
    reasons = dict(zip(part.rows.tolist(), part.corrected.queue.reasons, strict=True))
    more = more[np.argsort(-part.suspect_score[more], kind="stable")]
    why = [reasons[i] or f"rather {task.class_names[1 - int(given[i])]}, by the other images" for i in more.tolist()]
    suggested = part.suggested.copy()
    suggested[more] = 1 - given[more]
    queue = Queue(np.concatenate([part.queue.rows, more]), (*part.queue.reasons, *why))
    return replace(part, queue=queue, suggested=suggested)


def _label_one(task: Task, strategy: str | None, fit_on: int | None, track: Track) -> Labelled:
    """The pipeline on the images where a finding is known, and what it says of the others."""
    if task.given is None:
        return label(task, strategy=strategy, fit_on=fit_on, proposing=False, track=track)
    truth = task.truth
    known = (task.given >= 0) | (truth >= 0)
    task = replace(task, given=np.where(task.given >= 0, task.given, np.maximum(truth, 0)))
    if known.all():
        return label(task, strategy=strategy, fit_on=fit_on, proposing=False, track=track)
    rows, others = np.flatnonzero(known), np.flatnonzero(~known)
    if len(rows) == 0:  # nothing is given of it: what CLIP says, which decides nothing
        return label(replace(task, given=None), strategy=strategy, fit_on=fit_on, proposing=False, track=track)
    part = label(task.take(rows), strategy=strategy, fit_on=fit_on, proposing=False, track=track)
    count = len(task)

    def spread(values: NDArray, fill: object) -> NDArray:
        made = np.full((count, *values.shape[1:]), fill, dtype=values.dtype)
        made[rows] = values
        return made

    probabilities = spread(part.probabilities, 0.0)
    probabilities[others] = _predicted(task.features, rows, part.probabilities.argmax(axis=1), others)
    labels = spread(part.labels, 0)
    labels[others] = probabilities[others].argmax(axis=1)
    duplicate_of = spread(part.duplicate_of, -1)
    duplicate_of[rows] = np.where(part.duplicate_of >= 0, rows[part.duplicate_of], -1)
    suggested = spread(part.suggested, 0)
    suggested[others] = labels[others]
    confidence = spread(part.confidence, 0.0)
    confidence[others] = probabilities[others].max(axis=1)
    return replace(
        part, labels=labels, probabilities=probabilities, confidence=confidence, source=spread(part.source, "correction"),
        rows=rows[part.rows], queue=replace(part.queue, rows=rows[part.queue.rows]),
        suspect_score=spread(part.suspect_score, 0.0), suggested=suggested, duplicate_of=duplicate_of,
    )  # fmt: skip


def _predicted(
    features: Features, rows: NDArray[np.int64], labels: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(M, 2) probabilities of images without a label, by the models that also doubt labels: discriminant analysis and label
    propagation."""
    present = np.bincount(labels, minlength=2)
    if present.min() < FEWEST:
        return np.tile((present + 1) / (present.sum() + 2), (len(others), 1))
    points = features.standardised
    seeds = np.zeros((len(features), 2))
    seeds[rows, labels] = 1.0
    views = discriminant(points[rows], labels, points[others], SHRINK), propagate(features.graph, seeds)[others]
    return np.asarray(np.mean(views, axis=0))


def _guessed(task: Task, part: Labelled) -> bool:
    return task.given is None and not part.meaningful and part.initial.source != "answers"


def _outcome(task: Task, part: Labelled) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N,) values and (N,) probabilities that the finding is present.

    What is given or answered stands. Guesses of zero-shot keep its ranking: they are cut where the prior says, and undecided
    without one, since zero-shot puts its threshold nearly anywhere. Clusters, which name the guesses of classes, are what
    divides the images most, and a finding hardly is.
    """
    labels, probabilities = part.labels, part.probabilities[:, PRESENT]
    undecided = np.zeros(len(task), dtype=bool)
    if task.given is not None:
        undecided = task.given < 0
    elif part.initial.source == "answers":  # the correction of labels that a model learned from few answers ranks worse
        probabilities = probabilities.copy()
        probabilities[part.rows] = part.initial.probabilities[:, PRESENT]
        labels = (probabilities >= 0.5).astype(np.int64)
    elif not _guessed(task, part):
        likely = np.maximum(part.confidence, 0.5)
        moved = part.probabilities.argmax(axis=1) != labels
        probabilities = np.where(moved, np.where(labels == PRESENT, likely, 1.0 - likely), probabilities)
    else:
        start = task.zero_shot if task.prior is None else match_prior(task.zero_shot, task.prior)
        probabilities, labels = start[:, PRESENT], start.argmax(axis=1)
        undecided[:] = task.prior is None
    unsure = np.zeros(len(task), dtype=bool) if task.unsure is None else task.unsure
    values = np.where((undecided & ~task.answered) | task.left_out | unsure, UNDECIDED, labels)
    return (
        np.where(task.answered, task.truth, values),
        np.where(task.answered, task.truth, probabilities).astype(np.float64),
    )


def _together(
    names: Sequence[str],
    tasks: Sequence[Task],
    parts: Sequence[Labelled],
    score: NDArray[np.float64],
    reasons: dict[tuple[int, int], str],
) -> Queue:
    """One queue of images: by the score of the worst finding, or, where labels are not given and so not all doubts are
    comparable, by the best place that an image has in the queue of a finding."""
    given = all(task.given is not None for task in tasks)
    place: dict[int, int] = {}
    asked: dict[int, list[int]] = defaultdict(list)
    for f, part in enumerate(parts):
        for rank, row in enumerate(part.queue.rows.tolist()):
            place[row] = min(rank, place.get(row, rank))
            asked[row].append(f)
    rows = np.array(sorted(place, key=lambda row: (0 if given else place[row], -score[row].max(), row)), dtype=np.int64)
    return Queue(rows, tuple(_reason([(names[f], reasons[row, f]) for f in asked[row]]) for row in rows.tolist()))


def _reason(of_findings: Sequence[tuple[str, str]]) -> str:
    """Why an image is asked about, findings with the same reason together."""
    why: dict[str, list[str]] = defaultdict(list)
    for name, reason in of_findings:
        why[reason].append(name)
    return "; ".join(f"{', '.join(found)}: {reason}" for reason, found in why.items())
