"""The collection over HTTP: the page's files, the map, pictures by number, search, and what is done with chosen images."""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import InputError, OutputError, UnreadableImageError
from autoannotate.explore.collection import Collection
from autoannotate.explore.findings import Findings
from autoannotate.explore.groups import purity
from autoannotate.explore.queue import put_first
from autoannotate.images import fingerprint, read_image
from autoannotate.review import pictures
from autoannotate.review.plain_errors import answer_plainly
from autoannotate.review.session import check_reader
from autoannotate.runs import tables

PICTURE = "/api/picture"
"""Takes a file that is dropped on the page."""
THUMBNAIL_SIDE = 208  # pixels
NAMED = 20_000  # images up to which the page gets all paths at once
LONGEST_QUERY = 300
STATUS = {UnreadableImageError: 410, OutputError: 507}


class Chosen(BaseModel):
    """Some images, by number."""

    rows: list[int] = Field(min_length=1, max_length=1_000_000)


class Labelled(Chosen):
    """One label for some images."""

    reader: str
    label: str


class Who(BaseModel):
    """Whose last labels are taken back."""

    reader: str


def build_app(
    collection: Collection, findings: Findings, folder: Path | None, reader: str | None, store: AnswerStore | None
) -> FastAPI:
    """The page and its data. folder, store: of the run, where the collection is one."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, title="autoannotate explore")
    static = resources.files("autoannotate.explore") / "static"
    kept = pictures.Kept()
    encoding = threading.Lock()  # one query at a time in the encoder
    paths, columns = collection.paths, collection.columns

    answer_plainly(app, STATUS)

    @app.get("/")
    def page() -> Response:
        return Response((static / "index.html").read_bytes(), media_type="text/html; charset=utf-8")

    @app.get("/api/collection")
    def about() -> dict[str, Any]:
        return {
            "title": collection.title,
            "names": paths if len(paths) <= NAMED else [],
            "classes": collection.classes,
            "is_run": store is not None,
            "pictures": collection.pictures,
            "speaks": collection.speaks,
            "reader": reader or "",
            "columns": [_column(column) for column in columns],
            "clusters": _clusters(collection),
            "duplicates": [rows.tolist() for rows in collection.duplicates[:200]],
            "outliers": collection.outliers.tolist(),
            "metadata": bool(collection.metadata.columns),
            "associations": _finite(findings.associations.to_dict(orient="records")),
            "shortcuts": _finite([asdict(one) for one in findings.shortcuts]),
            "slices": _finite([asdict(one) for one in findings.slices]),
            "notes": findings.notes,
        }

    @app.get("/api/map")
    def places() -> Response:
        return Response(collection.place.astype("<f4").tobytes(), media_type="application/octet-stream")

    @app.get("/api/columns/{number}")
    def column(number: int) -> Response:
        if not 0 <= number < len(columns):
            raise InputError("There is no such column.")
        found = columns[number]
        values = found.values.astype("<i2" if found.is_category else "<f4")
        return Response(values.tobytes(), media_type="application/octet-stream")

    @app.get("/api/items/{number}")
    def item(number: int) -> dict[str, Any]:
        row = _row(number)
        facts = {"image": paths[row]}
        for one in columns:
            value = one.values[row]
            if one.is_category:
                facts[one.name] = one.levels[value] if value >= 0 else "unknown"
            else:
                facts[one.name] = "unknown" if np.isnan(value) else f"{value:.4g}"
        return {"path": paths[row], "facts": facts}

    @app.get("/api/items/{number}/thumbnail")
    def thumbnail(number: int) -> Response:
        ref = collection.refs[_row(number)]
        return Response(
            kept(("thumbnail", ref.path), lambda: pictures.thumbnail(ref, THUMBNAIL_SIDE)), media_type="image/jpeg"
        )

    @app.get("/api/items/{number}/view")
    def view(number: int) -> Response:
        return Response(pictures.view(collection.refs[_row(number)]), media_type="image/png")

    @app.get("/api/clusters/{level}/{number}")
    def cluster(level: int, number: int) -> dict[str, Any]:
        found = next((c for c in collection.clusters if (c.level, c.number) == (level, number)), None)
        if found is None:
            raise InputError("There is no such group.")
        return {"rows": found.rows.tolist()}

    @app.get("/api/search")
    def search(words: str = Query(min_length=1, max_length=LONGEST_QUERY)) -> dict[str, Any]:
        with encoding:
            started = time.perf_counter()
            rows = collection.search(words)
            return {"rows": rows.tolist(), "seconds": time.perf_counter() - started}

    @app.get("/api/similar/{number}")
    def similar(number: int) -> dict[str, Any]:
        started = time.perf_counter()
        rows = collection.similar(_row(number))
        return {"rows": rows.tolist(), "seconds": time.perf_counter() - started}

    @app.post(PICTURE)
    async def picture(request: Request) -> dict[str, Any]:
        content = await request.body()
        with encoding:
            started = time.perf_counter()
            rows = collection.like_picture(_dropped(content))
            return {"rows": rows.tolist(), "seconds": time.perf_counter() - started}

    @app.post("/api/label")
    def label(given: Labelled) -> dict[str, int]:
        answers = _of_run()
        if given.label not in collection.classes:
            raise InputError(f"{given.label!r} is not one of the classes of this run.")
        name, known, refused = check_reader(given.reader), [], 0
        for row in dict.fromkeys(given.rows):
            ref = collection.refs[_row(row)]
            try:
                mark = fingerprint(ref) if collection.pictures else ""
            except UnreadableImageError:
                refused += 1
                continue
            known.append(
                Answer(ref.path, name, "label", given.label, source="explore", round=_round(), fingerprint=mark)
            )
        return {"kept": len(answers.add(known)) if known else 0, "refused": refused}

    @app.post("/api/undo")
    def undo(who: Who) -> dict[str, int]:
        return {"undone": len(_of_run().undo(check_reader(who.reader), source="explore"))}

    @app.post("/api/queue")
    def queue(chosen: Chosen) -> dict[str, int]:
        _of_run()
        assert folder is not None
        return {"queued": put_first(folder, [paths[_row(row)] for row in chosen.rows])}

    @app.post("/api/export")
    def export(chosen: Chosen) -> Response:
        import pandas as pd

        rows = [_row(row) for row in chosen.rows]
        table: dict[str, Any] = {"path": [paths[row] for row in rows]}
        for one in columns:
            table[one.name] = [_written(one, row) for row in rows]
        return Response(tables.to_csv(pd.DataFrame(table)), media_type="text/csv; charset=utf-8")

    def _row(number: int) -> int:
        if not 0 <= number < len(paths):
            raise InputError("The collection has no such image.")
        return number

    def _round() -> int:
        return 0 if collection.run is None else collection.run.record.round

    def _of_run() -> AnswerStore:
        if store is None:
            raise InputError("These images have no labels yet: begin with autoannotate label, and explore its run.")
        return store

    app.mount("/static", StaticFiles(directory=str(static)), name="static")
    app.mount("/look", StaticFiles(directory=str(resources.files("autoannotate.review") / "static")), name="look")
    return app


def _dropped(content: bytes) -> Any:
    """The first picture in the bytes of a file, whatever its format; the bytes are on the disk only as long as it is read."""
    from autoannotate.images import find_images

    with tempfile.TemporaryDirectory(prefix="autoannotate-") as place:
        file = Path(place) / "dropped"
        file.write_bytes(content)
        try:
            return read_image(find_images(file)[0])
        except InputError:
            raise InputError("What was dropped is no image that can be read.") from None


def _column(column: Any) -> dict[str, Any]:
    about: dict[str, Any] = {"name": column.name, "unknown": int((~column.known).sum())}
    if column.is_category:
        counts = np.bincount(column.values[column.known], minlength=len(column.levels))
        return about | {"levels": list(column.levels), "counts": counts.tolist()}
    known = column.values[column.known]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    return about | {"low": float(low), "high": float(high)}


def _clusters(collection: Collection) -> list[dict[str, Any]]:
    labels, suspect = (collection.rows_of_run.get(name) for name in ("label", "suspect"))
    found = []
    for cluster, words in zip(collection.clusters, collection.words, strict=True):
        label, share = ("", 0.0) if labels is None else purity(cluster.rows, labels)
        found.append(
            {
                "level": cluster.level,
                "number": cluster.number,
                "size": len(cluster.rows),
                "typical": cluster.typical.tolist(),
                "label": label,
                "purity": share,
                "words": words,
                "suspects": 0.0 if suspect is None else float((suspect[cluster.rows] == 1).mean()),
            }
        )
    return found


def _written(column: Any, row: int) -> str:
    value = column.values[row]
    if column.is_category:
        return column.levels[value] if value >= 0 else ""
    return "" if np.isnan(value) else f"{value:.6g}"


def _finite(value: Any) -> Any:
    """NaN as null, which JSON knows."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
