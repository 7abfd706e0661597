"""What an evaluation leaves: runs.csv, curves.csv, timings.csv, summary.json, report.html and its pictures.

All but timings.csv depend on the numbers alone: the same evaluation gives the same bytes, however it was run.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.files import plain_errors, write_files
from autoannotate.evaluation import plots
from autoannotate.evaluation.baselines import baselines, described, trained
from autoannotate.evaluation.methods import ANSWERS, METHODS
from autoannotate.evaluation.metrics import HIGHER_IS_BETTER
from autoannotate.evaluation.protocols import find_protocol, protocols
from autoannotate.evaluation.runner import Evaluation
from autoannotate.evaluation.statistics import paired, summarise
from autoannotate.runs import tables

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

OURS = "ours"
NAMES = {
    "auroc": "AUROC",
    "auroc_of_doubt": "AUROC of doubt",
    "f1": "F1",
    "macro_f1": "macro F1",
    "ece": "calibration error (ECE)",
    "fixed": "wrong labels fixed",
    "broken": "right labels broken",
    "knn": "nearest neighbours",
    "probe_1": "probe, 1 label a class",
    "probe_5": "probe, 5 a class",
    "probe_10": "probe, 10 a class",
    "probe_50": "probe, 50 a class",
    "probe_all": "probe, all labels",
    "nmi": "NMI of groups",
    "ari": "ARI of groups",
    "label_errors": "wrong labels found",
    "noise": "found again under noise",
    "blur": "found again when blurred",
    "contrast": "found again in other contrast",
    "burnt_in_text": "found again with burnt-in text",
}
METHODS_IN_WORDS = {
    "given": "the labels as they came",
    "clip": "CLIP alone",
    **{name: described(name) for name in baselines()},
    **{f"{name}-student": f"{described(name)} (with the student's network)" for name in trained()},
    "cnn": "the student network alone, trained on the cleaned set",
    "ours": "autoannotate, the whole pipeline",
}
METHODS_IN_WORDS |= {
    f"{name}+{ANSWERS}": f"{METHODS_IN_WORDS[name]}, with {ANSWERS} answers" for name in (*baselines(), "ours")
}


def write_results(evaluation: Evaluation, out: Path) -> dict[str, Any]:
    """Write all files into `out`, all or none, and return the content of summary.json.

    Raises
    ------
    OutputError
        Where it cannot.
    """
    summary = summarised(evaluation)
    pictures = drawn(evaluation)
    files = {
        "runs.csv": tables.to_csv(runs_table(evaluation)),
        "timings.csv": tables.to_csv(timings_table(evaluation)),
        "summary.json": (json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        **pictures,
        "report.html": render(evaluation, summary, pictures).encode("utf-8", errors="replace"),
    }
    if find_protocol(evaluation.protocol).CURVE:
        files["curves.csv"] = tables.to_csv(curves_table(evaluation))
    with plain_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    write_files({out / name: content for name, content in files.items()})
    with plain_errors(out):
        for name in may_be_there() - files.keys():
            (out / name).unlink(missing_ok=True)
    return summary


def may_be_there() -> set[str]:
    """The names of the files that some evaluation writes and another does not."""
    metrics = {metric for name in protocols() for metric in find_protocol(name).HEADLINE}
    return {"curves.csv", "curves.png", *(f"{metric}_difference.png" for metric in metrics)}


def metric_names(evaluation: Evaluation) -> list[str]:
    """The metrics that any record has, those of the headline first."""
    found = dict.fromkeys(name for record in evaluation.records for name in record.metrics)
    headline = [name for name in find_protocol(evaluation.protocol).HEADLINE if name in found]
    return [*headline, *(name for name in found if name not in headline)]


def runs_table(evaluation: Evaluation) -> pd.DataFrame:
    """One row a run and method: run, seed, method, each metric (empty where it does not apply), failed (why, or empty)."""
    import pandas as pd

    names = metric_names(evaluation)
    rows = [
        [r.run, r.seed, r.method, *(_cell(r.metrics.get(name, math.nan)) for name in names), r.failed]
        for r in evaluation.records
    ]
    return pd.DataFrame(rows, columns=["run", "seed", "method", *names, "failed"], dtype=object)


def timings_table(evaluation: Evaluation) -> pd.DataFrame:
    """Seconds of each run and method; a method that comes first in a run also pays for making its problem."""
    import pandas as pd

    rows = [[r.run, r.method, f"{r.seconds:.2f}"] for r in evaluation.records]
    return pd.DataFrame(rows, columns=["run", "method", "seconds"], dtype=object)


def curves_table(evaluation: Evaluation) -> pd.DataFrame:
    """One row a point: run, seed, method, and the numbers of the point."""
    import pandas as pd

    names = list(dict.fromkeys(name for record in evaluation.records for point in record.curve for name in point))
    rows = [
        [r.run, r.seed, r.method, *(_cell(point.get(name, math.nan)) for name in names)]
        for r in evaluation.records
        for point in r.curve
    ]
    return pd.DataFrame(rows, columns=["run", "seed", "method", *names], dtype=object)


def _cell(value: float) -> float | str:
    return "" if math.isnan(value) else float(value)


def values_of(evaluation: Evaluation, method: str, metric: str) -> NDArray[np.float64]:
    """The metric in each run, (R,), NaN where the run failed or it does not apply."""
    return np.array([r.metrics.get(metric, math.nan) for r in evaluation.records if r.method == method])


def references(evaluation: Evaluation) -> list[str]:
    """The methods that others are compared with: the protocol's baseline, and ours."""
    baseline = find_protocol(evaluation.protocol).BASELINE
    return [name for name in dict.fromkeys((baseline, OURS)) if name in evaluation.methods]


def summarised(evaluation: Evaluation) -> dict[str, Any]:
    """The content of summary.json.

    methods: by method and metric mean, min, max, n (runs that have it), ci95. differences: by reference, method and metric,
    the method less the reference in the same run. failed: by method, how many runs. curves: by method, over the runs' x.
    """
    names = metric_names(evaluation)
    methods: dict[str, Any] = {}
    for method in evaluation.methods:
        found = {name: summarise(values_of(evaluation, method, name)) for name in names}
        methods[method] = {
            name: {"mean": s.mean, "min": s.min, "max": s.max, "n": s.n, "ci95": _interval(s.ci95)}
            for name, s in found.items()
            if s is not None
        }
    differences: dict[str, Any] = {}
    for reference in references(evaluation):
        differences[reference] = {
            method: _differences(evaluation, method, reference, names)
            for method in evaluation.methods
            if method != reference
        }
    failures = [r for r in evaluation.records if r.failed]
    settings = {name: value for name, value in evaluation.settings.items() if name != "protocol"}
    return {
        "protocol": evaluation.protocol,
        **settings,
        "baseline": find_protocol(evaluation.protocol).BASELINE,
        "methods": methods,
        "differences": differences,
        "failed": {method: sum(r.method == method for r in failures) for method in evaluation.methods},
        "failures": [{"run": r.run, "method": r.method, "why": r.failed} for r in failures],
        "curves": {m: _curve(evaluation, m) for m in evaluation.methods if curve_runs(evaluation, m)},
        "notes": list(evaluation.notes),
    }


def _differences(evaluation: Evaluation, method: str, reference: str, names: list[str]) -> dict[str, Any]:
    found = {}
    for name in names:
        own, other = (values_of(evaluation, m, name) for m in (method, reference))
        compared = paired(own, other, less_is_better=less_is_better(evaluation.protocol, name))
        if compared is not None:
            row = asdict(compared)
            found[name] = {
                "mean": row.pop("difference"), "ci95": _interval(row.pop("ci95")), "wilcoxon_p": row.pop("p"), **row
            }  # fmt: skip
    return found


def _interval(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else [float(bound) for bound in bounds]


def curve_runs(evaluation: Evaluation, method: str) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """x and y of the curve of each run that has one."""
    curve = find_protocol(evaluation.protocol).CURVE
    if curve is None:
        return []
    return [
        (np.array([p[curve.x] for p in r.curve]), np.array([p[curve.y] for p in r.curve]))
        for r in evaluation.records
        if r.method == method and r.curve
    ]


def _curve(evaluation: Evaluation, method: str) -> dict[str, Any]:
    curve = find_protocol(evaluation.protocol).CURVE
    assert curve is not None
    x, mean, least, most = plots.mean_curve(curve_runs(evaluation, method))
    return {curve.x: x.tolist(), curve.y: {"mean": mean.tolist(), "min": least.tolist(), "max": most.tolist()}}


def drawn(evaluation: Evaluation) -> dict[str, bytes]:
    """The PNG files by name: boxes of each headline metric, and the curve."""
    module = find_protocol(evaluation.protocol)
    pictures = {}
    for metric in module.HEADLINE:
        base = values_of(evaluation, module.BASELINE, metric)
        others = [method for method in evaluation.methods if method != module.BASELINE]
        differences = {m: values_of(evaluation, m, metric) - base for m in others} if len(base) else {}
        differences = {m: v for m, v in differences.items() if not np.isnan(v).all()}
        if differences:
            title = f"{capital(in_words(metric))}: difference to “{module.BASELINE}”"
            title += " (less is better)" * less_is_better(evaluation.protocol, metric)
            pictures[f"{metric}_difference.png"] = plots.difference_boxes(differences, title, module.BASELINE)
    runs = {method: curve_runs(evaluation, method) for method in evaluation.methods}
    runs = {method: curves for method, curves in runs.items() if curves}
    if module.CURVE and runs:
        x, y = module.CURVE.x_label or in_words(module.CURVE.x), module.CURVE.y_label or in_words(module.CURVE.y)
        pictures["curves.png"] = plots.curves(runs, f"{capital(y)} over {x}", x, y)
    return pictures


def in_words(metric: str) -> str:
    """A metric's name for people.

    >>> in_words("recall_at_5"), in_words("reviewed_to_99_labels"), in_words("macro_f1")
    ('recall at 5%', 'reviewed to 99% labels', 'macro F1')
    """
    return NAMES.get(metric) or re.sub(r" (at|to) (\d+)", r" \1 \2%", metric.replace("_", " "))


def capital(words: str) -> str:
    """With a capital first letter, the others as they are.

    >>> capital("macro F1")
    'Macro F1'
    """
    return words[:1].upper() + words[1:]


def render(evaluation: Evaluation, summary: dict[str, Any], pictures: dict[str, bytes]) -> str:
    """The page as text; it loads nothing from anywhere."""
    import jinja2

    from autoannotate._internal.wording import counted, listed

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "counted": counted,
        "listed": listed,
        "in_words": in_words,
        "points": points,
        "signed": signed,
    }
    template = resources.files("autoannotate.evaluation").joinpath("report.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(view(evaluation, summary, pictures))


def view(evaluation: Evaluation, summary: dict[str, Any], pictures: dict[str, bytes]) -> dict[str, Any]:
    """All that the page shows."""
    module = find_protocol(evaluation.protocol)
    names = [name for name in metric_names(evaluation) if best_of(summary, name) is not None]
    about = (module.__doc__ or "").strip()
    first, _, rest = about.partition("\n\n")
    return {
        **summary,
        "title": " ".join(first.split()).rstrip("."),
        "worse": {name: 1 if less_is_better(evaluation.protocol, name) else -1 for name in names},
        "about": [marked_up(" ".join(part.split())) for part in rest.split("\n\n") if part.strip()],
        "metrics": names,
        "headline": [name for name in module.HEADLINE if name in names],
        "others": [name for name in names if name not in module.HEADLINE],
        "table": method_rows(summary, names, module.BASELINE),
        "best": {name: best_of(summary, name) for name in names},
        "less": [name for name in names if less_is_better(evaluation.protocol, name)],
        "words": words_of(module),
        "story": story(evaluation, summary),
        "pictures": [(name, base64.b64encode(data).decode()) for name, data in pictures.items()],
        "few": next(
            (row[n]["note"] for rows in summary["differences"].values() for row in rows.values() for n in row), ""
        ),
        "facts": facts(evaluation),
        "missing": without_baseline(summary),
    }


def words_of(module: Any) -> dict[str, str]:
    """What each method of a protocol is, where that is known."""
    if hasattr(module, "words"):
        return module.words()
    return METHODS_IN_WORDS if set(module.methods()) <= set(METHODS) else {}


def without_baseline(summary: dict[str, Any]) -> str:
    """Why there are no differences to the baseline, where there are none; else ""."""
    baseline = summary["baseline"]
    if summary["methods"].get(baseline):
        return ""
    failed = summary["failed"].get(baseline, 0) >= summary["runs"]
    why = "failed in every run" if failed else "has no number of what is measured here"
    why = why if baseline in summary["methods"] else "is not among the methods"
    hint = "" if baseline in summary["methods"] else f": add {baseline} to --methods"
    return f"“{baseline}”, which the others are compared with, {why}, so there are no differences to it{hint}."


def method_rows(summary: dict[str, Any], names: list[str], baseline: str) -> list[dict[str, Any]]:
    """A row a method for the table: each metric's summary and its difference to the baseline, None where there is none."""
    against = summary["differences"].get(baseline, {})
    return [
        {
            "name": method,
            "failed": summary["failed"][method],
            "metrics": {name: metrics.get(name) for name in names},
            "differences": {name: against.get(method, {}).get(name) for name in names},
        }
        for method, metrics in summary["methods"].items()
    ]


def less_is_better(protocol: str, metric: str) -> bool:
    """Whether a smaller number is the better one: by the metric's own account, or by the protocol's LOWER.

    >>> less_is_better("noise", "ece"), less_is_better("noise", "accuracy")
    (True, False)
    """
    return metric in getattr(find_protocol(protocol), "LOWER", ()) or not HIGHER_IS_BETTER.get(metric, True)


def best_of(summary: dict[str, Any], metric: str) -> float | None:
    """The best mean of all methods, None where none has one."""
    means = [found[metric]["mean"] for found in summary["methods"].values() if metric in found]
    if not means:
        return None
    return min(means) if less_is_better(summary["protocol"], metric) else max(means)


def story(evaluation: Evaluation, summary: dict[str, Any]) -> str:
    """What came out, in a few sentences; where ours is behind, it says so."""
    module = find_protocol(evaluation.protocol)
    metric = next((name for name in module.HEADLINE if best_of(summary, name) is not None), module.HEADLINE[0])
    means = {m: found[metric] for m, found in summary["methods"].items() if metric in found}
    if not means:
        return "No run gave a number: see the failures below."
    parts = []
    against = getattr(module, "AGAINST", {})
    if against and metric == module.HEADLINE[0]:
        each = ", ".join(f"“{m}” {points(found['mean'])}% against “{against[m]}”" for m, found in means.items())
        parts.append(f"{capital(in_words(metric))} on average: {each}.")
        return " ".join([*parts, *failed_in_words(evaluation)])
    sign = -1 if less_is_better(evaluation.protocol, metric) else 1
    subject = OURS if OURS in means else max(means, key=lambda m: sign * means[m]["mean"])
    own = means[subject]
    if subject != OURS and summary["failed"].get(OURS):
        parts.append(f"“{OURS}” failed in every run: what follows is about “{subject}”.")
    parts.append(
        f"{capital(in_words(metric))} of “{subject}”: {points(own['mean'])}% on average over {own['n']} "
        f"run{'s' * (own['n'] != 1)}, {points(own['max' if sign < 0 else 'min'])}% in the worst."
    )
    difference = summary["differences"].get(module.BASELINE, {}).get(subject, {}).get(metric)
    if difference:
        interval = difference["ci95"]
        within = f" (95% interval {signed(interval[0])} to {signed(interval[1])})" if interval else ""
        parts.append(
            f"That is {signed(difference['mean'])} points against “{module.BASELINE}”{within}, "
            f"{'less is better, ' if sign < 0 else ''}p = {difference['wilcoxon_p']:.2g}."
        )
    rivals = {m: found["mean"] for m, found in means.items() if m not in (subject, module.BASELINE)}
    if rivals:
        best = max(rivals, key=lambda m: sign * rivals[m])
        gap = sign * (own["mean"] - rivals[best])
        size = points(abs(gap))
        verdict = f"{size} points {'better' if gap > 0 else 'worse'} than" if float(size) else "as good as"
        parts.append(f"It is {verdict} the best of the others, “{best}” ({points(rivals[best])}%).")
    return " ".join([*parts, *failed_in_words(evaluation)])


def failed_in_words(evaluation: Evaluation) -> list[str]:
    """How many runs failed, a sentence or none."""
    failed = sum(bool(record.failed) for record in evaluation.records)
    return [f"{failed} of {len(evaluation.records)} runs failed and count in no mean."] if failed else []


def facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What was measured, as name and value."""
    about = evaluation.settings
    images = ", ".join(f"{name} {count:,}" for name, count in about["images"].items())
    options = ", ".join(f"{name} {value}" for name, value in about["options"].items() if value not in (None, [], False))
    return [
        ("protocol", evaluation.protocol),
        ("data", about["data"]),
        ("images at hand", images),
        ("runs", f"{about['runs']}, with the seeds {about['seed']} to {about['seed'] + about['runs'] - 1}"),
        ("options", options),
        ("autoannotate", about["version"]),
        ("data (SHA-256)", about["data_sha256"]),
    ]


def marked_up(text: str) -> Markup:
    """A docstring's `names` and *words* as HTML.

    >>> print(marked_up("`a` < *b*"))
    <code>a</code> &lt; <em>b</em>
    """
    from markupsafe import Markup, escape

    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*(\w+)\*", r"<em>\1</em>", html))


def points(share: float) -> str:
    """A share in percent, to a tenth; to a hundredth near 100.

    >>> points(0.873), points(0.9957), points(1.0), points(-0.353)
    ('87.3', '99.57', '100.0', '−35.3')
    """
    value = 100 * share
    return (f"{value:.2f}" if 99 <= value < 99.995 else f"{value:.1f}").replace("-", "−")


def signed(share: float) -> str:
    """A difference in points, with its sign.

    >>> signed(0.137), signed(-0.004)
    ('+13.7', '−0.4')
    """
    return f"{100 * share:+.1f}".replace("-", "−")
