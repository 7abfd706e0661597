"""Commands about clinicians' answers: review, update, history, apply, certify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autoannotate._internal.choices import module_names, registered_names
from autoannotate._internal.wording import one_of
from autoannotate.annotator.annotations import Annotations
from autoannotate.cli.app import app, plainly
from autoannotate.cli.options import AcceptProposals, Device, MovedImages
from autoannotate.errors import UsageError

STRATEGIES = registered_names("autoannotate.labelling.queries.strategies", "strategy")
FORMATS = module_names("autoannotate.answers.importers")


@app.command(epilog="Example: autoannotate review autoannotate-run --reader Ana")
@plainly()
def review(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="The folder of a run, of an audit of boxes, or one that holds several runs.",
            show_default=False,
        ),
    ],
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
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="PLAN",
            help="How many readers see an image: single, double, or double:0.2 for a fifth at random. Kept with the run.",
            show_default="each reader is asked about all of the queue",
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Age, sex, site, any column, with a column path: the grid can be filtered by them."
        ),
    ] = None,
    allow_images: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="With a folder of runs: images below DIR can be labelled from the page. May be given several times.",
        ),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Check the doubtful labels in a page of your browser, or begin with the list of the runs in a folder."""
    from autoannotate._internal.progress import on_stderr
    from autoannotate._internal.wording import counted
    from autoannotate.review.server import serve
    from autoannotate.runs.box_repairs import DECISIONS, is_box_audit

    answers = serve(
        run,
        reader,
        images=images,
        host=host,
        port=port,
        browser=not no_browser,
        track=on_stderr,
        plan=plan,
        metadata=metadata,
        allow_images=allow_images or (),
    )
    where = run / "answers.sqlite" if (run / "run.json").exists() else run
    if is_box_audit(run):
        where = run / DECISIONS
    typer.echo(f"{counted(answers, 'answer')} kept in {where}", err=True)


@app.command(epilog="Example: autoannotate update autoannotate-run")
@plainly("Stopped. The run is as it was: run the same command to begin again.")
def update(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)],
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"What to ask next: {', '.join(STRATEGIES)}; else by what labels are worth.",
        ),
    ] = None,
    images: MovedImages = None,
    device: Device = "auto",
    accept_proposals: AcceptProposals = False,
) -> None:
    """Let the clinicians' answers improve the other labels, and choose what to ask next."""
    from autoannotate.labelling.queries.strategies import find_strategy

    if strategy is not None:
        find_strategy(strategy)
    before = Annotations.load(run, images)

    from autoannotate._internal.progress import on_stderr
    from autoannotate.annotator.findings_annotator import annotator_of
    from autoannotate.cli.print_history import print_update
    from autoannotate.cli.print_run import print_summary
    from autoannotate.runs.lock import alone

    with alone(run):
        wanted: dict[str, bool] = {"accept_proposals": True} if accept_proposals else {}
        after = annotator_of(before, device=device, **wanted).update(before, on_stderr, strategy, images)
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
        str | None, typer.Option("--format", metavar="NAME", help=f"{one_of(FORMATS)}; else it is found out.")
    ] = None,
    reader: Annotated[str | None, typer.Option(metavar="NAME", help="Whose answers they are.")] = None,
    skip_problems: Annotated[
        bool, typer.Option("--skip-problems", help="Apply the answers that fit, where others do not.")
    ] = False,
    all_checked: Annotated[
        bool, typer.Option("--all-checked", help="A person looked at every image: labels left as they were count too.")
    ] = False,
    images: MovedImages = None,
    control: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The control or column with the answers, where there are several."),
    ] = None,
    images_in: Annotated[
        str | None,
        typer.Option(
            "--images-in", metavar="PATH", help="Where the file says that the images lie, if they were moved since."
        ),
    ] = None,
) -> None:
    """Take in the answers that clinicians gave in another tool."""
    from autoannotate.answers.apply import NothingAppliedError, apply
    from autoannotate.cli.print_apply import print_applied, print_problems

    before = Annotations.load(run, images)
    try:
        applied = apply(before, answers, format, reader, skip_problems, all_checked, control, images_in)
    except NothingAppliedError as error:
        print_problems(error.report)
        raise
    print_applied(before, applied, run)


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
    findings: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…", help="Of a run with several findings an image: which of them.", show_default="all of them"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed draws the same sample.", show_default="0")
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT",
            help="What is drawn: images, or whole groups, a patient's images together; --budget then counts groups.",
            show_default="groups where the run has --groups",
        ),
    ] = None,
) -> None:
    """Promise an error rate: draw labels to review, then the largest set that holds it.

    The first call draws a random sample of the labels for clinicians to review. Once all of it is answered, the next call
    writes DIR/certified.csv, the largest set of labels of which at most --max-error is wrong, with --confidence over the
    draw of the sample, and DIR/certificate.txt, which says so and why. Of 2,000 labels, 140 reviewed and found right
    promise 2% at 95%; 235 do with one found wrong, 373 with three. Where more are found wrong, the set is smaller.
    Of a run with several findings an image each finding is promised by itself; one sample of images serves them all.
    """
    from autoannotate.answers.certification.certificate_files import certify_run
    from autoannotate.answers.certification.of_findings import certify_findings
    from autoannotate.cli.print_certify import print_findings, print_progress
    from autoannotate.runs.class_names import class_list
    from autoannotate.runs.run import Run

    try:
        budgets = [int(number) for number in budget.split(",")] if budget is not None else None
    except ValueError:
        raise UsageError(f"--budget takes a number, or several as in 200,400; {budget!r} is not.") from None
    if sample not in (None, "groups", "images"):
        raise UsageError(f"--sample takes groups or images; {sample!r} is neither.")
    of_findings = bool(Run.load(run).record.findings)
    if findings is not None and not of_findings:
        raise UsageError(
            "--findings is of runs with several findings an image, and this one has classes: leave it out."
        )
    wishes: dict[str, Any] = {
        "max_error": max_error, "confidence": confidence, "budgets": budgets, "seed": seed, "grow": grow,
        "whole_groups": None if sample is None else sample == "groups",
    }  # fmt: skip
    if of_findings:
        print_findings(certify_findings(run, class_list(findings) if findings else (), **wishes), run)
        return
    print_progress(certify_run(run, **wishes), run)
