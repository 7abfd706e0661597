"""Auditing boxes: what is wrong with them in issues.csv and a page with pictures; with `repair` proposals and a second file."""

from __future__ import annotations

import base64
import html
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from autoannotate._internal.files import plain_errors, write_files
from autoannotate._internal.progress import Track, silent
from autoannotate._internal.version import __version__
from autoannotate._internal.wording import counted
from autoannotate.answers.given_boxes import read_boxes
from autoannotate.errors import OutputError, UnreadableImageError
from autoannotate.images import ImageRef, find_images, read_image
from autoannotate.images.sources import location
from autoannotate.labelling.label_errors.box_faults import Boxes, Fault, find_faults, overlap
from autoannotate.labelling.label_errors.box_repairs import Repair, sure_repairs
from autoannotate.runs.box_repairs import (
    ABOUT,
    BOXES,
    COLUMNS,
    CORNERS,
    DECISIONS,
    NEW_CORNERS,
    PROPOSALS,
    REPAIRED,
    repaired_boxes,
)  # fmt: skip
from autoannotate.runs.tables import to_csv

if TYPE_CHECKING:
    from PIL import Image

ISSUES = ("rank", "path", "label", "suggested_label", "score", "issue", "detail", *CORNERS, "where")
SHOWN, SIDE = 60, 300  # pictures of the worst boxes in the page, and their longer side in pixels


@dataclass(frozen=True, eq=False)
class BoxAudit:
    """issues: the columns `ISSUES`, worst first. boxes: as they were read, in pixels. proposals: changes, see
    `runs.box_repairs.COLUMNS`; None where none were asked for. unreadable: images that could not be read, and why. page: HTML.
    images: where the pictures are."""

    issues: pd.DataFrame
    boxes: pd.DataFrame
    proposals: pd.DataFrame | None
    unreadable: list[tuple[str, str]]
    page: str
    images: str

    @property
    def repaired(self) -> pd.DataFrame | None:
        """The boxes that are left where all proposals are taken, and what was done to each; None without proposals."""
        return None if self.proposals is None else repaired_boxes(self.boxes, self.proposals, {})


def audit_boxes(
    images: str | Path, source: Path, *, repair: bool = False, skip_problems: bool = False, track: Track = silent
) -> BoxAudit:
    """Find what is wrong with the boxes of a file, see `boxes.read.read_boxes`, without a detector.

    Parameters
    ----------
    repair : also say what the boxes should rather be where that is sure; nothing else is changed
    """
    refs = find_images(images)
    given = read_boxes(source, refs, skip_problems)
    named = np.unique(given.images)
    names = sorted(set(given.labels))
    sizes, unreadable = np.ones((len(refs), 2)), []
    corners, spread = given.corners.copy(), np.full(len(given.labels), np.nan)
    readable = np.zeros(len(refs), dtype=bool)
    for row in track(named.tolist(), "looking at the boxes", len(named)):
        try:
            picture = read_image(refs[row])
        except UnreadableImageError as error:
            unreadable.append((refs[row].path, str(error)))
            continue
        readable[row] = True
        sizes[row] = picture.size
        mine = np.flatnonzero(given.images == row)
        corners[mine] *= np.where(given.shares[mine, None], np.tile(picture.size, 2), 1.0)
        grey = np.asarray(picture.convert("L"), dtype=np.float32)
        for i in mine.tolist():
            spread[i] = _spread(grey, corners[i])
    kept = np.flatnonzero(readable[given.images])
    number = {name: k for k, name in enumerate(names)}
    labels = np.array([number[given.labels[i]] for i in kept], dtype=np.int64)
    boxes = Boxes(corners[kept], labels, given.images[kept], sizes, spread[kept], names)
    faults = find_faults(boxes)
    where = [given.where[i] for i in kept]
    paths = [refs[row].path for row in boxes.pictures]
    table = pd.DataFrame({"path": paths, **dict(zip(CORNERS, boxes.corners.T, strict=True))})
    table["label"] = [names[k] for k in labels]
    proposals = _proposals(sure_repairs(boxes, faults), boxes, [ref.path for ref in refs]) if repair else None
    page = _page(faults, table, refs, boxes, source)
    return BoxAudit(_issues(faults, table, where), table, proposals, unreadable, page, location(images))


def save(audit: BoxAudit, folder: Path, overwrite: bool = False) -> None:
    """Write issues.csv, boxes.csv, the page, boxes.json and, where they were asked for, proposals.csv and boxes-repaired.csv.

    Raises
    ------
    OutputError
        Where the folder holds something else, or an audit of boxes that is not to be replaced.
    """
    with plain_errors(folder):
        there = {item.name for item in folder.iterdir()} if folder.exists() else set()
        if there and not (overwrite and ABOUT in there):
            raise OutputError(
                f"{folder} holds files already: choose a new folder with --out, or replace an audit of boxes with --overwrite."
            )
        folder.mkdir(parents=True, exist_ok=True)
    about = {
        "version": __version__, "place": audit.images, "boxes": len(audit.boxes), "images": int(audit.boxes["path"].nunique()),
        "issues": dict(Counter(audit.issues["issue"])), "unreadable": [list(each) for each in audit.unreadable],
    }  # fmt: skip
    files = {
        "issues.csv": to_csv(audit.issues), BOXES: to_csv(audit.boxes), "report.html": audit.page.encode(),
        ABOUT: (json.dumps(about, indent=2) + "\n").encode(),
    }  # fmt: skip
    if audit.proposals is not None and audit.repaired is not None:
        files |= {PROPOSALS: to_csv(audit.proposals), REPAIRED: to_csv(audit.repaired)}
    with plain_errors(folder):
        if (folder / DECISIONS).exists():  # about the proposals of the audit that is replaced: kept, under another name
            (folder / DECISIONS).rename(folder / f"decisions-{sum(1 for _ in folder.glob('decisions*.csv'))}.csv")
    write_files({folder / name: content for name, content in files.items()})
    with plain_errors(folder):
        for name in {PROPOSALS, REPAIRED} - set(files):  # of the audit that was replaced
            (folder / name).unlink(missing_ok=True)


def _spread(grey: np.ndarray, box: np.ndarray) -> float:
    """The standard deviation of the grey inside a box."""
    height, width = grey.shape
    if not np.isfinite(box).all():
        return float("nan")
    x, right = np.clip(np.round(box[[0, 2]]).astype(int), 0, width)
    y, bottom = np.clip(np.round(box[[1, 3]]).astype(int), 0, height)
    inside = grey[y:bottom, x:right]
    return float(inside.std()) if inside.size > 1 else float("nan")


def _issues(faults: Sequence[Fault], table: pd.DataFrame, where: Sequence[str]) -> pd.DataFrame:
    rows = table.iloc[[each.box for each in faults]].reset_index(drop=True)
    found = rows.assign(
        rank=np.arange(1, len(faults) + 1), suggested_label="", score=[each.score for each in faults],
        issue=[each.kind for each in faults], detail=[each.detail for each in faults],
        where=[where[each.box] for each in faults],
    )  # fmt: skip
    return found[list(ISSUES)]


def _proposals(repairs: Sequence[Repair], boxes: Boxes, paths: Sequence[str]) -> pd.DataFrame:
    """proposals.csv: what is proposed, and by how much the new box overlaps the old one."""
    rows = []
    for number, each in enumerate(repairs, start=1):
        old = each.corners if each.box is None else boxes.corners[each.box]
        label = each.label if each.box is None else int(boxes.labels[each.box])
        rows.append(
            {
                "proposal": number, "box": -1 if each.box is None else each.box, "path": paths[each.picture],
                "label": "" if each.box is None else boxes.class_names[label], "change": each.change,
                "suggested_label": boxes.class_names[each.label], **dict(zip(CORNERS, old.tolist(), strict=True)),
                **dict(zip(NEW_CORNERS, each.corners.tolist(), strict=True)),
                "overlap": float(overlap(old[None], each.corners[None])[0, 0]) if each.change != "added" else 0.0,
                "detail": each.detail,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _page(faults: Sequence[Fault], table: pd.DataFrame, refs: Sequence[ImageRef], boxes: Boxes, source: Path) -> str:
    """A page with the worst boxes drawn in their pictures, and all other boxes thin."""
    counts = Counter(each.kind for each in faults)
    cards = []
    for each in faults[:SHOWN]:
        row = table.iloc[each.box]
        mine = np.flatnonzero(boxes.pictures == boxes.pictures[each.box])
        drawn = _drawn(read_image(refs[boxes.pictures[each.box]]), boxes.corners, mine.tolist(), each.box)
        words = f"{each.kind}, {row['label']}: {each.detail}"
        cards.append(
            f'<figure><img src="{drawn}" alt="{html.escape(words)}"><figcaption><b>{html.escape(each.kind)}</b> '
            f"{html.escape(str(row['label']))} ({each.score:.2f})<br>{html.escape(each.detail)}<br>"
            f"<code>{html.escape(str(row['path']))}</code></figcaption></figure>"
        )
    kinds = "".join(f"<li>{html.escape(kind)}: {count:,}</li>" for kind, count in counts.most_common())
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:40px auto;padding:0 24px;color-scheme:light dark}"
        "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:18px}figure{margin:0}"
        "img{max-width:100%;background:#111}code{font-size:12px;overflow-wrap:anywhere}"
    )
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"><title>Boxes audited</title>"
        f"<style>{style}</style><h1>{len(table):,} boxes audited</h1><p>Of {html.escape(source.name)}. "
        f"{counted(len(faults), 'issue')}, all in issues.csv; the worst are shown, their box orange.</p><ul>{kinds}</ul>"
        f"<main>{''.join(cards)}</main></html>\n"
    )


def _drawn(picture: Image.Image, corners: np.ndarray, mine: Sequence[int], worst: int) -> str:
    from PIL import ImageDraw

    picture = picture.convert("RGB")
    scale = SIDE / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    draw = ImageDraw.Draw(picture)
    for i in [*(i for i in mine if i != worst), worst]:
        box = corners[i]
        if not np.isfinite(box).all():
            continue
        x, right = sorted((box[0] * scale, box[2] * scale))
        y, bottom = sorted((box[1] * scale, box[3] * scale))
        draw.rectangle(
            (x, y, right, bottom), outline="#ff8c1a" if i == worst else "#59b3c2", width=3 if i == worst else 1
        )
    out = io.BytesIO()
    picture.save(out, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
