"""`autoannotate label`: images in, labels out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from autoannotate._internal.wording import listed
from autoannotate.annotator.annotations import Annotations
from autoannotate.cli.app import MACHINERY, RUN, app, plainly
from autoannotate.cli.options import (
    AcceptProposals,
    Device,
    Fast,
    HashPaths,
    Include,
    Model,
    Probabilities,
    Rules,
    Student,
    included,
    was_given,
)
from autoannotate.errors import InputError, OutputError, UsageError
from autoannotate.models.student_checkpoint import check_student
from autoannotate.runs.class_names import as_typed, class_names
from autoannotate.runs.lock import reserved
from autoannotate.runs.record import file_arguments
from autoannotate.runs.run import check_classes, check_findings
from autoannotate.runs.save import ensure_writable


@app.command(epilog="Example: autoannotate label scans/ --classes chest,breast --out scans-labelled")
@plainly("Stopped. What was encoded is kept: run the same command to go on.")
def label(
    context: typer.Context,
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGES",
            help="A folder, searched to the bottom; a file; a zip or tar archive; a list of paths (txt, csv); a pattern in "
            "quotes; a URL (s3://, gs://, http://, sftp://); or a PACS (dicomweb://HOST/PATH?Modality=CR). "
            "May be left out with --embeddings.",
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="What an image can be, one of them each. A name with a comma in quotes, as in '\"chest, PA\",breast'.",
            show_default=False,
        ),
    ] = None,
    classes_file: Annotated[
        Path | None, typer.Option("--classes-file", metavar="FILE", help="The same, one name a line.")
    ] = None,
    findings: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Instead of classes: what an image can show, none of them, one or several.",
            show_default=False,
        ),
    ] = None,
    rules: Rules = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the labels and the report go.")] = RUN,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own words for the classes, as YAML.")
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What all images are, as in CT; else it is found out."),
    ] = None,
    prior: Annotated[
        str | None, typer.Option(metavar="A=0.7,B=0.3", help="How common each class or finding is, where you know it.")
    ] = None,
    item: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="What gets one label: image, file, series, study, patient; auto takes series for CT, MR, PET and volumes, "
            "file for cines and files of pages.",
        ),
    ] = "auto",
    hash_paths: HashPaths = False,
    include: Include = "",
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Which images are of one patient: a CSV (path,patient), folder, or dicom:patient, study, series.",
        ),
    ] = None,
    trusted: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Labels that are right (CSV: path,label, or a column a finding): the others learn from them.",
        ),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images of the classes from elsewhere, a folder a class; without --classes the folders are the classes. Of "
            "findings: FINDING, `no FINDING`, or `none`.",
        ),
    ] = None,
    skip_problems: Annotated[
        bool, typer.Option("--skip-problems", help="Go on without the rows of --groups and --trusted that do not fit.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in DIR.")] = False,
    fast: Fast = False,
    accept_proposals: AcceptProposals = False,
    model: Model = "embedded",
    student: Student = "embedded",
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed gives the same labels.", rich_help_panel=MACHINERY)
    ] = 0,
    device: Device = "auto",
    embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Embeddings that another model made (npz or parquet with path and embedding, npy in path order): the "
            "features. Without IMAGES they must be of --model's own space, or come with --probabilities.",
            rich_help_panel=MACHINERY,
        ),
    ] = None,
    probabilities: Probabilities = None,
    fit_on: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Of more images than N, models are fitted on a sample of N and applied to the others.",
            rich_help_panel=MACHINERY,
        ),
    ] = 20_000,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where encoded images are kept for the next run.", rich_help_panel=MACHINERY),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Who encodes: local, or ray, the cluster that RAY_ADDRESS names.",
            rich_help_panel=MACHINERY,
        ),
    ] = "local",
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Where the machines of a Ray cluster write Parquet: a folder that all see, or a URL.",
            rich_help_panel=MACHINERY,
        ),
    ] = None,
    cache_size: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="What the cache may take, as in 500MB; what was used longest ago goes first.",
            rich_help_panel=MACHINERY,
        ),
    ] = "20GB",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Keep no encoded images.", rich_help_panel=MACHINERY)
    ] = False,
) -> None:
    """Label a folder of images: labels, doubts and a report.

    The same command once more lets images that joined since into the run; every answer is kept.
    """
    from autoannotate.answers.examples import example_classes, example_findings

    words = examples is None or classes is not None or classes_file is not None or findings is not None
    if rules is not None and findings is None:
        raise UsageError("--rules are between findings, of which an image can show several: name them with --findings.")
    if findings is not None and (classes is not None or classes_file is not None):
        raise UsageError("--findings stands in the place of classes: give one of them.")
    if findings is not None:
        names = check_findings(class_names(findings, None))
    elif not words:
        assert examples is not None
        names = check_classes(list(dict.fromkeys(name for _, name in example_classes(examples))))
    else:
        names = check_classes(class_names(classes, classes_file))
    if probabilities and findings is not None:
        raise UsageError(
            "--probabilities are of one label an image: --findings do not use them. Leave one of them out."
        )
    priors = parse_prior(prior, names, several=findings is not None)
    if cache and no_cache:
        raise UsageError("--cache and --no-cache contradict each other: give one of them.")
    if prompts and not prompts.is_file():
        raise InputError(f"There is no file {prompts}: --prompts takes a YAML file of classes and their sentences.")
    from autoannotate.images.sources import account, source_of
    from autoannotate.models.cache_size import parse_size

    size = parse_size(cache_size)
    kinds = included(include)
    if images is None and embeddings is None:
        raise UsageError(
            "Name the IMAGES to label: a folder, as in `autoannotate label scans/ --classes chest,breast`."
        )
    if images is not None and source_of(images) is None and not Path(images).exists():
        raise InputError(f"There is no folder or file {images}: check its name.")
    if examples is not None:
        (example_classes if findings is None else example_findings)(examples, names)
    if findings is not None and not was_given(context, "student"):
        student = "none"  # of findings only where it is asked for
    check_student(student)
    if store is not None and engine == "local":
        raise UsageError(
            "--store is where a Ray cluster writes: it goes with --engine ray. Leave it out, or name that engine."
        )
    asked = {"classes": names, "prior": priors, "include": kinds, "student": student}
    again = None if overwrite else _same_run(out, _as_called(context)["arguments"] | asked)
    if again is None:
        ensure_writable(out, overwrite)

    from autoannotate._internal.progress import on_stderr
    from autoannotate.annotator.annotator import Annotator
    from autoannotate.annotator.findings_annotator import FindingsAnnotator, annotator_of
    from autoannotate.cli.print_history import print_update
    from autoannotate.cli.print_run import print_summary
    from autoannotate.runs.lock import alone

    if again is not None:
        with alone(out):
            after = annotator_of(again, device=device).update(again, on_stderr, images=images)
        print_update(out, new_round=after is not again)
        print_summary(after, out)
        return
    own: dict[str, Any] = {"probabilities": probabilities} if probabilities else {}
    own |= {} if rules is None else {"rules": rules}
    annotator = (Annotator if findings is None else FindingsAnnotator)(
        names,
        model=model,
        student=student,
        prompts=prompts,
        modality=modality,
        prior=priors,
        seed=seed,
        device=device,
        cache=False if no_cache else cache or True,
        fast=fast,
        item=item,
        fit_on=fit_on,
        embeddings=embeddings,
        hash_paths=hash_paths,
        include=kinds,
        cache_size=size,
        examples=examples,
        words=words,
        accept_proposals=accept_proposals,
        **own,
        engine=engine,
        store=store,
    )
    with reserved(out):
        annotations = annotator.label(
            images, track=on_stderr, groups=groups, trusted=trusted, skip_problems=skip_problems
        )
        called = _as_called(context, names_only=hash_paths)
        called["arguments"] |= annotations.run["arguments"]  # as the annotator understood them
        annotations.run.update(called)
        annotations.save(out, overwrite)
    print_summary(annotations, out)
    if "--item" in (chosen := annotations.record.items):
        typer.echo(f"Items   {chosen}")
    if images is not None and (said := account(images)):
        typer.echo(f"\n{said}", err=True)


def parse_prior(text: str | None, classes: list[str], several: bool = False) -> dict[str, float] | None:
    """How common each class is, from `a=0.7,b=0.3`; of findings, several an image, of any of them. Raises `UsageError` with the
    way out.

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
    if several:
        return prior
    if missing := [name for name in classes if name not in prior]:
        raise UsageError(f"{form}; {missing[0]!r} has none.")
    total = sum(prior.values())
    if abs(total - 1) > 0.01:
        raise UsageError(f"{form}; yours add up to {total:.3g}, and they must add up to 1.")
    return {name: prior[name] / total for name in classes}


MAY_DIFFER = ("out", "overwrite", "device", "cache", "no_cache", "cache_size", "skip_problems", "classes_file")
"""Arguments that change no label: a run is labelled again though they are others."""


NAMED_FILES = ("out", "labels", "groups", "trusted", "rules", "prompts")
"""Arguments that are files or folders, of which a run with hashed names keeps the last name alone."""


def _same_run(out: Path, arguments: Mapping[str, Any]) -> Annotations | None:
    """The run in the folder, where the same arguments made it; None where there is none.

    Raises
    ------
    OutputError
        Where it was made with other arguments, which are named.
    """
    if not (out / "run.json").is_file():
        return None
    from autoannotate.images import location

    run = Annotations.load(out)
    record = run.record
    then = {"model": record.model.name, "seed": record.seed, "engine": "local", **record.arguments}
    then["classes"] = list(record.classes)
    if (run.findings is None) != (arguments["findings"] is None):
        kind = "classes" if run.findings is None else "findings"
        raise OutputError(
            f"{out} already holds a run, of the {kind} {as_typed(record.classes)}: choose another folder with --out, or "
            "replace it with --overwrite."
        )
    if run.findings is not None:
        then["findings"] = arguments["findings"]  # its names are the classes
    files = {name: arguments[name] for name in ("groups", "trusted", "examples")}
    now = {**arguments, **file_arguments(names_only=bool(arguments["hash_paths"]), **files)}
    if now["images"] is not None:
        now["images"] = then.get("images") if now["hash_paths"] else location(now["images"])
    others = [name for name in now if name not in MAY_DIFFER and (then.get(name) or None) != (now[name] or None)]
    if not others and not record.given:
        return run
    names = listed("IMAGES" if name == "images" else f"--{name.replace('_', '-')}" for name in others)
    why = "an audit" if record.given else f"made with other {names}"
    lists = f" Its classes are {as_typed(record.classes)}; yours are {as_typed(now['classes'])}." * (
        "classes" in others
    )
    raise OutputError(
        f"{out} already holds a run, {why}.{lists} Choose another folder with --out, or replace it with --overwrite. The same "
        "command again lets new images join."
    )


def _as_called(context: typer.Context, names_only: bool = False) -> dict[str, Any]:
    """The command as it was typed, in full spelling, and all its arguments, for run.json and the report.

    names_only: without where the images are, and of where the run goes the last folder's name alone.
    """
    from autoannotate.images.hashed_paths import HIDDEN

    arguments, typed = {}, ["autoannotate", *context.command_path.split()[1:]]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params.get(str(parameter.name))
        if names_only:
            value = HIDDEN if name == "images" else value
            value = Path(str(value)).name if name in NAMED_FILES and value is not None else value
        arguments[name] = value.as_posix() if isinstance(value, Path) else value
        if not was_given(context, name):
            continue
        if parameter.param_type_name == "argument":
            typed.append(str(value))
        elif value is True:
            typed.append(parameter.opts[0])
        else:
            typed += [parameter.opts[0], str(value)]
    return {"command": shlex.join(typed), "arguments": arguments}
