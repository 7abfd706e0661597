"""The Annotator: images in, labels out. The stages in their order, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate._internal.progress import Clock, Track, silent
from autoannotate.annotator.annotations import Annotations
from autoannotate.annotator.arguments import arguments_of, check_sentences, settings
from autoannotate.annotator.reliability import judged, reliability
from autoannotate.errors import OutputError, UsageError
from autoannotate.images import ImageRef, find, find_some, read_image
from autoannotate.images.hashed_paths import hashed, renamed, without_names
from autoannotate.images.items import check_kind, items_of
from autoannotate.images.ref import INCLUDED
from autoannotate.models.cache_size import SIZE
from autoannotate.runs.record import file_arguments
from autoannotate.runs.run import Run, check_classes

if TYPE_CHECKING:
    from autoannotate.annotator.rounds import Reopened
    from autoannotate.annotator.weak_sources import Source
    from autoannotate.answers.findings_supervision import FindingsSupervision
    from autoannotate.answers.supervision import LabelSupervision
    from autoannotate.images import Found
    from autoannotate.images.items import Item
    from autoannotate.labelling.examples import Examples
    from autoannotate.labelling.pipeline import Labelled
    from autoannotate.labelling.task import Task
    from autoannotate.labelling.zero_shot.label_images import ZeroShot
    from autoannotate.labelling.zero_shot.reliability import Reliability
    from autoannotate.models.encoder import Encoder
    from autoannotate.models.encoding import Encoded, Engine
    from autoannotate.models.student_training import StudentTrainer

STUDENT_SIDE = 256  # pixels of the shorter side that are read for a student, twice what any sees
ENGINES = ("local", "ray")
FIT_ON, FEWEST_TO_FIT = 20_000, 100


class Annotator:
    """Labels a set of images with some classes.

    Parameters
    ----------
    classes : sequence of str, or mapping
        What an image can be, at least two; or by class, the sentence or sentences for it, which are its prompts.
    model : str
        A CLIP model, see `autoannotate.models.encoder.load_encoder`.
    student : str
        The network that learns from the cleaned labels (embedded, resnet18, timm:NAME, torchvision:NAME, a pretrained one's
        folder) or none.
    prompts : path or mapping, optional
        A YAML file of the user's own words, or sentences by class.
    modality : str, optional
        What all images are ("chest X-ray"); else it is found out.
    prior : mapping, optional
        How common each class is, where that is known.
    seed : int
        The same images and seed give the same labels.
    device : str
        cpu, cuda, mps, or auto for the best there is.
    cache : path or bool
        Where encoded images are kept for the next run: a folder, True for the user's own cache folder, False for nowhere.
    item : str
        What gets one label: image, file, series, study, patient, or auto, see `autoannotate.images.items.items_of`.
    hash_paths : bool
        Keyed hashes in place of the names of files and folders, see `autoannotate.images.hashed_paths`.
    include : sequence of str
        Kinds of files that are passed over elsewhere and are pictures here: segmentations, doses, presentations (of DICOM).
    engine : str
        Who encodes: local, or ray, see `autoannotate.models.encoding_ray`.
    store : str, optional
        Where the machines of a Ray cluster write, see there.
    cache_size : int
        Bytes that the cache may take; what was used longest ago goes first.
    fast : bool
        One short training of the student, where time goes before quality.
    examples : path, optional
        Images of the classes from elsewhere, a folder a class: the labels learn from them as from answers.
    words : bool
        False where the names of the classes say nothing, and `examples` all.
    fit_on : int
        Of more images than this, models are fitted on a sample of this size and applied to the others.
    embeddings : path, optional
        A file of embeddings that another model made, see `autoannotate.models.embeddings_file.read_embeddings`: they are the
        features, in the place of the CLIP model's.
    probabilities : path, or sequence of paths
        CSV files with `path` and a column a class: what other models or rules say. They are weighed with zero-shot by how well
        they agree, see `labelling.label_model`.
    accept_proposals : bool
        Take all proposals of a bolder correction unseen, which otherwise wait for a clinician's answers about a sample of them.

    Raises
    ------
    UsageError
        For classes that cannot be told apart by name.

    Examples
    --------
    >>> annotator = Annotator(["chest", "breast"])                                    # doctest: +SKIP
    >>> annotations = annotator.label("scans/")                                       # doctest: +SKIP
    >>> annotations.table[["path", "label", "confidence", "suspect"]]                 # doctest: +SKIP
    """

    def __init__(
        self,
        classes: Sequence[str] | Mapping[str, str | Sequence[str]],
        model: str = "embedded",
        *,
        student: str = "embedded",
        prompts: Path | str | Mapping[str, str | Sequence[str]] | None = None,
        modality: str | None = None,
        prior: Mapping[str, float] | None = None,
        seed: int = 0,
        device: str = "auto",
        cache: Path | str | bool = True,
        fast: bool = False,
        item: str = "auto",
        fit_on: int = FIT_ON,
        embeddings: Path | str | None = None,
        hash_paths: bool = False,
        include: Sequence[str] = (),
        cache_size: int = SIZE,
        examples: Path | str | None = None,
        words: bool = True,
        accept_proposals: bool = False,
        engine: str = "local",
        store: str | None = None,
        probabilities: Path | str | Sequence[Path | str] = (),
    ) -> None:
        if isinstance(classes, Mapping):
            if prompts is not None:
                raise UsageError("The classes came with sentences, and prompts= too: give the sentences in one place.")
            prompts = classes
        self.classes = self._check(list(classes) if isinstance(classes, Mapping) else classes)
        self.model, self.student, self.seed, self.device = model, student, seed, device
        self.prompts = check_sentences(prompts, self.classes) if isinstance(prompts, Mapping) else _path(prompts)
        self.modality, self.fast, self.item = modality, fast, check_kind(item)
        self.cache = Path(cache) if isinstance(cache, str) else cache
        if fit_on < FEWEST_TO_FIT:
            raise UsageError(
                f"Models need {FEWEST_TO_FIT} images or more to be fitted on: --fit-on {fit_on} is too few."
            )
        self.fit_on, self.cache_size = fit_on, cache_size
        self.embeddings = Path(embeddings) if embeddings else None
        if engine not in ENGINES:
            raise UsageError(f"There is no engine {engine!r}: choose one of {', '.join(ENGINES)}.")
        self.engine, self.store = engine, store
        self.hash_paths = hash_paths
        self.include = list(include)
        if odd := [name for name in self.include if name not in INCLUDED]:
            raise UsageError(f"{odd[0]!r} cannot be included: choose one of {', '.join(INCLUDED)}.")
        self.examples, self.words = _path(examples), words
        one = isinstance(probabilities, Path | str)
        self.probabilities = [Path(str(file)) for file in ([probabilities] if one else probabilities)]  # type: ignore[union-attr]
        if hash_paths and (embeddings or self.probabilities):
            raise UsageError(
                "A file of embeddings or probabilities names images as they are, and --hash-paths does not: leave one of them "
                "out."
            )
        if prior is not None and not isinstance(prior, Mapping):
            raise UsageError(f"The prior is a share for each class by its name, as in {{{self.classes[0]!r}: 0.5, …}}.")
        self.accept_proposals = accept_proposals
        self.prior = None if prior is None else np.array([prior.get(name, 0.0) for name in self.classes])
        self._encoder: Encoder | None = None
        self._shown: tuple[list[ImageRef], Examples] | None = None
        self._sources: tuple[Source, ...] = ()

    @staticmethod
    def _check(names: Sequence[str]) -> list[str]:
        return check_classes(names)

    @classmethod
    def from_run(cls, run: Run, **changes: Any) -> Annotator:
        """The annotator that made a run, from its record; `changes` replace arguments, as in device="cpu"."""
        return cls(list(run.record.classes), **(arguments_of(run.record) | changes))

    @property
    def encoder(self) -> Encoder:
        """The CLIP model, loaded when it is first needed."""
        if self._encoder is None:
            from autoannotate.models.encoder import load_encoder

            self._encoder = load_encoder(self.model, self.device)
        return self._encoder

    def label(
        self,
        images: str | Path | Sequence[str | Path] | None = None,
        track: Track = silent,
        *,
        groups: str | None = None,
        trusted: str | Path | None = None,
        skip_problems: bool = False,
    ) -> Annotations:
        """Label every image of a folder (or one file).

        A call that is interrupted finds its encoded images in the cache.

        Parameters
        ----------
        images : path, or sequence of paths
            A folder, a file, any other source that `autoannotate label` takes; or some files, a part of a set. May be left out
            with `embeddings` of the model's own space: then no picture is read, and no student is trained.
        track : shows progress, see `autoannotate._internal.progress`.
        groups : what says which images are of one patient or lesion, see `answers.groups.read_groups`
        trusted : a table of labels that are right: they count as answers, are never changed and never asked
        skip_problems : go on without the rows of these that do not fit

        Raises
        ------
        InputError
            Where there is no image that can be read, or groups or trusted labels do not fit.
        ModelError
            Where the model cannot be had.
        """
        from autoannotate.answers.groups import look_grouped

        clock = Clock()
        if images is None:
            return self._label_embeddings(clock, track)
        with clock("find images"):
            some = not isinstance(images, str | Path)
            if isinstance(images, str | Path):
                place, found = images, find(images, self.include)
            else:
                place, found = find_some(images, self.include)
            found = without_names(found) if self.hash_paths else found
            named = items_of(found.refs, self.item)
            tables = [item.middle for item in named]
            known = self._read_supervision(tables, groups=groups, trusted=trusted, skip_problems=skip_problems)
            items = items_of(hashed(found.refs), self.item) if self.hash_paths else named
            refs = [item.middle for item in items]
            known = known.renamed(renamed(named, items))
        with clock("load the encoder"):
            _ = self.encoder
        with clock("encode images"):
            encoded = self.encode(refs, track)
        run = encoded.survived(lambda readable: self._labels_of(place, readable, clock, track, known))
        files = file_arguments(names_only=self.hash_paths, groups=groups, trusted=trusted)
        note = look_grouped([ref.path for ref in refs]) if groups is None else None
        self._tell(run, files | {"part": some}, found, items, known.skipped, note)
        return Annotations.of(known.kept_in(run))

    def _tell(
        self, run: Run, arguments: Mapping[str, Any], found: Found, items: Sequence[Item], skipped: Sequence[str],
        note: str | None,
    ) -> None:  # fmt: skip
        """Into the record of a run: what was asked, what was found, which rows of tables were skipped, and a note."""
        from autoannotate.runs.build import about_files

        run.run["arguments"] |= arguments
        run.run.update(about_files(found, items))
        run.run["skipped"] = [] if self.hash_paths else list(skipped)  # they name files
        run.run["note"] = note

    def _read_supervision(self, refs: Sequence[ImageRef], **files: Any) -> LabelSupervision | FindingsSupervision:
        """What is known of images before they are labelled, see `answers.supervision.read_supervision`."""
        from autoannotate.answers.supervision import read_supervision

        return read_supervision(refs, classes=self.classes, **files)

    def _label_embeddings(self, clock: Clock, track: Track) -> Annotations:
        """The run of a file of embeddings, without pictures."""
        encoded, clip = self._seen(None, clock, track, words=not self.probabilities)
        with clock("label"):
            clip = self._with_sources(clip, encoded.refs)
            labelled = self._labelled(self.task(encoded, clip), encoded.refs, track, train=False)
        return Annotations.of(self._run(None, encoded, clip, labelled, clock))

    def _labels_of(
        self, images: str | Path | None, encoded: Encoded, clock: Clock, track: Track,
        known: LabelSupervision | FindingsSupervision | None = None,
    ) -> Run:  # fmt: skip
        """The run of images that are encoded. Raises `UnreadableImageError` where one cannot be read any more."""
        with clock("zero-shot"):
            clip = self._with_sources(self.zero_shot(encoded.embeddings), encoded.refs)
        with clock("label"):
            task = self.task(encoded, clip)
            task = task if known is None else replace(task, **known.arguments(task.names, self.classes))
            labelled = self._labelled(task, encoded.refs, track, train=True)
        return self._run(images, encoded, clip, labelled, clock)

    def audit(
        self,
        images: str | Path | None,
        labels: str | Path,
        *,
        groups: str | None = None,
        trusted: str | Path | None = None,
        skip_problems: bool = False,
        track: Track = silent,
    ) -> Annotations:
        """Find what is wrong with labels that exist: a run whose labels are the given ones, with its `issues`.

        Parameters
        ----------
        images : may be left out with `embeddings`: then no picture is looked at
        labels : a table of labels, or `folders`, see `answers.given_labels.read_given_labels`
        groups : what says which images are of one patient or lesion, see `answers.groups.read_groups`
        trusted : a table of labels that are right: they count as answers, and are not doubted
        skip_problems : go on with the images that have one label; the others are in `unreadable`, with the reason

        Raises
        ------
        InputError
            Where the labels do not fit the images or the classes.
        """
        from autoannotate.annotator.audit_items import to_audit
        from autoannotate.annotator.audited import appearance, audited_run, with_problems
        from autoannotate.annotator.embedded_rows import to_audit_rows
        from autoannotate.answers.given_labels import read_given_labels
        from autoannotate.answers.groups import look_grouped
        from autoannotate.answers.supervision import read_supervision, skipped_rows

        clock = Clock()
        with clock("find images"):
            there = (
                to_audit_rows(self.embeddings)
                if images is None
                else to_audit(images, labels, self.item, self.hash_paths, self.include)
            )
            given = read_given_labels(labels, there.named, skip_problems, classes=self.classes)
            known = read_supervision(
                there.named,
                given=given,
                groups=groups,
                trusted=trusted,
                classes=self.classes,
                skip_problems=skip_problems,
            ).renamed(there.names)
        row_of = {ref.path: i for i, ref in enumerate(there.refs)}
        listed = there.in_order(row for row, label in enumerate(given.labels) if label)
        encoded, clip = self._seen(listed, clock, track, words=images is not None)
        rows = np.array([row_of[ref.path] for ref in encoded.refs])
        clip = self._with_sources(clip, encoded.refs)
        task = self.task(encoded, clip)
        task = replace(task, **known.arguments(task.names, self.classes))
        with clock("label"):
            labelled = self._labelled(task, encoded.refs, track, train=images is not None)
        with clock("look at the pictures"):
            look = None if images is None else appearance(encoded.refs, track)
            made = self._run(images, encoded, clip, labelled, clock)
            made = audited_run(made, task, labelled, look, given, rows, self.seed)
        files = file_arguments(names_only=self.hash_paths, labels=labels, groups=groups, trusted=trusted)
        unused = set(given.unlabelled([ref.path for ref in there.named]))  # they are in unreadable.csv
        rows_skipped = skipped_rows(labels, [each for each in given.problems if each.path not in unused])
        note = look_grouped(task.names) if groups is None else None
        self._tell(made, files | {"item": there.kind}, there.found, there.items, [*known.skipped, *rows_skipped], note)
        made.run["timings"] = dict(clock.seconds)
        source = files["labels"] if self.hash_paths else labels
        return Annotations.of(with_problems(replace(made, table=known.columns(made.table)), known.without, source))

    def update(
        self, run: Run, track: Track = silent, strategy: str | None = None, images: Path | str | None = None
    ) -> Annotations:
        """The labels after all answers in the run's folder, kept there as a new round: a labelling with answers.

        It starts from the images, the arguments of the run and all answers that stand, never from the labels that it
        replaces. So the order of answers and the number of updates between them change nothing, and an update with nothing
        answered gives the same labels. Nothing is written where labels and queue stay the same and no answer is new to them.

        Images that joined since are labelled too, with what is known by now; only they are encoded. Those that are gone lose
        their label and keep their answers.

        Parameters
        ----------
        strategy : str, optional
            By which images are asked next, a name in `labelling.queries.strategies.STRATEGIES`.
        images : path, optional
            Where the images are now, if they were moved since the run.

        Raises
        ------
        InputError
            Where the run was never saved or its images are gone.
        OutputError
            Where it cannot be written; the run stays as it was then, as it does when this is interrupted.
        """
        from autoannotate.annotator.embedded_rows import all_rows
        from autoannotate.annotator.rounds import reopen
        from autoannotate.labelling.queries.strategies import find_strategy

        if strategy is not None:
            find_strategy(strategy)
        clock = Clock()
        try:
            with clock("find images"):
                pictures = (
                    images is not None or self.embeddings is None or run.record.arguments.get("images") is not None
                )
                words = pictures or not (run.record.given or self.probabilities)
                rows = None if pictures else all_rows(self.embeddings, self.encoder if words else None).refs
                now = reopen(run, images, rows)
            return self._updated(run, now, pictures, words, clock, track, strategy)
        except OutputError as error:
            raise OutputError(f"{error} The run is as it was.") from error

    def _updated(
        self, run: Run, now: Reopened, pictures: bool, words: bool, clock: Clock, track: Track, strategy: str | None
    ) -> Annotations:
        """The labels after the answers of a run that is opened again, as a new round."""
        from autoannotate.annotator.audited import audited_again
        from autoannotate.annotator.rounds import next_round, student_predictions
        from autoannotate.answers.consensus import consensus
        from autoannotate.answers.merge import merge_answers
        from autoannotate.answers.standing import about_images
        from autoannotate.runs.proposals import read_proposals

        encoded, clip = self._seen(now.found if pictures else None, clock, track, words=words)
        names = [ref.path for ref in encoded.refs]
        with clock("consensus"):
            together = consensus(now.standing, self.classes, dict(zip(names, clip.probabilities, strict=True)))
            answered = about_images(together, names, self.classes)
            clip = self._with_sources(clip, encoded.refs, answered.answers)
        with clock("label"):
            told = now.known.arguments(names, self.classes, keep=not now.standing)
            asked = (answered.answers >= 0) | answered.excluded
            told["answers"] = np.where(asked, answered.answers, told.get("answers", -1))
            task = replace(
                self.task(encoded, clip), excluded=answered.excluded, unsure=answered.unsure,
                student=student_predictions(run, encoded.refs, len(self.classes)),
                proposals=read_proposals(run.proposals, run.record.proposals, names, self.classes), **told,
            )  # fmt: skip
            labelled = self._labelled(task, encoded.refs, track, train=False, strategy=strategy)
        readers = {path: one.readers for path, one in together.images.items()}
        made = self._run(now.place, encoded, clip, labelled, clock, readers)
        table = merge_answers(made.table, {names[i]: one for i, one in answered.said.items()})
        made = now.known.kept_in(replace(made, table=table))
        counts = Counter(table["label"])
        made.run["counts"]["per_class"] = {name: counts[name] for name in self.classes}
        if run.record.given:
            made = audited_again(made, task, labelled, run, now, encoded.refs, track)
        return next_round(run, now, made, answered, together, labelled.duplicate_of, strategy)

    def zero_shot(self, embeddings: np.ndarray) -> ZeroShot:
        """What CLIP says of images with these embeddings, (N, D), and how much that is worth."""
        from autoannotate.labelling.zero_shot.label_images import by_example, zero_shot

        if not self.words:
            from autoannotate.labelling.examples import prototype_probabilities

            examples = self._examples_of_folder(silent)[1]
            said = prototype_probabilities(embeddings, examples, len(self.classes), self.encoder.logit_scale)[0]
            return by_example(self.classes, said)
        return zero_shot(
            embeddings, self.classes, self.encoder.encode_texts, self.encoder.logit_scale, prompts=self.prompts,
            modality=self.modality, seed=self.seed,
        )  # fmt: skip

    def encode(self, found: Sequence[ImageRef], track: Track = silent) -> Encoded:
        """What the encoder sees in each image, see `models.encoding.encode`."""
        from autoannotate.models.embeddings_file import read_embeddings
        from autoannotate.models.encoding import encode

        encoded = encode(found, self.encoder, self.cache, track, cache_size=self.cache_size, engine=self._engine())
        if self.embeddings is None:
            return encoded
        return replace(encoded, features=read_embeddings(self.embeddings).of([ref.path for ref in encoded.refs]))

    def _engine(self) -> Engine | None:
        if self.engine == "local":
            return None
        from autoannotate.models.encoding_ray import RayEngine

        return RayEngine(self.store)

    def _with_sources(self, clip: ZeroShot, refs: Sequence[ImageRef], known: np.ndarray | None = None) -> ZeroShot:
        """Zero-shot, weighed with what the files of probabilities say; known: (N,) answers, -1 elsewhere."""
        if not self.probabilities:
            return clip
        from autoannotate.annotator.weak_sources import weighed

        found, self._sources = weighed(clip, self.probabilities, [ref.path for ref in refs], self.classes, known)
        return found

    def task(self, encoded: Encoded, clip: ZeroShot) -> Task:
        """What the pipeline is given: the images as encoded, and their zero-shot labels."""
        from autoannotate.labelling.features import Features
        from autoannotate.labelling.task import Task

        return Task(
            Features(encoded.features), clip.probabilities if clip.combined is None else clip.combined, self.classes,
            trust=clip.reliability.trust,
            meaningful=clip.reliability.meaningful, prior=self.prior, image_names=[ref.path for ref in encoded.refs],
            image_kinds=clip.image_kinds, accept_proposals=self.accept_proposals, seed=self.seed,
        )  # fmt: skip

    def trainer(self, refs: Sequence[ImageRef], track: Track = silent) -> StudentTrainer | None:
        """What trains the student on these images; None where none was asked for."""
        from autoannotate.models.embedding_cache import cache_folder
        from autoannotate.models.student_training import StudentTrainer

        return StudentTrainer.of(
            lambda i: read_image(refs[i], STUDENT_SIDE), self.student, self.encoder, fast=self.fast, device=self.device,
            track=track, checkpoints=None if self.cache is False else cache_folder(self.cache) / "students",
        )  # fmt: skip

    def _seen(
        self, found: Sequence[ImageRef] | None, clock: Clock, track: Track, *, words: bool = True
    ) -> tuple[Encoded, ZeroShot]:
        """Images as encoded, or rows of the file of embeddings where there are none (`found` is None) or `words` tell nothing
        of them; and what zero-shot says of them."""
        from autoannotate.annotator.embedded_rows import all_rows, rows_of
        from autoannotate.annotator.weak_sources import nothing_to_say

        with clock("load the encoder"):
            _ = self.encoder
        with clock("encode images"):
            if found is None:
                encoded = all_rows(self.embeddings, self.encoder if words else None)
            else:
                encoded = self.encode(found, track) if words else rows_of(self.embeddings, found)
        with clock("zero-shot"):
            return encoded, self.zero_shot(encoded.embeddings) if words else nothing_to_say(
                self.classes, len(encoded.refs)
            )

    def _labelled(
        self, task: Task, refs: Sequence[ImageRef], track: Track, *, train: bool, strategy: str | None = None
    ) -> Labelled:
        from autoannotate.labelling.pipeline import label

        if self.examples is None:
            trainer = self.trainer(refs, track) if train else None
            labelled = label(task, trainer=trainer, strategy=strategy, fit_on=self.fit_on, track=track)
            if trainer is not None:
                trainer.done()
            return labelled
        from autoannotate.labelling.examples import joined, prototype_probabilities, without_examples

        shown, examples = self._examples_of_folder(track)
        said = self.zero_shot(examples.embeddings)
        of_examples = said.probabilities
        if not self.words:  # each by the others
            of_examples = prototype_probabilities(
                examples.embeddings, examples, len(self.classes), self.encoder.logit_scale
            )[1]
        trainer = self.trainer([*refs, *shown], track) if train else None
        both = joined(task, examples, of_examples, said.image_kinds)
        found = label(both, trainer=trainer, strategy=strategy, fit_on=self.fit_on, track=track)
        if trainer is not None:
            trainer.done()
        return without_examples(found, len(task))

    def _examples_of_folder(self, track: Track) -> tuple[list[ImageRef], Examples]:
        """The images of known classes, a folder a class. Raises `InputError` where there are none, or of no class."""
        from autoannotate.answers.examples import example_classes
        from autoannotate.labelling.examples import Examples

        if self._shown is None:
            assert self.examples is not None
            labels = example_classes(self.examples, self.classes)
            encoded = self.encode([ref for ref, _ in labels], track)
            of = {ref.path: self.classes.index(name) for ref, name in labels}
            numbers = np.array([of[ref.path] for ref in encoded.refs], dtype=np.int64)
            self._shown = encoded.refs, Examples(encoded.features, encoded.embeddings, numbers)
        return self._shown

    def _run(
        self,
        images: str | Path | None,
        encoded: Encoded,
        clip: ZeroShot,
        labelled: Labelled,
        clock: Clock,
        readers: Mapping[str, Sequence[str]] | None = None,
    ) -> Run:
        from autoannotate.annotator.slices import label_by_slice
        from autoannotate.annotator.weak_sources import told_of_embeddings
        from autoannotate.runs.build import build_run, heat_maps, with_items

        worth = judged(self._reliability(clip, labelled), labelled)
        doubt = ""
        if self.embeddings is not None:
            doubt = told_of_embeddings(encoded.features, labelled.labels, self.seed).strip()
            worth = replace(worth, verdict=f"{worth.verdict} {doubt}".strip())
        run = build_run(
            encoded.refs, encoded.unreadable, self.classes, clip, worth, labelled,
            settings(vars(self), images, self.encoder), clock.seconds, self.student, encoded.notes, readers,
        )  # fmt: skip
        run.run["doubts"] = doubt or None
        if images is None:
            run.run["student"]["note"] = (
                "No student was trained: it learns from pictures, and here are embeddings alone."
            )
        if self._sources:
            table = run.table
            other = (table["source"] == "clip") & (table["label"] != table["clip_label"])
            run = replace(run, table=table.assign(source=table["source"].mask(other, "sources")))
            run.run["sources"] = [asdict(one) for one in self._sources]
        by_slice = label_by_slice(run, encoded, lambda values: self.zero_shot(values).probabilities)
        telling = {path: max(said, key=lambda part: said[part]) for path, said in by_slice.items() if said}
        run.run["heat_maps"] = heat_maps(encoded.refs, by_slice)
        return with_items(run, encoded.refs, telling)

    def _reliability(self, clip: ZeroShot, labelled: Labelled) -> Reliability:
        examples = 0 if self._shown is None else len(self._shown[1])
        return reliability(clip, labelled, examples=examples, words=self.words, prior=self.prior)


def _path(prompts: Path | str | None) -> Path | None:
    return Path(prompts) if prompts else None
