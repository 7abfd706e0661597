"""Near duplicates and contradictions of BUSI: issues.csv of an audit beside cleanlab's Datalab and CleanVision.

autoannotate audit BUSI/images --labels BUSI/labels.csv --student none --out RUN
python eval/audit/duplicates.py --data DATA_DIR --work WORK_DIR --run RUN
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sets import encoded_set

from autoannotate.labelling.features import standardised


def file_name(path: str) -> str:
    """The name of a file without its folders."""
    return path.rpartition("/")[2]


def main() -> None:
    """Print what each finds of the ten contradictions, and of the images that the published curation dropped."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--work", "--run"):
        parser.add_argument(name, type=Path, required=True)
    asked = parser.parse_args()
    data = asked.data
    pairs = pd.read_csv(data / "noisy" / "busi_contradictions.csv", dtype=str)[["path_a", "path_b"]].map(file_name)
    curated = pd.read_csv(data / "more" / "relabels" / "breast_busi_curation.csv", dtype=str)
    dropped = set(curated.loc[curated["in_curated"] == "0", "path"].map(file_name))

    issues = pd.read_csv(asked.run / "issues.csv", dtype=str, keep_default_na=False)
    of_kind = issues[issues["issue"] == "contradiction"]
    ranks = []
    for a, b in pairs.itertuples(index=False):
        hit = [
            int(rank)
            for rank, path, detail in of_kind[["rank", "path", "detail"]].itertuples(index=False)
            if (path.endswith(a) and b in detail) or (path.endswith(b) and a in detail)
        ]
        ranks.append(min(hit, default=None))
    order = [name for name in dict.fromkeys(issues["path"].map(file_name)) if name]
    found = sum(name in dropped for name in order[: len(dropped)])
    print(f"audit: pairs at ranks {ranks}; {found} of {len(dropped)} dropped images among the first {len(dropped)}")

    from cleanlab import Datalab

    encoded = encoded_set(data / "eval" / "breast_busi", asked.work)
    names = [file_name(path) for path in encoded.table["path"]]
    lab = Datalab(data={"label": encoded.table["label"].tolist()}, label_name="label", verbosity=0)
    lab.find_issues(features=standardised(encoded.features), issue_types={"near_duplicate": {}, "label": {}})
    near, row = lab.get_issues("near_duplicate"), {name: i for i, name in enumerate(names)}
    together = sum(row[b] in list(near["near_duplicate_sets"][row[a]]) for a, b in pairs.itertuples(index=False))
    alike, doubt = (1 - lab.get_issues(kind)[f"{kind}_score"].to_numpy() for kind in ("near_duplicate", "label"))
    drop = np.isin(names, list(dropped))
    print(f"Datalab: {together} of {len(pairs)} pairs are near duplicates")
    for what, score in (
        ("near duplicates", alike),
        ("labels", doubt),
        ("the higher of both", np.maximum(alike, doubt)),
    ):
        print(f"Datalab, {what}: {int(drop[np.argsort(-score, kind='stable')[: len(dropped)]].sum())} dropped images")

    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(data / "eval" / "breast_busi" / "images"))
    lab.find_issues(n_jobs=1, verbose=False)
    sets = [
        {file_name(path) for path in each}
        for kind in ("near", "exact")
        for each in lab.info[f"{kind}_duplicates"]["sets"]
    ]
    together = sum(any({a, b} <= each for each in sets) for a, b in pairs.itertuples(index=False))
    flagged = lab.issues[[name for name in lab.issues if name.startswith("is_")]].any(axis=1)
    hits = sum(file_name(path) in dropped for path in lab.issues.index[flagged])
    print(
        f"CleanVision: {together} of {len(pairs)} pairs are duplicates; {hits} of its {int(flagged.sum())} images were dropped"
    )


if __name__ == "__main__":
    main()
