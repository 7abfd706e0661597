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
from autoannotate.errors import InputError, OutputError, UnreadableImageError
from autoannotate.images import ImageRef, find_images, read_image
from autoannotate.images.sources import location
from autoannotate.labelling.label_errors.box_detections import Detections, detection_faults, one_each, together
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
    images: str | Path,
    source: Path,
    *,
    repair: bool = False,
    detector: bool = False,
    seed: int = 0,
    skip_problems: bool = False,
    track: Track = silent,
) -> BoxAudit:
    """Find what is wrong with the boxes of a file, see `answers.given_boxes.read_boxes`.

    Parameters
    ----------
    repair : also propose what the boxes should rather be; the file itself is never changed
    detector : also train detectors on the boxes, which judge the pictures that they did not see, see `models.box_detector`
    seed : of the detectors
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
    sure = sure_repairs(boxes, faults) if repair else []
    if detector:
        more, repairs = detection_faults(boxes, _detected(refs, boxes, seed, track))
        faults, sure = together(faults, more), one_each(sure, repairs) if repair else []
    where = [given.where[i] for i in kept]
    paths = [refs[row].path for row in boxes.pictures]
    table = pd.DataFrame({"path": paths, **dict(zip(CORNERS, boxes.corners.T, strict=True))})
    table["label"] = [names[k] for k in labels]
    proposals = _proposals(sure, boxes, [ref.path for ref in refs]) if repair else None
    page = _page(faults, table, refs, boxes, source)
    return BoxAudit(
        _issues(faults, table, where, names, [ref.path for ref in refs]),
        table,
        proposals,
        unreadable,
        page,
        location(images),
    )


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


def _detected(refs: Sequence[ImageRef], boxes: Boxes, seed: int, track: Track) -> list[Detections]:
    """What a detector that was trained on other pictures finds in each that has boxes; nothing in the others."""
    from autoannotate.models.box_detector import detect_out_of_fold, feature_maps

    rows, place = np.unique(boxes.pictures, return_inverse=True)
    usable = ~boxes.degenerate & (boxes.outside < 1.0)
    if len(rows) < 2:
        raise InputError(
            "A detector is judged by pictures that it did not see: it needs boxes in two pictures or more."
        )
    maps = feature_maps(lambda i: read_image(refs[rows[i]]), len(rows), track)
    found = detect_out_of_fold(
        maps, boxes.corners[usable], boxes.labels[usable], place[usable], boxes.sizes[rows],
        len(boxes.class_names), seed=seed, track=track,
    )  # fmt: skip
    made = [Detections(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0))] * len(refs)
    for row, each in zip(rows.tolist(), found, strict=True):
        made[row] = each
    return made


def _issues(
    faults: Sequence[Fault], table: pd.DataFrame, where: Sequence[str], names: Sequence[str], paths: Sequence[str]
) -> pd.DataFrame:
    rows = []
    for rank, each in enumerate(faults, start=1):
        if each.box is None:
            assert each.picture is not None
            assert each.corners is not None
            about = {"path": paths[each.picture], "label": "", **dict(zip(CORNERS, each.corners.tolist(), strict=True))}
        else:
            about = {str(name): value for name, value in table.iloc[each.box].items()}
        suggested = "" if each.suggested is None else names[each.suggested]
        told = {
            "rank": rank,
            "suggested_label": suggested,
            "score": each.score,
            "issue": each.kind,
            "detail": each.detail,
        }
        rows.append({**about, **told, "where": "" if each.box is None else where[each.box]})
    return pd.DataFrame(rows, columns=list(ISSUES))


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
        picture = each.picture if each.box is None else int(boxes.pictures[each.box])
        assert picture is not None
        named = "" if each.suggested is None else boxes.class_names[each.suggested]
        label = named if each.box is None else str(table["label"].iloc[each.box])
        worst = boxes.corners[each.box] if each.box is not None else each.corners
        assert worst is not None
        mine = [i for i in np.flatnonzero(boxes.pictures == picture).tolist() if i != each.box]
        drawn = _drawn(read_image(refs[picture]), [*boxes.corners[mine], worst])
        words = f"{each.kind}, {label}: {each.detail}"
        cards.append(
            f'<figure><img src="{drawn}" alt="{html.escape(words)}"><figcaption><b>{html.escape(each.kind)}</b> '
            f"{html.escape(label)} ({each.score:.2f})<br>{html.escape(each.detail)}<br>"
            f"<code>{html.escape(refs[picture].path)}</code></figcaption></figure>"
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


def _drawn(picture: Image.Image, corners: Sequence[np.ndarray]) -> str:
    """The picture with its boxes, the last of them thick."""
    from PIL import ImageDraw

    picture = picture.convert("RGB")
    scale = SIDE / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    draw = ImageDraw.Draw(picture)
    for i, box in enumerate(corners, start=1):
        if not np.isfinite(box).all():
            continue
        x, right = sorted((box[0] * scale, box[2] * scale))
        y, bottom = sorted((box[1] * scale, box[3] * scale))
        draw.rectangle(
            (x, y, right, bottom),
            outline="#ff8c1a" if i == len(corners) else "#59b3c2",
            width=3 if i == len(corners) else 1,
        )
    out = io.BytesIO()
    picture.save(out, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
