"""Answers into labels: the one rule by which what clinicians said takes the place of what the machine did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoannotate.runs.run import NONE_OF_THESE, NOT_USABLE

if TYPE_CHECKING:
    import pandas as pd

    from autoannotate.answers.consensus import Settled

LABEL_OF = {"none": NONE_OF_THESE, "discard": NOT_USABLE}
"""The label of an image that is of no class or not worth keeping, by the verdict."""


def merge_answers(table: pd.DataFrame, settled: Mapping[str, Settled]) -> pd.DataFrame:
    """The labels of a run with the clinicians' answers in their place.

    Parameters
    ----------
    table : DataFrame
        With the columns of labels.csv.
    settled : by path, the consensus of the readers. An image that nobody could tell, or with a tie, keeps its label
        and its doubt; answers about images that the table does not have are passed over.
    """
    known = {path: one for path, one in settled.items() if one.settled}
    rows = table["path"].isin(list(known))
    said = [known[path] for path in table.loc[rows, "path"]]
    table = table.copy()
    table.loc[rows, "label"] = [LABEL_OF.get(one.verdict, one.label) for one in said]
    table.loc[rows, "confidence"] = [1.0 if one.agreed or one.quality is None else one.quality for one in said]
    table.loc[rows, "source"] = "clinician"
    table.loc[rows, ["suspect", "suspect_score"]] = 0
    return table
