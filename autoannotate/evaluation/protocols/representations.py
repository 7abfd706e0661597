"""What can be had from a representation: without labels, and with few.

`features` and `embeddings` are the encoder's, before and in the space of its texts; `pixels` are the principal components of
small grey pictures, what no network has seen; `file` is what --embeddings names, of any other model.

`knn` is the balanced accuracy of the ten nearest training images, `probe_1` to `probe_50` of a linear probe on so many labels
a class, `probe_all` on all of them. `nmi` and `ari` compare k-means groups, as many as there are classes, with the classes
(normalised mutual information; adjusted Rand index). `retrieval` is the mean average precision of the training images, ranked
by cosine to each test image. Images of one group are on one side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.errors import InputError, UsageError
from autoannotate.evaluation.metrics import balanced_accuracy
from autoannotate.evaluation.study import SPLIT, Outcome

if TYPE_CHECKING:
    from autoannotate.evaluation.datasets import LabelledSet
    from autoannotate.evaluation.study import Options, Study

BASELINE = "pixels"
DEFAULT = ("pixels", "embeddings", "features")
HEADLINE = ("probe_10", "knn", "probe_all", "retrieval", "nmi")
OPTIONS = frozenset({"count", "test", "pixels", "model", "embeddings"})
CURVE = None
LEAST = 10  # images of a class
LABELS = (1, 5, 10, 50)  # a class, that a probe learns from
NEAREST, SIDE, COMPONENTS = 10, 24, 64  # nearest images; pixels of a small picture's side; its principal components
STRENGTH = 0.01  # inverse regularisation of the probe, the same for all
DRAW = 61  # salt


def methods() -> tuple[str, ...]:
    return (*DEFAULT, "file")


def check(data: LabelledSet, options: Options) -> None:
    data.require(LEAST, "the protocol representations")
    if not 0.05 <= options.test <= 0.9:
        raise UsageError(f"--test is the share of images held for testing, 0.05 to 0.9, not {options.test:g}.")
    if options.embeddings:
        _of_file(options.embeddings, [ref.path for ref in data.refs])


def run_once(study: Study, seed: int, method: str) -> Outcome:
    """One representation in one run."""
    rows = study.sample(seed)
    data = study.data.take(rows)
    train = data.split(study.options.test, study.rng(seed, SPLIT))
    values = representation(study, rows, method)
    return Outcome(measured(values, data.labels, train, len(data.class_names), study.rng(seed, DRAW), seed))


def representation(study: Study, rows: NDArray[np.integer], method: str) -> NDArray[np.floating]:
    """The vectors of some images, (M, D)."""
    if method == "features":
        return study.features[rows]
    if method == "embeddings":
        return study.embeddings[rows]
    if method == "file":
        if not study.options.embeddings:
            raise InputError("The method file needs --embeddings, the file that holds them.")
        return _of_file(study.options.embeddings, [ref.path for ref in study.data.refs])[rows]
    from autoannotate.labelling.features import principal_axes

    read = study.images(rows)
    small = np.stack(
        [np.asarray(read(i).convert("L").resize((SIDE, SIDE)), dtype=np.float64) for i in range(len(rows))]
    )
    centred = small.reshape(len(rows), -1)
    centred = centred - centred.mean(axis=0)
    return centred @ principal_axes(centred, COMPONENTS)


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
    votes = np.stack([(labels[learn][near[:, :NEAREST]] == k).sum(axis=1) for k in range(classes)], axis=1)
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


def _of_file(file: str, paths: list[str]) -> NDArray[np.float32]:
    """The embeddings of some images from a file. Raises `InputError` where it lacks some."""
    from pathlib import Path

    from autoannotate.models.embeddings_file import read_embeddings

    return read_embeddings(Path(file)).of(paths)
