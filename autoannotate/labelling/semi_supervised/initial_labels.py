"""What labels start from: zero-shot labels, the structure of the images, and what clinicians answered, taken together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from autoannotate.labelling.label_errors.suspects import ask
from autoannotate.labelling.neighbours import compact, nearest
from autoannotate.labelling.semi_supervised import few_shot
from autoannotate.labelling.semi_supervised.from_answers import FEWEST, basis, generalise
from autoannotate.labelling.semi_supervised.refinement import refine

if TYPE_CHECKING:
    from autoannotate.annotator import Annotator, ZeroShot
    from autoannotate.labelling.label_errors.noise_estimate import Opinion
    from autoannotate.labelling.neighbours import Neighbours

# said of guesses whose labels follow the images' own clusters
NAMED = (
    "The images fall into clusters of their own, which the guesses only named: {moved:.0%} of them have another label."
)


@dataclass(frozen=True)
class Start:
    """What the labels start from: probabilities (N, K), and what zero-shot is worth by now. moved: (N,) bool, labels that
    answers made others; None where answers had no part in the probabilities."""

    probabilities: np.ndarray
    clip: ZeroShot
    moved: np.ndarray | None = None


def start_from(
    annotator: Annotator,
    clip: ZeroShot,
    features: np.ndarray,
    truth: np.ndarray,
    earlier: Opinion | None = None,
    neighbours: Neighbours | None = None,
) -> Start:
    """Refined zero-shot with what the answers say of it; or labels learned from the answers, where zero-shot guesses.

    features: (N, F). truth: (N,) class numbers, -1 where nobody answered. earlier: what the run's student said.
    neighbours: of the images, if they are known already.
    """
    seed, classes, told = annotator.seed, len(annotator.classes), clip.reliability
    if told.meaningful:
        refined = refine(features, clip.probabilities, trust=told.trust, prior=annotator.prior)
        if (truth >= 0).sum() < FEWEST:
            return Start(refined, clip)
        labels = refined.argmax(axis=1)
        heard = np.where(truth >= 0, truth, labels)
        near = nearest(compact(features)) if neighbours is None else neighbours
        asked = ask(features, heard, clip.probabilities, near, seed=seed)
        said = () if earlier is None else (earlier,)
        learned = generalise(
            basis(features, seed), labels, truth, classes, opinions=asked.beside(*said), believed=asked.belief(*said)
        )
        if learned is None:
            return Start(refined, clip)
        return Start(learned.posterior, clip, learned.posterior.argmax(axis=1) != labels)
    if not few_shot.enough(truth, classes):
        refined = refine(features, clip.probabilities, trust=0.0, prior=annotator.prior)
        moved = float((refined.argmax(axis=1) != clip.probabilities.argmax(axis=1)).mean())
        if moved and annotator.prior is None:
            told = replace(told, verdict=f"{told.verdict} {NAMED.format(moved=moved)}")
        return Start(refined, replace(clip, reliability=told))
    few = few_shot.learn(features, clip.probabilities, truth, seed=seed)
    if not few.told:
        return Start(few.probabilities, clip)
    reliability = replace(
        clip.reliability,
        trust=round(max(0.0, min(1.0, few.kappa)), 4),
        meaningful=True,
        verdict=f"CLIP could not tell these classes; the labels were learned from {(truth >= 0).sum()} answers.",
        advice="By the answers that were kept aside, the others should agree with a clinician beyond chance by "
        f"{few.kappa:.2f} (Cohen's kappa). More answers make them better.",
    )
    return Start(few.probabilities, replace(clip, reliability=reliability), np.ones(len(truth), dtype=bool))
