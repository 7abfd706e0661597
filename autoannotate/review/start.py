"""The start page: the runs in a folder, each with its own page below it, and new runs of folders that it may see."""

from __future__ import annotations

import json
from dataclasses import asdict
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

SENTENCES = 3  # of each class that the page shows
BELOW = "/run/"
"""The path of a run's page, before its name."""


def runs_in(folder: Path) -> list[Path]:
    """The folders of runs directly in a folder, by name."""
    return sorted(file.parent for file in folder.glob("*/run.json"))


class Words(BaseModel):
    """What an image can be, or show, in which words: as the command `label` has it.

    Attributes
    ----------
    several : findings, in the place of classes
    modality : what all images are; "" to find out
    prompts : a file of own words in the folder of the runs, by name; "" for none
    """

    classes: str
    several: bool = False
    modality: str = ""
    prompts: str = ""


class Wish(Words):
    """A folder to label: one that is allowed, the name of the run, and how."""

    images: str
    name: str
    fast: bool = False
    model: str = "embedded"


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


def prompt_files(folder: Path) -> dict[str, Path]:
    """The YAML files directly in a folder, by name."""
    return {
        file.name: file
        for file in sorted(folder.glob("*"))
        if file.suffix.lower() in (".yaml", ".yml") and file.is_file() and not file.is_symlink()
    }


def arguments_of(words: Words, folder: Path) -> dict[str, Any]:
    """The arguments of an annotator: `prompts` and `modality`, where they are given.

    Raises
    ------
    UsageError
        For a file of words that is not there.
    """
    known, given = prompt_files(folder), {}
    if words.prompts:
        if words.prompts not in known:
            raise UsageError(f"There is no file of words {words.prompts!r} beside the runs.")
        given["prompts"] = known[words.prompts].absolute().as_posix()
    return given | ({"modality": words.modality.strip()} if words.modality.strip() else {})


def understood(names: list[str], several: bool, given: dict[str, Any]) -> list[dict[str, Any]]:
    """By which sentences each class is known, as `autoannotate prompts` shows them."""
    from autoannotate.labelling.zero_shot.prompts import class_prompts, finding_prompts

    file, modality = Path(given["prompts"]) if "prompts" in given else None, given.get("modality")
    if several:
        found = [(one.name, one.present) for one in finding_prompts(names, file=file, modality=modality)]
    else:
        found = [(one.name, one) for one in class_prompts(names, file=file, modality=modality)]
    return [
        {"name": name, "sense": one.sense, "texts": one.texts[:SENTENCES], "says_something": one.says_something}
        for name, one in found
    ]


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
                "prompts": list(prompt_files(self.folder)),
                "job": self._job.status(),
            }

        @app.get("/api/choices")
        def choices() -> dict[str, Any]:
            """Which models and kinds of image there are to choose from."""
            from autoannotate.labelling.zero_shot.prompts import modality_prompts
            from autoannotate.models import list_models

            kinds = modality_prompts()
            return {
                "models": [asdict(one) for one in list_models()],
                "modalities": sorted({one.name for one in kinds} | {one.modality for one in kinds if one.modality}),
            }

        @app.post("/api/prompts")
        def prompts(words: Words) -> list[dict[str, Any]]:
            given = arguments_of(words, self.folder)
            return understood(named(words.classes, words.several), words.several, given)

        @app.get("/api/job")
        def status() -> dict[str, Any]:
            return self._job.status()

        @app.post("/api/label")
        def label(wish: Wish) -> dict[str, Any]:
            images = self._allowed.find(wish.images)
            names = named(wish.classes, wish.several)
            out = self.folder / free_name(self.folder, wish.name)
            given = arguments_of(wish, self.folder)
            understood(names, wish.several, given)  # what is wrong with the words is said at once
            given |= {"fast": wish.fast, "model": wish.model.strip() or "embedded"}
            self._job.start("label", label_folder, self._allowed, images, names, wish.several, given, out)
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
