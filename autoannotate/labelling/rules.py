"""Rules between findings, in words that a clinician can write: read, checked, and kept by the probabilities.

Hard rules say which sets of findings are possible. The probabilities of an image are projected to the nearest, in squares, that
keep every rule as an inequality: of a clause, the probabilities of what is there and of the absence of what is not add up to
one or more; of findings of which one is there at most, to one or less. What keeps them already stays. (Conditioning independent
probabilities on the possible sets, the I-projection, moved those too, and ranked images worse: eval/NOTES.md.) The dual is
solved by Hildreth's method (Hildreth 1957, "A quadratic programming procedure"; Lent and Censor 1980).

The values of an image are its most probable possible set, exactly: possible sets are enumerated within each group of findings
that rules tie together. Soft rules are learned by counting, see `soft_rules.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoannotate.errors import InputError

MOST_STATES = 100_000  # possible sets of findings that are tied together
ALL = "all"
BLOCK = 4_000_000  # numbers held at once
SWEEPS = 300  # of Hildreth's method, over all inequalities
LEAST, KNOWN = 1e-4, 1e-9  # no probability is surer, but of what a clinician said
FORMS = (
    "a implies b; a < b; a excludes b, c; a excludes all; exactly one of: a, b; at most one of: a, b; at least one of: a, b; "
    "a or b suggests c"
)

Clause = tuple[frozenset[int], frozenset[int]]  # one of the first is there, or one of the second is not


@dataclass(frozen=True)
class Rule:
    """A rule as it was written.

    Attributes
    ----------
    clauses : what must hold, as numbers of findings
    one : findings of which one is there at most
    suggests : of a soft rule, the findings of which one, or all (`every`), makes the other likelier
    """

    text: str
    clauses: tuple[Clause, ...] = ()
    suggests: tuple[tuple[int, ...], int] | None = None
    every: bool = False
    one: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules between F findings, which something can satisfy.

    Raises
    ------
    InputError
        Where nothing can satisfy all of them, or too many findings are tied together to count the sets that are possible.
    """

    names: tuple[str, ...]
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        _ = self.possible

    @classmethod
    def read(cls, texts: Iterable[str], names: Sequence[str], same: Callable[[str], str] = str.casefold) -> Rules:
        """The rules in some texts, one each; empty ones and those behind # are passed over.

        Parameters
        ----------
        names : the findings
        same : what two spellings of a name share

        Raises
        ------
        InputError
            For a text that is no rule, a finding that is none of `names`, or rules that nothing can satisfy.

        >>> Rules.read(["pneumonia implies abnormal"], ["abnormal", "pneumonia"]).broken({"pneumonia": 1, "abnormal": 0})
        ['pneumonia implies abnormal']
        """
        plain = (" ".join(text.split("#")[0].split()) for text in texts)
        return cls(tuple(names), tuple(_rule(text, list(names), same) for text in plain if text))

    @property
    def hard(self) -> tuple[Rule, ...]:
        """The rules that no row may break."""
        return tuple(rule for rule in self.rules if rule.clauses)

    @property
    def soft(self) -> tuple[Rule, ...]:
        """The rules that make a finding likelier."""
        return tuple(rule for rule in self.rules if rule.suggests is not None)

    @property
    def parents(self) -> dict[str, str]:
        """What each finding is a kind of, by the rules of the form `a implies b`; the first of several, and no circles.

        >>> Rules.read(["pneumonia implies opacity", "opacity implies abnormal"], ["abnormal", "opacity", "pneumonia"]).parents
        {'pneumonia': 'opacity', 'opacity': 'abnormal'}
        """
        found: dict[str, str] = {}
        for there, absent in (clause for rule in self.hard for clause in rule.clauses):
            if len(there) != 1 or len(absent) != 1:
                continue
            (parent,), (child,) = there, absent
            above = self.names[parent]
            while above in found and above != self.names[child]:
                above = found[above]
            if above != self.names[child]:
                found.setdefault(self.names[child], self.names[parent])
        return found

    def broken(self, values: Mapping[str, int]) -> list[str]:
        """The rules that some values, 1 or 0 by finding, break, whatever the others are; -1 is not known."""
        known = {i: values[name] for i, name in enumerate(self.names) if values.get(name, -1) >= 0}
        return [
            rule.text
            for rule in self.hard
            if any(
                all(known.get(i) == 0 for i in there) and all(known.get(i) == 1 for i in absent)
                for there, absent in rule.clauses
            )
        ]

    def breaks(self, values: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(N,) bool, rows of values, (N, F) in 1, 0 and -1, that break a rule."""
        broken = np.zeros(len(values), dtype=bool)
        for rule in self.hard:
            for there, absent in rule.clauses:
                broken |= (values[:, sorted(there)] == 0).all(axis=1) & (values[:, sorted(absent)] == 1).all(axis=1)
        return broken

    @cached_property
    def possible(self) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """For each group of findings that rules tie together, their numbers, (m,), and the sets that are possible, (S, m)."""
        clauses = [clause for rule in self.hard for clause in rule.clauses]
        found = []
        for group in _tied(clauses):
            mine = [clause for clause in clauses if (clause[0] | clause[1]) <= set(group)]
            states = _states(group, mine)
            if not len(states):
                texts = [rule.text for rule in self.hard if any(clause in mine for clause in rule.clauses)]
                raise InputError(f"Nothing can satisfy all of these rules: {'; '.join(texts)}. Leave one of them out.")
            if never := [self.names[f] for f, ever in zip(group, states.max(axis=0).tolist(), strict=True) if not ever]:
                raise InputError(f"By the rules no image can show {never[0]}: leave out one of those that name it.")
            found.append((np.array(group, dtype=np.int64), states))
        return found

    def project(
        self, probability: NDArray[np.floating], known: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The nearest probabilities that keep the hard rules, and the most probable possible values.

        Parameters
        ----------
        probability : (N, F) array
            That each finding is there, independently.
        known : (N, F) bool array, optional
            What was said by a clinician, in which the rules hardly move a probability of 1 or 0.

        Returns
        -------
        (N, F) array, (N, F) int array
        """
        made = self._nearest(np.array(probability, dtype=np.float64), known)
        values = (made >= 0.5).astype(np.int64)
        edge = np.full(made.shape, LEAST) if known is None else np.where(known, KNOWN, LEAST)
        sure = np.clip(probability, edge, 1.0 - edge)
        for group, states in self.possible:
            there, absent = np.log(sure[:, group]), np.log1p(-sure[:, group])
            size = max(1, BLOCK // len(states))
            for start in range(0, len(made), size):
                rows = slice(start, start + size)
                fit = there[rows] @ states.T + absent[rows] @ ~states.T
                values[rows, group] = states[fit.argmax(axis=1)]
        return made, values

    @cached_property
    def _halfspaces(self) -> list[tuple[NDArray[np.int64], NDArray[np.float64], float]]:
        """Findings i, signs a and b of the inequalities a · p_i >= b."""
        found = []
        for rule in self.hard:
            for there, absent in rule.clauses:
                which = np.array([*sorted(there), *sorted(absent)], dtype=np.int64)
                signs = np.concatenate([np.ones(len(there)), -np.ones(len(absent))])
                found.append((which, signs, 1.0 - len(absent)))
            if rule.one:
                which = np.array(sorted(rule.one), dtype=np.int64)
                found.append((which, -np.ones(len(which)), -1.0))
        tied = sorted({int(i) for which, _, _ in found for i in which})
        return found + [(np.array([i]), np.array([sign]), b) for i in tied for sign, b in ((1.0, 0.0), (-1.0, -1.0))]

    def _nearest(self, probability: NDArray[np.float64], known: NDArray[np.bool_] | None) -> NDArray[np.float64]:
        """The nearest probabilities that keep the inequalities; what is known moves a millionth as easily."""
        made = probability
        easy = np.ones(made.shape) if known is None else np.where(known, 1e-6, 1.0)
        pull = np.zeros((len(self._halfspaces), len(made)))
        for _ in range(SWEEPS):
            most = 0.0
            for h, (which, signs, least) in enumerate(self._halfspaces):
                step = (least - made[:, which] @ signs) / easy[:, which].sum(axis=1)
                step = np.maximum(step, -pull[h])
                made[:, which] += easy[:, which] * signs * step[:, None]
                pull[h] += step
                most = max(most, float(np.abs(step * easy[:, which].max(axis=1)).max(initial=0.0)))
            if most < 1e-9:
                break
        return np.clip(made, 0.0, 1.0)


def _rule(text: str, names: list[str], same: Callable[[str], str]) -> Rule:
    number = {same(name): i for i, name in enumerate(names)}

    def one(name: str) -> int:
        if same(name) not in number:
            raise InputError(
                f"The rule {text!r} names {name.strip()!r}, which is none of the findings {', '.join(names)}."
            )
        return number[same(name)]

    def several(part: str) -> list[int]:
        pieces = [piece.strip() for piece in part.split(",") if piece.strip()]
        found: list[str] = []
        for piece in pieces:  # a name may hold the words itself
            whole = same(piece) in number
            found += [piece] if whole else [name for name in re.split(r"(?i)\b(?:and|or)\b", piece) if name.strip()]
        return [one(name.strip()) for name in found]

    if match := re.fullmatch(r"(?i)(exactly|at most|at least) one of:? (.+)", text):
        which = sorted(set(several(match[2])))
        some: list[Clause] = [(frozenset(which), frozenset())]
        pairs: list[Clause] = [(frozenset(), frozenset({a, b})) for i, a in enumerate(which) for b in which[i + 1 :]]
        kind = match[1].casefold()
        one_at_most = frozenset(which) if kind != "at least" else frozenset()
        clauses = (some if kind != "at most" else []) + (pairs if kind != "at least" else [])
        return Rule(text, tuple(clauses), one=one_at_most)
    if match := re.fullmatch(r"(?i)(.+?) (implies|excludes|suggests) (.+)|(.+?) ?< ?(.+)", text):
        left, word, right = (match[1], match[2].casefold(), match[3]) if match[2] else (match[4], "implies", match[5])
        together = same(left.strip()) not in number and bool(re.search(r"(?i)\band\b", left))
        given = several(left)
        if word == "suggests":
            return Rule(text, suggests=(tuple(given), one(right)), every=together)
        if word == "excludes":
            others = set(range(len(names))) - set(given) if right.strip().casefold() == ALL else set(several(right))
            return Rule(text, tuple((frozenset(), frozenset({a, b})) for a in given for b in sorted(others)))
        sides = [frozenset(given)] if together else [frozenset({a}) for a in given]
        return Rule(text, tuple((frozenset({b}), side) for side in sides for b in several(right)))
    raise InputError(f"{text!r} is no rule that is understood. Rules are written as in: {FORMS}.")


def _tied(clauses: Sequence[Clause]) -> list[list[int]]:
    """The findings in groups: two of one clause are in one group."""
    groups: list[set[int]] = []
    for there, absent in clauses:
        mine = set(there | absent)
        for group in [group for group in groups if group & mine]:
            mine |= group
            groups.remove(group)
        groups.append(mine)
    return [sorted(group) for group in groups]


def _states(group: Sequence[int], clauses: Sequence[Clause]) -> NDArray[np.bool_]:
    """The sets that satisfy the clauses, (S, m) bool: built finding by finding, without what cannot be satisfied any more."""
    place = {finding: i for i, finding in enumerate(group)}
    states = np.zeros((1, 0), dtype=bool)
    for i in range(len(group)):
        states = np.concatenate([np.column_stack([states, np.full(len(states), value)]) for value in (False, True)])
        for there, absent in clauses:
            where = [place[finding] for finding in there | absent]
            if max(where) == i:  # all that it is about is decided now
                kept = states[:, [place[f] for f in sorted(there)]].any(axis=1)
                kept |= (~states[:, [place[f] for f in sorted(absent)]]).any(axis=1)
                states = states[kept]
        if len(states) > MOST_STATES:
            raise InputError(
                f"The rules tie {len(group)} findings together, more than can be counted: leave out rules or findings."
            )
    return states
