"""The start page: the runs in a folder, each with its own page below it, and new runs of folders that it may see."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from autoannotate._internal.progress import Track, silent
from autoannotate.answers.store import AnswerStore
from autoannotate.errors import AutoannotateError, InputError, UsageError
from autoannotate.review.allowed_folders import AllowedFolders
from autoannotate.review.app import STATUS, build_app
from autoannotate.review.html import page_of
from autoannotate.review.jobs import Job, label_folder
from autoannotate.review.plain_errors import answer_plainly
from autoannotate.review.session import Desk
from autoannotate.runs import pictures
from autoannotate.runs.class_names import class_list
from autoannotate.runs.record import RunRecord
from autoannotate.runs.run import Run, check_classes, check_findings

BELOW = "/run/"
"""The path of a run's page, before its name."""


def runs_in(folder: Path) -> list[Path]:
    """The folders of runs directly in a folder, by name."""
    return sorted(file.parent for file in folder.glob("*/run.json"))


class Wish(BaseModel):
    """A folder to label: one that is allowed, the names of what an image can be, or show, and the name of the run."""

    images: str
    classes: str
    name: str
    several: bool = False
    fast: bool = False


def named(text: str, several: bool) -> list[str]:
    """The classes, or findings, as typed into the page.

    Raises
    ------
    UsageError
        Where they cannot be used.
    """
    if text.lstrip().startswith("@"):  # the command reads a file there
        raise UsageError("Type the names themselves, with commas between.")
    names = class_list(text)
    return check_findings(names) if several else check_classes(names)


def free_name(folder: Path, name: str) -> str:
    """The name of a run to be.

    Raises
    ------
    UsageError
        Where it is no plain name, or is taken.
    """
    name = name.strip()
    if (
        not name
        or name.startswith(".")
        or len(name.encode()) > 200
        or not name.isprintable()
        or set(name) & set('/\\:*?"<>|')
    ):
        raise UsageError(f"{name!r} cannot be the name of a run: take letters, digits, spaces, dashes.")
    place = folder / name
    if place.is_symlink() or (
        place.exists() and (not place.is_dir() or any(not one.name.startswith(".") for one in place.iterdir()))
    ):
        raise UsageError(
            f"There is something named {name} in {folder.resolve().name} already: choose another name for the run."
        )
    return name


class Start:
    """An ASGI app: the list of runs at `/`, and the page of each under `/run/NAME/`, opened when it is first asked for.

    Parameters
    ----------
    allowed : the folders of images that it may label, into runs beside the others; none where left out
    """

    def __init__(
        self, folder: Path, reader: str | None = None, track: Track = silent, allowed: AllowedFolders | None = None
    ) -> None:
        self.folder, self._reader, self._track = folder, reader, track
        self._allowed, self._job = allowed or AllowedFolders(), Job()
        self._open: dict[str, tuple[Any, AnswerStore, Job]] = {}
        self._list = self._list_app()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or not path.startswith(BELOW):
            await self._list(scope, receive, send)
            return
        name, slash, rest = path.removeprefix(BELOW).partition("/")
        if not slash:
            await RedirectResponse(f"{BELOW}{quote(name)}/")(scope, receive, send)
            return
        try:
            app = self._run(name)
        except AutoannotateError as error:
            text = f"{error} Go back to the list of runs.".encode()
            await Response(text, 404, media_type="text/plain; charset=utf-8")(scope, receive, send)
            return
        below = {**scope, "path": f"/{rest}", "raw_path": quote(f"/{rest}").encode(), "root_path": ""}
        await app(below, receive, send)

    def close(self) -> None:
        """Stop all work and close the answers of all runs."""
        self._job.close()
        for _, store, job in self._open.values():
            job.close()
            store.close()

    def answers(self) -> int:
        """How many answers the runs that were opened have."""
        return sum(len(store.current()) for _, store, _ in self._open.values())

    def _run(self, name: str) -> Any:
        """The page of a run. Raises `InputError` where there is none of that name, or its pictures are gone."""
        if name not in self._open:
            folder = next((run for run in runs_in(self.folder) if run.name == name), None)
            if folder is None:
                raise InputError("There is no such run.")
            run = Run.load(folder)
            refs = pictures.pictures_of(run.record, list(run.table["path"]), None, folder)
            store, job = AnswerStore(folder), Job()
            self._open[name] = build_app(Desk(folder, store, refs, self._track), self._reader, job), store, job
        return self._open[name][0]

    def _list_app(self) -> FastAPI:
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, title="autoannotate review")
        static = resources.files("autoannotate.review") / "static"
        answer_plainly(app, STATUS)

        @app.get("/")
        def page() -> Response:
            return page_of("start.html")

        @app.get("/api/runs")
        def runs() -> dict[str, Any]:
            return {
                "folder": self.folder.resolve().name,
                "runs": [about(run) for run in runs_in(self.folder)],
                "allowed": self._allowed.names(),
                "job": self._job.status(),
            }

        @app.get("/api/job")
        def status() -> dict[str, Any]:
            return self._job.status()

        @app.post("/api/label")
        def label(wish: Wish) -> dict[str, Any]:
            images = self._allowed.find(wish.images)
            names = named(wish.classes, wish.several)
            out = self.folder / free_name(self.folder, wish.name)
            self._job.start("label", label_folder, self._allowed, images, names, wish.several, wish.fast, out)
            return self._job.status()

        @app.post("/api/stop")
        def stop() -> dict[str, Any]:
            self._job.stop()
            return self._job.status()

        app.mount("/static", StaticFiles(directory=str(static)), name="static")
        return app


def about(folder: Path) -> dict[str, Any]:
    """What the list says of a run; `problem` where it cannot be read."""
    found: dict[str, Any] = {"name": folder.name, "address": f"{BELOW.lstrip('/')}{quote(folder.name)}/", "problem": ""}
    try:
        record = RunRecord.read(json.loads((folder / "run.json").read_text(encoding="utf-8")))
        answers = 0
        if AnswerStore.exists(folder):
            with AnswerStore(folder) as store:
                answers = len(store.current())
    except (OSError, ValueError, AutoannotateError) as error:
        return found | {"problem": str(error) if isinstance(error, AutoannotateError) else "run.json cannot be read."}
    meaningful = record.reliability.meaningful is not False
    return found | {
        "classes": list(record.classes),
        "images": record.counts.images,
        "suspects": record.counts.suspects,
        "answers": answers,
        "round": record.round,
        "error_rate": record.estimated_error_rate if meaningful else None,
        "meaningful": meaningful,
    }
