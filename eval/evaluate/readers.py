"""Tables of real disagreement between readers, as `autoannotate evaluate noise --noise given` takes them: path,label,given.

busi: the breast ultrasound set BUSI, in which some scans are there (nearly) twice under two classes. Which of the two is
right nobody knows; the more serious class is taken for truth here (malignant before benign before normal), so `given` is
wrong for the less serious copy of each pair.
brixia: COVID chest X-rays with two radiologists' severity scores (0 to 18): the senior's is taken for truth, the junior's is
given. Mild, moderate and severe are 0 to 4, 5 to 9 and 10 to 18: thirds of the senior's scores.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

SERIOUS = ("normal", "benign", "malignant")
LEVELS = ("mild", "moderate", "severe")
EDGES = [-1, 4, 9, 18]


def busi(data: Path, noisy: Path) -> pd.DataFrame:
    """path,label,given of BUSI."""
    table = pd.read_csv(data / "breast_busi" / "labels.csv")
    label = dict(zip(table["path"], table["label"], strict=True))
    truth = dict(label)
    for a, b in pd.read_csv(noisy / "busi_contradictions.csv")[["path_a", "path_b"]].itertuples(index=False):
        worse = max(label[a], label[b], key=SERIOUS.index)
        truth[a] = truth[b] = worse
    paths = [str((data / "breast_busi" / path).resolve()) for path in label]
    return pd.DataFrame({"path": paths, "label": list(truth.values()), "given": list(label.values())})


def brixia(data: Path, noisy: Path) -> pd.DataFrame:
    """path,label,given of the X-rays that two radiologists scored."""
    folder = noisy / "brixia_two_readers"
    table = pd.read_csv(folder / "annotations.csv")
    paths = [str((folder / path).resolve()) for path in table["path"]]
    senior, junior = (pd.cut(table[f"{who}-Global"], EDGES, labels=LEVELS).astype(str) for who in "SJ")
    return pd.DataFrame({"path": paths, "label": senior, "given": junior})


TABLES = {"busi": busi, "brixia": brixia}
