"""A promise in numbers: the largest set of labels of which at most so many are wrong, with this confidence.

`draw_sample` draws labels at random for clinicians to review; `certify` makes a certificate of their answers by the bounds
of `autoannotate.answers.certification.error_bounds`. What makes the promise good:

- The sample is a function of the labels and the seed, drawn before its answers are known. While the labels stay as they are
  it is not drawn again. It grows only along the same random order, to sizes that were said in advance, and then every size
  has its part of the risk (Bonferroni).
- The sample judges the labels as they were when it was drawn. Labels that an update has learnt from its answers are other
  labels and need a sample of their own.
- Where the run has groups (patients, studies, lesions) whole groups are drawn, and the bounds are those of
  `autoannotate.answers.certification.cluster_bounds`; single images may be drawn instead, which is as true.
- An answer is taken for the truth. Images answered before the draw are not drawn from and count as right. A sampled label
  counts as wrong unless clinicians confirm it: unsure, none of these, not usable and readers who disagree count as wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.answers.certification.cluster_bounds import largest_set_of_groups, most_groups
from autoannotate.answers.certification.error_bounds import Bounds, largest_set, sample_size, simultaneous_bounds
from autoannotate.errors import InputError, UsageError
from autoannotate.runs import tables
from autoannotate.runs.run import NONE_OF_THESE, NOT_USABLE

if TYPE_CHECKING:
    import pandas as pd

    from autoannotate.answers.consensus import Settled
    from autoannotate.answers.store import Answer
    from autoannotate.runs.run import Run

COLUMNS = ("path", "label", "confidence", "source")
ERRORS = 3  # found in the sample, and the whole set can still be promised: what the default budget allows for
FEW_ERRORS = 1  # the same where the run expects so few errors that three would be a surprise
SALT = 89
THEOREM = (
    "Exact simultaneous bounds on the errors missed among the j most confident labels, for all j together, under simple "
    "random sampling without replacement: Clopper and Pearson's bound (1934) for a finite population, made to hold for "
    "every threshold at once by the boundary-crossing probability of the urn's walk; the largest set is then chosen with "
    "family-wise control, as in learn-then-test (Angelopoulos et al. 2021, arXiv 2110.01052, Theorem 1). Proof: the "
    "docstring of autoannotate.answers.certification.error_bounds."
)

CLUSTER_THEOREM = (
    "A cluster sample: whole groups are drawn by simple random sampling without replacement and all their images reviewed. "
    "Clopper and Pearson's bound (1934) on the number of groups missed with a wrong label among the j most confident, for "
    "all j together by the boundary-crossing probability of the urn's walk; each of them is counted as wrong in all of its "
    "images, the largest groups first, so nothing is assumed of sizes or of how alike the images of a group are. The largest "
    "set is then chosen with family-wise control, as in learn-then-test (Angelopoulos et al. 2021, arXiv 2110.01052, "
    "Theorem 1). Proof: the docstring of autoannotate.answers.certification.cluster_bounds."
)
GROUP = "group"
"""The column of labels.csv that says which images are of one group."""


@dataclass(frozen=True)
class Sample:
    """Which images clinicians review for a certificate, in the random order in which they were drawn.

    Attributes
    ----------
    paths : the images to review
    before : images answered before the draw, which it left out
    images : how many it drew from
    max_error : the share of wrong labels that it was made for; other shares may be asked of the same answers
    budgets : the sizes, rising, at which a certificate may be made
    look : which of them this is, from 1
    confidence : of all looks together
    labels_sha256 : of labels.csv
    earlier : samples of this run that were answered before this one, about other labels
    groups : where whole groups are drawn, the size of each that it drew from, and then budgets are numbers of groups
    drawn : how many groups were
    order : names one random order that several samples follow, so that they share images; "" where the labels make their own
    """

    paths: tuple[str, ...]
    before: tuple[str, ...]
    images: int
    max_error: float
    confidence: float
    budgets: tuple[int, ...]
    look: int
    seed: int
    labels_sha256: str
    earlier: int = 0
    groups: tuple[int, ...] = ()
    drawn: int = 0
    order: str = ""

    @property
    def bounds(self) -> Bounds:
        """What the answers will say of the labels (groups, where they are drawn) that were not drawn, decided before they are
        known."""
        return simultaneous_bounds(self.units, self.drawn or len(self.paths), self._confidence, self._most)

    @property
    def units(self) -> int:
        """How many labels, or groups where they are drawn, it drew from."""
        return len(self.groups) or self.images

    @property
    def theorem(self) -> str:
        """What makes the promise good, for people."""
        return CLUSTER_THEOREM if self.groups else THEOREM

    @property
    def least(self) -> int:
        """The fewest reviews (of labels, or groups) with which all labels could be promised, none found wrong."""
        return sample_size(self.units, self._confidence, self._most, errors=0)

    @property
    def _confidence(self) -> float:
        return 1 - (1 - self.confidence) / len(self.budgets)

    @property
    def _most(self) -> int:
        images = allowed(self.max_error, self.images + len(self.before))
        return most_groups(self.groups, images) if self.groups else images


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is promised of the labels in `table` (columns `COLUMNS`, in path order).

    Attributes
    ----------
    max_error, confidence : at most this share of the labels is wrong, with this confidence
    wrong_at_most : how many that is here; nobody reviewed the `unreviewed` labels that they are among
    found : wrong labels found in the sample, in_set of them among the labels as confident as those kept
    unsettled : those that were unsure, unusable, of no class or disputed
    least_confidence : of the unreviewed labels that were kept, None without any
    """

    table: pd.DataFrame
    sample: Sample
    images: int
    max_error: float
    confidence: float
    unreviewed: int
    wrong_at_most: int
    found: int
    in_set: int
    unsettled: int
    least_confidence: float | None

    @property
    def statement(self) -> str:
        """The promise in a sentence."""
        if not self.unreviewed:
            return (
                f"The {len(self.table):,} labels in certified.csv were all given by clinicians. Nothing can be promised of "
                "the others."
            )
        return (
            f"Among the {len(self.table):,} labels in certified.csv, at most {share(self.max_error)} are wrong, with "
            f"{share(self.confidence)} confidence over the random draw of the sample."
        )


def fingerprint(annotations: Run) -> str:
    """The SHA-256 of the labels: that of labels.csv as it is saved."""
    return hashlib.sha256(tables.to_csv(annotations.table)).hexdigest()


def draw_sample(
    annotations: Run,
    answers: Iterable[Answer] = (),
    *,
    max_error: float = 0.02,
    confidence: float = 0.95,
    budgets: Sequence[int] = (),
    seed: int = 0,
    earlier: int = 0,
    labels_sha256: str = "",
    whole_groups: bool | None = None,
    order: str = "",
) -> Sample:
    """Draw the images to review, at random among those that no clinician has answered.

    Parameters
    ----------
    answers : those known by now
    budgets : how many to review; else the fewest with which all labels could be promised though three of them are found wrong
        (see `expected`); several let the sample grow. The same labels, answers and seed give the same order, so that a larger
        sample holds the smaller one.
    earlier : see `Sample`
    labels_sha256 : the fingerprint of the labels, if it is known
    whole_groups : whether whole groups are drawn, and budgets count groups; None where the run has groups
    order : see `Sample`

    Raises
    ------
    UsageError
        For shares or counts that cannot be.
    InputError
        Where no label is left to draw.

    Examples
    --------
    >>> sample = draw_sample(annotations, max_error=0.02)                              # doctest: +SKIP
    """
    _check(max_error, confidence, budgets)
    settled = _settled(annotations, answers)
    rows = zip(annotations.table["path"], annotations.table["source"] == "clinician", strict=True)
    before = {path for path, given in rows if given or (path in settled and not _open(settled[path]))}
    open_ = ~annotations.table["path"].isin(before)
    images = int(open_.sum())
    if not images:
        raise InputError("Clinicians have answered every image of this run: no label is left to draw a sample from.")
    whole_groups = GROUP in annotations.table if whole_groups is None else whole_groups
    if whole_groups and GROUP not in annotations.table:
        raise UsageError(
            "The run has no groups, so none can be drawn whole: label or audit with --groups to have some."
        )
    sizes = tuple(int(n) for n in annotations.table.loc[open_, GROUP].value_counts()) if whole_groups else ()
    units, most = len(sizes) or images, allowed(max_error, len(annotations.table))
    wrong = expected(annotations, max_error)
    if whole_groups:
        fewer = sample_size(images, confidence, most, wrong) < images  # where single images are drawn
        if not budgets and fewer and not most_groups(sizes, most):
            raise UsageError(
                f"One group alone has {max(sizes):,} images, and {most:,} of {len(annotations.table):,} may be wrong: by whole "
                "groups all would have to be reviewed. Draw single images with --sample images, or allow more with --max-error."
            )
        most = most_groups(sizes, most)
    if not budgets:
        budgets = [sample_size(units, confidence, most, wrong)]
    sample = Sample(
        paths=(),
        before=tuple(path for path in annotations.table["path"] if path in before),
        images=images,
        max_error=max_error,
        confidence=confidence,
        budgets=tuple(sorted({min(budget, units) for budget in budgets})),
        look=0,
        seed=seed,
        labels_sha256=labels_sha256 or fingerprint(annotations),
        earlier=earlier,
        groups=sizes,
        order=order,
    )
    return grown(annotations, sample)


def grown(annotations: Run, sample: Sample) -> Sample:
    """The sample of the next look: the same order, further along.

    Raises
    ------
    UsageError
        Where no look is left.
    """
    if sample.look == len(sample.budgets):
        raise UsageError(
            f"The sample of {len(sample.paths):,} images cannot grow: looking again until the numbers please would break the "
            "promise. Run `autoannotate update` and certify the better labels; next time, say before the first answer how "
            f"far you may want to go, as in --budget {sample.budgets[-1]},{2 * sample.budgets[-1]}."
        )
    population = annotations.table[~annotations.table["path"].isin(sample.before)]
    if sample.groups:
        units = {str(group): rows.tolist() for group, rows in population.groupby(GROUP, sort=False)["path"]}
    else:
        units = {path: [path] for path in population["path"]}
    order = _permuted(list(units), sample)[: sample.budgets[sample.look]]
    paths = tuple(path for unit in order for path in units[unit])
    return replace(sample, paths=paths, look=sample.look + 1, drawn=len(order) if sample.groups else 0)


def _permuted(units: Sequence[str], sample: Sample) -> list[str]:
    """The images or groups in random order; with `Sample.order` as if those of all findings were permuted together."""
    if sample.order:
        return sorted(units, key=lambda unit: hashlib.sha256(_bytes(f"{sample.order}\0{sample.seed}\0{unit}")).digest())
    rng = np.random.default_rng([sample.seed, SALT, int(sample.labels_sha256[:16], 16)])
    return [units[row] for row in rng.permutation(len(units))]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def missing(annotations: Run, sample: Sample, answers: Iterable[Answer]) -> list[str]:
    """The images of the sample that nobody has answered, in its order."""
    answered = _settled(annotations, answers)
    return [path for path in sample.paths if path not in answered]


def certify(
    annotations: Run,
    sample: Sample,
    answers: Iterable[Answer],
    max_error: float | None = None,
    labels_sha256: str = "",
) -> Certificate:
    """The largest set of labels of which at most `max_error` is wrong, with the confidence that the sample was drawn for.

    Parameters
    ----------
    max_error : another share than the sample was drawn for, if any; the bounds hold for all together
    labels_sha256 : the fingerprint of the labels, if it is known

    Raises
    ------
    InputError
        Where the labels are not those that the sample was drawn for, or where answers are missing.

    Examples
    --------
    >>> certificate = certify(annotations, sample, AnswerStore("run").current())       # doctest: +SKIP
    >>> certificate.statement                                                          # doctest: +SKIP
    'Among the 1,900 labels in certified.csv, at most 2% are wrong, with 95% confidence over the random draw of the sample.'
    """
    max_error = sample.max_error if max_error is None else max_error
    _check(max_error, sample.confidence, sample.budgets)
    if (labels_sha256 or fingerprint(annotations)) != sample.labels_sha256:
        raise InputError("The labels have changed since the sample was drawn: draw a new one for the labels of now.")
    settled = _settled(annotations, answers)
    if left := [path for path in sample.paths if path not in settled]:
        raise InputError(
            f"{len(left):,} of {len(sample.paths):,} images of the sample have no answer, {left[0]} first."
        )

    table = annotations.table.iloc[ranking(annotations.table)]
    paths, labels = table["path"].to_numpy(), table["label"].to_numpy(dtype=object)
    truth = np.array(
        [_truth(settled.get(path), label) for path, label in zip(paths, labels, strict=True)], dtype=object
    )
    answered = np.array([path in settled for path in paths]) | (table["source"] == "clinician").to_numpy()
    of_class = np.array([label is not None for label in truth])
    known, left_out = answered & of_class, answered & ~of_class
    drawn, earlier = set(sample.paths), set(sample.before)
    sampled, before = np.array([path in drawn for path in paths]), np.array([path in earlier for path in paths])
    wrong = sampled & (truth != labels)

    drawn_from = ~before
    extra = int((known & before).sum())
    judged = wrong[drawn_from], known[drawn_from], left_out[drawn_from]
    if sample.groups:
        ids = np.unique(table[GROUP].to_numpy(dtype=str)[drawn_from], return_inverse=True)[1]
        kept, wrong_at_most = largest_set_of_groups(*judged, ids, sample.bounds, max_error, extra)
    else:
        kept, wrong_at_most = largest_set(*judged, sample.bounds, max_error, extra)
    confident = np.cumsum(drawn_from) <= kept
    unreviewed = confident & drawn_from & ~answered
    members = known | unreviewed
    certified = table.assign(
        label=np.where(known, truth, labels),
        confidence=np.where(known, 1.0, table["confidence"]),
        source=np.where(known, "clinician", table["source"]),
    )[members].sort_index()
    return Certificate(
        table=certified[list(COLUMNS)].reset_index(drop=True),
        sample=sample,
        images=len(table),
        max_error=max_error,
        confidence=sample.confidence,
        unreviewed=int(unreviewed.sum()),
        wrong_at_most=wrong_at_most,
        found=int(wrong.sum()),
        in_set=int((wrong & confident).sum()),
        unsettled=int((sampled & left_out).sum()),
        least_confidence=float(table["confidence"].to_numpy()[unreviewed].min()) if unreviewed.any() else None,
    )


def ranking(table: pd.DataFrame) -> NDArray[np.int64]:
    """The rows of labels.csv in the order in which sets grow, (N,): by confidence, and by doubt where that is equal.

    Any order that was fixed before the answers keeps the promise; one that leaves the wrong labels to the end makes the
    promised set large.
    """
    path = np.arange(len(table))  # rows are in path order
    return np.lexsort((path, table["suspect_score"], -table["confidence"])).astype(np.int64)


def expected(annotations: Run, max_error: float) -> int:
    """How many errors found the default sample allows for, by the run's own estimate of its error rate.

    The answers have no part in it, so the promise is the same whatever the estimate is worth; only the work is not. With
    fewer the sample is small, and an unlucky draw leaves nothing promised.
    """
    rate = annotations.record.estimated_error_rate
    return FEW_ERRORS if rate is not None and rate <= max_error / 4 else ERRORS


def allowed(max_error: float, labels: int) -> int:
    """How many of so many labels may be wrong.

    >>> allowed(0.02, 150), allowed(0.07, 100)
    (3, 7)
    """
    return int(np.floor(max_error * labels + 1e-9))


def share(value: float) -> str:
    """A share in per cent, in full.

    >>> share(0.02), share(0.995), share(0.0005)
    ('2%', '99.5%', '0.05%')
    """
    return f"{value * 100:.6g}%"


def _check(max_error: float, confidence: float, budgets: Sequence[int]) -> None:
    if not 0 < max_error < 1:
        raise UsageError(f"--max-error is a share between 0 and 1, as in 0.02 for 2%; {max_error:g} is not.")
    if not 0.5 <= confidence < 1:
        raise UsageError(f"--confidence is a share from 0.5 to below 1, as in 0.95 for 95%; {confidence:g} is not.")
    if low := [budget for budget in budgets if budget < 1]:
        raise UsageError(f"--budget is a number of images (or groups) to review, 1 or more; {low[0]} is not.")


def _settled(annotations: Run, answers: Iterable[Answer]) -> dict[str, Settled]:
    from autoannotate.answers.consensus import consensus

    return dict(consensus(answers, annotations.classes).images)


def _open(settled: Settled) -> bool:
    """Whether clinicians answered and it is still not known what the image is."""
    return settled.open or settled.verdict == "unsure"


def _truth(settled: Settled | None, label: str) -> str | None:
    """The class that clinicians gave; the label itself where nobody answered; None where the answer is no class."""
    if settled is None:
        return None if label in (NONE_OF_THESE, NOT_USABLE) else label
    return settled.label if settled.verdict == "label" and not settled.open else None
