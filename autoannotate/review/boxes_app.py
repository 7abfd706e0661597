"""The proposals of an audit of boxes over HTTP: one after another, each taken or dropped."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from autoannotate.errors import InputError, OutputError, UnreadableImageError
from autoannotate.images import ImageRef, find_images, read_image
from autoannotate.review import pictures
from autoannotate.review.html import page_of
from autoannotate.review.plain_errors import answer_plainly
from autoannotate.review.session import check_reader
from autoannotate.runs import box_repairs
from autoannotate.runs.box_repairs import CORNERS, NEW_CORNERS, OPEN


class Decision(BaseModel):
    """What a person says of a proposal: take, drop, or open, which takes an earlier decision back."""

    proposal: int
    decision: str
    reader: str


def build_boxes_app(folder: Path, reader: str | None, images: Path | None = None) -> FastAPI:
    """The page of an audit of boxes and its data.

    Parameters
    ----------
    reader : who is asked where the page has no other name yet
    images : where the pictures are now, if they were moved

    Raises
    ------
    InputError
        Where the audit made no proposals, or none of its pictures is there.
    """
    told = box_repairs.about(folder)
    proposals, boxes = box_repairs.read_proposals(folder), box_repairs.read_boxes_table(folder)
    if proposals.empty:
        raise InputError(f"Nothing is proposed in {folder}: its boxes need no repair that --repair could find.")
    place = images or told.get("place")
    if not place:
        raise InputError("The audit does not say where its images are: name their folder with --images.")
    known = set(proposals["path"])
    refs = {ref.path: ref for ref in find_images(place) if ref.path in known}
    if not refs:
        raise InputError(f"None of the images is in {place}: name the folder where they are now with --images.")
    others = {path: rows[list(CORNERS)].to_numpy(float).tolist() for path, rows in boxes.groupby("path")}
    rows = proposals.to_dict("records")
    numbers = {int(row["proposal"]): row for row in rows}
    kept = pictures.Kept()

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, title="autoannotate review")
    static = resources.files("autoannotate.review") / "static"
    answer_plainly(app, {UnreadableImageError: 410, OutputError: 507})

    def ref_of(number: int) -> ImageRef:
        row = numbers.get(number)
        if row is None or row["path"] not in refs:
            raise UnreadableImageError("The picture is not where the audit found it.")
        return refs[row["path"]]

    @app.get("/")
    def page() -> Response:
        return page_of("boxes.html")

    @app.get("/api/proposals")
    def listed() -> dict[str, Any]:
        said = box_repairs.read_decisions(folder)
        items = [
            {
                "proposal": number, "path": row["path"], "label": row["label"], "change": row["change"],
                "suggested": row["suggested_label"], "detail": row["detail"], "overlap": float(row["overlap"]),
                "old": None if row["change"] == "added" else [float(row[name]) for name in CORNERS],
                "new": None if row["change"] == "dropped" else [float(row[name]) for name in NEW_CORNERS],
                "decision": said.get(number, OPEN),
            }
            for number, row in numbers.items()
        ]  # fmt: skip
        return {"reader": reader, "boxes": len(boxes), "proposals": items}

    @app.get("/api/proposals/{number}")
    def one(number: int) -> dict[str, Any]:
        """The size of the picture, and all boxes in it."""
        width, height = read_image(ref_of(number)).size
        return {"width": width, "height": height, "others": others.get(numbers[number]["path"], [])}

    @app.get("/api/proposals/{number}/picture")
    def picture(number: int) -> Response:
        ref = ref_of(number)
        return Response(kept(("view", ref.path), lambda: pictures.view(ref)), media_type="image/png")

    @app.post("/api/decisions")
    def decide(wish: Decision) -> dict[str, Any]:
        said = box_repairs.decide(folder, wish.proposal, wish.decision, check_reader(wish.reader))
        return {"decision": said.get(wish.proposal, OPEN), "decided": len(said)}

    app.mount("/static", StaticFiles(directory=str(static)), name="static")
    return app
