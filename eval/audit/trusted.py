"""What trusted images buy: 0 to 50 a class, ours beside a linear probe, Tip-Adapter and TransCLIP, on the same features.

    python eval/audit/trusted.py --data DATA_DIR --work WORK_DIR

Balanced accuracy on the images that are not trusted, of samples of at most 400 images; no student is trained.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sets import encoded_set
from sklearn.linear_model import LogisticRegression

from autoannotate import Annotator
from autoannotate.evaluation.baselines.transclip import transclip
from autoannotate.evaluation.metrics import balanced_accuracy
from autoannotate.labelling.features import standardised, unit
from autoannotate.labelling.pipeline import label
from autoannotate.labelling.zero_shot.label_images import ZeroShot
from autoannotate.models.encoding import Encoded

SETS = ("blood_pbc", "skin_ham10000", "breast_busi", "chest_pneumonia", "chest_nih", "brain_mri")
SHOTS, SEEDS, MOST = (0, 1, 5, 10, 50), 2, 400
SENSES = {
    "akiec": "actinic keratosis", "bcc": "basal cell carcinoma", "bkl": "benign keratosis", "df": "dermatofibroma",
    "mel": "melanoma", "nv": "melanocytic nevus", "vasc": "vascular lesion", "ig": "immature granulocyte",
}  # fmt: skip


def linear_probe(
    points: NDArray[np.float64], answers: NDArray[np.int64], zero_shot: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Logistic regression on the trusted images, C = 1; zero-shot without any."""
    rows = np.flatnonzero(answers >= 0)
    if not len(rows):
        return zero_shot.argmax(axis=1)
    return LogisticRegression(C=1.0, max_iter=1000).fit(points[rows], answers[rows]).predict(points)


def tip_adapter(
    embeddings: NDArray[np.float64], answers: NDArray[np.int64], zero_shot: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Training-free Tip-Adapter (Zhang et al. 2022, arXiv 2207.09519, eq. 3): α = 1, β = 5.5."""
    rows = np.flatnonzero(answers >= 0)
    cache = np.exp(-5.5 * (1.0 - embeddings @ embeddings[rows].T)) @ np.eye(zero_shot.shape[1])[answers[rows]]
    return (np.log(np.maximum(zero_shot, 1e-12)) + cache).argmax(axis=1)


def main() -> None:
    """Print a row a set and number of trusted images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    print("| set | trusted a class | autoannotate | linear probe | Tip-Adapter | TransCLIP, trusted images certain |\n"
          "|---|---|---|---|---|---|", flush=True)  # fmt: skip
    for name in SETS:
        found = encoded_set(asked.data / "eval" / name, asked.work)
        names, truth = np.unique(found.table["label"].to_numpy(dtype=str), return_inverse=True)
        k = len(names)
        annotator = Annotator([SENSES.get(each, each) for each in names], student="none")
        for shots in SHOTS:
            scores = []
            for seed in range(SEEDS):
                rng = np.random.default_rng(seed)
                rows = np.sort(
                    np.concatenate([rng.permutation(np.flatnonzero(truth == c))[: MOST // k] for c in range(k)])
                )
                features, embeddings, true = found.features[rows], found.embeddings[rows], truth[rows]
                clip: ZeroShot = annotator.zero_shot(embeddings)
                answers = np.full(len(rows), -1)
                for c in range(k):
                    mine = rng.permutation(np.flatnonzero(true == c))
                    some = mine[: min(shots, len(mine) // 2)]
                    answers[some] = c
                task = annotator.task(Encoded([], embeddings, features, []), clip)
                names_of = [f"image {i}" for i in range(len(rows))]
                ours = label(replace(task, answers=answers, image_names=names_of)).labels
                start = np.where(
                    (answers >= 0)[:, None], np.eye(k)[np.maximum(answers, 0)], np.clip(clip.probabilities, 1e-6, 1)
                )
                others = (
                    linear_probe(standardised(features), answers, clip.probabilities),
                    tip_adapter(unit(embeddings.astype(float)), answers, clip.probabilities),
                    transclip(unit(features.astype(float)), start).argmax(axis=1),
                )
                open_ = answers < 0
                scores.append([balanced_accuracy(true[open_], each[open_]) for each in (ours, *others)])
            cells = " | ".join(f"{value:.1%}" for value in np.mean(scores, axis=0))
            print(f"| {name} | {shots} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
