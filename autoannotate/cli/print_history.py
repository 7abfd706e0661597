"""The history of a run in words, as `autoannotate history` prints it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoannotate._internal.wording import counted, listed, percent
from autoannotate.answers.account import in_words as account_in_words
from autoannotate.answers.consensus import latest
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.cli.console import make_console
from autoannotate.runs.growth import in_words
from autoannotate.runs.history import Round, learnt, rounds
from autoannotate.runs.proposals import decided_in_words

MOST = 40  # lines of one kind; the files have them all


def answers_by_id(folder: Path) -> dict[int, Answer]:
    """All answers ever given about the run, by id."""
    if not AnswerStore.exists(folder):
        return {}
    with AnswerStore(folder) as store:
        return {answer.id: answer for answer in store.everything() if answer.id is not None}


def print_history(folder: Path, console: Console | None = None) -> None:
    """One line a round: when, how many labels changed, how many are clinicians', what is left to ask, the share estimated to be
    wrong, and whose answers made it."""
    console = console or make_console()
    answers, told = answers_by_id(folder), rounds(folder)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("round", justify="right")
    table.add_column("when (UTC)", no_wrap=True)
    for name in ("changed", "answered", "queue", "wrong?"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for one in told:
        rate = one.after.get("estimated_error_rate")
        table.add_row(
            str(one.number), _minute(one), f"{len(one.changes):,}" if one.number else "",
            f"{one.after.get('answered', 0):,}", f"{one.after.get('suspects', 0):,}",
            "" if rate is None else percent(rate), Text(what(one, answers)),
        )  # fmt: skip
    console.print(table)
    console.print()
    if account := told[-1].account:
        said = f"{counted(sum(account.values()), 'answer')} in round {told[-1].number}: {account_in_words(account)}"
        console.print(said, soft_wrap=True)
    known = learnt(told)
    waiting = [one for one in latest(answers.values()).values() if one.id not in known]
    if waiting:
        said = f"{counted(len(waiting), 'answer')} from which the other labels have not learnt yet"
        console.print(f"{said}: autoannotate update {shlex.quote(str(folder))}", soft_wrap=True)
    console.print(f"What changed and why: autoannotate history {folder} --round {told[-1].number}")


def print_update(folder: Path, new_round: bool, console: Console | None = None) -> None:
    """What the update that just ended did."""
    console = console or make_console()
    one, answers = rounds(folder)[-1], answers_by_id(folder)
    if not new_round:
        said = "Nothing was answered since the last update" if one.answers else "Nothing was answered yet"
        console.print(f"{said}, no image joined or left, and the labels are the same.\n", soft_wrap=True)
        return
    changed = Counter("answered" if change.why.endswith("answered") else "others" for change in one.changes)
    console.print(
        f"Round {one.number}: {what(one, answers)}. {counted(len(one.changes), 'label')} changed, {changed['others']:,} of "
        f"them beyond what was answered. History: autoannotate history {folder}\n",
        soft_wrap=True,
    )
    if one.account:
        console.print(
            f"{counted(sum(one.account.values()), 'answer')}: {account_in_words(one.account)}.", soft_wrap=True
        )
    _print_decided(one, console)


def print_round(folder: Path, one: Round, console: Console | None = None) -> None:
    """Who answered what when, and which labels changed and why."""
    console = console or make_console()
    answers = answers_by_id(folder)
    console.print(Text(f"Round {one.number}, {_minute(one)} UTC: {what(one, answers)}", style="bold"), soft_wrap=True)
    _print_answers("Answered", [answers[i] for i in one.new if i in answers], console)
    _print_answers("Taken back", [answers[i] for i in one.taken_back if i in answers], console)
    _print_decided(one, console)
    if one.changes:
        console.print(f"\nLabels changed: {len(one.changes):,}")
    for change in one.changes[:MOST]:
        line = f"  {change.path}  {change.before} → {change.after}  {change.why}"
        console.print(Text(line), soft_wrap=True)
    if len(one.changes) > MOST:
        console.print(f"  and {len(one.changes) - MOST:,} more, in rounds/{one.number:04}/round.json")


def _minute(one: Round) -> str:
    return one.made_at[:16].replace("T", " ")


def _print_decided(one: Round, console: Console) -> None:
    """The groups of proposals that the round decided."""
    for group in one.proposals:
        console.print(Text(f"Proposal {group['group']} {decided_in_words(group)}."), soft_wrap=True)


def what(one: Round, answers: Mapping[int, Answer]) -> str:
    """What made the round, in a few words."""
    if one.what == "label":
        return "the first labels"
    if one.what == "queue":
        return "images put first in the queue"
    if one.what == "restore":
        return f"round {one.restored} restored"
    by = Counter(answers[i].reader for i in one.learnt or one.new if i in answers)
    said = [f"{name} {n:,}" for name, n in sorted(by.items())]
    words = f"{'applied' if one.what == 'apply' else 'answers'}: {listed(said)}" if said else "no new answers"
    states = Counter(group["state"] for group in one.proposals)
    words += "".join(f"; {counted(number, 'proposal')} {state}" for state, number in states.items())
    words += f"; {len(one.taken_back):,} taken back" if one.taken_back else ""
    return words + (f"; {in_words(one.files)}" if one.files else "")


def _print_answers(title: str, answers: Sequence[Answer], console: Console) -> None:
    if answers:
        console.print(f"\n{title}: {len(answers):,}")
    for one in answers[:MOST]:
        note = f"  “{one.note}”" if one.note else ""
        line = f"  {one.answered_at[:19].replace('T', ' ')}  {one.reader}  {one.path}  {one.label or one.verdict}{note}"
        console.print(Text(line), soft_wrap=True)
    if len(answers) > MOST:
        console.print(f"  and {len(answers) - MOST:,} more, in answers.sqlite")
