"""What a run ends with on stdout: a small table, whether to believe it, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoannotate._internal.wording import counted, percent
from autoannotate.cli.console import make_console
from autoannotate.runs.pictures import review_command
from autoannotate.runs.proposals import applied_unseen, decided_in_words, waiting, waiting_in_words
from autoannotate.runs.report import mostly_passed_over, noted, passed_over
from autoannotate.runs.report_words import class_counts, collapsed, sources_in_words, trust
from autoannotate.runs.run import FINDINGS_FILE

if TYPE_CHECKING:
    from autoannotate.annotator.annotations import Annotations

MOST_CLASSES = 30
SKIPPED = 20  # rows left out that are named
STYLES = {"good": "green", "fair": "yellow", "poor": "red", "unknown": "dim"}


def print_summary(annotations: Annotations, folder: Path, console: Console | None = None) -> None:
    """Show the run that was saved in `folder`: coloured on a terminal, plain text in a pipe or file."""
    console = console or make_console()
    if foreign := mostly_passed_over(annotations):
        console.print(Text(foreign, style="yellow"), soft_wrap=True)
        console.print()
    console.print(_findings_table(annotations) if annotations.findings is not None else _classes_table(annotations))
    console.print()

    for name, value in lines(annotations):
        console.print(Text.assemble((f"{name:<33}", "dim"), value), soft_wrap=True)
    found = trust(annotations.record)
    console.print()
    console.print(Text(found["verdict"], style=STYLES[found["level"]]), soft_wrap=True)
    if found["advice"] and found["advice"] not in found["verdict"]:
        console.print(Text(found["advice"]), soft_wrap=True)
    rows = annotations.run.get("skipped") or []
    for skipped in rows[:SKIPPED]:
        console.print(Text(f"Left out: {skipped}", style="yellow"), soft_wrap=True)
    if len(rows) > SKIPPED:
        console.print(Text(f"Left out: {len(rows) - SKIPPED:,} more, see skipped in run.json", style="yellow"))
    for said in (collapsed(annotations), annotations.run.get("doubts"), annotations.run.get("note")):
        if said:
            console.print(Text(str(said), style="yellow"), soft_wrap=True)

    console.print()
    console.print(Text.assemble(("Report  ", "bold"), str(folder / "report.html")), soft_wrap=True)
    console.print(Text.assemble(("Labels  ", "bold"), str(folder / "labels.csv")), soft_wrap=True)
    if annotations.findings is not None:
        console.print(Text.assemble(("Each    ", "bold"), str(folder / FINDINGS_FILE)), soft_wrap=True)
    console.print(Text.assemble(("Next    ", "bold"), next_step(annotations, folder)), soft_wrap=True)


def _findings_table(annotations: Annotations) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("finding")
    for name in ("present", "absent", "undecided", "to check"):
        table.add_column(name, justify="right")
    table.add_column("told apart")
    for name, found in list(annotations.record.findings.items())[:MOST_CLASSES]:
        counts = (f"{found[what]:,}" for what in ("present", "absent", "undecided", "suspects"))
        table.add_row(Text(name), *counts, "yes" if found["meaningful"] else "a guess")
    return table


def _classes_table(annotations: Annotations) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("class")
    for name in ("images", "share", "suspects"):
        table.add_column(name, justify="right")
    counts = class_counts(annotations)
    images = len(annotations.table)
    for row in counts[:MOST_CLASSES]:
        doubtful = f"{row['suspects']:,}"
        table.add_row(Text(row["name"]), f"{row['images']:,}", percent(row["share"]), doubtful)
    if len(counts) > MOST_CLASSES:
        table.add_row(f"{len(counts) - MOST_CLASSES} more, in labels.csv", "", "", "")
    if len(counts) > 1:
        table.add_section()
        table.add_row("all", f"{images:,}", "", f"{len(annotations.suspects):,}")
    return table


def lines(annotations: Annotations) -> list[tuple[str, str]]:
    """The numbers of a run beside its classes, as name and value."""
    record, images = annotations.record, max(len(annotations.table), 1)
    rows = []
    disagreed = record.counts.clip_student_disagreements
    if disagreed is not None:
        share = percent(disagreed / images)
        rows.append(("CLIP and the student disagree", f"{counted(disagreed, 'image')} ({share})"))
    if note := record.student.note:
        rows.append(("the student", note))
    if sources := annotations.run.get("sources"):
        rows.append(("sources, how often right", sources_in_words(sources)))
    rate, guesses = record.estimated_error_rate, trust(record)["level"] == "poor"
    if guesses:
        rows.append(("labels estimated wrong", "unknown: they are close to guesses"))
    elif rate is not None:
        rows.append(("labels estimated wrong", percent(rate)))
    doubted = len(annotations.suspects)
    asked = "images for a person to answer" if guesses else "suspects, for a person to check"
    rows.append((asked, f"{doubted:,} ({percent(doubted / images)})"))
    if copies := record.counts.copies:
        rows.append(("copies", f"{copies:,} of {images:,} images are (nearly) the same picture as another"))
    if foreign := record.counts.none_of_these:
        rows.append(("images of none of the classes", f"{counted(foreign, 'image')} ({percent(foreign / images)})"))
    rows += [("proposed, not applied", waiting_in_words(one)) for one in waiting(annotations.record.proposals)]
    rows += [("proposed", decided_in_words(one)) for one in applied_unseen(annotations.record.proposals)]
    left_out = ": unreadable.csv says why" if len(annotations.unreadable) else ""
    rows.append(("files that could not be used", f"{len(annotations.unreadable):,}{left_out}"))
    if groups := passed_over(record):
        rows.append(("files passed over", ", ".join(f"{group.kind} ({group.count:,})" for group in groups)))
    if assumed := sum(noted(annotations).values()):
        rows.append(("pictures shown with assumptions", f"{assumed:,}, see the column note of labels.csv"))
    return rows


def next_step(annotations: Annotations, folder: Path) -> str:
    """The one thing to do now."""
    review = review_command(annotations.record, folder)
    if any(one["ask"] for one in waiting(annotations.record.proposals)):
        return f"answer the spot checks, which come first, then update: {review}"
    if trust(annotations.record)["level"] == "poor":
        return f"do not use these labels as they are: answer what teaches them, {review}"
    if len(annotations.suspects):
        return f"check the suspects, worst first: {review}"
    return f"look along the samples of each class in the report, or at all of them, forty at a time: {review}"
