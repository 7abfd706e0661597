"""From no labels to test accuracy: CLIP labels the training images, each method the test images.

The experiment that the project comes from: a balanced sample, split in training and test by class (images of one group on
one side). CLIP labels the training images; methods see no truth. Inductive methods (`cnn`: suspects out, a network trained
on the cleaned set) learn from the training images only; `ours` is the whole pipeline, which has the test images beside them,
unlabelled, as in a run of `autoannotate label`. All numbers are of the test images.

`fixed` is the share of CLIP's wrong labels that end right, `broken` the share of its right labels that end wrong; the
calibration error (ECE) is how far confidence lies from the share that is right. `average precision` and `recall at …` are of
the ranking by doubt: how many of CLIP's wrong labels are among the most doubtful images, as many as there are errors or so
much of the set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoannotate.errors import UsageError
from autoannotate.evaluation import metrics
from autoannotate.evaluation.baselines import usual as usual_rivals
from autoannotate.evaluation.study import SPLIT, Outcome
from autoannotate.evaluation.task import Clinician, Problem
from autoannotate.labelling.zero_shot.prompts import class_prompts

if TYPE_CHECKING:
    from autoannotate.evaluation.labelled_set import LabelledSet
    from autoannotate.evaluation.study import Options, Study
    from autoannotate.labelling.zero_shot.label_images import ZeroShot

BASELINE = "clip"
DEFAULT = ("clip", *usual_rivals(), "cnn", "ours")
HEADLINE = ("accuracy", "macro_f1")
OPTIONS = frozenset({"count", "prompts", "test", "pixels", "model", "student", "fast"})
CURVE = None
LEAST = 20  # images of a class: enough for both sides of the split
PROMPTS = ("product", "bare")


def methods() -> tuple[str, ...]:
    from autoannotate.evaluation.methods import METHODS

    return tuple(METHODS)


def check(data: LabelledSet, options: Options) -> None:
    data.require(LEAST, "the protocol pair")
    if not 0.05 <= options.test <= 0.9:
        raise UsageError(f"--test is the share of images held for testing, 0.05 to 0.9, not {options.test:g}.")
    if options.prompts not in PROMPTS and not Path(options.prompts).is_file():
        raise UsageError(f"--prompts is product, bare or a YAML file, and there is no file {options.prompts}.")
    if options.prompts not in PROMPTS:
        class_prompts(data.class_names, file=Path(options.prompts))


def run_once(study: Study, seed: int, method: str) -> Outcome:
    """One method's labels of one run's test images: all metrics over these."""
    from autoannotate.evaluation.methods import solve

    problem, truth = study.once("problem", seed, lambda: make_problem(study, seed))
    solution = solve(method, problem)
    test = ~problem.train
    probabilities = None if solution.probabilities is None else solution.probabilities[test]
    found = metrics.of_labels(truth[test], solution.labels[test], problem.given[test], probabilities)
    doubt = None if solution.doubt is None else solution.doubt[test]
    return Outcome(found | metrics.of_doubt((problem.given != truth)[test], doubt), note=solution.note)


def make_problem(study: Study, seed: int) -> tuple[Problem, np.ndarray]:
    """A sample that CLIP has labelled, its test images marked, and its truth, (N,)."""
    from autoannotate.labelling.zero_shot import classifier

    rows = study.sample(seed)
    data, encoder = study.data.take(rows), study.annotator.encoder
    train = data.split(study.options.test, study.rng(seed, SPLIT))
    clip = zero_shot(study, study.embeddings[rows])
    texts = classifier.class_embeddings([encoder.encode_texts(prompt.texts) for prompt in clip.prompts])
    problem = Problem(
        features=study.features[rows],
        embeddings=study.embeddings[rows],
        probabilities=clip.probabilities,
        given=clip.probabilities.argmax(axis=1),
        class_names=data.class_names,
        texts=texts,
        train=train,
        images=study.images(rows),
        groups=data.groups,
        image_names=[ref.path for ref in data.refs],
        encoder=encoder,
        seed=seed,
        fast=study.options.fast,
        meaningful=clip.reliability.meaningful,
        trust=clip.reliability.trust if clip.reliability.meaningful else 0.0,
        start="clip",
        student=study.options.student,
        clinician=lambda many: Clinician(data.labels, many),
        logit_scale=encoder.logit_scale,
    )
    return problem, data.labels


def zero_shot(study: Study, embeddings: np.ndarray) -> ZeroShot:
    """CLIP's labels: with the product's sentences or the user's, as in a run; or with bare class names."""
    if study.options.prompts != "bare":
        return study.annotator.zero_shot(embeddings)
    return bare_zero_shot(study, embeddings)


def bare_zero_shot(study: Study, embeddings: np.ndarray) -> ZeroShot:
    """CLIP as it comes: one bare class name a class, no templates, no normalisation of the images' distribution."""
    from autoannotate.labelling.zero_shot import classifier
    from autoannotate.labelling.zero_shot.label_images import UNRELATED, ZeroShot
    from autoannotate.labelling.zero_shot.prompts import ClassPrompts
    from autoannotate.labelling.zero_shot.reliability import estimate_reliability

    encoder = study.annotator.encoder
    prompts = [ClassPrompts(name, (name,)) for name in study.data.class_names]
    texts = [encoder.encode_texts(prompt.texts) for prompt in prompts]
    probabilities = classifier.probabilities(embeddings, classifier.class_embeddings(texts), encoder.logit_scale)
    reliability = estimate_reliability(embeddings, texts, encoder.encode_texts(UNRELATED))
    return ZeroShot([], prompts, probabilities, reliability)
