"""What can be had from a representation: without labels, and with few.

One file of `evaluation/representations` a method; `features` and `embeddings` are the encoder's own, `pixels` what no network
has seen. --embeddings NAME=FILE adds another model's, called NAME. Methods that learn (autoencoder, SimCLR) learn from the
images of the run, without labels, and for a short time: with more images and days they could do better. Of volumes each
method sees slices and pools them (mean), but for `autoencoder_3d`.

`knn` is the balanced accuracy of the ten nearest training images, `probe_1` to `probe_50` of a linear probe on so many labels
a class, `probe_all` on all of them. `nmi` and `ari` compare k-means groups, as many as there are classes, with the classes
(normalised mutual information; adjusted Rand index). `retrieval` is the mean average precision of the training images, ranked
by cosine to each test image. Images of one group are on one side.

`label_errors` is the recall of wrong labels: a fifth of the labels are made wrong, at random, and as many are looked at as
are wrong, in the order of the out-of-sample probability of the label by a linear probe; at random it would be 20%. `noise`,
`blur`, `contrast` and `burnt_in_text` are the shares of test images that are still found, by cosine, among all images after
such a change of scanner. With --metadata, `auroc_SEX` and `r2_AGE` say how well a linear model tells each column out of
sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.errors import UsageError
from autoannotate.evaluation.metrics import balanced_accuracy
from autoannotate.evaluation.noise_injection import symmetric
from autoannotate.evaluation.protocols import Curve
from autoannotate.evaluation.representations import (
    Encode,
    Problem,
    described,
    of_volumes,
    pooled,
    representation,
    representations,
)
from autoannotate.evaluation.scanner_changes import CHANGES
from autoannotate.evaluation.study import SPLIT, Outcome

if TYPE_CHECKING:
    from autoannotate.evaluation.labelled_set import LabelledSet
    from autoannotate.evaluation.study import Options, Study

BASELINE = "pixels"
DEFAULT = ("pixels", "embeddings", "features")
HEADLINE = ("probe_10", "knn", "probe_all", "retrieval", "nmi", "label_errors")
OPTIONS = frozenset({"count", "test", "pixels", "model", "embeddings", "metadata", "simclr_epochs"})
CURVE = Curve("labels", "probe", "labels a class", "balanced accuracy of a linear probe")
LEAST = 5  # images of a class
LABELS = (1, 5, 10, 50)  # a class, that a probe learns from
NEAREST = 10  # images, or as many as the smallest class has
STRENGTH = 0.01  # inverse regularisation of the probe, the same for all
WRONG = 0.2  # share of labels that are made wrong
CHANGED = 100  # test images that are changed, at most
DRAW, FLIP, CHANGE = 61, 62, 63  # salts


def methods() -> tuple[str, ...]:
    return (*representations(), "file")


def words() -> dict[str, str]:
    """What each method is."""
    return {name: described(name) for name in representations()}


def offered(data: LabelledSet, options: Options) -> tuple[str, ...]:
    """The methods that these images and options allow, those of files by their names."""
    known = [name for name in representations() if _volumes(data) or not of_volumes(name)]
    files = named_files(options.embeddings)
    if taken := sorted(set(files) & set(representations())):
        raise UsageError(f"--embeddings {taken[0]}=…: there is a method of that name already; choose another.")
    return (*known, *files)


def usual(data: LabelledSet, options: Options) -> tuple[str, ...]:
    """The methods that run when nobody names them."""
    return (*DEFAULT, *named_files(options.embeddings))


def lacking(name: str) -> str:
    """Why a method that there is cannot be used here."""
    if name == "file":
        return "The method file needs --embeddings FILE: another model's vectors of these images."
    return (
        f"The method {name} takes volumes (NIfTI, NRRD, series), and these are flat images: leave it out of --methods."
    )


def named_files(given: tuple[str, ...]) -> dict[str, Path]:
    """Files by the names of their methods, from NAME=FILE or, once, FILE, which is called file."""
    found: dict[str, Path] = {}
    for one in given:
        name, mark, file = one.partition("=")
        if not mark or Path(one).is_file():
            name, file = "file", one
        if not name.strip() or name in found:
            raise UsageError(
                f"--embeddings {one}: each file needs a name of its own, as in --embeddings rad-dino=E.npz."
            )
        found[name.strip()] = Path(file)
    return found


def check(data: LabelledSet, options: Options) -> None:
    data.require(LEAST, "the protocol representations")
    if not 0.05 <= options.test <= 0.9:
        raise UsageError(f"--test is the share of images held for testing, 0.05 to 0.9, not {options.test:g}.")
    paths = [ref.path for ref in data.refs]
    for file in named_files(options.embeddings).values():
        _of_file(file, paths)
    if options.metadata:
        from autoannotate.runs.metadata import read_metadata

        read_metadata(Path(options.metadata), paths)


def run_once(study: Study, seed: int, method: str) -> Outcome:
    """One representation in one run."""
    rows = study.sample(seed)
    data = study.data.take(rows)
    train = data.split(study.options.test, study.rng(seed, SPLIT))
    problem = Problem(data.refs, study.annotator.encoder, seed, study.options.simclr_epochs, study.device)
    values, encode = represented(study, rows, method, problem)
    found = measured(values, data.labels, train, len(data.class_names), study.rng(seed, DRAW), seed)
    found["label_errors"] = label_error_recall(values, data.labels, data.groups, seed)
    chosen = np.flatnonzero(~train)
    chosen = np.sort(study.rng(seed, CHANGE).permutation(chosen)[:CHANGED])
    found |= found_again(values, encode, problem, chosen, study.rng(seed, CHANGE), of_volumes_of(method))
    if study.options.metadata:
        found |= associated(values, Path(study.options.metadata), [ref.path for ref in data.refs], seed)
    most = int(np.bincount(data.labels[train]).max())
    points = [(n, found[f"probe_{n}"]) for n in LABELS] + [(most, found["probe_all"])]
    curve = tuple({"labels": float(n), "probe": value} for n, value in points if value == value)
    return Outcome(found, curve)


def of_volumes_of(method: str) -> bool:
    """Whether the method takes volumes in the place of pictures."""
    return method in representations() and of_volumes(method)


def represented(
    study: Study, rows: NDArray[np.integer], method: str, problem: Problem
) -> tuple[NDArray[np.floating], Encode | None]:
    """The vectors of some images, (M, D), and what makes them of other pictures; None where only a file is known."""
    files = named_files(study.options.embeddings)
    if method in files:
        return _of_file(files[method], [ref.path for ref in study.data.refs])[rows], None
    encode = representation(method).learn(problem)
    if method in ("features", "embeddings"):  # encoded already
        return (study.features if method == "features" else study.embeddings)[rows], encode
    pictures = [problem.pictures(row) for row in range(len(problem))]
    return (encode(pictures) if of_volumes(method) else pooled(encode, pictures)), encode


def measured(
    values: NDArray[np.floating],
    labels: NDArray[np.integer],
    train: NDArray[np.bool_],
    classes: int,
    rng: np.random.Generator,
    seed: int = 0,
) -> dict[str, float]:
    """All metrics of one representation.

    Parameters
    ----------
    values : (N, D) array
    labels : (N,) array of class numbers
    train : (N,) array of bool
        Which images may be learned from; the others are tested.
    """
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    from autoannotate.labelling.features import compact, standardised

    units, points = compact(values), standardised(values)
    learn, test = np.flatnonzero(train), np.flatnonzero(~train)
    truth = labels[test]
    cosines = units[test] @ units[learn].T
    near = np.argsort(-cosines, axis=1, kind="stable")
    nearest = min(NEAREST, int(np.bincount(labels[learn]).min()))
    votes = np.stack([(labels[learn][near[:, :nearest]] == k).sum(axis=1) for k in range(classes)], axis=1)
    found = {"knn": balanced_accuracy(truth, votes.argmax(axis=1))}
    shuffled = rng.permutation(learn)
    for name, most in (*((f"probe_{n}", n) for n in LABELS), ("probe_all", len(learn))):
        chosen = np.concatenate([shuffled[labels[shuffled] == k][:most] for k in range(classes)])
        enough = most == len(learn) or all((labels[learn] == k).sum() >= most for k in range(classes))
        probe = LogisticRegression(C=STRENGTH, max_iter=300, class_weight="balanced") if enough else None
        found[name] = (
            float("nan") if probe is None
            else balanced_accuracy(truth, probe.fit(points[chosen], labels[chosen]).predict(points[test]))
        )  # fmt: skip
    relevant = labels[learn][near] == truth[:, None]
    precision = np.cumsum(relevant, axis=1) / np.arange(1, len(learn) + 1)
    found["retrieval"] = float(((precision * relevant).sum(axis=1) / np.maximum(relevant.sum(axis=1), 1)).mean())
    groups = KMeans(classes, n_init=4, random_state=seed).fit_predict(units)
    found["nmi"] = float(normalized_mutual_info_score(labels, groups))
    found["ari"] = float(adjusted_rand_score(labels, groups))
    return found


def label_error_recall(
    values: NDArray[np.floating], labels: NDArray[np.integer], groups: NDArray[np.integer] | None, seed: int
) -> float:
    """Share of wrong labels among as many of the least likely labels as are wrong.

    Parameters
    ----------
    values : (N, D) array
    labels : (N,) array of class numbers
        The truth, of which a fifth is made wrong (symmetric noise).
    groups : (N,) array, optional
        Images of one group are in one fold.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    from autoannotate.labelling.features import standardised

    given = symmetric(labels.astype(np.int64), values, WRONG, np.random.default_rng([seed, FLIP]))
    wrong = given != labels
    points, out = standardised(values), np.zeros(len(labels))
    shuffled = np.random.default_rng([seed, FLIP + 1]).permutation(len(labels)) if groups is None else groups
    for train, test in GroupKFold(min(5, len(np.unique(shuffled)))).split(points, groups=shuffled):
        probe = LogisticRegression(C=STRENGTH, max_iter=300).fit(points[train], given[train])
        shares = np.zeros((len(test), int(labels.max()) + 1))
        shares[:, probe.classes_] = probe.predict_proba(points[test])
        out[test] = shares[np.arange(len(test)), given[test]]
    first = np.argsort(out, kind="stable")[: wrong.sum()]
    return float(wrong[first].mean()) if wrong.any() else float("nan")


def found_again(
    values: NDArray[np.floating],
    encode: Encode | None,
    problem: Problem,
    rows: NDArray[np.integer],
    rng: np.random.Generator,
    whole: bool = False,
) -> dict[str, float]:
    """For each of `CHANGES`, the share of images whose changed copy is nearest to the image itself among all N.

    Parameters
    ----------
    values : (N, D)
    rows : which images are changed
    whole : `encode` takes volumes
    """
    if encode is None:
        return dict.fromkeys(CHANGES, float("nan"))
    from autoannotate.labelling.features import compact_axes, unit

    axes = compact_axes(values)
    known = unit(axes(values))
    pictures, found = [problem.pictures(row) for row in rows], {}
    for name, change in CHANGES.items():
        changed = [[change(one, rng) for one in slices] for slices in pictures]
        moved = unit(axes(encode(changed) if whole else pooled(encode, changed)))
        found[name] = float(((moved @ known.T).argmax(axis=1) == rows).mean())
    return found


def associated(values: NDArray[np.floating], file: Path, paths: list[str], seed: int) -> dict[str, float]:
    """How well each column of a table of covariates is told, out of sample."""
    from autoannotate.explore.associations import predictability
    from autoannotate.explore.findings import common_values
    from autoannotate.explore.maps import standardised_components
    from autoannotate.runs.metadata import read_metadata

    known, found = read_metadata(file, paths), {}
    points = standardised_components(values)
    for column in known.columns:
        cells = common_values(column, np.arange(len(paths)))
        if cells is None or column.known.sum() < 20:
            continue
        told = predictability(points, cells, known.groups, seed=seed, permutations=0)
        found[f"{told.statistic}_{column.name}"] = told.value
    return found


def _volumes(data: LabelledSet) -> bool:
    return any(len(ref.slices) > 1 for ref in data.refs)


def _of_file(file: Path, paths: list[str]) -> NDArray[np.float32]:
    """The embeddings of some images from a file. Raises `InputError` where it lacks some."""
    from autoannotate.models.embeddings_file import read_embeddings

    return read_embeddings(file).of(paths)
