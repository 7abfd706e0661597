"""The annotator of several findings an image: the same stages as `annotator.Annotator`, once a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate._internal.progress import Clock, Track, silent
from autoannotate.annotator.annotations import Annotations
from autoannotate.annotator.annotator import Annotator
from autoannotate.annotator.arguments import settings
from autoannotate.errors import UsageError
from autoannotate.runs.record import file_arguments
from autoannotate.runs.run import Run, check_findings

if TYPE_CHECKING:
    from autoannotate.annotator.rounds import Reopened
    from autoannotate.answers.findings_supervision import FindingsSupervision
    from autoannotate.answers.supervision import LabelSupervision
    from autoannotate.images import ImageRef
    from autoannotate.labelling.examples import Examples
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
    more : as for `Annotator`; a student of findings is trained only where `student` names one

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

        super().__init__(findings, model, **{"student": "none", **more})
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

    def _read_supervision(self, refs: Sequence[ImageRef], **files: Any) -> FindingsSupervision:
        from autoannotate.answers.findings_supervision import read_findings_supervision

        return read_findings_supervision(refs, self.classes, **files)

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
        from autoannotate.annotator.embedded_rows import all_rows

        with clock("load the encoder"):
            _ = self.encoder
        return Annotations.of(self._labels_of(None, all_rows(self.embeddings, self.encoder), clock, track))

    def _labels_of(
        self, images: str | Path | None, encoded: Encoded, clock: Clock, track: Track,
        known: LabelSupervision | FindingsSupervision | None = None,
    ) -> Run:  # fmt: skip
        with clock("zero-shot"):
            clips = self.zero_shot_findings(encoded.embeddings)
        with clock("label"):
            told = {} if known is None else known.arguments([ref.path for ref in encoded.refs], self.classes)
            seen = None if images is None else encoded.refs
            labelled = self._labelled_findings(self.tasks(encoded, clips, **told), track, train_on=seen)
        return self._findings_run(images, encoded, clips, labelled, clock)

    def _labelled_findings(
        self, tasks: list[Task], track: Track, strategy: str | None = None, train_on: Sequence[ImageRef] | None = None
    ) -> LabelledFindings:
        """train_on : the images of the tasks, where a student may be trained on them"""
        from autoannotate.labelling.findings import label_findings, label_findings_with_examples
        from autoannotate.models.findings_student import FindingsStudentTrainer

        how: dict[str, Any] = {"rules": self.rules, "strategy": strategy, "fit_on": self.fit_on, "track": track}
        shown, examples = (None, None) if self.examples is None else self._examples_of_folder(track)
        trainer = None if train_on is None else self.trainer([*train_on, *(shown or ())], track)
        how["trainer"] = None if trainer is None else FindingsStudentTrainer(trainer)
        if examples is None:
            made = label_findings(tasks, **how)
        else:
            clips = self.zero_shot_findings(examples.embeddings)
            made = label_findings_with_examples(tasks, examples, [clip.probabilities for clip in clips], **how)
        if trainer is not None:
            trainer.done()
        return made

    def _examples_of_folder(self, track: Track) -> tuple[list[ImageRef], Examples]:
        from autoannotate.answers.examples import example_findings
        from autoannotate.labelling.examples import Examples

        if self._shown is None:
            assert self.examples is not None
            known = example_findings(self.examples, self.classes)
            encoded = self.encode([ref for ref, _ in known], track)
            of = {ref.path: values for ref, values in known}
            values = np.array([of[ref.path] for ref in encoded.refs], dtype=np.int64)
            self._shown = encoded.refs, Examples(encoded.features, encoded.embeddings, values)
        return self._shown

    def audit_findings(
        self,
        images: str | Path,
        labels: str | Path,
        *,
        blank: str = "ignore",
        uncertain: str = "ignore",
        groups: str | None = None,
        trusted: str | Path | None = None,
        skip_problems: bool = False,
        track: Track = silent,
    ) -> Annotations:
        """Find what is wrong with findings that exist: a run whose values are the given ones, with its `issues`.

        Parameters
        ----------
        labels : a table, see `answers.given_findings.read_given_findings`
        blank, uncertain : what a blank and a -1 count as: ignore (unknown), zeros or ones
        groups, trusted, skip_problems : as for `Annotator.audit`

        Raises
        ------
        InputError
            Where the findings do not fit the images.
        """
        from autoannotate.annotator.audit_items import to_audit
        from autoannotate.annotator.audited import appearance, audited_findings_run, cells_of, with_problems
        from autoannotate.answers.given_findings import rarely_several, read_given_findings
        from autoannotate.answers.groups import look_grouped
        from autoannotate.answers.supervision import skipped_rows

        clock = Clock()
        with clock("find images"):
            there = to_audit(images, labels, self.item, self.hash_paths, self.include)
            given = read_given_findings(
                labels, there.named, self.classes, blank=blank, uncertain=uncertain, skip_problems=skip_problems
            )
            known = self._read_supervision(
                there.named, given=given, groups=groups, trusted=trusted, skip_problems=skip_problems
            ).renamed(there.names)
        row_of = {ref.path: i for i, ref in enumerate(there.refs)}
        encoded, clips = self._seen_findings(there.in_order(np.flatnonzero(given.listed).tolist()), clock, track)
        paths = [ref.path for ref in encoded.refs]
        tasks = self.tasks(encoded, clips, **known.arguments(paths, self.classes))
        with clock("label"):
            labelled = self._labelled_findings(tasks, track, train_on=encoded.refs)
        with clock("look at the pictures"):
            look, columns = appearance(encoded.refs, track), cells_of(given.columns, [row_of[path] for path in paths])
        made = known.kept_in(self._findings_run(images, encoded, clips, labelled, clock))
        files = file_arguments(names_only=self.hash_paths, labels=labels, groups=groups, trusted=trusted)
        made = audited_findings_run(made, tasks, labelled, look, columns, clips[0].image_kinds, self.rules)
        notes = look_grouped(paths) if groups is None else None, rarely_several(given, [ref.path for ref in there.refs])
        made.run["timings"] = dict(clock.seconds)
        names, source = there.names, files["labels"] if self.hash_paths else labels
        out = {names[each.path]: each.problem for each in given.problems if each.path in names}
        problems = {path: why for path, why in out.items() if path not in paths}
        rows = skipped_rows(labels, [each for each in given.problems if names.get(each.path) not in problems])
        asked = files | {"blank": blank, "uncertain": uncertain, "item": there.kind}
        note = " ".join(filter(None, notes)) or None
        self._tell(made, asked, there.found, there.items, [*known.skipped, *rows], note)
        return Annotations.of(with_problems(made, problems, source))

    def _seen_findings(
        self, found: Sequence[ImageRef] | None, clock: Clock, track: Track
    ) -> tuple[Encoded, list[ZeroShot]]:
        """Images as encoded, all rows of the file of embeddings where there are none; and what zero-shot says of them."""
        from autoannotate.annotator.embedded_rows import all_rows

        with clock("load the encoder"):
            _ = self.encoder
        with clock("encode images"):
            encoded = all_rows(self.embeddings, self.encoder) if found is None else self.encode(found, track)
        with clock("zero-shot"):
            return encoded, self.zero_shot_findings(encoded.embeddings)

    def _updated(
        self, run: Run, now: Reopened, pictures: bool, words: bool, clock: Clock, track: Track, strategy: str | None
    ) -> Annotations:
        from autoannotate.annotator.audited import audited_findings_again
        from autoannotate.annotator.rounds import next_round, student_predictions
        from autoannotate.answers.consensus import consensus
        from autoannotate.answers.findings import answered_findings
        from autoannotate.answers.standing import Answered
        from autoannotate.labelling.findings import with_evidence

        encoded, clips = self._seen_findings(now.found if pictures else None, clock, track)
        names = [ref.path for ref in encoded.refs]
        with clock("consensus"):
            together = consensus(now.standing, self.classes)
            said = answered_findings(now.standing, names, self.classes)
        with clock("label"):
            told = now.known.arguments(names, self.classes, keep=not now.standing)
            asked = (said.answers >= 0) | said.unsure | said.excluded[:, None]
            told["answers"] = np.where(asked, said.answers, told.get("answers", -1))
            tasks = self.tasks(encoded, clips, unsure=said.unsure, excluded=said.excluded, **told)
            if (by_student := student_predictions(run, encoded.refs, 2 * len(tasks))) is not None:
                tasks = with_evidence(tasks, by_student)
            labelled = self._labelled_findings(tasks, track, strategy)
        made = now.known.kept_in(self._findings_run(now.place, encoded, clips, labelled, clock))
        if run.record.given:
            kinds = clips[0].image_kinds
            made = audited_findings_again(made, tasks, labelled, run, now, encoded.refs, kinds, self.rules, track)
        row_of = {path: i for i, path in enumerate(names)}
        settled = {row_of[path]: one for path, one in together.images.items() if path in row_of}
        answered = Answered(said.answers, said.excluded, np.asarray(said.unsure.any(axis=1)), settled)
        duplicate_of = np.max([part.duplicate_of for part in labelled.of_each], axis=0)
        return next_round(run, now, made, answered, together, duplicate_of, strategy)

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
        asked = settings(vars(self), images, self.encoder)
        asked["arguments"] |= {"prior": self.priors or None}
        run = build_findings_run(
            encoded.refs, encoded.unreadable, clips, worth, labelled, asked, clock.seconds, encoded.notes, self.student
        )
        run.run["rules"] = [rule.text for rule in self.rules.rules]
        run.run["learned_rules"] = [{**asdict(each), "words": each.words} for each in labelled.learned]
        return with_items(run, encoded.refs, {})


def annotator_of(run: Run, **changes: Any) -> Annotator:
    """The annotator that made a run, whether its images show one class each or several findings."""
    return (FindingsAnnotator if run.record.findings else Annotator).from_run(run, **changes)
