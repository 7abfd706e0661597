"""What labels are worth by now, in words: by zero-shot, labels that exist, answers and spot checks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.wording import listed

if TYPE_CHECKING:
    from autoannotate.labelling.pipeline import Labelled
    from autoannotate.labelling.zero_shot.label_images import ZeroShot
    from autoannotate.labelling.zero_shot.reliability import Reliability

CLUSTERED = (  # said of guesses whose labels follow the images' own clusters
    "The images fall into clusters of their own, which the guesses only named: {moved:.0%} of them have another label."
)


def judged(worth: Reliability, labelled: Labelled) -> Reliability:
    """With a verdict that says how many images are of none of the classes."""
    from autoannotate.runs.build import told_of_none

    return replace(worth, verdict=f"{worth.verdict}{told_of_none(labelled.none_of_these)}")


def reliability(
    clip: ZeroShot,
    labelled: Labelled,
    *,
    examples: int = 0,
    words: bool = True,
    prior: NDArray[np.floating] | None = None,
) -> Reliability:
    """What labels are worth.

    Parameters
    ----------
    examples : int
        Images that were given for the classes.
    words : bool
        False where the classes were given by example alone.
    prior : (K,) array, optional
        Shares of the classes that were stated.
    """
    from autoannotate.labelling.queries.spot_checks import APPLIED

    told, initial = clip.reliability, labelled.initial
    if initial.source == "given":
        wrong = labelled.corrected.queue.error_rate
        return replace(
            told, trust=round(1.0 - wrong, 4), meaningful=True, advice="",
            verdict=f"An estimated {wrong:.1%} of the given labels are wrong, by what the other images make of each.",
        )  # fmt: skip
    if told.meaningful:
        return told
    if initial.meaningful and initial.kappa is not None:
        answers = int((labelled.source == "clinician").sum() + (labelled.duplicate_of >= 0).sum())
        learned = [f"{examples} examples"] if examples else []
        learned += [f"{answers} answers"] if answers or not learned else []
        why = "CLIP could not tell these classes;" if words else "The classes were given by example, and"
        return replace(
            told, trust=round(max(0.0, min(1.0, initial.kappa)), 4), meaningful=True,
            verdict=f"{why} the labels were learned from {listed(learned)}.",
            advice="By the answers that were kept aside, the others should agree with a clinician beyond chance by "
            f"{initial.kappa:.2f} (Cohen's kappa). More answers make them better.",
        )  # fmt: skip
    if initial.source == "proposals":
        borne_out = [one for one in labelled.checks if one.state == APPLIED]
        changed = 0
        if labelled.proposals is not None:
            applied = [g for g, one in enumerate(labelled.checks) if one.state == APPLIED]
            of_them = np.isin(labelled.proposals.group, applied)
            changed = int((of_them & (labelled.labels == labelled.proposals.proposed)).sum())
        answers = sum(len(one.sample) for one in borne_out)
        return replace(
            told, trust=round(min(one.bound or 0.0 for one in borne_out), 4), meaningful=True,
            verdict=f"CLIP could not tell these classes; {changed:,} labels were changed "
            f"as proposed, which {answers} answers about a random sample of them bore out.",
            advice="More answers make the others better.",
        )  # fmt: skip
    first = clip.probabilities[labelled.rows].argmax(axis=1)
    moved = float((initial.probabilities.argmax(axis=1) != first).mean())
    if moved and initial.source == "refinement" and prior is None:
        return replace(told, verdict=f"{told.verdict} {CLUSTERED.format(moved=moved)}")
    return told
