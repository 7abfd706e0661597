"""issues.csv: what an audit found, one row an image and issue, worst first; and what run.json says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoannotate.labelling.label_errors.error_rates import GivenErrors, Share, error_rate, joint_by_label
from autoannotate.labelling.label_errors.issues import Audited, Issue, quality_scores
from autoannotate.runs.delimited import column_key
from autoannotate.runs.run import ISSUES

if TYPE_CHECKING:
    from autoannotate.images.quality import Appearance
    from autoannotate.labelling.pipeline import Labelled
    from autoannotate.labelling.task import Task
    from autoannotate.labelling.zero_shot.image_kinds import NoneOfThese

SHOWN = 40  # pairs and leaks that run.json and the report have; issues.csv has all
SPLIT = ("split", "fold", "subset", "partition")
SITES = ("site", "scanner", "device", "hospital", "center", "centre", "manufacturer", "institution")


def audited(
    task: Task,
    labelled: Labelled,
    look: Appearance | None,
    columns: Mapping[str, Sequence[str]],
) -> Audited:
    """What is known of the given labels of a task when they have been doubted.

    Parameters
    ----------
    task : without images that were excluded; where labels were changed since, the given ones are doubted all the same
    look : of the pictures, without which nothing is said of these
    columns : (N,) cells each, of the labels' table
    """
    assert task.given is not None
    corrected = labelled.corrected
    queue, wrong = corrected.queue, task.answered & (task.truth != task.given)
    moved = corrected.labels != task.given
    better = np.where(task.answered, task.truth, np.where(moved, corrected.labels, queue.suggested))
    reasons = [
        f"{task.class_names[better[i]]}, by an answer" if wrong[i] else "" if moved[i] else why
        for i, why in enumerate(queue.reasons)
    ]
    cells = {column_key(name): np.array(values) for name, values in columns.items()}
    split = next((cells[name] for name in SPLIT if name in cells), None)
    evidence = queue.out_of_sample
    return Audited(
        task.given, task.class_names, task.names, np.where(task.answered, wrong, corrected.doubt),
        (queue.flagged & ~moved) | wrong, better, evidence, task.features.neighbours, reasons,
        None if look is None else look.thumbnails, quality_of(look), _open(task),
        joint_by_label(task.given, evidence), task.groups, split, {name: cells[name] for name in SITES if name in cells},
    )  # fmt: skip


def quality_of(look: Appearance | None) -> dict[str, tuple[NDArray[np.float64], float]]:
    """The scores of the pictures, see `quality_scores`; nothing where nobody looked."""
    if look is None:
        return {}
    return quality_scores(look.bright, look.dim, look.entropy, look.edges, look.spread, look.width, look.height)


def _open(task: Task) -> NoneOfThese | None:
    """Images of none of the classes, those aside that a trusted label gives a class."""
    found = task.none_of_these
    return None if found is None else replace(found, flagged=found.flagged & ~task.answered)


def issues_table(issues: Sequence[Issue], audited: Audited) -> pd.DataFrame:
    """The issues with the columns of issues.csv; the path is empty where an issue is of a class or of the whole set."""
    name = [*audited.class_names, ""]  # -1 is none
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(issues) + 1),
            "path": ["" if each.row is None else audited.image_names[each.row] for each in issues],
            "label": [name[-1 if each.label is None else each.label] for each in issues],
            "suggested_label": [name[-1 if each.suggested is None else each.suggested] for each in issues],
            "score": np.array([each.score for each in issues], dtype=float),
            "issue": [each.kind for each in issues],
            "detail": [each.detail for each in issues],
        },
        columns=list(ISSUES),
    )


def audit_record(
    issues: Sequence[Issue],
    audited: Audited,
    errors: GivenErrors,
    votes: Mapping[str, NDArray[np.integer]],
    seed: int,
) -> dict[str, Any]:
    """What run.json keeps of an audit: counts by kind, shares of wrong labels with intervals, who confuses what, and the first
    near duplicates and leaks.

    Parameters
    ----------
    errors : of the N given labels
    votes : by annotator, (N,) class numbers, -1 where there is none
    """
    names = list(audited.class_names)
    rates = {"all": errors.share(np.arange(len(audited.labels)), seed)}
    rates |= {name: errors.share(audited.labels == k, seed) for k, name in enumerate(names)}
    return {
        "issues": dict(Counter(each.kind for each in issues)),
        "error_rates": {name: rounded(rate) for name, rate in rates.items()},
        "joint": np.round(joint_by_label(audited.labels, audited.out_of_sample), 4).tolist(),
        "annotators": _annotators(votes, audited.out_of_sample, errors, names, seed),
        "tied": int(tied(votes).sum()),
        "pairs": _pairs(issues, audited),
        "leaks": [
            {"path": audited.image_names[each.row], "detail": each.detail}
            for each in issues
            if each.row is not None and (each.kind == "group" or _on_both_sides(each, audited))
        ][:SHOWN],
    }


def wrong_labels_in_words(share: Sequence[float | None]) -> str:
    """How many labels are wrong, as an audit says it: sentences without the last full stop.

    >>> wrong_labels_in_words((None, 0.0, 0.2)).partition(":")[0]
    'How many of the given labels are wrong cannot be told from the images'
    """
    rate, low, high = share
    if rate is not None:
        return (
            f"The models estimate that {rate:.1%} of the given labels are wrong ({low:.1%} to {high:.1%} by the draw of images "
            "alone): they do not see all errors, a random sample does (certify)"
        )
    least = f" By answers, or copies with other labels, {low:.1%} are wrong." if low else ""
    return (
        f"How many of the given labels are wrong cannot be told from the images: {high:.1%} are contradicted by models that "
        f"did not see them, as wrong labels are, and right ones where classes overlap.{least} A random sample tells (certify)"
    )


def rounded(share: Share) -> list[float | None]:
    """As run.json has it."""
    return [None if value is None else round(value, 4) for value in share]


def _on_both_sides(issue: Issue, audited: Audited) -> bool:
    """Whether two near duplicates are in two parts of a split."""
    if audited.split is None or issue.row is None or issue.other is None:
        return False
    return bool(audited.split[issue.row] != audited.split[issue.other])


def _pairs(issues: Sequence[Issue], audited: Audited) -> list[dict[str, Any]]:
    """Near duplicates, each pair once, contradictions first, the surest first."""
    found: dict[frozenset[int], dict[str, Any]] = {}
    for each in sorted(issues, key=lambda each: each.kind != "contradiction"):
        if each.row is None or each.other is None:
            continue
        both = sorted((each.row, each.other))
        found.setdefault(
            frozenset(both),
            {
                "paths": [audited.image_names[row] for row in both],
                "labels": [audited.class_names[int(audited.labels[row])] for row in both],
                "parts": [] if audited.split is None else [str(audited.split[row]) for row in both],
            },
        )
    return list(found.values())[:SHOWN]


def tied(votes: Mapping[str, NDArray[np.integer]]) -> NDArray[np.bool_]:
    """(N,), the images of which no label has more votes than every other.

    Parameters
    ----------
    votes : by annotator, (N,) class numbers, -1 where there is none

    >>> tied({"ann": np.array([0, 1, 1]), "bob": np.array([0, 0, -1])})
    array([False,  True, False])
    """
    if not votes:
        return np.zeros(0, dtype=bool)
    said = np.stack(list(votes.values()))
    counts = np.sort([(said == k).sum(axis=0) for k in range(max(int(said.max()) + 1, 2))], axis=0)
    return np.asarray((counts[-1] > 0) & (counts[-1] == counts[-2]))


def _annotators(
    votes: Mapping[str, NDArray[np.integer]],
    out_of_sample: NDArray[np.floating],
    errors: GivenErrors,
    names: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """The quality of each annotator (CROWDLAB, Goh et al. 2022, arXiv 2210.06812; cleanlab's) and what each confuses most;
    images whose votes are tied are left out of `wrong` and `confuses`."""
    if len(votes) < 2:
        return {}
    from cleanlab.multiannotator import get_label_quality_multiannotator

    table = pd.DataFrame({who: np.where(each < 0, np.nan, each.astype(float)) for who, each in votes.items()})
    table = table.loc[:, table.notna().any()]
    rows = table.notna().any(axis=1).to_numpy()
    among = out_of_sample[rows] + 1e-9
    found = get_label_quality_multiannotator(
        table[rows].reset_index(drop=True), among / among.sum(axis=1, keepdims=True), verbose=False
    )
    open_ = tied(
        votes
    )  # the label that an audit takes there is the first in the alphabet, which says nothing of anybody
    stats, consensus = found["annotator_stats"], found["label_quality"]["consensus_label"].to_numpy(dtype=int)
    told: dict[str, Any] = {}
    for who in table.columns:
        mine = table[who][rows].to_numpy()
        decided = ~open_[rows]
        pairs = Counter(
            (int(c), int(v)) for c, v in zip(consensus[decided], mine[decided], strict=True) if v == v and c != v
        )
        most = pairs.most_common(1)
        given = np.flatnonzero((votes[str(who)] >= 0) & ~open_)
        wrong = 1.0 - errors.posterior[given, votes[str(who)][given]]
        told[str(who)] = {
            **({"wrong": rounded(error_rate(wrong, seed))} if len(wrong) and errors.told else {}),
            "quality": round(float(stats.loc[who, "annotator_quality"]), 4),
            "agreement_with_consensus": round(float(stats.loc[who, "agreement_with_consensus"]), 4),
            "labels": int((mine == mine).sum()),
            "confuses": None
            if not most
            else f"{names[most[0][0][0]]} with {names[most[0][0][1]]} ({most[0][1]} times)",
        }
    return told
