"""Rerun a protocol as its config file says, and write its table into its page here, between the two marks.

    python eval/evaluate/rerun.py noise --data EVAL_DIR --work WORK_DIR --jobs 2
    python eval/evaluate/rerun.py readers --data EVAL_DIR --noisy NOISY_DIR --work WORK_DIR

EVAL_DIR holds one folder a set, with labels.csv and images/. Everything goes to WORK_DIR/CONFIG/CELL first: a stopped rerun
goes on. With all cells done, the table in CONFIG.md is replaced; summaries, pictures and reports stay in WORK_DIR.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import readers
import yaml

from autoannotate.evaluation.report import best_of, less_is_better

HERE = Path(__file__).parent
FIRST, LAST = "<!-- table -->", "<!-- end of table -->"
MEANS = ("accuracy", "balanced_accuracy", "recall_at_errors")
SETTINGS = (
    "noise",
    "prompts",
    "pixels",
    "count",
    "seed",
    "student",
    "error",
    "max_error",
    "fast",
    "simclr_epochs",
    "foreign",
    "share",
)


def command(config: dict[str, Any], cell: dict[str, Any], options: argparse.Namespace, out: Path) -> list[str]:
    """`autoannotate evaluate …` for a cell."""
    sources = [with_folder(source, options.data) for source in cell.get("data", ())]
    if name := cell.get("readers"):
        table = options.work / "readers" / name / "labels.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        readers.TABLES[name](options.data, options.noisy).to_csv(table, index=False)
        sources.append(str(table))
    runs = options.runs or cell.get("runs", config["runs"])
    words = ["evaluate", config["protocol"], "--out", str(out), "--runs", str(runs), "--jobs", str(options.jobs)]
    words += ["--methods", options.methods or ",".join(config["methods"])]
    for source in sources:
        words += ["--data", source]
    for name in SETTINGS:
        value = cell.get(name, config.get(name))
        if value is not None and value is not False:  # 0 is a value
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return [sys.executable, "-m", "autoannotate", *words]


def with_folder(source: str, data: Path) -> str:
    """NAME=SET or SET, as NAME=PATH or PATH."""
    name, equals, folder = source.rpartition("=")
    return f"{name}{equals}{data / folder}"


def table(config: dict[str, Any], summaries: dict[str, dict[str, Any]], commit: str) -> str:
    """A Markdown table for each of the config's metrics, or one of accuracy with the means of `MEANS` below: a row a cell, a
    column a method, the best in bold."""
    lines = [
        f"Measured at commit {commit}. Means over runs in percent with 95% bootstrap intervals; after the semicolon the worst "
        "run; the best mean in bold.",
        "",
    ]
    for metric in config.get("metrics", ("accuracy",)):
        methods = of_metric(summaries, metric)
        if not methods:
            continue
        reach = {cell["name"]: cell["reach"] for cell in config["cells"] if metric == "accuracy" and "reach" in cell}
        heads = ["cell", "runs", *methods, *(["reach"] if reach else [])]
        lines += [f"### {metric.replace('_', ' ')}", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        for name, summary in summaries.items():
            found = {m: summary["methods"][m].get(metric) for m in methods}
            best = best_of(summary, metric)
            worst = "max" if less_is_better(summary["protocol"], metric) else "min"
            cells = [shown(f, best, worst, summary["failed"][m]) for m, f in found.items()]
            cells += [f"{100 * reach[name]:.1f}" if name in reach else ""] if reach else []
            lines.append(f"| {name} | {summary['runs']} | {' | '.join(cells)} |")
        for each in () if "metrics" in config else MEANS:
            if measured := of_metric(summaries, each):
                cells = [mean_over(summaries, m, each) if m in measured else "–" for m in methods] + [""] * bool(reach)
                lines.append(f"| mean {each.replace('_', ' ')} | | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def of_metric(summaries: dict[str, dict[str, Any]], metric: str) -> list[str]:
    """The methods that have it in a cell."""
    every = next(iter(summaries.values()))["methods"]
    return [m for m in every if any(metric in s["methods"][m] for s in summaries.values())]


def mean_over(summaries: dict[str, dict[str, Any]], method: str, metric: str) -> str:
    """Over the cells that have it, of which some may have been measured by other methods only."""
    found = [s["methods"][method][metric]["mean"] for s in summaries.values() if metric in s["methods"][method]]
    return f"{100 * sum(found) / len(found):.1f}"


def shown(found: dict[str, Any] | None, best: float | None, worst: str, failed: int) -> str:
    if found is None:
        return f"failed ({failed})" if failed else "–"
    mean, extreme = (f"{100 * found[name]:.1f}" for name in ("mean", worst))
    text = f"**{mean}**" if best is not None and mean == f"{100 * best:.1f}" else mean
    if found["n"] > 1:
        low, high = (f"{100 * end:.1f}" for end in found["ci95"])
        text += f" [{low}, {high}; {extreme}]"
    return text + (f", {failed} failed" if failed else "")


def with_table(page: str, table: str) -> str:
    """The page with the table between its marks."""
    before, _, rest = page.partition(FIRST)
    return f"{before}{FIRST}\n{table}{LAST}{rest.partition(LAST)[2]}"


def commit() -> str:
    """The commit that is measured."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True).stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", choices=sorted(file.stem for file in HERE.glob("*.yaml")))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--noisy", type=Path, help="the folder with busi_contradictions.csv and brixia_two_readers/")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--runs", type=int, help="instead of the config's")
    parser.add_argument("--methods", help="instead of the config's, as in given,knn")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="these cells")
    parser.add_argument("--pages", type=Path, default=HERE, help="the folder of the pages")
    options = parser.parse_args()

    config = yaml.safe_load((HERE / f"{options.config}.yaml").read_text()) | {"name": options.config}
    cells = [cell for cell in config["cells"] if not options.only or cell["name"] in options.only]
    if unknown := set(options.only or ()) - {cell["name"] for cell in cells}:
        parser.error(
            f"{options.config} has no cell {sorted(unknown)[0]}: {', '.join(c['name'] for c in config['cells'])}"
        )
    if any("readers" in cell for cell in cells) and options.noisy is None:
        parser.error("--noisy is needed for the tables of real readers")
    summaries, measured = {}, commit()
    for cell in cells:
        out = options.work / options.config / cell["name"]
        print(f"== {cell['name']}", flush=True)
        subprocess.run(command(config, cell, options, out), check=True)
        summaries[cell["name"]] = json.loads((out / "summary.json").read_text())
    if options.only:
        return
    page = options.pages / f"{options.config}.md"
    page.write_text(with_table(page.read_text(), table(config, summaries, measured)))


if __name__ == "__main__":
    main()
