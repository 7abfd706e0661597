"""Are known truths found? Associations and shortcut risk on sets whose covariates are known.

python eval/explore/covariates.py --data DATA_DIR --work WORK_DIR [SET …]

For each set: an audit of its labels, then `autoannotate explore` with its covariates; prints both tables as Markdown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd


def skin(data: Path) -> tuple[Path, pd.DataFrame]:
    """HAM10000: age, sex, site of the lesion, how it was diagnosed."""
    table = pd.read_csv(data / "more/covariates/skin_ham10000.csv")
    return data / "eval/skin_ham10000", table


def oasis(data: Path) -> tuple[Path, pd.DataFrame]:
    """OASIS: age, sex, brain volume, dementia."""
    folder = data / "more/brain_oasis"
    return folder, pd.read_csv(folder / "labels.csv")


def chest(data: Path) -> tuple[Path, pd.DataFrame]:
    """NIH: radiologists' lung opacity (RSNA 2018, which stands for pneumonia) against none; view, sex, age."""
    folder = data / "more/nih_multilabel"
    table = pd.read_csv(folder / "labels.csv").dropna(subset=["rsna_class"])
    names = {
        "Lung Opacity": "lung opacity",
        "Normal": "no lung opacity",
        "No Lung Opacity / Not Normal": "no lung opacity",
    }
    return folder, table.assign(label=table["rsna_class"].map(names))[
        ["path", "label", "patient", "age", "sex", "view"]
    ]


def covid(data: Path) -> tuple[Path, pd.DataFrame]:
    """COVID radiographs: COVID-19 against other findings; view, sex, age, intensive care."""
    table = pd.read_csv(data / "more/covariates/covid_chestxray.csv")
    table = table[(table["modality"] == "X-ray") & table["path"].str.contains("covid_chestxray/")].dropna(
        subset=["finding"]
    )
    label = table["finding"].str.contains("COVID").map({True: "COVID-19", False: "other"})
    kept = table.assign(label=label)[["path", "label", "patient", "age", "sex", "view", "in_icu", "survival"]]
    return data, kept


SETS: dict[str, Callable[[Path], tuple[Path, pd.DataFrame]]] = {
    "skin": skin, "oasis": oasis, "chest": chest, "covid": covid
}  # fmt: skip


def measure(name: str, data: Path, work: Path) -> None:
    """One set, its tables printed."""
    folder, table = SETS[name](data)
    work = work / name
    work.mkdir(parents=True, exist_ok=True)
    images = work / "images"
    for path in table["path"]:  # only the images that have a label
        link = images / Path(path).name
        link.parent.mkdir(exist_ok=True)
        if not link.exists():
            link.symlink_to((folder / path).resolve())
    table = table.assign(path=[Path(path).name for path in table["path"]])
    table[["path", "label"]].to_csv(work / "given.csv", index=False)
    table.drop(columns="label").rename(columns={"lesion_id": "patient"}).to_csv(work / "covariates.csv", index=False)
    run = work / "run"
    program = [sys.executable, "-m", "autoannotate"]
    if not (run / "run.json").is_file():
        command = [
            "audit",
            str(images),
            "--labels",
            str(work / "given.csv"),
            "--out",
            str(run),
            "--student",
            "none",
            "--fast",
        ]
        subprocess.run([*program, *command], check=True, stdout=subprocess.DEVNULL)
    command = ["explore", str(run), "--metadata", str(work / "covariates.csv"), "--group", "patient", "--no-page"]
    subprocess.run([*program, *command], check=True, stdout=subprocess.DEVNULL)
    found = pd.read_csv(run / "explore/associations.csv").query("of == 'images'")
    print(
        f"\n## {name}: {len(table):,} images\n\n| column | statistic | value | 95% | q | n |\n|---|---|---:|---:|---:|---:|"
    )
    for row in found.itertuples():
        print(
            f"| {row.column} | {row.statistic} | {row.effect:.2f} | {row.low:.2f} to {row.high:.2f} | {row.q:.3f} | {row.n} |"
        )
    risks = pd.read_csv(run / "explore/shortcuts.csv")
    print("\n| class | column | by the column | 95% | by the images | where the column is the same | risk |")
    print("|---|---|---:|---:|---:|---:|---|")
    for row in risks.sort_values("column_auroc", ascending=False).head(14).itertuples():
        print(
            f"| {row.level} | {row.column} | {row.column_auroc:.2f} | {row.low:.2f} to {row.high:.2f} "
            f"| {row.images_auroc:.2f} | {row.within_auroc:.2f} | {row.risk if isinstance(row.risk, str) else ''} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    asked = parser.parse_args()
    for one in asked.sets:
        measure(one, asked.data, asked.work)
