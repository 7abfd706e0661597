"""The command line: each command checks what it was given, calls the public API and prints what came out.

Results go to stdout, progress and errors to stderr. Exit status: 0 done, 1 failed with a plain sentence,
2 wrong usage, 130 stopped with Ctrl-C. Heavy imports happen inside the commands: `--help` answers at once.
"""

from __future__ import annotations

import functools
import os
import shlex
import sys
import warnings
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec

import typer

from autoannotate.annotations import Annotations
from autoannotate.cli.evaluate import evaluate
from autoannotate.errors import AutoannotateError, InputError, UsageError
from autoannotate.models.student_checkpoint import check_student
from autoannotate.runs.run import check_classes
from autoannotate.runs.save import ensure_writable

P = ParamSpec("P")

TRACE = "AUTOANNOTATE_TRACE"
RUN = Path("autoannotate-run")
DEMO = Path("autoannotate-demo")
ABOUT = """Labels for unlabelled medical images.

CLIP proposes, cleanlab doubts, a CNN corrects, a clinician decides."""
MACHINERY = "Machinery"

app = typer.Typer(
    name="autoannotate",
    help=ABOUT,
    epilog="To see it work on real images: autoannotate demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
pretrain = typer.Typer(no_args_is_help=True, help="Train an encoder on your own images.")
app.add_typer(pretrain, name="pretrain")


class Part(StrEnum):
    """What of a run is exported."""

    suspects = "suspects"
    all = "all"


def plainly(stopped: str = "Stopped.") -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Let a command fail with one plain sentence on stderr and the right exit status, never with a trace."""

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            trace = bool(os.environ.get(TRACE))
            if not trace:
                warnings.simplefilter("ignore")  # what libraries have to say to programmers
            try:
                command(*args, **kwargs)
            except (typer.Exit, typer.Abort, BrokenPipeError):
                raise
            except KeyboardInterrupt:
                _say(stopped)
                raise typer.Exit(130) from None
            except Exception as error:
                if trace:
                    raise
                _say(_in_words(error))
                raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None

        return run

    return decorate


def _in_words(error: Exception) -> str:
    if isinstance(error, AutoannotateError):
        return str(error)
    said = " ".join(str(error).split())[:300]
    return (
        f"Something went wrong that autoannotate did not foresee ({type(error).__name__}: {said}). Please "
        f"report it where autoannotate is developed, with the command and what {TRACE}=1 before it shows."
    )


def _say(sentence: str) -> None:
    typer.secho("autoannotate: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(sentence, err=True)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"autoannotate {version('autoannotate')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What holds for every command."""


@app.command(epilog="Example: autoannotate label scans/ --classes chest,breast --out scans-labelled")
@plainly("Stopped. What was encoded is kept: run the same command to go on.")
def label(
    context: typer.Context,
    images: Annotated[
        Path,
        typer.Argument(metavar="IMAGES", help="A folder, searched to the bottom, or one file.", show_default=False),
    ],
    classes: Annotated[str, typer.Option(metavar="A,B,…", help="What an image can be.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the labels and the report go.")] = RUN,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own words for the classes, as YAML.")
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What all images are, as in CT; else it is found out."),
    ] = None,
    prior: Annotated[
        str | None, typer.Option(metavar="A=0.7,B=0.3", help="How common each class is, where you know it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in DIR.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Time goes before quality.")] = False,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The CLIP model: one of `autoannotate models`, one of open_clip's, or a checkpoint.",
            rich_help_panel=MACHINERY,
        ),
    ] = "embedded",
    student: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The network that learns from the cleaned labels: embedded, resnet18, none, or what `pretrain simclr` made.",
            rich_help_panel=MACHINERY,
        ),
    ] = "embedded",
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed gives the same labels.", rich_help_panel=MACHINERY)
    ] = 0,
    device: Annotated[
        str,
        typer.Option(metavar="NAME", help="cpu, cuda, mps, or the best there is.", rich_help_panel=MACHINERY),
    ] = "auto",
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where encoded images are kept for the next run.", rich_help_panel=MACHINERY),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Keep no encoded images.", rich_help_panel=MACHINERY)
    ] = False,
) -> None:
    """Label a folder of images: labels, doubts and a report."""
    names = check_classes(classes.split(","))
    priors = parse_prior(prior, names)
    if cache and no_cache:
        raise UsageError("--cache and --no-cache contradict each other: give one of them.")
    if prompts and not prompts.is_file():
        raise InputError(f"There is no file {prompts}: --prompts takes a YAML file of classes and their sentences.")
    if not images.exists():
        raise InputError(f"There is no folder or file {images}: check its name.")
    ensure_writable(out, overwrite)

    from autoannotate._internal.progress import on_stderr
    from autoannotate.annotator import Annotator
    from autoannotate.cli.print_run import print_summary

    annotator = Annotator(
        names,
        model=model,
        student=check_student(student),
        prompts=prompts,
        modality=modality,
        prior=priors,
        seed=seed,
        device=device,
        cache=False if no_cache else cache or True,
        fast=fast,
    )
    annotations = annotator.label(images, track=on_stderr)
    called = _as_called(context)
    called["arguments"] |= annotations.run["arguments"]  # as the annotator understood them
    annotations.run.update(called)
    annotations.save(out, overwrite)
    print_summary(annotations, out)


@app.command(epilog="Example: autoannotate export autoannotate-run --format csv --out to-check.csv")
@plainly()
def export(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="csv, jsonl, parquet, imagefolder, label-studio, cvat, coco, fiftyone or huggingface.",
        ),
    ] = "csv",
    what: Annotated[Part, typer.Option(help="The suspects, or all labels.")] = Part.suspects,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The file or folder to write, - for stdout; else one in DIR/exports."),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(metavar="WAY", help="How pictures travel: copy, hard or sym (links), or embed (label-studio)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace PATH where it is there already.")] = False,
) -> None:
    """Write the suspects, or all labels, for another program."""
    from autoannotate._internal.progress import on_stderr
    from autoannotate._internal.wording import counted
    from autoannotate.exports import find_format

    part: Literal["suspects", "all"] = "suspects" if what is Part.suspects else "all"
    module = find_format(format)
    annotations = Annotations.load(run)
    if out == Path("-"):
        _to_stdout(annotations, format, part)
        return
    made = annotations.export(
        format, out or run / "exports" / f"{part}{module.SUFFIX}", part, overwrite, link=link, track=on_stderr
    )
    rows = len(annotations.rows(part))
    typer.echo(f"{counted(rows, 'suspect' if part == 'suspects' else 'label')} written to {made[0]}")
    for path in made[1:]:
        typer.echo(f"with it: {path}")
    if hasattr(module, "next_step"):
        said = module.next_step(made[0], part, link or "")
        typer.echo(said.replace(" DIR ", f" {shlex.quote(str(run))} "), nl=bool(said))


@app.command(epilog="Example: autoannotate review autoannotate-run --reader Ana")
@plainly()
def review(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)],
    reader: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose answers they are; else the page asks.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the page is; 0 takes a free port.")] = 0,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Who can reach it: this machine only, unless you say otherwise.")
    ] = "127.0.0.1",
    images: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where the images are now, if they were moved.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Check the doubtful labels in a page of your browser."""
    from autoannotate._internal.progress import on_stderr
    from autoannotate._internal.wording import counted
    from autoannotate.review.server import serve

    answers = serve(run, reader, images=images, host=host, port=port, browser=not no_browser, track=on_stderr)
    typer.echo(f"{counted(answers, 'answer')} kept in {run / 'answers.sqlite'}", err=True)


@app.command(epilog="Example: autoannotate certify autoannotate-run --max-error 0.02")
@plainly()
def certify(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)],
    max_error: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="The share of wrong labels to promise.", show_default="0.02, which is 2%"),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(metavar="SHARE", help="How sure the promise is.", show_default="0.95")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="N[,M…]",
            help="How many images to review. Several numbers let the sample grow, with a part of the risk for each.",
            show_default="the fewest that can promise all labels though three are found wrong, or one where the run expects "
            "next to none",
        ),
    ] = None,
    grow: Annotated[bool, typer.Option("--grow", help="Go on to the next number of --budget.")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed draws the same sample.", show_default="0")
    ] = None,
) -> None:
    """Promise an error rate: draw labels to review, then the largest set that holds it.

    The first call draws a random sample of the labels for clinicians to review. Once all of it is answered, the next call
    writes DIR/certified.csv, the largest set of labels of which at most --max-error is wrong, with --confidence over the
    draw of the sample, and DIR/certificate.txt, which says so and why. Of 2,000 labels, 140 reviewed and found right
    promise 2% at 95%; 235 do with one found wrong, 373 with three. Where more are found wrong, the set is smaller.
    """
    from autoannotate.answers.certification.certificate_files import certify_run
    from autoannotate.answers.certification.certificate_text import print_progress

    try:
        budgets = [int(number) for number in budget.split(",")] if budget is not None else None
    except ValueError:
        raise UsageError(f"--budget takes a number, or several as in 200,400; {budget!r} is not.") from None
    progress = certify_run(run, max_error=max_error, confidence=confidence, budgets=budgets, seed=seed, grow=grow)
    print_progress(progress, run)


@app.command(epilog="Example: autoannotate update autoannotate-run")
@plainly("Stopped. The run is as it was: run the same command to begin again.")
def update(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)],
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to ask next: doubtful, informative, representative, mixture; else by what labels are worth.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda, mps, or the best there is.")] = "auto",
) -> None:
    """Let the clinicians' answers improve the other labels, and choose what to ask next."""
    from autoannotate.labelling.queries.strategies import find_strategy

    if strategy is not None:
        find_strategy(strategy)
    before = Annotations.load(run)

    from autoannotate._internal.progress import on_stderr
    from autoannotate.annotator import Annotator
    from autoannotate.cli.print_history import print_update
    from autoannotate.cli.print_run import print_summary

    after = Annotator.from_run(before, device=device).update(before, track=on_stderr, strategy=strategy)
    print_update(run, new_round=after is not before)
    print_summary(after, run)


@app.command(epilog="Example: autoannotate history autoannotate-run --round 1")
@plainly()
def history(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)],
    number: Annotated[
        int | None, typer.Option("--round", metavar="N", min=0, help="Who answered what, and what changed why.")
    ] = None,
    restore: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Make the labels of round N the current ones; answers stay.")
    ] = None,
) -> None:
    """Tell the rounds of a run, or go back to one."""
    from autoannotate.cli.print_history import print_history, print_round
    from autoannotate.runs import history as past

    if restore is not None and number is not None:
        raise UsageError("--round shows a round and --restore goes back to one: give one of them.")
    past.settle(run)
    if restore is not None:
        made = past.restore(run, restore)
        typer.echo(
            f"The labels are those of round {restore} again, as round {made.number}. All answers are still there: "
            "the next update uses them."
        )
    elif number is not None:
        print_round(run, past.find_round(run, number))
    else:
        print_history(run)


@app.command("apply", epilog="Example: autoannotate apply autoannotate-run label-studio-export.json")
@plainly()
def apply_answers(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)],
    answers: Annotated[
        Path,
        typer.Argument(
            metavar="ANSWERS", help="Label Studio's JSON or CSV, CVAT's XML or zip, or our CSV.", show_default=False
        ),
    ],
    format: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="label-studio, cvat or csv; else it is found out.")
    ] = None,
    reader: Annotated[str | None, typer.Option(metavar="NAME", help="Whose answers they are.")] = None,
    skip_problems: Annotated[
        bool, typer.Option("--skip-problems", help="Apply the answers that fit, where others do not.")
    ] = False,
    all_checked: Annotated[
        bool, typer.Option("--all-checked", help="A person looked at every image: labels left as they were count too.")
    ] = False,
) -> None:
    """Take in the answers that clinicians gave in another tool."""
    from autoannotate.answers.apply import NothingAppliedError, apply
    from autoannotate.cli.print_apply import print_applied, print_problems

    before = Annotations.load(run)
    try:
        applied = apply(before, answers, format, reader, skip_problems, all_checked)
    except NothingAppliedError as error:
        print_problems(error.report)
        raise
    print_applied(before, applied, run)


@app.command(epilog="Example: autoannotate prompts normal,pneumonia --modality CT")
@plainly()
def prompts(
    classes: Annotated[str, typer.Argument(metavar="A,B,…", help="Names of classes.", show_default=False)],
    file: Annotated[Path | None, typer.Option("--prompts", metavar="FILE", help="Your own words, as YAML.")] = None,
    modality: Annotated[str | None, typer.Option(metavar="NAME", help="What all images are, as in CT.")] = None,
) -> None:
    """Show the sentences by which CLIP will know each class."""
    from autoannotate.labelling.zero_shot.prompts import class_prompts

    names = [name.strip() for name in classes.split(",") if name.strip()]
    if not names:
        raise UsageError("Name a class or more, as in: autoannotate prompts chest,breast")
    for number, found in enumerate(class_prompts(names, file=file, modality=modality)):
        if number:
            typer.echo()
        typer.secho(found.name, bold=True, nl=not found.sense)
        if found.sense:
            typer.echo(f": {found.sense}")
        for text in found.texts:
            typer.echo(f"  {text}")


@app.command(epilog="Example: autoannotate models")
@plainly()
def models() -> None:
    """List the CLIP models that have a short name, and whether their weights are on this machine."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from autoannotate.models import list_models

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("name", "size", "here", "good for", "licence"):
        table.add_column(name, justify="right" if name == "size" else "left", overflow="fold")
    for row in list_models():
        table.add_row(row.name, f"{row.megabytes:,} MB", "yes" if row.here else "no", row.good_for, row.licence)
    console = Console(highlight=False)
    console.print(table)
    console.print("--model also takes open_clip's names (ViT-B-32/openai), hf-hub:… and a checkpoint of your own.")


@app.command(epilog="Example: autoannotate demo --out autoannotate-demo")
@plainly("Stopped. Run the same command to go on.")
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the images and the run go.")] = DEMO,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same labels.")] = 0,
) -> None:
    """Label real images whose classes are known, and say how often CLIP and the labels were right."""
    run = out / "run"
    ensure_writable(run, overwrite=True)

    from autoannotate._internal.progress import on_stderr
    from autoannotate._internal.wording import counted, percent
    from autoannotate.annotator import Annotator
    from autoannotate.cli.print_run import print_summary
    from autoannotate.images.demo import demo_set

    images = demo_set(out / "images", seed)
    typer.echo(images.source, err=True)
    annotations = Annotator(images.classes, seed=seed).label(images.folder, track=on_stderr)
    typed = [
        "autoannotate",
        "label",
        str(images.folder),
        "--classes",
        ",".join(images.classes),
        "--out",
        str(run),
    ]
    annotations.run["command"] = shlex.join(typed)
    annotations.run["arguments"] |= {"out": run.as_posix(), "seed": seed}
    annotations.save(run, overwrite=True)
    print_summary(annotations, run)

    table = annotations.table
    truth = table["path"].map(images.truth)
    clip, final = (percent((table[name] == truth).mean()) for name in ("clip_label", "label"))
    known = counted(len(table), "image")
    typer.echo(f"\nOf {known} whose class is known, CLIP alone had {clip} right; of the labels, {final} are right.")


app.command(
    epilog="Example: autoannotate evaluate noise --data blood/ --noise symmetric:0.2 --runs 5 --out blood-noise"
)(plainly("Stopped. What was finished is kept: run the same command to go on.")(evaluate))


@pretrain.command("clip", epilog="Example: autoannotate pretrain clip --images scans/ --pairs pairs.csv --out my-clip")
@plainly("Stopped. Run the same command to go on from the last checkpoint.")
def pretrain_clip(
    images: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the images.", show_default=False)],
    pairs: Annotated[
        Path,
        typer.Option(metavar="CSV", help="Its columns: path, and caption or report.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the checkpoint goes.", show_default=False)],
    init: Annotated[
        str, typer.Option(metavar="NAME", help="The model to start from: what `label --model` takes.")
    ] = "embedded",
    epochs: Annotated[float, typer.Option(min=0, help="How often each image is seen.")] = 10,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.")] = 128,
    lr: Annotated[float, typer.Option(min=0, help="Peak learning rate of the image tower.")] = 3e-4,
    text_lr: Annotated[float, typer.Option(min=0, help="Peak learning rate of the text tower.")] = 1e-4,
    anchor: Annotated[
        float, typer.Option(min=0, help="How firmly texts are held where they were before training.")
    ] = 2.0,
    anchor_texts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Phrases to hold, one a line; else the captions.")
    ] = None,
    held_out: Annotated[float, typer.Option(min=0, max=1, help="Share of the images kept aside.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same training.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 2,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda, mps, or the best there is.")] = "auto",
) -> None:
    """Train or fine-tune CLIP on your own images and the reports or captions that go with them."""
    if not images.is_dir():
        raise InputError(
            f"There is no folder {images}: --images takes the folder that the paths of --pairs start from."
        )
    if not pairs.is_file():
        raise InputError(f"There is no table {pairs}: --pairs takes a CSV with the columns path and caption.")
    if anchor_texts and not anchor_texts.is_file():
        raise InputError(f"There is no file {anchor_texts}: --anchor-texts takes a text file, one phrase a line.")

    from autoannotate._internal.progress import on_stderr
    from autoannotate._internal.wording import counted, percent
    from autoannotate.models.pretraining import clip

    result = clip.pretrain_clip(
        images,
        pairs,
        out,
        init=init,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        text_lr=text_lr,
        anchor=anchor,
        anchor_texts=anchor_texts,
        held_out=held_out,
        seed=seed,
        workers=workers,
        device=device,
        track=on_stderr,
    )
    aside, captions = counted(result.held_out_images, "image"), counted(result.held_out_captions, "caption")
    typer.echo(f"Of {aside} kept aside, the best of {captions} was true for {percent(result.after)}", nl=False)
    typer.echo(f" ({percent(result.before)} before training).")
    typer.echo(f"Use it: autoannotate label IMAGES --classes a,b --model {shlex.quote(str(result.folder))}")


@pretrain.command("simclr", epilog="Example: autoannotate pretrain simclr --images scans/ --out my-student")
@plainly("Stopped. Run the same command to go on from the last checkpoint.")
def pretrain_simclr(
    images: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the images.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the student goes.", show_default=False)],
    init: Annotated[
        str, typer.Option(metavar="NAME", help="What to start from: embedded, resnet18, or an earlier DIR.")
    ] = "embedded",
    epochs: Annotated[float, typer.Option(min=0, help="How often each image is seen.")] = 20,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step, told apart from each other.")] = 64,
    held_out: Annotated[float, typer.Option(min=0, max=1, help="Share of the images kept aside.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same training.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw views.")] = 2,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda, mps, or the best there is.")] = "auto",
) -> None:
    """Train the student on your own images, without labels (SimCLR)."""
    if not images.is_dir():
        raise InputError(f"There is no folder {images}: --images takes the folder of the unlabelled images.")

    from autoannotate._internal.progress import on_stderr
    from autoannotate._internal.wording import counted, percent
    from autoannotate.models.pretraining import simclr

    result = simclr.pretrain_simclr(
        images,
        out,
        init=init,
        epochs=epochs,
        batch_size=batch_size,
        held_out=held_out,
        seed=seed,
        workers=workers,
        device=device,
        track=on_stderr,
    )
    typer.echo(f"Learnt from {counted(result.images, 'image')}; {result.unreadable:,} could not be read.")
    if result.held_out_images > 1:
        aside = counted(result.held_out_images, "image")
        typer.echo(f"Of {aside} kept aside, {percent(result.after)} of the changed views were known again", nl=False)
        typer.echo(f" ({percent(result.before)} before training).")
    typer.echo(f"Use it: autoannotate label IMAGES --classes a,b --student {shlex.quote(str(result.folder))}")


def parse_prior(text: str | None, classes: list[str]) -> dict[str, float] | None:
    """How common each class is, from `a=0.7,b=0.3`. Raises `UsageError` with the way out.

    >>> parse_prior("chest=0.7, breast=0.3", ["chest", "breast"])
    {'chest': 0.7, 'breast': 0.3}
    """
    if text is None:
        return None
    example = ",".join(f"{name}={1 / len(classes):.2g}" for name in classes)
    form = f"--prior takes a share for each class, as in {example}"
    prior: dict[str, float] = {}
    for item in text.split(","):
        name, equals, share = (part.strip() for part in item.rpartition("="))
        if not equals:
            raise UsageError(f"{form}; {item!r} has no share.")
        if name not in classes:
            raise UsageError(f"{form}; {name!r} is not one of the classes.")
        if name in prior:
            raise UsageError(f"{form}; {name!r} has two.")
        try:
            prior[name] = float(share)
        except ValueError:
            raise UsageError(f"{form}; {share!r} is not a number.") from None
        if not 0 < prior[name] < 1:
            raise UsageError(f"{form}; the share of {name} must lie between 0 and 1.")
    if missing := [name for name in classes if name not in prior]:
        raise UsageError(f"{form}; {missing[0]!r} has none.")
    total = sum(prior.values())
    if abs(total - 1) > 0.01:
        raise UsageError(f"{form}; yours add up to {total:.3g}, and they must add up to 1.")
    return {name: prior[name] / total for name in classes}


def _as_called(context: typer.Context) -> dict[str, Any]:
    """The command as it was typed, in full spelling, and all its arguments, for run.json and the report."""
    arguments, typed = {}, ["autoannotate", *context.command_path.split()[1:]]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params.get(str(parameter.name))
        arguments[name] = value.as_posix() if isinstance(value, Path) else value
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        if parameter.param_type_name == "argument":
            typed.append(str(value))
        elif value is True:
            typed.append(parameter.opts[0])
        else:
            typed += [parameter.opts[0], str(value)]
    return {"command": shlex.join(typed), "arguments": arguments}


def _to_stdout(annotations: Annotations, format: str, what: Literal["suspects", "all"]) -> None:
    import tempfile

    from autoannotate.exports import find_format

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"export{find_format(format).SUFFIX}"
        annotations.export(format, path, what)
        if path.is_dir():
            raise UsageError(f"The format {format} is a folder of files, not a stream: give a path with --out.")
        sys.stdout.buffer.write(path.read_bytes())
        sys.stdout.flush()


def main() -> None:
    """What the console script `autoannotate` calls."""
    app(prog_name="autoannotate")


if __name__ == "__main__":
    main()
