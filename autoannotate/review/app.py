"""The desk over HTTP: the page's files, pictures by number, answers by path."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from autoannotate.errors import AutoannotateError, OutputError, UnreadableImageError
from autoannotate.images import ImageRef
from autoannotate.review import pictures
from autoannotate.review.app_run import add_run
from autoannotate.review.companions import companions
from autoannotate.review.html import page_of
from autoannotate.review.jobs import Job
from autoannotate.review.picture_files import ChangedError
from autoannotate.review.plain_errors import answer_plainly
from autoannotate.review.queues import Filters, as_seen
from autoannotate.review.session import AnsweredError, Desk, check_reader

STATUS = {AnsweredError: 409, ChangedError: 409, UnreadableImageError: 410, OutputError: 507}


class One(BaseModel):
    """What is said about one image."""

    path: str
    verdict: str
    label: str | None = None
    fingerprint: str = ""
    note: str = ""
    seconds: float | None = Field(None, ge=0, le=86400, allow_inf_nan=False)
    previous: int | None = None


class Answered(BaseModel):
    """What one key press says: about one image, a group of near-identical ones, or a grid."""

    reader: str
    batch: str
    answers: list[One]


class Who(BaseModel):
    """Whose last batch is taken back."""

    reader: str


def _details(error: AutoannotateError) -> dict[str, Any]:
    """Which pictures changed, and what stands in the place of an answer."""
    told: dict[str, Any] = {"changed": getattr(error, "paths", [])}
    if isinstance(error, AnsweredError):
        told["standing"] = [{"path": a.path, "at": a.answered_at, **(as_seen(a) or {})} for a in error.standing]
    return told


def build_app(desk: Desk, reader: str | None, job: Job | None = None) -> FastAPI:
    """The page and its data.

    Parameters
    ----------
    reader : who is asked where the page has no other name yet
    job : what works in the background, which the caller closes
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, title="autoannotate review")
    static = resources.files("autoannotate.review") / "static"
    kept = pictures.Kept()

    answer_plainly(app, STATUS, _details)

    @app.get("/")
    def page() -> Response:
        return page_of("index.html")

    @app.get("/api/hello")
    def hello() -> dict[str, Any]:
        return {"reader": reader, "readers": desk.store.readers()}

    @app.get("/api/session")
    def session(reader: str) -> dict[str, Any]:
        desk.refresh()
        return {"reader": check_reader(reader), **desk.session(check_reader(reader))}

    @app.get("/api/round")
    def newest() -> dict[str, int]:
        """Which round the labels are of, so that an open page sees that they were updated."""
        desk.refresh()
        return {"round": desk.round}

    @app.get("/api/queue")
    def queue(reader: str, which: str = "suspects") -> dict[str, Any]:
        desk.refresh()
        reader = check_reader(reader)
        return {**desk.queue(reader, which), "lookalikes": desk.lookalikes.state, "round": desk.round}

    @app.get("/api/grid")
    def grid(reader: str, filters: Annotated[Filters, Depends()]) -> dict[str, Any]:
        desk.refresh()
        return desk.grid(check_reader(reader), filters)

    @app.get("/api/items/{number}")
    def item(number: int, reader: str) -> dict[str, Any]:
        return desk.details(number, reader)

    @app.get("/api/looks")
    def looks(number: Annotated[list[int], Query(max_length=100)]) -> list[dict[str, Any]]:
        rows = [desk.row(one) for one in number]
        return [{"id": row.id, "path": row.path, **desk.files.look(row.path).__dict__} for row in rows]

    @app.get("/api/items/{number}/said")
    def said(number: int, reader: str) -> list[str]:
        return desk.said(number, check_reader(reader))

    @app.get("/api/broken")
    def broken(label: str, reader: str) -> dict[str, str]:
        """Which rule a set of findings breaks, in a sentence; "" where it breaks none."""
        return {"broken": desk.broken(label)}

    @app.get("/api/agreement")
    def agreement(reader: str) -> dict[str, Any]:
        return desk.agreement(check_reader(reader))

    @app.get("/api/items/{number}/view")
    def view(number: int, v: str, whole: bool = False, slice: int | None = None) -> Response:
        return _picture(number, v, "image/png", lambda ref: pictures.view(ref, whole), slice)

    @app.get("/api/items/{number}/thumbnail")
    def thumbnail(number: int, v: str, side: int = pictures.THUMBNAIL_SIDES[0]) -> Response:
        side = min(pictures.THUMBNAIL_SIDES, key=lambda one: abs(one - side))
        return _picture(
            number, v, "image/jpeg", lambda ref: kept((f"{side}", v), lambda: pictures.thumbnail(ref, side))
        )

    @app.get("/api/items/{number}/values")
    def values(number: int, v: str, slice: int | None = None) -> Response:
        return _picture(number, v, "application/octet-stream", pictures.values, slice)

    @app.get("/api/items/{number}/compare")
    def compare(number: int, reader: str, hidden: bool = False) -> list[dict[str, Any]]:
        return companions(desk, desk.row(number), desk.mine(check_reader(reader)), hidden)

    def _picture(number: int, version: str, kind: str, make: Any, slice: int | None = None) -> Response:
        files, path = desk.files, desk.row(number).path
        ref: ImageRef = files.ref(path, version)
        try:
            content = make(ref if slice is None else pictures.slice_of(ref, slice))
        except UnreadableImageError as error:
            if slice is None:
                files.cannot_read(version, str(error))
            raise
        files.ref(path, version)  # once more: what was read is what was asked for
        return Response(content, media_type=kind)

    @app.post("/api/answers")
    def answer(answered: Answered) -> dict[str, Any]:
        kept = desk.answer(answered.reader, answered.batch, [one.model_dump() for one in answered.answers])
        return {
            "kept": len(kept),
            "ids": {one.path: one.id for one in kept},
            "progress": desk.progress(check_reader(answered.reader)),
        }

    @app.post("/api/undo")
    def undo(who: Who) -> dict[str, Any]:
        return {**desk.undo(who.reader), "progress": desk.progress(check_reader(who.reader))}

    add_run(app, desk, job or Job())
    app.mount("/static", StaticFiles(directory=str(static)), name="static")
    return app
