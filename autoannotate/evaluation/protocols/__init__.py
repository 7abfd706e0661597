"""Ways to measure: one module a protocol, found by the name of its file. Adding a protocol is adding such a file.

A protocol's module says in the first line of its docstring what it measures, and has

    BASELINE = "given"                       # the method that the others are compared with, in pairs, run by run
    DEFAULT = ("given", "knn", "ours")       # the methods run when --methods does not say
    HEADLINE = ("accuracy", "macro_f1")      # the metrics of the box plots and of the table on the command line
    OPTIONS = frozenset({"count", "noise"})  # the fields of `study.Options` that it reads; others are refused
    CURVE = None                             # or Curve("reviewed", "accuracy"), when outcomes have points

    def methods() -> tuple[str, ...]: ...                               # every name that --methods may hold
    def check(data: LabelledSet, options: Options) -> None: ...         # raises InputError or UsageError before the first run
    def run_once(study: Study, seed: int, method: str) -> Outcome: ...  # one method in one run

`run_once` is called for each run and method, in any process: it must draw everything from `seed` (`study.rng(seed, SPLIT)`,
salts in `study.py`; run r has seed S + r), so that methods meet the same sample, split and noise, and so that `--jobs` and a
resumed evaluation give the same numbers. What it shares between the methods of a run goes through
`study.once("problem", seed, make)`. It may raise: the runner makes a row `failed` of it with the sentence.

Where the methods depend on the data or the options, optional `offered(data, options)` names those that there are,
`usual(data, options)` those that run when none are named, and `lacking(name)` says why one is not there. Optional `words()`
says what each is.

A metric that does not apply is NaN. Metrics are shares (0 to 1); those of which less is better are named in an optional
`LOWER = frozenset({…})`. Where the first headline compares a method with another than the baseline, an optional
`AGAINST = {method: other}` says which. An option of its own is a field in `study.Options` and an option in `commands.py`.
`protocols/noise.py` is the example to copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from autoannotate._internal.choices import chosen, chosen_module, module_names
from autoannotate.errors import UsageError

if TYPE_CHECKING:
    from autoannotate.evaluation.labelled_set import LabelledSet
    from autoannotate.evaluation.study import Options, Outcome, Study


@dataclass(frozen=True)
class Curve:
    """What the points of an outcome are drawn over: `x` and `y` name keys of each point; the labels are for the axes."""

    x: str
    y: str
    x_label: str = ""
    y_label: str = ""


class EvaluationProtocol(Protocol):
    """What a module in this folder offers."""

    BASELINE: str
    DEFAULT: tuple[str, ...]
    HEADLINE: tuple[str, ...]
    OPTIONS: frozenset[str]
    CURVE: Curve | None
    LEAST: int  # images of a class

    def methods(self) -> tuple[str, ...]:
        """Every name that `--methods` may hold."""

    def check(self, data: LabelledSet, options: Options) -> None:
        """Raises `InputError` or `UsageError` where the protocol cannot run."""

    def run_once(self, study: Study, seed: int, method: str) -> Outcome:
        """One method in one run."""


def protocols() -> list[str]:
    """The names of the protocols.

    >>> "noise" in protocols() and "pair" in protocols()
    True
    """
    return module_names(__name__)


def find_protocol(name: str) -> EvaluationProtocol:
    """The protocol of that name.

    Raises
    ------
    UsageError
        With the names there are, and the nearest one.
    """
    return cast(EvaluationProtocol, chosen_module(__name__, name, "protocol"))


def chosen_methods(
    module: EvaluationProtocol, names: Sequence[str], data: LabelledSet, options: Options
) -> tuple[str, ...]:
    """The methods of a protocol that were asked for: the usual where none are named, all there are for ("all",).

    Raises
    ------
    UsageError
        For one that there is not, or that the data or options do not allow.
    """
    offered = getattr(module, "offered", lambda *_: module.methods())(data, options)
    if tuple(names) == ("all",):
        return tuple(offered)
    names = names or getattr(module, "usual", lambda *_: module.DEFAULT)(data, options)
    for name in names:
        if name in module.methods() and name not in offered:
            raise UsageError(module.lacking(name))  # type: ignore[attr-defined]
    return tuple(dict.fromkeys(chosen(name, offered, "method") for name in names))
