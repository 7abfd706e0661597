"""The run as a whole over HTTP: update, certificate, exports, the reading plan."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from autoannotate.review import jobs, run_pages
from autoannotate.review.session import Desk, check_reader


class Plan(BaseModel):
    """How many readers an image has from now on: single, double, or double:SHARE."""

    plan: str


class Promise(BaseModel):
    """What a certificate is to say; what is None stays as the sample was drawn."""

    max_error: float | None = Field(None, gt=0, lt=1)
    confidence: float | None = Field(None, ge=0.5, lt=1)


class Export(BaseModel):
    """What is exported, and as what."""

    format: str
    what: str = "all"


def add_run(app: FastAPI, desk: Desk, job: jobs.Job) -> None:
    """Offer the run as a whole on the page of a desk. job: what works for it in the background."""

    @app.get("/api/run")
    def run() -> dict[str, Any]:
        desk.refresh()
        return {**run_pages.overview(desk), "job": job.status()}

    @app.get("/api/job")
    def status() -> dict[str, Any]:
        return job.status()

    @app.post("/api/update")
    def update() -> dict[str, Any]:
        job.start("update", jobs.update_run, desk.folder)
        return job.status()

    @app.post("/api/stop")
    def stop() -> dict[str, Any]:
        job.stop()
        return job.status()

    @app.post("/api/certify")
    def certify(promise: Promise) -> dict[str, Any]:
        desk.refresh()
        return run_pages.certify(desk, promise.max_error, promise.confidence)

    @app.post("/api/export")
    def export(wish: Export) -> dict[str, Any]:
        desk.annotations.rows(wish.what)  # type: ignore[arg-type]  # an unknown part is refused at once
        place = run_pages.place_for(desk.folder, wish.format, wish.what)
        job.start("export", jobs.export_run, desk.folder, wish.format, wish.what, place)
        return job.status()

    @app.post("/api/plan")
    def plan(wish: Plan) -> dict[str, str]:
        desk.plan_as(wish.plan)
        return {"plan": str(desk.plan)}

    @app.get("/api/mine")
    def mine(reader: str) -> list[dict[str, Any]]:
        desk.refresh()
        return desk.answers_of(check_reader(reader))
