"""A certificate in words and numbers: for the file, and for people."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autoannotate._internal.version import __version__
from autoannotate.answers.certification.sample import share

if TYPE_CHECKING:
    from autoannotate.answers.certification.sample import Certificate


def facts(certificate: Certificate, labels_sha256: str, certified_sha256: str, date: str) -> dict[str, Any]:
    """The promise and all that it rests on, for certificate.json."""
    sample, bounds = certificate.sample, certificate.sample.bounds
    return {
        "statement": certificate.statement,
        "max_error": certificate.max_error,
        "confidence": certificate.confidence,
        "date": date,
        "labels": {
            "certified": len(certificate.table),
            "of_images": certificate.images,
            "by_clinicians": len(certificate.table) - certificate.unreviewed,
            "unreviewed": certificate.unreviewed,
            "wrong_at_most": certificate.wrong_at_most,
            "least_confidence": certificate.least_confidence,
        },
        "sample": {
            "size": len(sample.paths),
            "drawn_from": sample.images,
            "groups": sample.drawn,
            "groups_drawn_from": len(sample.groups),
            "answered_before": len(sample.before),
            "errors_found": certificate.found,
            "errors_found_among_as_confident": certificate.in_set,
            "unsettled": certificate.unsettled,
            "seed": sample.seed,
            "look": sample.look,
            "looks": len(sample.budgets),
            "earlier_samples": sample.earlier,
            "labels_sha256": sample.labels_sha256,
        },
        "bounds": {
            "of": "groups" if sample.groups else "labels",
            "errors_missed_at_most_by_errors_found": bounds.missed.tolist(),
            "chance_that_any_bound_fails": bounds.risk,
        },
        "theorem": sample.theorem,
        "labels_sha256": labels_sha256,
        "certified_sha256": certified_sha256,
        "version": __version__,
    }


def text(certificate: Certificate, facts: Mapping[str, Any]) -> str:
    """The same for people, for certificate.txt."""
    labels, sample = facts["labels"], facts["sample"]
    missed = (
        f"{labels['unreviewed']:,} by nobody: at most {labels['wrong_at_most']:,} of these are wrong"
        if labels["unreviewed"]
        else "none is unreviewed"
    )
    how = (
        f"all of {sample['groups']:,} groups drawn at random without replacement from {sample['groups_drawn_from']:,} with "
        f"{sample['drawn_from']:,} labels"
        if sample["groups"]
        else f"drawn at random without replacement from {sample['drawn_from']:,}"
    )
    lines = [
        certificate.statement,
        "",
        f"Labels    {labels['certified']:,} of the {labels['of_images']:,} of the run: {labels['by_clinicians']:,} were "
        f"given by clinicians, which is taken for the truth, and {missed}.",
        f"Sample    {sample['size']:,} labels, {how} that nobody had answered (seed {sample['seed']}). "
        f"Wrong: {sample['errors_found']:,}, of which {sample['unsettled']:,} could not "
        f"be settled or are of no class; {sample['errors_found_among_as_confident']:,} of the wrong were among labels as "
        "confident as those kept. Wrong labels found are corrected in certified.csv, or left out.",
    ]
    if sample["looks"] > 1:
        lines.append(
            f"Looks     {sample['look']} of {sample['looks']} that were planned; the confidence holds for all together."
        )
    if sample["earlier_samples"]:
        lines.append(
            f"Before    {sample['earlier_samples'] + 1} samples were answered in this run, of labels that changed in between: "
            f"each certificate has its {share(certificate.confidence)} by itself, not all together."
        )
    lines += [
        f"Theorem   {facts['theorem']}",
        f"Valid for labels.csv with SHA-256 {facts['labels_sha256']}",
        f"          and certified.csv with SHA-256 {facts['certified_sha256']}",
        "          If the machine's labels change, this certificate is void: `autoannotate certify` says so and puts it aside.",
        f"Date      {facts['date']}, autoannotate {facts['version']}",
        "",
        "Not covered: answers that are wrong themselves, images that the run could not read, and other images than these.",
    ]
    wrapped = (textwrap.fill(line, 110, subsequent_indent=" " * 10, break_on_hyphens=False) for line in lines[1:])
    return "\n".join([lines[0], *wrapped]) + "\n"
