"""Several findings an image, measured: AUROC after 0 to 100 answers a finding, and wrong values found among given ones.

    python eval/findings/measure.py scores --data ../shared/data/more --out FOLDER   # 20 minutes; goes on where it stopped
    python eval/findings/measure.py rules --data ../shared/data/more --out FOLDER    # 5 minutes
    python eval/findings/measure.py table --data ../shared/data/more --out FOLDER    # the tables of left_out.md

Scores of every cell are kept, so that the tables, with intervals by a bootstrap over patients, take a minute.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from autoannotate import FindingsAnnotator
from autoannotate.images import find_images
from autoannotate.labelling.features import Features
from autoannotate.labelling.findings import label_findings
from autoannotate.labelling.rules import Rules
from autoannotate.labelling.task import Task

SETS = {
    "nih_multilabel": ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
                       "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax"],
    "fundus_odir": ["normal", "diabetic_retinopathy", "glaucoma", "cataract", "amd", "hypertension", "pathological_myopia"],
    "derm_ph2": ["pigment_network_atypical", "streaks", "regression_areas", "blue_whitish_veil", "dots_globules_atypical"],
}  # fmt: skip
ANSWERS, NOISE, SEEDS = (10, 40, 100), (0.1, 0.2, 0.4), (0, 1)
FEWEST = 10  # images with a finding, and without it, that are left to judge by
DRAWS = 1000


class Data:
    """A set: truth (N, F), patients (N,), features (N, D) and zero-shot of each finding."""

    def __init__(self, folder: Path, name: str, cache: Path | bool, more: list[str] | None = None) -> None:
        with (folder / name / "labels.csv").open(newline="", encoding="utf-8") as stream:
            rows = {row["path"].removeprefix("images/"): row for row in csv.DictReader(stream)}
        findings = [*SETS[name], *(more or [])]
        annotator = FindingsAnnotator([f.replace("_", " ") for f in findings], cache=cache)
        refs = [ref for ref in find_images(folder / name / "images") if ref.path in rows]
        encoded = annotator.encode(refs)
        here = [rows[ref.path] for ref in encoded.refs]
        self.name, self.findings = name, findings
        self.truth = np.array([[_value(row, finding) for finding in self.findings] for row in here])
        self.patients = np.unique([row["patient"] for row in here], return_inverse=True)[1].astype(np.int64)
        self.features = Features(encoded.features)
        self.clips = annotator.zero_shot_findings(encoded.embeddings)

    def task(self, f: int, **known: object) -> Task:
        clip = self.clips[f]
        return Task(
            self.features, clip.probabilities, [f"no {self.findings[f]}", self.findings[f]], trust=clip.reliability.trust,
            meaningful=clip.reliability.meaningful, **known,  # type: ignore[arg-type]
        )  # fmt: skip


def _value(row: dict[str, str], finding: str) -> int:
    return int(row[finding]) if finding in row else int(finding in row["labels"].split("|"))


def answered(truth: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Half of the answers to images with the finding and half to images without, (N,), -1 where there is none; what is left of
    either stays at least `FEWEST`."""
    rng, answers = np.random.default_rng([seed, count]), np.full(len(truth), -1)
    for value in (0, 1):
        rows = rng.permutation(np.flatnonzero(truth == value))
        answers[rows[: max(0, min(count // 2, len(rows) - FEWEST))]] = value
    return answers


def probe(data: Data, answers: np.ndarray) -> np.ndarray:
    """A logistic probe on the answered images, with the same features."""
    from sklearn.linear_model import LogisticRegression

    rows = np.flatnonzero(answers >= 0)
    points = data.features.standardised
    model = LogisticRegression(C=0.1, max_iter=500, class_weight="balanced").fit(points[rows], answers[rows])
    return np.asarray(model.predict_proba(points)[:, 1])


def noisy(truth: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Given values in which a share of the images with the finding are said to be without it, as reports leave findings out."""
    rng, given = np.random.default_rng([seed, round(100 * rate)]), truth.copy()
    rows = np.flatnonzero(truth == 1)
    given[rng.permutation(rows)[: max(1, round(rate * len(rows)))]] = 0
    return given


def out_of_sample(data: Data, given: np.ndarray) -> np.ndarray:
    """What cleanlab is given: a logistic probe by 5-fold cross-validation that keeps patients together."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict

    model, points = LogisticRegression(C=0.01, max_iter=500), data.features.standardised
    made = cross_val_predict(model, points, given, groups=data.patients, cv=GroupKFold(5), method="predict_proba")
    return np.asarray(made[:, 1])


def doubts(data: Data, f: int, given: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """How wrong each value looks, (N,), by method."""
    from cleanlab.internal.multilabel_scorer import ClassLabelScorer, MultilabelScorer

    made = label_findings([data.task(f, given=given, groups=data.patients, keep=True)])
    yield "ours", made.of_each[0].corrected.doubt
    others = out_of_sample(data, given)[:, None]
    scorer = MultilabelScorer(base_scorer=ClassLabelScorer.SELF_CONFIDENCE)
    yield "cleanlab", 1.0 - scorer.get_class_label_quality_scores(given[:, None], others)[:, 0]
    share = given[data.features.neighbours.index].mean(axis=1)
    yield "k-NN", np.abs(given - share)


def scores(data: Data, out: Path) -> None:
    """Keep the scores of every cell that is not kept yet."""
    for seed in SEEDS:
        for f, finding in enumerate(data.findings):
            truth = data.truth[:, f]
            if min((truth == 1).sum(), (truth == 0).sum()) < 2 * FEWEST:
                continue
            for count in ANSWERS:
                file = out / f"{data.name}-{finding}-answers{count}-{seed}.npz"
                if file.exists():
                    continue
                answers = answered(truth, count, seed)
                ours = label_findings([data.task(f, answers=answers)]).probability[:, 0]
                np.savez(file, ours=ours, probe=probe(data, answers), answers=answers)
            for rate in NOISE:
                file = out / f"{data.name}-{finding}-noise{round(100 * rate)}-{seed}.npz"
                if not file.exists():
                    given = noisy(truth, rate, seed)
                    np.savez(file, given=given, **dict(doubts(data, f, given)))
            print(data.name, finding, seed, flush=True)


def area(score: np.ndarray, truth: np.ndarray) -> float:
    from scipy.stats import rankdata

    m, n = int((truth == 1).sum()), int((truth == 0).sum())
    return float((rankdata(score)[truth == 1].sum() - m * (m + 1) / 2) / (m * n)) if m and n else np.nan


def found(doubt: np.ndarray, wrong: np.ndarray) -> float:
    """Recall of the wrong values among as many as there are."""
    count = int(wrong.sum())
    return float(wrong[np.argsort(-doubt, kind="stable")[:count]].mean()) if count else np.nan


def interval(data: Data, cells: list[tuple[np.ndarray, np.ndarray]], measure, rng: np.random.Generator) -> str:  # type: ignore[no-untyped-def]
    """The mean over cells of a measure of (score, truth), each (N,) with NaN where it does not count, and its 95% interval by a
    bootstrap over patients."""

    def mean(weights: np.ndarray | None) -> float:
        values = []
        for score, truth in cells:
            rows = np.flatnonzero(~np.isnan(score))
            rows = rows if weights is None else np.repeat(rows, weights[data.patients[rows]])
            values.append(measure(score[rows], truth[rows]))
        return float(np.nanmean(values))

    count = data.patients.max() + 1
    drawn = [mean(np.bincount(rng.integers(0, count, count), minlength=count)) for _ in range(DRAWS // 5)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{100 * mean(None):.1f} ({100 * low:.1f} to {100 * high:.1f})"


def table(data: Data, out: Path) -> None:
    rng = np.random.default_rng(0)

    def cells(what: str, method: str) -> list[tuple[np.ndarray, np.ndarray]]:
        made = []
        for f, finding in enumerate(data.findings):
            for seed in SEEDS:
                file = out / f"{data.name}-{finding}-{what}-{seed}.npz"
                if file.exists():
                    with np.load(file) as kept:
                        if "answers" in kept:
                            score = data.clips[f].probabilities[:, 1] if method == "zero-shot" else kept[method]
                            made.append((np.where(kept["answers"] >= 0, np.nan, score), data.truth[:, f]))
                        else:
                            given = kept["given"]  # what is sought is a finding that was left out
                            doubt = np.where(given == 0, kept[method], np.nan)
                            made.append((doubt, (given != data.truth[:, f]).astype(int)))
        return made

    print(f"\n{data.name}: {len(data.truth):,} images of {data.patients.max() + 1:,} patients\n")
    print("| mean AUROC, % | zero-shot | probe | ours |\n|---|---|---|---|")
    for count in ANSWERS:
        row = [interval(data, cells(f"answers{count}", m), area, rng) for m in ("zero-shot", "probe", "ours")]
        print(f"| {count} answers a finding | {' | '.join(row)} |")
    print("\n| AUROC of the doubt, absent ones | k-NN | cleanlab multilabel | ours |\n|---|---|---|---|")
    for rate in NOISE:
        row = [interval(data, cells(f"noise{round(100 * rate)}", m), area, rng) for m in ("k-NN", "cleanlab", "ours")]
        print(f"| {rate:.0%} of positives left out | {' | '.join(row)} |")
    print(
        "\n| left out ones found among the absent at their number, % | k-NN | cleanlab multilabel | ours |\n|---|---|---|---|"
    )
    for rate in NOISE:
        row = [interval(data, cells(f"noise{round(100 * rate)}", m), found, rng) for m in ("k-NN", "cleanlab", "ours")]
        print(f"| {rate:.0%} of positives left out | {' | '.join(row)} |")


RULES = {"nih_multilabel": ["no finding excludes all"], "fundus_odir": ["normal excludes all"]}


def ruled(data: Data) -> None:
    """Mean AUROC of the probabilities, and rows that break a rule, without rules and with them; answers and noise as above."""
    names = [f.replace("_", " ") for f in data.findings]
    rules = Rules.read(RULES[data.name], names)
    print(
        f"\n{data.name}, {'; '.join(RULES[data.name])}: given values that break it: {int(rules.breaks(data.truth).sum())}\n"
    )
    print("| what is known | mean AUROC without, % | with rules, % | broken without | with |\n|---|---|---|---|---|")
    for what in (40, 100, 0.2, 0.4):
        areas, broken = np.zeros((2, len(SEEDS))), np.zeros((2, len(SEEDS)), dtype=int)
        for s, seed in enumerate(SEEDS):
            rng, answers = np.random.default_rng([seed, 7]), np.full(data.truth.shape, -1)
            if what >= 1:  # images answered whole
                rows = rng.permutation(len(answers))[: int(what)]
                answers[rows] = data.truth[rows]
                known = [{"answers": answers[:, f]} for f in range(len(names))]
            else:
                known = [{"given": noisy(data.truth[:, f], what, seed)} for f in range(len(names))]
            made = label_findings([data.task(f, **known[f]) for f in range(len(names))])
            probability, values = rules.project(made.probability, answers >= 0)
            rest = (answers < 0).all(axis=1)
            for i, each in enumerate((made.probability, probability)):
                areas[i, s] = np.nanmean([area(each[rest, f], data.truth[rest, f]) for f in range(len(names))])
            broken[:, s] = rules.breaks((made.probability >= 0.5).astype(int)).sum(), rules.breaks(values).sum()
        told = f"{what} images answered" if what >= 1 else f"{what:.0%} of positives left out"
        print(f"| {told} | {100 * areas[0].mean():.2f} | {100 * areas[1].mean():.2f} | {broken[0].mean():.1f} | "
              f"{broken[1].mean():.1f} |", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["scores", "table", "rules"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=sorted(SETS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in SETS if given.only is None else [given.only]:
        if given.what == "rules":
            if name in RULES:
                ruled(Data(given.data, name, True, ["no_finding"] if name == "nih_multilabel" else []))
            continue
        data = Data(given.data, name, True)
        (scores if given.what == "scores" else table)(data, given.out)


if __name__ == "__main__":
    main()
