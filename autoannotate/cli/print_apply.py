"""What `autoannotate apply` prints: what became of the answers, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoannotate._internal.wording import counted, listed
from autoannotate.answers.account import in_words
from autoannotate.answers.apply import REPORT, Applied
from autoannotate.answers.checks import KNOWN, LEFT, NEW, OLDER, PROBLEM, REPEATED, WAITS
from autoannotate.cli.console import make_console

if TYPE_CHECKING:
    import pandas as pd

    from autoannotate.annotator.annotations import Annotations

MOST = 20  # rows shown; the report has them all
SHOWN = ("where", "path", "reader", "answer", "problem")


def print_problems(report: pd.DataFrame, console: Console | None = None) -> None:
    """The answers that do not fit, one a line."""
    console = console or make_console()
    wrong = report[report["outcome"] == PROBLEM]
    if wrong.empty:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for name in SHOWN:
        table.add_column(name, overflow="fold")
    for row in wrong.head(MOST)[list(SHOWN)].itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)
    if len(wrong) > MOST:
        console.print(f"and {len(wrong) - MOST:,} more, in {REPORT}")
    if LEFT in set(report["outcome"]) and (fine := int(report["outcome"].isin([LEFT, KNOWN, OLDER]).sum())):
        console.print(f"{counted(fine, 'answer')} would fit.")


def print_applied(before: Annotations, applied: Applied, folder: Path, console: Console | None = None) -> None:
    """What was applied, what not and why, and what that did to the labels and the queue."""
    console = console or make_console()
    report, after = applied.report, applied.annotations
    print_problems(report, console)
    readers = listed(sorted(set(report["reader"][report["outcome"] != PROBLEM])))
    said = [f"{counted(applied.count(NEW), 'answer')} of {readers} applied"] if readers else ["No answer applied"]
    for outcome, words in (
        (WAITS, "tied with another reader's and waiting for a third"),
        (KNOWN, "known already"),
        (REPEATED, "repeated in the file"),
        (OLDER, "older than what the same reader said since"),
        (PROBLEM, "left out"),
    ):
        if number := applied.count(outcome):
            said.append(f"{number:,} {words}")
    if applied.unseen:
        said.append(f"{counted(applied.unseen, 'label')} left as the machine gave them (not taken for answers)")
    console.print(Text("; ".join(said) + "."), soft_wrap=True)
    labels = dict(zip(before.table["path"], before.table["label"], strict=True))
    changed = sum(
        labels.get(path) != label for path, label in zip(after.table["path"], after.table["label"], strict=True)
    )
    queue = f"suspects {len(before.suspects):,} → {len(after.suspects):,}"
    console.print(f"Labels changed: {changed:,}; {queue}. Each answer: {folder / REPORT}", soft_wrap=True)
    if applied.account:
        console.print(f"All {counted(sum(applied.account.values()), 'answer')} of the run: {in_words(applied.account)}.",
                      soft_wrap=True)  # fmt: skip
    if applied.count(NEW):
        command = f"autoannotate update {shlex.quote(str(folder))}"
        console.print(Text.assemble(("Next  ", "bold"), f"{command}  lets the answers improve the other labels"))
