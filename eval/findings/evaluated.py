"""`autoannotate evaluate findings` on the sets with several findings an image; prints tables of answers.md and left_out.md.

python eval/findings/evaluated.py run --data MORE_DIR --out WORK_DIR    # goes on where it stopped; an hour on two cores
python eval/findings/evaluated.py table --out WORK_DIR                  # what these pages show, of the cells that are there
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from measure import SETS

ANSWERS, OMITTED = ("0", "10", "40", "100"), ("0.1", "0.2", "0.4")
CELLS = [("answers", value) for value in ANSWERS] + [("omitted", value) for value in OMITTED]
METRICS = {
    "auroc": "mean AUROC", "average_precision": "mean average precision", "f1": "mean F1 at the chosen threshold",
    "recall_of_wrong": "values left out found at their number", "auroc_of_doubt": "AUROC of the doubt, absent ones",
}  # fmt: skip
OF_DOUBT = ("recall_of_wrong", "auroc_of_doubt")
METHODS = ("given", "clip", "probe", "cleanlab", "knn", "ours")


def run(data: Path, out: Path, runs: int) -> None:
    """Measure the cells that are not there yet."""
    for name, findings in SETS.items():
        for kind, value in CELLS:
            place = out / f"{name}-{kind}-{value}"
            asked = ["evaluate", "findings", "--data", data / name, "--findings", ",".join(findings), "--runs", runs,
                     f"--{kind}", value, "--out", place]  # fmt: skip
            subprocess.run([sys.executable, "-m", "autoannotate", *map(str, asked)], check=True)


def cells(out: Path, name: str, kind: str, metric: str) -> list[str]:
    """The rows of a table: a value of answers or omitted values, and each method's mean over runs with its interval."""
    rows = []
    for value in ANSWERS if kind == "answers" else OMITTED:
        file = out / f"{name}-{kind}-{value}" / "runs.csv"
        if not file.exists():
            continue
        with file.open(newline="", encoding="utf-8") as stream:
            made = list(csv.DictReader(stream))
        found = [told(made, method, metric) for method in shown(kind, metric)]
        words = f"{value} answers" if kind == "answers" else f"{float(value):.0%} left out"
        rows.append(f"| {words} | {' | '.join(found)} |")
    return rows


def shown(kind: str, metric: str) -> list[str]:
    """The methods of which a metric says something."""
    if metric in OF_DOUBT:
        return ["cleanlab", "knn", "ours"]
    return [
        m
        for m in METHODS
        if m != ("given" if kind == "answers" else "") and not (kind == "answers" and m == "cleanlab")
    ]


def told(rows: list[dict[str, str]], method: str, metric: str) -> str:
    mine = [row for row in rows if row["method"] == method and row.get(metric)]
    if not mine:
        return "–"
    means = [
        sum(float(row[column]) for row in mine) / len(mine) for column in (metric, f"{metric}_low", f"{metric}_high")
    ]
    return "{:.1f} ({:.1f} to {:.1f})".format(*(100 * value for value in means))


def table(out: Path) -> None:
    """Print the tables, with the commit of the code."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    print(f"Measured by `evaluate findings` at commit {commit}.")
    for name in SETS:
        for kind, title in (("answers", "after few answers"), ("omitted", "values left out")):
            for metric, words in METRICS.items():
                if (kind == "answers" and metric in OF_DOUBT) or not (rows := cells(out, name, kind, metric)):
                    continue
                methods = shown(kind, metric)
                print(f"\n{name}, {title}\n\n| {words}, % | {' | '.join(methods)} |\n|---|{'---|' * len(methods)}")
                print("\n".join(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    if given.what == "table":
        table(given.out)
        return
    if given.data is None:
        parser.error("run needs --data")
    run(given.data, given.out, given.runs)


if __name__ == "__main__":
    main()
