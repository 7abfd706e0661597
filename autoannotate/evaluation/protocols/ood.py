"""Images of no class among the others: which method finds them, and how many others does it take for such.

The classes named by `--foreign` are not asked for; some of their images stand among those of the others, as `--share` says.
CLIP labels them all as in a run of `autoannotate label`, and each method says how little every image belongs.

`AUROC` is that of this score for foreign images against the others, `recall at foreign` the share of the foreign images among
as many of the highest scores as there are foreign images. `flagged` is the share of them that a run says are of none of the
classes, `false flags` the share of the other images of which it says so: both of ours alone, the others set no threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.errors import UsageError
from autoannotate.evaluation.metrics import recall_at
from autoannotate.evaluation.study import SPLIT, Outcome

if TYPE_CHECKING:
    from autoannotate.evaluation.labelled_set import LabelledSet
    from autoannotate.evaluation.study import Options, Study
    from autoannotate.labelling.task import Task

BASELINE = "cleanlab"
DEFAULT = ("cleanlab", "msp", "ours")
HEADLINE = ("auroc", "recall_at_foreign", "flagged", "false_flags")
LOWER = frozenset({"false_flags"})
OPTIONS = frozenset({"count", "pixels", "model", "foreign", "share"})
CURVE = None
LEAST = 10  # images of a class


@dataclass(frozen=True)
class Mixed:
    """task: what the pipeline is given, of N images. foreign: (N,) bool."""

    task: Task
    foreign: NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """score: (N,), higher belongs less. flagged: (N,) bool, or None where a method sets no threshold."""

    score: NDArray[np.floating]
    flagged: NDArray[np.bool_] | None = None


def cleanlab(mixed: Mixed) -> Found:
    """The mean cosine distance to the ten nearest others: cleanlab's `OutOfDistribution` (Kuan and Mueller 2022)."""
    from cleanlab.outlier import OutOfDistribution

    features = np.asarray(mixed.task.features.values, dtype=np.float64)
    return Found(1.0 - OutOfDistribution().fit_score(features=features, verbose=False))


def msp(mixed: Mixed) -> Found:
    """One minus the largest class probability (Hendrycks and Gimpel 2017, arXiv 1610.02136), of zero-shot."""
    return Found(1.0 - mixed.task.zero_shot.max(axis=1))


def ours(mixed: Mixed) -> Found:
    """The queue of a run: images that are of none of the classes first, then by suspect score."""
    from autoannotate.labelling.pipeline import label

    found = label(mixed.task)
    flagged = np.isin(np.arange(len(mixed.foreign)), list(found.none_of_these))
    return Found(found.suspect_score + flagged, flagged)


METHODS: dict[str, Callable[[Mixed], Found]] = {"cleanlab": cleanlab, "msp": msp, "ours": ours}


def methods() -> tuple[str, ...]:
    return tuple(METHODS)


def foreign_classes(data: LabelledSet, options: Options) -> list[int]:
    """The numbers of the classes that are not asked for.

    Raises
    ------
    UsageError
        Where there is none such, or too few others.
    """
    names = [name.strip() for name in options.foreign.split(",") if name.strip()]
    known = ", ".join(data.class_names)
    if not names:
        raise UsageError(f"The protocol ood needs --foreign, the classes that are not asked for, of {known}.")
    if unknown := [name for name in names if name not in data.class_names]:
        raise UsageError(f"--foreign names the class {unknown[0]!r}, and there is none: the classes are {known}.")
    if len(set(names)) > len(data.class_names) - 2:
        raise UsageError(f"--foreign leaves fewer than two classes to label: the classes are {known}.")
    return [data.class_names.index(name) for name in names]


def check(data: LabelledSet, options: Options) -> None:
    foreign_classes(data, options)
    data.require(LEAST, "the protocol ood")
    if not 0.0 <= options.share <= 0.5:
        raise UsageError(
            f"--share is the share of foreign images among all, 0 to 0.5, as in 0.05; {options.share:g} is not."
        )


def run_once(study: Study, seed: int, method: str) -> Outcome:
    """One method's scores of one run's images."""
    from sklearn.metrics import roc_auc_score

    mixed = study.once("mixed", seed, lambda: make_mixed(study, seed))
    found, foreign = METHODS[method](mixed), mixed.foreign
    metrics = dict.fromkeys(HEADLINE, float("nan"))
    metrics["recall_at_foreign"] = recall_at(foreign, found.score, int(foreign.sum()))
    if foreign.any():
        metrics["auroc"] = float(roc_auc_score(foreign, found.score))
    if found.flagged is not None:
        metrics["false_flags"] = float(found.flagged[~foreign].mean())
        metrics["flagged"] = float(found.flagged[foreign].mean()) if foreign.any() else metrics["flagged"]
    return Outcome(metrics)


def make_mixed(study: Study, seed: int) -> Mixed:
    """A sample of the classes that are asked for, foreign images among them, and what CLIP says of all."""
    from autoannotate.labelling.features import Features
    from autoannotate.labelling.task import Task
    from autoannotate.labelling.zero_shot.label_images import zero_shot

    left_out = foreign_classes(study.data, study.options)
    rows = study.sample(seed)
    strange = np.isin(study.data.labels[rows], left_out)
    share = study.options.share
    wanted = round(share / (1.0 - share) * int((~strange).sum()))
    if share > 0.0:
        wanted = max(wanted, 1)
    chosen = study.rng(seed, SPLIT).permutation(np.flatnonzero(strange))[:wanted]
    rows = np.sort(np.concatenate([rows[~strange], rows[chosen]]))
    foreign = np.isin(study.data.labels[rows], left_out)
    classes = [name for k, name in enumerate(study.data.class_names) if k not in left_out]
    encoder = study.annotator.encoder
    clip = zero_shot(study.embeddings[rows], classes, encoder.encode_texts, encoder.logit_scale, seed=seed)
    task = Task(
        Features(study.features[rows]), clip.probabilities, classes, trust=clip.reliability.trust,
        meaningful=clip.reliability.meaningful, image_names=[study.data.refs[row].path for row in rows],
        image_kinds=clip.image_kinds, seed=seed,
    )  # fmt: skip
    return Mixed(task, foreign)
