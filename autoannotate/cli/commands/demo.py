"""`autoannotate demo`: two stories on real images whose classes are known."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoannotate.cli.app import DEMO, app, plainly
from autoannotate.errors import InputError
from autoannotate.runs.save import ensure_writable

if TYPE_CHECKING:
    from autoannotate.annotator.annotations import Annotations
    from autoannotate.annotator.annotator import Annotator
    from autoannotate.images.demo import DemoSet

STORIES = ("chest-or-breast", "normal-or-pneumonia")
ANSWERS = 40
READER = "known truth"
"""Whose the answers are that the demo gives by itself; their source is `demo`."""
TRUSTED = {"good": "yes", "fair": "in part", "poor": "no, and says so", "unknown": "not estimated"}


@app.command(epilog="Example: autoannotate demo --out autoannotate-demo")
@plainly("Stopped. Run the same command to go on.")
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the images and the runs go.")] = DEMO,
    review: Annotated[
        bool, typer.Option("--review", help="Give the answers of the second story yourself, in a page of your browser.")
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the full MedMNIST sets (5 MB, 6,636 images) and take all images.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same labels.")] = 0,
) -> None:
    """Tell two stories on real images whose classes are known; needs no network.

    Chest X-rays against breast ultrasound: CLIP knows them, and the labels are right. Normal chest X-rays against pneumonia:
    CLIP guesses and says so, asks for 40 answers, and the other labels learn from them.
    """
    folders = [out / (f"{name}-full" if download else name) for name in STORIES]
    runs = [folder / "run" for folder in folders]
    for run in runs:
        _replace_own(run)

    from autoannotate.images.demo import DATA, EACH, SOURCE, chest_or_breast, normal_or_pneumonia

    source, each = (_downloaded(), None) if download else (DATA, EACH)
    typer.echo(f"The images: {SOURCE}. No student network is trained, to save time; `label` trains one.", err=True)

    first = chest_or_breast(folders[0], source, each)
    typer.echo(f"1. Chest or breast? {_sizes(first)}")
    _, known = _label(first, runs[0], seed)
    typer.echo(f"   {_verdict(known)}\n")

    second = normal_or_pneumonia(folders[1], source, each)
    typer.echo(f"2. Normal or pneumonia? {_sizes(second)}")
    annotator, guessed = _label(second, runs[1], seed)
    typer.echo(f"   {_verdict(guessed)}")
    answers = _answered_by_hand(runs[1]) if review else _answered_by_truth(guessed, second.truth, runs[1])
    learnt = _updated(annotator, guessed) if answers else None

    typer.echo("")
    _print_table([(first, known, None), (second, guessed, learnt)], answers)
    typer.echo(f"\nReport 1  {runs[0] / 'report.html'}: how sure the labels are, and samples of each class")
    typer.echo(f"Report 2  {runs[1] / 'report.html'}: what the answers changed, and what to ask next")
    typer.echo(f"Next      answer more of it yourself: autoannotate review {shlex.quote(str(runs[1]))}")


def _replace_own(run: Path) -> None:
    """Remove an earlier demo's run, unless a person answered in it. Raises OutputError where the run cannot be made."""
    from autoannotate.answers.store import AnswerStore

    if (run / "run.json").is_file() and AnswerStore.exists(run):
        with AnswerStore(run) as store:
            own = all((answer.reader, answer.source) == (READER, "demo") for answer in store.everything())
        if own:
            shutil.rmtree(run)
    ensure_writable(run, overwrite=True)


def _downloaded() -> Path:
    """The folder of the official files, fetched where they are not there yet. Raises InputError without a network."""
    from autoannotate.evaluation.datasets import download
    from autoannotate.images.demo import SETS
    from autoannotate.models.embedding_cache import default_folder

    folder = default_folder() / "medmnist"
    try:
        for name in SETS:
            download(name, folder)
    except InputError:
        raise InputError(
            "The MedMNIST sets cannot be fetched: is there a network? `autoannotate demo` without --download needs none."
        ) from None
    return folder


def _label(images: DemoSet, run: Path, seed: int) -> tuple[Annotator, Annotations]:
    """What `autoannotate label` does with the images, kept in `run`."""
    from autoannotate._internal.progress import on_stderr
    from autoannotate.annotator.annotator import Annotator

    annotator = Annotator(images.classes, student="none", seed=seed)
    annotations = annotator.label(images.images, track=on_stderr)
    classes = ",".join(images.classes)
    typed = ["autoannotate", "label", str(images.images), "--classes", classes, "--student", "none", "--out", str(run)]
    annotations.run["command"] = shlex.join(typed + (["--seed", str(seed)] if seed else []))
    annotations.run["arguments"] |= {"out": run.as_posix(), "seed": seed}
    annotations.save(run, overwrite=True)
    return annotator, annotations


def _answered_by_truth(guessed: Annotations, truth: Mapping[str, str], run: Path) -> int:
    """Answer the head of the queue with the known truth, as the review page keeps answers; returns how many."""
    from autoannotate.answers.store import Answer, AnswerStore

    paths = guessed.suspects["path"].tolist()[:ANSWERS]
    with AnswerStore(run) as store:
        store.add([Answer(path, READER, "label", truth[path], source="demo") for path in paths])
    typer.echo(f"   It asks about {len(paths)} images, answered here from the known truth in a clinician's place.")
    return len(paths)


def _answered_by_hand(run: Path) -> int:
    """Serve the review page until Ctrl-C; returns how many answers there are."""
    from autoannotate.review.server import serve

    typer.echo("   Answer some 40 images in the page, then press Ctrl-C here.", err=True)
    return serve(run)


def _updated(annotator: Annotator, guessed: Annotations) -> Annotations:
    from autoannotate._internal.progress import on_stderr

    return annotator.update(guessed, track=on_stderr)


def _sizes(images: DemoSet) -> str:
    """How many images there are of each class."""
    from autoannotate._internal.wording import listed

    counts = {name: sum(label == name for label in images.truth.values()) for name in images.classes}
    return listed(f"{n:,} of {name}" for name, n in counts.items()) + ", their truth hidden from the run."


def _verdict(annotations: Annotations) -> str:
    from autoannotate.runs.report_words import trust

    return str(trust(annotations.record)["verdict"])


def _print_table(stories: list[tuple[DemoSet, Annotations, Annotations | None]], answers: int) -> None:
    """How often CLIP and the labels are right, a column a story."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from autoannotate._internal.wording import percent
    from autoannotate.cli.console import make_console
    from autoannotate.runs.report_words import trust

    columns = []
    for images, before, after in stories:
        truth = before.table["path"].map(images.truth)
        right = {
            "images": f"{len(truth):,}",
            "CLIP right": percent((before.table["clip_label"] == truth).mean()),
            "does the run trust CLIP?": TRUSTED[trust(before.record)["level"]],
            "labels right": percent((before.table["label"] == truth).mean()),
            "images to ask a person about": f"{len(before.suspects):,}",
        }
        if after is not None:
            good, open_ = after.table["label"] == truth, after.table["source"] != "clinician"
            right[f"labels right after {answers:,} answers"] = percent(good.mean())
            right[f"… of the {int(open_.sum()):,} not answered"] = percent(good[open_].mean())
        columns.append(right)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for images, _, _ in stories:
        table.add_column(" / ".join(images.classes), justify="right")
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(column.get(name, "") for column in columns))
    make_console().print(table)
