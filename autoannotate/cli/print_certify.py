"""What `autoannotate certify` says."""

from __future__ import annotations

from pathlib import Path

import typer

from autoannotate.answers.certification.certificate_files import FOLDER, Progress
from autoannotate.answers.certification.of_findings import FindingsProgress
from autoannotate.answers.certification.sample import share


def print_progress(progress: Progress, folder: Path) -> None:
    """What stands on stdout, and what to do next; what no longer holds goes to stderr."""
    sample, certificate = progress.sample, progress.certificate
    if progress.voided:
        typer.echo(progress.voided, err=True)
    if certificate is None:
        list_ = folder / FOLDER / "sample.csv"
        total, left = len(sample.paths), len(progress.left)
        if progress.drawn:
            typer.echo(f"{total:,} of {sample.images:,} labels are drawn at random for review: {list_}")
            if sample.groups:
                typer.echo(f"They are all labels of {sample.drawn:,} of the {len(sample.groups):,} groups.")
            if (sample.drawn or total) < (least := sample.least):
                it_takes = f"{least:,} groups" if sample.groups else f"{least:,}"
                typer.echo(
                    f"That is too few to promise {share(sample.max_error)} of all, even if none is wrong: it takes {it_takes}."
                )
        if left < total or not progress.drawn:
            typer.echo(f"{left:,} of the {total:,} images have no answer yet.")
        typer.echo(
            f"Next: answer them with autoannotate review {folder}, or write what you see in the column answer of the list:\n"
            f"  autoannotate apply {folder} {list_} --reader NAME\nThen: autoannotate certify {folder}"
        )
        return
    typer.echo(certificate.statement)
    typer.echo(f"Of the {len(sample.paths):,} labels drawn, {certificate.found:,} were found wrong.")
    if certificate.unreviewed:
        typer.echo(
            f"Nobody reviewed {certificate.unreviewed:,} of the labels; at most {certificate.wrong_at_most:,} of these are "
            f"wrong. Left out: {certificate.images - len(certificate.table):,} of {certificate.images:,}."
        )
    typer.echo(f"Labels       {folder / 'certified.csv'}")
    typer.echo(f"Certificate  {folder / 'certificate.txt'}")


def print_findings(progress: FindingsProgress, folder: Path) -> None:
    """The same of several findings an image."""
    for name, why in progress.without.items():
        typer.echo(f"{name}: nothing can be promised, {why}.", err=True)
    for name, each in progress.of_each.items():
        if each.voided:
            typer.echo(f"{name}: {each.voided}", err=True)
        if each.certificate is None:
            waiting = f"{len(each.left):,} of {len(each.sample.paths):,} sampled images have no answer yet"
            typer.echo(f"{name}: {waiting} (drawn from {each.sample.images:,})")
    if progress.statement:
        typer.echo(progress.statement)
        typer.echo(f"Labels       {folder / 'certified.csv'}\nCertificate  {folder / 'certificate.txt'}")
    if progress.left:
        list_ = folder / FOLDER / "sample.csv"
        typer.echo(
            f"{len(progress.left):,} images to answer, for all findings together: {list_}\n"
            f"Next: autoannotate review {folder}, or fill in the column answer and\n"
            f"  autoannotate apply {folder} {list_} --reader NAME\nThen: autoannotate certify {folder}"
        )
