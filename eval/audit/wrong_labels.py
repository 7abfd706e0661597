"""Recall of real wrong labels: the audit beside cleanlab's Datalab, on the same features.

python eval/audit/wrong_labels.py --data DATA_DIR --work WORK_DIR
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sets import EncodedSet, encoded_set
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from autoannotate import Annotator
from autoannotate.evaluation.metrics import average_precision, recall_at
from autoannotate.labelling.features import Features, standardised
from autoannotate.labelling.pipeline import label
from autoannotate.models.encoding import Encoded

REPEATS = 1000


def problems(data: Path, work: Path) -> dict[str, tuple[EncodedSet, NDArray[np.bool_], list[str], pd.Series]]:
    """By name: the set, which given labels are wrong, the given labels, and the patient of each image."""
    nih = encoded_set(data / "more" / "nih_multilabel", work)
    read = nih.table["rsna_class"] != ""
    nih = _some(nih, read.to_numpy())
    found = np.where(nih.table["no_finding"] == "1", "normal", "abnormal")
    seen = np.where(nih.table["rsna_class"] == "Normal", "normal", "abnormal")
    odir = encoded_set(data / "more" / "fundus_odir", work)
    person = np.where(odir.table["patient_labels"] == "normal", "normal", "abnormal")
    eye = np.where(odir.table["normal"] == "1", "normal", "abnormal")
    busi = encoded_set(data / "eval" / "breast_busi", work)
    kept = pd.read_csv(data / "more" / "relabels" / "breast_busi_curation.csv", dtype=str).set_index("path")[
        "in_curated"
    ]
    dropped = (busi.table["path"].map(kept) == "0").to_numpy()
    return {
        "chest X-rays: a program's finding or none, beside radiologists' Normal or not": (
            nih, found != seen, found.tolist(), nih.table["patient"],
        ),
        "fundus: the person's normal or not, beside the eye's": (odir, person != eye, person.tolist(), odir.table["patient"]),
        "BUSI: images that a published curation dropped": (
            busi, dropped, busi.table["label"].tolist(), busi.table["path"],
        ),
    }  # fmt: skip


def _some(found: EncodedSet, rows: NDArray[np.bool_]) -> EncodedSet:
    return EncodedSet(found.features[rows], found.embeddings[rows], found.table[rows].reset_index(drop=True))


def ours(found: EncodedSet, given: list[str], patients: pd.Series, grouped: bool) -> NDArray[np.float64]:
    """The doubt behind the issue `label` of `autoannotate audit --groups patient`, without a student."""
    classes = sorted(set(given))
    annotator = Annotator(classes, student="none")
    encoded = Encoded([], found.embeddings, found.features, [])
    clip = annotator.zero_shot(found.embeddings)
    task = replace(
        annotator.task(encoded, clip), features=Features(found.features), keep=True,
        given=np.array([classes.index(name) for name in given]), image_names=found.table["path"].tolist(),
        groups=patients.astype("category").cat.codes.to_numpy().astype(np.int64) if grouped else None,
    )  # fmt: skip
    return label(task).corrected.doubt


def datalab(found: EncodedSet, given: list[str], patients: pd.Series, features_alone: bool) -> NDArray[np.float64]:
    """One minus Datalab's label score, on a cross-validated logistic probe (folds by patient), or on the features alone."""
    from cleanlab import Datalab

    points = standardised(found.features)
    lab = Datalab(data={"label": given}, label_name="label", verbosity=0)
    if features_alone:
        lab.find_issues(features=points, issue_types={"label": {}})
    else:
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
        probe = LogisticRegression(C=0.003, max_iter=2000)
        predicted = cross_val_predict(probe, points, given, cv=folds, groups=patients, method="predict_proba")
        lab.find_issues(pred_probs=predicted, issue_types={"label": {}})
    return 1.0 - lab.get_issues("label")["label_score"].to_numpy()


METHODS = {
    "audit, --groups patient": (ours, True),
    "audit, without groups": (ours, False),
    "Datalab, a logistic probe": (datalab, False),
    "Datalab, features alone": (datalab, True),
}


def compared(
    wrong: NDArray[np.bool_], doubts: dict[str, NDArray[np.float64]], patients: pd.Series
) -> dict[str, tuple[float, float, float, float, float]]:
    """Recall at the number of wrong labels, average precision, and the difference of recall to the first method with its 95%
    interval, by a bootstrap of patients."""
    budget, rng = int(wrong.sum()), np.random.default_rng(0)
    everyone = patients.to_numpy()
    rows_of = [np.flatnonzero(everyone == patient) for patient in np.unique(everyone)]
    first = next(iter(doubts))
    differences: dict[str, list[float]] = {name: [] for name in doubts}
    for _ in range(REPEATS):
        rows = np.concatenate([rows_of[i] for i in rng.integers(0, len(rows_of), len(rows_of))])
        many = int(wrong[rows].sum())
        if many:
            recall = {name: recall_at(wrong[rows], doubt[rows], many) for name, doubt in doubts.items()}
            for name in doubts:
                differences[name].append(recall[first] - recall[name])
    return {
        name: (
            recall_at(wrong, doubt, budget), average_precision(wrong, doubt),
            recall_at(wrong, doubts[first], budget) - recall_at(wrong, doubt, budget),
            *(float(q) for q in np.percentile(differences[name], [2.5, 97.5])),
        )
        for name, doubt in doubts.items()
    }  # fmt: skip


def main() -> None:
    """Print a table a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    for name, (found, wrong, given, patients) in problems(asked.data, asked.work).items():
        print(f"\n{name}: {len(wrong):,} images, {int(wrong.sum())} wrong\n", flush=True)
        doubts, seconds = {}, {}
        for method, (run, variant) in METHODS.items():
            began = time.process_time()
            doubts[method] = run(found, given, patients, variant)
            seconds[method] = time.process_time() - began
        print(
            "| method | recall at their number | average precision | first less this, 95% | CPU s |\n|---|---|---|---|---|"
        )
        for method, (recall, ap, gap, low, high) in compared(wrong, doubts, patients).items():
            print(f"| {method} | {recall:.1%} | {ap:.3f} | {gap:+.1%} ({low:+.1%} to {high:+.1%}) | {seconds[method]:.0f} |",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
