"""TransCLIP's zero-shot objective: transductive EM with a leash to the probabilities that it starts from.

Zanella, Gérin and Ben Ayed 2024, arXiv 2406.01837; what the pipeline itself proposes where labels are guesses, see
`labelling.semi_supervised.transclip`.
"""

from __future__ import annotations

from autoannotate.evaluation.baselines.shared import from_probabilities
from autoannotate.evaluation.task import Problem, Solution
from autoannotate.labelling.semi_supervised.transclip import transclip


def solve(problem: Problem) -> Solution:
    """The class with the greatest assignment; images of `train` and others are assigned together."""
    return from_probabilities(problem, transclip(problem.features, problem.probabilities))
