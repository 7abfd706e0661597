"""The annotator of several findings an image: the same stages as `annotator.Annotator`, once a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate._internal.progress import Clock, Track, silent
from autoannotate.annotator.annotations import Annotations
from autoannotate.annotator.annotator import Annotator
from autoannotate.errors import UsageError
from autoannotate.images import find_images
from autoannotate.runs.run import Run, check_findings

if TYPE_CHECKING:
    from autoannotate.answers.known import Known
    from autoannotate.labelling.findings import LabelledFindings
    from autoannotate.labelling.task import Task
    from autoannotate.labelling.zero_shot.label_images import ZeroShot
    from autoannotate.models.encoding import Encoded


class FindingsAnnotator(Annotator):
    """Labels a set of images with findings, of which an image can show none, one or several.

    Parameters
    ----------
    findings : sequence of str
        One or more.
    prior : mapping, optional
        How common each finding is, as a share of the images, of those where that is known.
    rules : path or sequence of str, optional
        Rules between findings, see `labelling.rules`: a file, or the rules themselves.
    more : as for `Annotator`

    Examples
    --------
    >>> annotator = FindingsAnnotator(["effusion", "pneumonia"])                      # doctest: +SKIP
    >>> annotator.label("scans/").findings                                            # doctest: +SKIP
    """

    def __init__(
        self,
        findings: Sequence[str],
        model: str = "embedded",
        *,
        prior: Mapping[str, float] | None = None,
        rules: Path | str | Sequence[str] | None = None,
        **more: Any,
    ) -> None:
        from autoannotate.runs.rules_file import read_rules

        super().__init__(findings, model, **more)
        self.rules = read_rules(rules, self.classes, self.prompts)
        self.priors = dict(prior or {})
        if unknown := [name for name in self.priors if name not in self.classes]:
            raise UsageError(
                f"The prior names {unknown[0]!r}, which is none of the findings {', '.join(self.classes)}."
            )
        if wrong := [name for name, share in self.priors.items() if not 0 < share < 1]:
            raise UsageError(f"The prior of {wrong[0]} must lie between 0 and 1.")

    @staticmethod
    def _check(names: Sequence[str]) -> list[str]:
        return check_findings(names)

    @classmethod
    def from_run(cls, run: Run, **changes: Any) -> FindingsAnnotator:
        """The annotator that made a run, see `Annotator.from_run`."""
        rules = list(run.record.rules) or None
        made = super().from_run(run, **{"rules": rules, **changes})
        assert isinstance(made, FindingsAnnotator)
        return made

    def label(
        self, images: str | Path | Sequence[str | Path] | None = None, track: Track = silent, **known: Any
    ) -> Annotations:
        """Look for the findings in every image, see `Annotator.label`. Raises `UsageError` for trusted labels."""
        if known.get("trusted") is not None:
            raise UsageError("--trusted is of single labels: findings that are right come in as answers, with apply.")
        return super().label(images, track, **known)

    def zero_shot_findings(self, embeddings: np.ndarray) -> list[ZeroShot]:
        """What CLIP says of each finding on images with these embeddings, (N, D), and how much that is worth."""
        from autoannotate.labelling.zero_shot.label_images import zero_shot_findings

        return zero_shot_findings(
            embeddings, self.classes, self.encoder.encode_texts, self.encoder.logit_scale, prompts=self.prompts,
            modality=self.modality, seed=self.seed,
        )  # fmt: skip

    def tasks(self, encoded: Encoded, clips: Sequence[ZeroShot], **known: Any) -> list[Task]:
        """A task for each finding, over the same features.

        Parameters
        ----------
        known : given, answers, unsure: (N, F) arrays; excluded, groups: (N,) arrays; keep
        """
        from autoannotate.labelling.features import Features
        from autoannotate.labelling.task import Task

        features, names = Features(encoded.features), [ref.path for ref in encoded.refs]
        made = []
        for f, (name, clip) in enumerate(zip(self.classes, clips, strict=True)):
            share = self.priors.get(name)
            of_finding = {what: value[:, f] if np.ndim(value) == 2 else value for what, value in known.items()}
            made.append(
                Task(
                    features, clip.probabilities, [f"no {name}", name], trust=clip.reliability.trust,
                    meaningful=clip.reliability.meaningful, prior=None if share is None else np.array([1 - share, share]),
                    image_names=names, seed=self.seed, **of_finding,
                )
            )  # fmt: skip
        return made

    def _label_embeddings(self, clock: Clock, track: Track) -> Annotations:
        with clock("load the encoder"):
            _ = self.encoder
        return Annotations.of(self._labels_of(None, self._embeddings_of_file(), clock, track))

    def _labels_of(
        self, images: str | Path | None, encoded: Encoded, clock: Clock, track: Track, known: Known | None = None
    ) -> Run:
        from autoannotate.labelling.findings import label_findings

        with clock("zero-shot"):
            clips = self.zero_shot_findings(encoded.embeddings)
        groups = (
            None if known is None else known.arguments([ref.path for ref in encoded.refs], self.classes).get("groups")
        )
        with clock("label"):
            labelled = label_findings(
                self.tasks(encoded, clips, groups=groups), rules=self.rules, fit_on=self.fit_on, track=track
            )
        return self._findings_run(images, encoded, clips, labelled, clock)

    def audit_findings(
        self,
        images: str | Path,
        labels: str | Path,
        *,
        blank: str = "ignore",
        uncertain: str = "ignore",
        groups: str | None = None,
        skip_problems: bool = False,
        track: Track = silent,
    ) -> Annotations:
        """Find what is wrong with findings that exist: a run whose values are the given ones, with its `issues`.

        Parameters
        ----------
        labels : a table, see `answers.given_findings.read_given_findings`
        blank, uncertain : what a blank and a -1 count as: ignore (unknown), zeros or ones
        groups, skip_problems : as for `Annotator.audit`

        Raises
        ------
        InputError
            Where the findings do not fit the images.
        """
        from autoannotate.annotator.audited import appearance, cells_of, with_problems
        from autoannotate.answers.given_findings import read_given_findings
        from autoannotate.answers.given_labels import GivenLabels
        from autoannotate.answers.groups import look_grouped, read_groups
        from autoannotate.labelling.findings import label_findings
        from autoannotate.labelling.zero_shot.image_kinds import none_of_these
        from autoannotate.runs.build_findings import overall
        from autoannotate.runs.findings_issues import findings_audit, told_apart

        clock = Clock()
        with clock("find images"):
            found = find_images(images)
            given = read_given_findings(
                labels, found, self.classes, blank=blank, uncertain=uncertain, skip_problems=skip_problems
            )
            listed = GivenLabels(["listed" if there else "" for there in given.listed], columns=given.columns)
            ids = None if groups is None else read_groups(groups, found, listed, skip_problems)
        row_of = {ref.path: i for i, ref in enumerate(found)}
        with clock("load the encoder"):
            _ = self.encoder
        with clock("encode images"):
            encoded = self.encode([ref for ref in found if given.listed[row_of[ref.path]]], track)
        with clock("zero-shot"):
            clips = self.zero_shot_findings(encoded.embeddings)
        rows = np.array([row_of[ref.path] for ref in encoded.refs])
        of_groups = None if ids is None else ids[rows]
        tasks = self.tasks(encoded, clips, given=given.values[rows], groups=of_groups, keep=True)
        with clock("label"):
            labelled = label_findings(tasks, rules=self.rules, fit_on=self.fit_on, track=track)
        with clock("look at the pictures"):
            look, columns = appearance(encoded.refs, track), cells_of(given.columns, rows)
        made = self._findings_run(images, encoded, clips, labelled, clock)
        made.run["given"] = True
        made.run["arguments"] |= {"labels": str(labels), "groups": groups, "blank": blank, "uncertain": uncertain}
        looks = clips[0].image_kinds
        issues, made.run["audit"] = findings_audit(
            tasks, labelled, look, None if looks is None else none_of_these(looks), columns, self.seed, self.rules
        )
        for name, about in told_apart(labelled).items():
            made.run["findings"][name] |= about
        rates = made.run["audit"]["error_rates"]
        made.run["estimated_error_rate"] = rates["all"][0]
        made.run["reliability"] = overall(made.run["findings"], given=True)
        made.run["audit"]["note"] = look_grouped([ref.path for ref in encoded.refs]) if ids is None else None
        table = made.table if of_groups is None else made.table.assign(group=[str(each) for each in of_groups])
        problems = {each.path: each.problem for each in given.problems if each.path in row_of}
        return Annotations.of(with_problems(replace(made, table=table, issues=issues), problems, labels))

    def _updated(self, run: Run, track: Track, strategy: str | None, images: Path | str | None) -> Annotations:
        from autoannotate.annotator.rounds import next_round, reopen
        from autoannotate.answers.consensus import consensus
        from autoannotate.answers.findings import answered_findings
        from autoannotate.answers.standing import Answered
        from autoannotate.labelling.findings import label_findings
        from autoannotate.labelling.queries.strategies import find_strategy

        if strategy is not None:
            find_strategy(strategy)
        clock = Clock()
        with clock("find images"):
            now = reopen(run, images)
        with clock("load the encoder"):
            _ = self.encoder
        with clock("encode images"):
            encoded = self.encode(now.found, track)
        names = [ref.path for ref in encoded.refs]
        with clock("zero-shot"):
            clips = self.zero_shot_findings(encoded.embeddings)
        with clock("consensus"):
            together = consensus(now.standing, self.classes)
            said = answered_findings(now.standing, names, self.classes)
        with clock("label"):
            tasks = self.tasks(
                encoded, clips, answers=said.answers, unsure=said.unsure, excluded=said.excluded,
                **self._findings_before(run, names, keep=not now.standing),
            )  # fmt: skip
            labelled = label_findings(tasks, rules=self.rules, strategy=strategy, fit_on=self.fit_on, track=track)
        made = self._findings_run(now.place, encoded, clips, labelled, clock)
        row_of = {path: i for i, path in enumerate(names)}
        settled = {row_of[path]: one for path, one in together.images.items() if path in row_of}
        answered = Answered(said.answers, said.excluded, np.asarray(said.unsure.any(axis=1)), settled)
        duplicate_of = np.max([part.duplicate_of for part in labelled.of_each], axis=0)
        return next_round(run, now, made, answered, together, duplicate_of, strategy)

    def _findings_before(self, run: Run, names: Sequence[str], keep: bool) -> dict[str, Any]:
        """The findings and groups that an audit was given, as arguments of `tasks`; nothing where the run is no audit."""
        from autoannotate.runs import history

        if not run.record.given or run.folder is None:
            return {}
        first = history.load_round(run.folder, 0)
        assert first.findings is not None
        values = first.findings.pivot(index="path", columns="finding", values="value")
        table = first.table.set_index("path")
        groups = np.array([int(table["group"][name]) for name in names]) if "group" in table else None
        given = values.loc[list(names), self.classes].to_numpy(dtype=np.int64)
        return {"given": given, "groups": groups, "keep": keep}

    def _findings_run(
        self,
        images: str | Path | None,
        encoded: Encoded,
        clips: Sequence[ZeroShot],
        labelled: LabelledFindings,
        clock: Clock,
    ) -> Run:
        from autoannotate.runs.build import with_items
        from autoannotate.runs.build_findings import build_findings_run

        worth = [self._reliability(clip, part) for clip, part in zip(clips, labelled.of_each, strict=True)]
        settings = self._settings(images)
        settings["arguments"] |= {"prior": self.priors or None, "student": "none"}
        run = build_findings_run(
            encoded.refs, encoded.unreadable, clips, worth, labelled, settings, clock.seconds, encoded.notes
        )
        run.run["rules"] = [rule.text for rule in self.rules.rules]
        run.run["learned_rules"] = [{**asdict(each), "words": each.words} for each in labelled.learned]
        return with_items(run, encoded.refs, {})


def annotator_of(run: Run, **changes: Any) -> Annotator:
    """The annotator that made a run, whether its images show one class each or several findings."""
    return (FindingsAnnotator if run.record.findings else Annotator).from_run(run, **changes)
