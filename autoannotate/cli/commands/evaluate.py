"""The command `autoannotate evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoannotate._internal.choices import module_names, registered_names
from autoannotate._internal.wording import listed, one_of
from autoannotate.cli.app import MACHINERY, app, plainly
from autoannotate.cli.options import Device, Fast, Model, Student
from autoannotate.errors import AutoannotateError, UsageError
from autoannotate.evaluation.baselines import baselines

SETTINGS = "Of some protocols"
OUT = Path("autoannotate-evaluation")
NOISES = registered_names("autoannotate.evaluation.noise_injection", "noise_model")


@app.command(
    epilog="Example: autoannotate evaluate noise --data blood/ --noise symmetric:0.2 --runs 5 --out blood-noise"
)
@plainly("Stopped. What was finished is kept: run the same command to go on.")
def evaluate(
    protocol: Annotated[
        str,
        typer.Argument(
            metavar="PROTOCOL",
            show_default=False,
            help=f"{one_of(module_names('autoannotate.evaluation.protocols'))}.",
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="Labelled images: a folder with labels.csv or a sub-folder a class, a table, a MedMNIST file; or several "
            "NAME=PATH, whose names are the classes.",
            show_default=False,
        ),
    ] = None,
    download: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]SET", help="A MedMNIST set to fetch and use, as in breastmnist.", show_default=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where tables, pictures and the report go.")] = OUT,
    runs: Annotated[int, typer.Option(min=1, help="How often, each time with another seed.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the first run; the next has the next.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes side by side; the numbers stay the same.")] = 1,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="The methods side by side, all of them with `all`; else the protocol's usual. Beside given, clip and ours: "
            f"{listed(baselines(), most=99)}.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Images of each class in a run's sample, at most.")] = 300,
    fast: Fast = False,
    pixels: Annotated[
        int | None, typer.Option(min=8, help="Squash images to squares of this side first, as MedMNIST's 28.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another evaluation in DIR.")] = False,
    noise: Annotated[
        str,
        typer.Option(
            metavar="KIND:RATE",
            help=f"A kind of noise ({', '.join(NOISES)}) and a rate; or `given`, the column given of labels.csv.",
            rich_help_panel=SETTINGS,
        ),
    ] = "symmetric:0.2",
    prompts: Annotated[
        str,
        typer.Option(
            metavar="WORDS",
            help="CLIP's sentences: product, bare (class names alone) or a YAML file.",
            rich_help_panel=SETTINGS,
        ),
    ] = "product",
    test: Annotated[float, typer.Option(help="Share of the images held for testing.", rich_help_panel=SETTINGS)] = 0.3,
    error: Annotated[
        float, typer.Option(min=0, max=1, help="How often the simulated clinician is wrong.", rich_help_panel=SETTINGS)
    ] = 0.0,
    max_error: Annotated[
        float, typer.Option(min=0, max=1, help="The error rate that certify promises.", rich_help_panel=SETTINGS)
    ] = 0.02,
    simclr_epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How long networks are pretrained on unlabelled images; else as long as the protocol takes.",
            rich_help_panel=SETTINGS,
        ),
    ] = None,
    foreign: Annotated[
        str,
        typer.Option(
            metavar="A,B,…", help="Classes that are not asked for: images of no class.", rich_help_panel=SETTINGS
        ),
    ] = "",
    embeddings: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Another model's embeddings (npz, npy, parquet), the method NAME of representations; may be repeated.",
            show_default=False,
            rich_help_panel=SETTINGS,
        ),
    ] = None,
    metadata: Annotated[
        str,
        typer.Option(
            metavar="CSV",
            help="Age, sex, scanner, any column by path: how well representations tell it.",
            show_default=False,
            rich_help_panel=SETTINGS,
        ),
    ] = "",
    findings: Annotated[
        str,
        typer.Option(
            metavar="A,B,…", help="Which findings, of a set with several an image; else all.", rich_help_panel=SETTINGS
        ),
    ] = "",
    answers: Annotated[
        int, typer.Option(min=0, help="Answers a finding that methods learn from.", rich_help_panel=SETTINGS)
    ] = 0,
    omitted: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Instead: of the images with a finding, how many are given as without.",
            rich_help_panel=SETTINGS,
        ),
    ] = None,
    share: Annotated[float, typer.Option(help="Share of such images among all.", rich_help_panel=SETTINGS)] = 0.05,
    model: Model = "embedded",
    student: Student = "embedded",
    device: Device = "auto",
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where encoded images are kept.", rich_help_panel=MACHINERY),
    ] = None,
) -> None:
    """Measure labels against the truth: repeated runs, methods side by side."""
    from autoannotate.evaluation import datasets
    from autoannotate.evaluation.protocols import find_protocol
    from autoannotate.evaluation.study import Options

    module = find_protocol(protocol)
    names = tuple(name.strip() for name in (methods or "").split(",") if name.strip())
    if methods is not None and not names:
        raise UsageError(f"--methods names no method: choose one of {', '.join(module.methods())}.")
    options = Options(
        count=count,
        noise=noise,
        prompts=prompts,
        test=test,
        pixels=pixels,
        model=model,
        student=student,
        fast=fast,
        error=error,
        max_error=max_error,
        simclr_epochs=simclr_epochs,
        foreign=foreign,
        share=share,
        embeddings=tuple(embeddings or ()),
        metadata=metadata,
        findings=findings,
        answers=answers,
        omitted=omitted,
    )
    sources = [*(data or []), *(fetched(name) for name in download or [])]
    read = getattr(module, "read", None)
    labelled = datasets.read_labelled(sources) if read is None else read(sources, options)
    for note in labelled.notes:
        typer.echo(note, err=True)

    from autoannotate._internal.progress import on_stderr
    from autoannotate.evaluation.report import write_results
    from autoannotate.evaluation.runner import evaluate as run_all

    found = run_all(
        protocol, labelled, out, runs=runs, seed=seed, jobs=jobs, methods=names, options=options, device=device,
        cache=cache or True, overwrite=overwrite, track=on_stderr,
    )  # fmt: skip
    summary = write_results(found, out)
    print_results(summary, module.HEADLINE, out)
    if all(record.failed for record in found.records):
        raise AutoannotateError(f"No run of any method succeeded: {out / 'report.html'} says why.")


def fetched(source: str) -> str:
    """[NAME=]SET of MedMNIST as the [NAME=]PATH of its file, fetched where it is not here yet."""
    from autoannotate.evaluation.datasets import download, split_name
    from autoannotate.models.embedding_cache import default_folder

    name, flag = split_name(source)
    file = download(flag, default_folder() / "medmnist")
    return f"{name}={file}" if name else str(file)


def print_results(summary: dict, headline: tuple[str, ...], out: Path) -> None:
    """The means of the headline metrics and where the rest is, on stdout."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from autoannotate.cli.console import make_console
    from autoannotate.evaluation.report import best_of, in_words, less_is_better, points, signed, without_baseline

    def in_percent(metric: str) -> str:
        words = in_words(metric)
        return words if words.endswith("%") else f"{words} %"

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("method", no_wrap=True)
    headline = tuple(name for name in headline if best_of(summary, name) is not None) or headline[:1]
    first = headline[0]
    worst = "max" if less_is_better(summary["protocol"], first) else "min"
    for name in (
        in_percent(first),
        "worst",
        f"to {summary['baseline']}",
        *(in_percent(n) for n in headline[1:]),
    ):
        table.add_column(name, justify="right")
    table.add_column("failed", justify="right")
    against = summary["differences"].get(summary["baseline"], {})
    for method, metrics in summary["methods"].items():
        found, difference = metrics.get(first), against.get(method, {}).get(first)
        cells = [points(found["mean"]), points(found[worst])] if found else ["–", "–"]
        cells.append(signed(difference["mean"]) if difference else "")
        cells += [points(metrics[name]["mean"]) if name in metrics else "–" for name in headline[1:]]
        table.add_row(method, *cells, str(summary["failed"][method] or ""))
    console = make_console()
    console.print(table)
    for failure in summary["failures"][:3]:
        console.print(
            f"failed: run {failure['run']}, {failure['method']}: {failure['why']}", soft_wrap=True, markup=False
        )
    if missing := without_baseline(summary):
        console.print(missing, soft_wrap=True, markup=False)
    console.print(f"\nReport  {out / 'report.html'}", soft_wrap=True)
    console.print(f"Numbers {out / 'runs.csv'}, {out / 'summary.json'}", soft_wrap=True)
