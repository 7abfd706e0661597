"""Whether a student is trained on a set of images, in a word or two; its note says why."""

from enum import StrEnum


class Decision(StrEnum):
    """Whether a student is trained, decided by the data before it is."""

    TRAINED = "trained"
    STOPPED = "stopped half-way"
    NOT_ASKED = "not asked for"
    GUESSES = "labels are guesses"
    NOTHING_LEFT = "nothing left to correct"
    OVERLAP = "no label may change"
    TOO_FEW = "too few images"
