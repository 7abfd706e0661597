"""What became of the answers that a run has: each is counted once, so that the numbers add up."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from autoannotate.answers.consensus import Consensus
from autoannotate.answers.store import Answer
from autoannotate.runs.run import Run

TAKEN, OUTVOTED, UNSURE, TIE, REPLACED, GONE, UNKNOWN = (
    "taken", "outvoted", "unsure", "tie", "replaced picture", "picture gone", "unknown",
)  # fmt: skip
IN_WORDS = {
    TAKEN: "taken as labels",
    OUTVOTED: "outvoted by other readers",
    UNSURE: "unsure",
    TIE: "tied, waiting for a third reader",
    REPLACED: "about a picture that was replaced since",
    GONE: "about a picture that is gone",
    UNKNOWN: "of a class or an image that the run does not have",
}
"""What can become of an answer, and how it is said after its number."""


def account_of(
    answers: Sequence[Answer], replaced: Container[int | None], together: Consensus, run: Run
) -> dict[str, int]:
    """How many answers came to what; the numbers add up to that of the answers.

    Parameters
    ----------
    answers : sequence of Answer
        Those that count, one a reader and image: `AnswerStore.current`.
    replaced : container of int
        The ids of answers about a picture that was replaced since.
    together : Consensus
        Of the others.
    run : Run
        The labels that the answers go to.

    Returns
    -------
    dict of str to int
        By the names of `IN_WORDS`, those that are not zero, in their order.
    """
    here, gone, classes = set(run.table["path"]), set(run.unreadable["path"]), set(run.classes)
    if run.findings is not None:  # an answer is a set of findings, checked as it came
        classes |= {answer.label for answer in answers if answer.label}
    counts = dict.fromkeys(IN_WORDS, 0)
    for answer in answers:
        counts[_outcome(answer, replaced, together, here, gone, classes)] += 1
    return {name: number for name, number in counts.items() if number}


def _outcome(
    answer: Answer, replaced: Container[int | None], together: Consensus, here: Container[str], gone: Container[str],
    classes: Container[str],
) -> str:  # fmt: skip
    if answer.path not in here:
        return GONE if answer.path in gone else UNKNOWN
    if answer.id in replaced:
        return REPLACED
    if answer.verdict == "label" and answer.label not in classes:
        return UNKNOWN
    one = together.images[answer.path]
    if answer.verdict == "unsure":
        return UNSURE
    if one.tied:
        return TIE
    return TAKEN if (answer.verdict, answer.label) == (one.verdict, one.label) else OUTVOTED


def in_words(account: Mapping[str, int]) -> str:
    """The numbers as a sentence holds them.

    >>> in_words({"taken": 36, "tie": 2})
    '36 taken as labels, 2 tied, waiting for a third reader'
    """
    return ", ".join(f"{number:,} {IN_WORDS.get(name, name)}" for name, number in account.items())
