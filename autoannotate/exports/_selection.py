"""Which labels of a run are exported: those that are sure enough, answered or certified; and how they are split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from autoannotate._internal.wording import counted, percent
from autoannotate.errors import InputError, UsageError
from autoannotate.runs import tables
from autoannotate.runs.run import SEPARATOR, Run

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", bound=Run)
SPLITS = {2: ("train", "test"), 3: ("train", "val", "test")}


def select(run: R, what: str, min_confidence: float | None = None) -> tuple[R, list[str]]:
    """The run with the labels that are wanted, and what was left out, in words.

    Parameters
    ----------
    what : str
        suspects or all; answered: those that clinicians gave; certified: those in the run's certified.csv.
    min_confidence : float, optional
        The least confidence of a label, in [0, 1].

    Raises
    ------
    InputError
        Where there is no certificate, or nothing is left.
    UsageError
        Where the confidence is no share.
    """
    left_out: list[str] = []
    table = run.table
    if what == "answered":
        table = _kept(table, table["source"] == "clinician", "not answered by a clinician", left_out)
    if what == "certified":
        file = None if run.folder is None else run.folder / "certified.csv"
        if file is None or not file.exists():
            raise InputError(f"{run.folder or 'The run'} has no certified labels: autoannotate certify makes them.")
        if run.findings is not None:
            return _certified_findings(run, tables.read(file, ("path", "finding", "label")), min_confidence)
        certified = tables.read(file, ("path", "label"))
        promised = set(zip(certified["path"], certified["label"], strict=True))
        rows = [pair in promised for pair in zip(table["path"], table["label"], strict=True)]
        table = _kept(table, np.array(rows, dtype=bool), "not certified, or changed since", left_out)
    if min_confidence is not None:
        if not 0 <= min_confidence <= 1:
            raise UsageError(f"--min-confidence is a share from 0 to 1, as in 0.9; {min_confidence:g} is not.")
        sure = table["confidence"] >= min_confidence
        table = _kept(table, sure, f"of a confidence below {percent(min_confidence)}", left_out)
    if len(table) == len(run.table):
        return run, left_out
    suspects = run.suspects[run.suspects["path"].isin(set(table["path"]))]
    if not len(suspects if what == "suspects" else table):
        raise InputError(f"Nothing is left to export: {'; '.join(left_out)}.")
    return replace(run, table=table, suspects=suspects), left_out


def _certified_findings(run: R, certified: pd.DataFrame, min_confidence: float | None) -> tuple[R, list[str]]:
    """The run with the values that are certified; the others are undecided, and images without any are left out."""
    assert run.findings is not None
    promised = set(zip(certified["path"], certified["finding"], certified["label"], strict=True))
    findings = run.findings
    label = findings["finding"].where(findings["value"] == 1, "no " + findings["finding"])
    kept = np.array([each in promised for each in zip(findings["path"], findings["finding"], label, strict=True)])
    kept &= (findings["value"] >= 0).to_numpy()
    open_ = int((~kept).sum())
    left_out = [f"{counted(open_, 'value')} of a finding not certified, or changed since"] if open_ else []
    sure = findings.assign(value=np.where(kept, findings["value"], -1))
    there = sure[sure["value"] == 1].groupby("path", sort=False)["finding"].agg(SEPARATOR.join)
    some = run.table["path"].isin(set(sure.loc[kept, "path"]))
    if not some.any():
        raise InputError(f"Nothing is left to export: {'; '.join(left_out)}.")
    table = run.table[some]
    table = table.assign(label=[there.get(path, "") for path in table["path"]])
    suspects = run.suspects[run.suspects["path"].isin(set(table["path"]))]
    made = replace(run, table=table, suspects=suspects, findings=sure[sure["path"].isin(set(table["path"]))])
    if min_confidence is None:
        return made, left_out
    made, more = select(made, "all", min_confidence)
    return made, [*left_out, *more]


def _kept(table, rows, why: str, left_out: list[str]):  # type: ignore[no-untyped-def]
    if lost := int((~np.asarray(rows)).sum()):
        left_out.append(f"{counted(lost, 'label')} {why}")
    return table[np.asarray(rows)]


def with_probabilities(run: R) -> R:
    """The run with a column `probability of CLASS` for each class.

    Raises
    ------
    InputError
        Where it has no probabilities.
    """
    if run.probabilities is None:
        raise InputError("The run has no probabilities.csv, since an older autoannotate made it: label again.")
    known = run.probabilities.rename(columns={name: f"probability of {name}" for name in run.probabilities.columns[1:]})
    return _with_columns(run, known)


def with_split(run: R, shares: Sequence[float], seed: int = 0) -> R:
    """The run with a column `split`; images of a group (the column `group`, where the run has one) are in one part.

    Groups are dealt out, the largest first and in random order, to the part that lacks most of their classes.

    Raises
    ------
    UsageError
        Where the shares are not two or three positive numbers.
    """
    if len(shares) not in SPLITS or min(shares) <= 0:
        raise UsageError("--split takes two or three shares: train and test, or train, val and test, as in 70,15,15.")
    names, wanted = SPLITS[len(shares)], np.asarray(shares, dtype=float) / sum(shares)
    labels = np.unique(run.table["label"].to_numpy(dtype=str), return_inverse=True)[1]
    group = run.table["group"].astype(str).to_numpy() if "group" in run.table else np.full(len(labels), "")
    group = np.where(group == "", [f"\0{i}" for i in range(len(labels))], group)
    numbers = np.unique(group, return_inverse=True)[1]
    counts = np.zeros((numbers.max(initial=-1) + 1, labels.max(initial=-1) + 1))
    np.add.at(counts, (numbers, labels), 1)
    lacking = wanted[:, None] * counts.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(counts))
    part = np.zeros(len(counts), dtype=int)
    for one in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        part[one] = int(np.argmax(lacking @ counts[one]))
        lacking[part[one]] -= counts[one]
    split = run.table[["path"]].assign(split=np.array(names, dtype=object)[part[numbers]])
    return _with_columns(run, split)


def _with_columns(run: R, more) -> R:  # type: ignore[no-untyped-def]
    return replace(
        run, table=run.table.merge(more, on="path"), suspects=run.suspects.merge(more, on="path", how="left")
    )
