"""What the report shows of an audit: shares of wrong labels, the confident joint, near duplicates and leaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from autoannotate.runs.issues import wrong_labels_in_words

if TYPE_CHECKING:
    from autoannotate.runs.record import RunRecord

PAIRS = 12  # near duplicates shown as pictures
LEAKS = 20
MOST_CLASSES = 16  # of the joint: those whose labels are wrong most often
KINDS = {
    "label": "labels that the other images contradict",
    "contradiction": "near duplicates with different labels",
    "none-of-these": "images of another kind than the others",
    "outlier": "images far from every other",
    "class": "classes that are confused, or cannot be told apart",
    "group": "groups on both sides of a split, and classes that one site alone has",
    "quality": "dark, bright, blurred, empty or oddly shaped pictures",
    "duplicate": "near duplicates with the same label",
    "rule": "labels that break a rule between classes",
}
"""What each kind of issue is, in words."""


def audit(record: RunRecord, pictures: Callable[[str], Any]) -> dict[str, Any] | None:
    """All that the report shows of an audit; None where the run is none, or one of several findings an image.

    Parameters
    ----------
    pictures : gives the small picture of a path
    """
    told = record.audit
    if not told or "joint" not in told:
        return None
    rates = {name: rate for name, rate in told["error_rates"].items() if name != "all"}
    classes = list(rates)
    shown = sorted(range(len(classes)), key=lambda k: -_worst(rates[classes[k]]))[:MOST_CLASSES]
    joint = [
        {"name": classes[i], "cells": [{"name": classes[j], "share": told["joint"][i][j]} for j in sorted(shown)]}
        for i in sorted(shown)
    ]
    pairs = [
        {**pair, "pictures": [{"path": path, "picture": pictures(path)} for path in pair["paths"]]}
        for pair in told.get("pairs", [])[:PAIRS]
    ]
    issues = sorted(told["issues"].items(), key=lambda each: -each[1])
    return {
        "issues": [{"kind": kind, "count": count, "words": KINDS.get(kind, "")} for kind, count in issues],
        "all": told["error_rates"]["all"],
        "wrong": wrong_labels_in_words(told["error_rates"]["all"]),
        "rates": _intervals(rates),
        "annotators": [
            {"name": who, **found, "interval": _intervals({who: found["wrong"]})[0] if "wrong" in found else None}
            for who, found in told["annotators"].items()
        ],
        "tied": told.get("tied", 0),
        "joint": joint,
        "pairs": pairs,
        "leaks": told.get("leaks", [])[:LEAKS],
        "more_leaks": max(0, len(told.get("leaks", [])) - LEAKS),
    }


def _intervals(rates: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Shares, None where they cannot be told, with their intervals or bounds, the worst first."""
    return [
        {"name": name, "rate": rate, "low": low, "high": high}
        for name, (rate, low, high) in sorted(rates.items(), key=lambda each: -_worst(each[1]))
    ]


def _worst(rate: list[float]) -> float:
    return rate[2] if rate[0] is None else rate[0]
