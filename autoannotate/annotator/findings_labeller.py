"""A labeller of several findings an image: one of `annotator.labeller` a finding, in one folder, and the rules between them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoannotate._internal.files import write_files
from autoannotate._internal.progress import Track, silent
from autoannotate._internal.version import __version__
from autoannotate.annotator.annotator import Annotator
from autoannotate.annotator.labeller import ABOUT, CARD, FORMAT, Labeller, learn_from
from autoannotate.answers.certification.of_findings import absent, of_finding
from autoannotate.errors import InputError
from autoannotate.images import ImageRef
from autoannotate.labelling.rules import Rules
from autoannotate.labelling.zero_shot.vocabulary import key
from autoannotate.runs import tables
from autoannotate.runs.build_findings import joined
from autoannotate.runs.run import FINDINGS, Run

SUSPECT_BELOW = 0.5  # as for single labels: an image that is unlike those learned from is this doubtful at least


@dataclass(frozen=True, eq=False)
class FindingsLabeller:
    """What tells several findings in new images as a run did in its own.

    Attributes
    ----------
    of_each : by finding, in the run's order
    about : classes, rules, digest of the values; `without` says why a finding of the run was not learned
    """

    of_each: Mapping[str, Labeller]
    about: Mapping[str, Any]

    @property
    def findings(self) -> list[str]:
        """The F findings, in their order."""
        return list(self.of_each)

    @property
    def rules(self) -> Rules:
        """Those between findings that were learned."""
        known = []
        for text in self.about["rules"]:
            try:
                known += list(Rules.read([text], self.findings, key).rules)
            except InputError:  # it names a finding that was not learned
                continue
        return Rules(tuple(self.findings), tuple(known))

    def annotator(self, device: str = "auto", cache: Path | bool = True) -> Annotator:
        """What encodes images for this labeller, see `Labeller.annotator`."""
        return next(iter(self.of_each.values())).annotator(device, cache)

    def predict(
        self, paths: Sequence[str], features: NDArray[np.floating], embeddings: NDArray[np.floating], scale: float
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The rows of labels.csv, then novelty, unlike_training and in_training; and the rows of findings.csv.

        Hard rules hold in both.

        Parameters
        ----------
        features : (N, F)
        embeddings : (N, D)
        scale : the encoder's `logit_scale`
        """
        told = {name: each.predict(features, embeddings, scale)[0] for name, each in self.of_each.items()}
        names = self.findings
        present = np.stack([(told[name]["label"] == name).to_numpy() for name in names], axis=1)
        sure = np.stack([told[name]["confidence"].to_numpy() for name in names], axis=1)
        clip = np.stack(
            [
                np.where(told[name]["clip_label"] == name, c := told[name]["clip_confidence"].to_numpy(), 1 - c)
                for name in names
            ],
            axis=1,
        )
        known = np.stack([told[name]["in_training"].to_numpy(dtype=bool) for name in names], axis=1)
        probability, values = np.where(present, sure, 1 - sure), present.astype(np.int64)
        if self.rules.hard:
            probability, values = self.rules.project(probability, known)
        first = told[names[0]]
        unlike = np.max([each["unlike_training"].to_numpy() for each in told.values()], axis=0)
        confidence = np.where(values == 1, probability, 1 - probability)
        score = np.clip(np.maximum(1 - confidence, np.where(unlike, SUSPECT_BELOW, 0.0)[:, None]), 0.0, 1.0)
        doubtful = (unlike[:, None] > 0) | (confidence < SUSPECT_BELOW)
        table = pd.DataFrame(
            {
                "path": list(paths), "label": [joined(names, row == 1) for row in values], "confidence": confidence.min(axis=1),
                "source": "student", "suspect": doubtful.any(axis=1).astype(int), "suspect_score": score.max(axis=1),
                "clip_label": [joined(names, row > 0.5) for row in clip],
                "clip_confidence": np.maximum(clip, 1 - clip).min(axis=1), "novelty": first["novelty"].to_numpy(),
                "unlike_training": unlike, "in_training": known.all(axis=1).astype(int),
            }
        )  # fmt: skip
        row, f = np.divmod(np.arange(values.size), len(names))
        findings = pd.DataFrame(
            {
                "path": np.array(paths, dtype=object)[row], "finding": np.array(names, dtype=object)[f],
                "value": values.ravel(), "probability": probability.ravel(), "source": "student",
                "suspect": doubtful.ravel().astype(int), "suspect_score": score.ravel(), "clip_probability": clip.ravel(),
            },
            columns=list(FINDINGS),
        )  # fmt: skip
        return table, findings

    def save(self, folder: Path) -> None:
        """Write a folder a finding, `labeller.json` and `CARD.md`.

        Raises
        ------
        OutputError
            Where that cannot be.
        """
        folders = {}
        for number, (name, each) in enumerate(self.of_each.items(), start=1):
            folders[name] = f"finding-{number:02}"
            each.save(folder / folders[name])
        about = {**self.about, "findings": folders}
        write_files(
            {
                folder / CARD: self.card().encode(),
                folder / ABOUT: (json.dumps(about, indent=2) + "\n").encode(),
            }
        )

    @classmethod
    def load(cls, folder: Path) -> FindingsLabeller:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            Where it is broken.
        """
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            return cls(
                {str(name): Labeller.load(folder / str(part)) for name, part in about["findings"].items()}, about
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"The labeller in {folder} is broken ({type(error).__name__}): make it again from its run."
            ) from None

    def card(self) -> str:
        """The card, as Markdown: what it learned of each finding, and how good it is."""
        lines = ["# A labeller of findings made by autoannotate", "", f"Findings: {', '.join(self.findings)}.", ""]
        lines += [
            "| finding | images with | without | by clinicians | recall of those with | without |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for name, each in self.of_each.items():
            about, held = each.about, each.about["held_out"]["labels of the run"]["per_class"]
            recalls = [f"{100 * held[label]['recall']:.1f}%" if label in held else "" for label in (name, absent(name))]
            counts = [f"{about['per_class'][label]:,}" for label in (name, absent(name))]
            lines.append(f"| {name} | {' | '.join(counts)} | {about['clinician']:,} | {' | '.join(recalls)} |")
        lines += ["", "Recalls are agreement with values that were kept aside, near duplicates kept together.", ""]
        lines += [f"Not learned: {name}, {why}." for name, why in self.about["without"].items()]
        guesses = [name for name, each in self.of_each.items() if not each.about["meaningful"]]
        lines += [f"**Close to guesses in the run, and so here: {', '.join(guesses)}.**"] if guesses else []
        lines += [f"Rules that hold: {'; '.join(self.about['rules'])}."] if self.about["rules"] else []
        return "\n".join([*lines, "", "For research use.", ""])


def findings_digest(run: Run) -> str:
    """What changes when the values of a run of findings do."""
    assert run.findings is not None
    return hashlib.sha256(tables.to_csv(run.findings[["path", "finding", "value", "source"]])).hexdigest()[:16]


def learn_findings(run: Run, refs: Sequence[ImageRef], annotator: Annotator, track: Track = silent) -> FindingsLabeller:
    """Make a labeller of the values of a run, finding by finding, see `labeller.learn`; undecided ones are left out.

    Raises
    ------
    InputError
        Where no finding has images with it and without it.
    """
    encoded = annotator.encode(refs, track)
    made: dict[str, Labeller] = {}
    without: dict[str, str] = {}
    for name in run.record.classes:
        view, about = of_finding(run, name), run.record.findings[name]
        if view.table["label"].isin([name, absent(name)]).sum() == 0:
            without[name] = "undecided in every image"
        elif view.table["label"].nunique() < 2:
            without[name] = "the same in every image"
        else:
            view.run["reliability"] = {"meaningful": bool(about["meaningful"]) or about["answered"] > 0}
            made[name] = learn_from(view, encoded, annotator)
    if not made:
        why = "; ".join(f"{name}: {reason}" for name, reason in without.items())
        raise InputError(
            f"A labeller needs images with a finding and without it ({why}): answer some, or state --prior."
        )
    about = {
        "format": FORMAT, "version": __version__, "labels": findings_digest(run), "rules": list(run.record.rules),
        "without": without, "item": run.record.arguments.get("item"),
    }  # fmt: skip
    return FindingsLabeller(made, about)
