"""What every run of an evaluation shares: the labelled images, their encodings and the options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate.evaluation.labelled_set import LabelledSet

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.annotator.annotator import Annotator

SAMPLE, SPLIT, MODEL = 0, 1, 3
"""Salts: `np.random.default_rng([seed, salt])` draws each of these apart from the others, so that none explains another."""


@dataclass(frozen=True)
class Options:
    """What can be asked of an evaluation; each protocol names those it reads in its OPTIONS.

    Attributes
    ----------
    count : images of each class in a run's sample
    noise : the protocol noise's kind and rate, or `given`
    prompts : `product` for the sentences that a run of `autoannotate label` uses, `bare` for the bare class name without
        templates, or a YAML file
    test : share of the images held for testing
    pixels : squash every image to a square of this side first
    model, student : as in `Annotator`
    fast : whether time goes before quality
    error : how often the simulated clinician is wrong
    max_error : the error rate that certify promises
    simclr_epochs : of the protocol labels, its own number where None
    foreign, share : of the protocol ood, the classes that are not asked for, and their share of all images
    embeddings, metadata : of the protocol representations, files NAME=FILE of other models' vectors, and a table of covariates
    findings, answers, omitted : of the protocol findings, which of them, how many answers each, and the share of those present
        that is given as absent
    """

    count: int = 300
    noise: str = "symmetric:0.2"
    prompts: str = "product"
    test: float = 0.3
    pixels: int | None = None
    model: str = "embedded"
    student: str = "embedded"
    fast: bool = False
    error: float = 0.0
    max_error: float = 0.02
    simclr_epochs: int | None = None
    foreign: str = ""
    share: float = 0.05
    embeddings: tuple[str, ...] = ()
    metadata: str = ""
    findings: str = ""
    answers: int = 0
    omitted: float | None = None

    def changed(self) -> set[str]:
        """The names of those that differ from the default."""
        return {f.name for f in fields(self) if getattr(self, f.name) != f.default}


@dataclass(frozen=True)
class Outcome:
    """What one method achieved in one run. metrics: by name, NaN where one does not apply. curve: points in order, each a
    mapping of names to numbers, for a protocol with a CURVE. note: a sentence for a reader, or ""."""

    metrics: Mapping[str, float]
    curve: tuple[Mapping[str, float], ...] = ()
    note: str = ""


@dataclass(frozen=True, eq=False)
class Study:
    """The N images that the runs of an evaluation draw, encoded once.

    Attributes
    ----------
    embeddings : (N, D) and features: (N, F), float32
    samples : the rows, (M,) sorted, of the run with each seed
    """

    data: LabelledSet
    options: Options
    embeddings: np.ndarray
    features: np.ndarray
    samples: Mapping[int, np.ndarray]
    device: str = "auto"
    cache: Any = True
    kept: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def annotator(self) -> Annotator:
        """The product itself, for its encoder and its zero-shot stage; its seed is not a run's."""
        return annotator_for(self.data, self.options, device=self.device, cache=self.cache)

    def rng(self, seed: int, salt: int) -> np.random.Generator:
        """The draw of one thing in one run."""
        return np.random.default_rng([seed, salt])

    def sample(self, seed: int) -> np.ndarray:
        """The images of a run, (M,) sorted rows of `data`: `count` of each class, all where a class has fewer."""
        return self.samples[seed]

    def images(self, rows: np.ndarray) -> Callable[[int], Image.Image]:
        """Gives the picture of an index into `rows`."""
        from autoannotate.images import read_image

        refs = [self.data.refs[row] for row in rows]
        return lambda i: read_image(refs[i])

    def once(self, name: str, seed: int, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once for all methods of a run and dropped with the next run's."""
        if self.kept.get("seed") != seed:
            self.kept.clear()
            self.kept["seed"] = seed
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]


def annotator_for(data: LabelledSet, options: Options, **machinery: Any) -> Annotator:
    """The product itself, of the classes or findings of a set."""
    from autoannotate.annotator.annotator import Annotator
    from autoannotate.annotator.findings_annotator import FindingsAnnotator

    prompts = None if options.prompts in ("product", "bare") else options.prompts
    make = Annotator if data.values is None else FindingsAnnotator
    return make(data.class_names, model=options.model, student=options.student, prompts=prompts, **machinery)
