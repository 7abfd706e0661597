"""What a page is told when something goes wrong: one sentence, and the HTTP status that fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from autoannotate.errors import AutoannotateError


def answer_plainly(
    app: FastAPI,
    status: Mapping[type[AutoannotateError], int],
    details: Callable[[AutoannotateError], Mapping[str, Any]] = lambda error: {},
) -> None:
    """Let an app answer errors with a sentence.

    Parameters
    ----------
    status : the HTTP status of a kind of error; of any other 400.
    details : what the page is told beside the sentence.
    """

    @app.exception_handler(AutoannotateError)
    async def plain(request: Request, error: AutoannotateError) -> JSONResponse:
        code = next((code for kind, code in status.items() if isinstance(error, kind)), 400)
        return JSONResponse({"detail": str(error), **details(error)}, code)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": "The page asked for something that makes no sense: reload it."}, 422)
