"""Run the page: bind first, say where it is, serve until Ctrl-C."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate._internal.progress import Track, silent
from autoannotate.answers.store import AnswerStore
from autoannotate.errors import InputError, OutputError, UsageError
from autoannotate.images import ImageRef
from autoannotate.review.address import Address, keep_address, last_address
from autoannotate.review.guard import Guard, is_loopback
from autoannotate.runs import pictures
from autoannotate.runs.box_repairs import is_box_audit, read_decisions
from autoannotate.runs.run import Run

if TYPE_CHECKING:
    from autoannotate.review.start import Start


def serve(
    folder: Path,
    reader: str | None = None,
    *,
    images: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    browser: bool = True,
    track: Track = silent,
    plan: str | None = None,
    metadata: Path | None = None,
    allow_images: Sequence[Path] = (),
) -> int:
    """Serve the page of a run, or the list of the runs in a folder, until Ctrl-C; its address is the first line on stdout.

    The folder of an audit of boxes has a page of its own: its proposals, each to take or to drop.

    Parameters
    ----------
    reader : whose answers they are, else the page asks
    images : where the pictures are now, if they moved
    port : 0 takes a free one
    plan : how many readers an image has, see `reading_plan`
    metadata : a table of the images to filter them by
    allow_images : folders of images that the list of runs may label

    Returns
    -------
    How many answers there are.

    Raises
    ------
    InputError
        Where there is no run or no picture.
    UsageError
        Where the address cannot be had.
    """
    from autoannotate.review.allowed_folders import AllowedFolders
    from autoannotate.review.app import build_app
    from autoannotate.review.jobs import Job
    from autoannotate.review.session import Desk, check_reader
    from autoannotate.review.start import Start, runs_in

    reader = None if reader is None else check_reader(reader)
    if is_box_audit(folder):
        if plan is not None or metadata is not None:
            raise UsageError(
                "--plan and --metadata are of labels: an audit of boxes does not use them. Leave them out."
            )
        return _serve_boxes(folder, reader, images, host, port, browser)
    is_run, allowed = (folder / "run.json").exists(), AllowedFolders.of(allow_images)
    if is_run and allow_images:
        raise UsageError(
            f"{folder} is a run: --allow-images goes with a folder of runs, as {folder.absolute().parent}."
        )
    if not is_run and ((runs := runs_in(folder)) or allow_images):
        if images is not None or plan is not None or metadata is not None:
            example = f": name it, as {runs[0]}" if runs else ""
            raise UsageError(
                f"{folder} holds {len(runs)} runs, and --images, --plan and --metadata are about one{example}."
            )
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file: name a folder for the runs.")
        return _serve_all(Start(folder, reader, track, allowed), host, port, browser)
    refs = pictures_of(folder, images)
    address = last_address(folder, host)
    with AnswerStore(folder) as store, bound_again(host, port, address) as listening:
        desk = Desk(folder, store, refs, track, metadata=metadata)
        here = replace(address, port=listening.getsockname()[1])
        if here.port == address.port or not address.port:
            keep_address(folder, host, here)
        if plan is not None:
            desk.plan_as(plan)
        job = Job()
        try:
            serve_app(build_app(desk, reader, job), listening, host, browser=browser, address=here)
        finally:
            job.close()
        return len(store.current())


def _serve_boxes(folder: Path, reader: str | None, images: Path | None, host: str, port: int, browser: bool) -> int:
    """Serve the proposals of an audit of boxes until Ctrl-C."""
    from autoannotate.review.boxes_app import build_boxes_app

    app, address = build_boxes_app(folder, reader, images), last_address(folder, host)
    with bound_again(host, port, address) as listening:
        here = replace(address, port=listening.getsockname()[1])
        if here.port == address.port or not address.port:
            keep_address(folder, host, here)
        serve_app(app, listening, host, browser=browser, address=here)
    return len(read_decisions(folder))


def _serve_all(start: Start, host: str, port: int, browser: bool) -> int:
    """Serve the list of runs until Ctrl-C."""
    address = last_address(start.folder, host)
    with bound_again(host, port, address) as listening:
        here = replace(address, port=listening.getsockname()[1])
        if here.port == address.port or not address.port:
            keep_address(start.folder, host, here)
        try:
            serve_app(start, listening, host, browser=browser, address=here)
            return start.answers()
        finally:
            start.close()


def serve_app(
    app: Any,
    listening: socket.socket,
    host: str,
    *,
    browser: bool,
    command: str = "review",
    files: frozenset[str] = frozenset(),
    address: Address | None = None,
) -> None:
    """Serve a page behind its guard until Ctrl-C; its address is the first line on stdout.

    Parameters
    ----------
    app : an ASGI application
    listening : a socket from `bound`
    command, files : as `Guard` takes them
    address : with the token and the secret to use, new ones if None
    """
    page_server(app, listening, host, browser=browser, command=command, files=files, address=address).run([listening])


def page_server(
    app: Any,
    listening: socket.socket,
    host: str,
    *,
    browser: bool = False,
    command: str = "review",
    files: frozenset[str] = frozenset(),
    address: Address | None = None,
) -> PageServer:
    """The server of `serve_app`, not started yet."""
    import uvicorn

    address = address or Address()
    port = listening.getsockname()[1]
    guard = Guard(app, address.token, host, port, command=command, files=files, secret=address.secret)
    config = uvicorn.Config(
        guard, log_level="warning", access_log=False, server_header=False, date_header=False, lifespan="off",
        timeout_graceful_shutdown=2, timeout_keep_alive=75,
    )  # fmt: skip
    return PageServer(config, f"http://{_written(host)}:{port}/?token={address.token}", browser)


def _written(host: str) -> str:
    """The host as a browser on this machine can open it."""
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def pictures_of(folder: Path, images: Path | None) -> list[ImageRef]:
    """The images of the run.

    Raises
    ------
    InputError
        Where none of those that it labelled is there.
    """
    run = Run.load(folder)
    return pictures.pictures_of(run.record, list(run.table["path"]), images, folder)


def bound_again(host: str, port: int, address: Address) -> socket.socket:
    """A socket that listens where the page was last, if no port is asked for and that one is free; see `bound`."""
    if port == 0 and address.port:
        try:
            return bound(host, address.port)
        except UsageError:
            pass
    return bound(host, port)


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises
    ------
    UsageError
        With the way out.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a page that was just stopped may start again
        listening.bind(address)
        listening.listen(128)
    except OverflowError:
        raise UsageError("--port takes a number up to 65535.") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"{host}:{port} cannot be used ({why}): choose another --port, or none.") from None
    return listening


class PageServer:
    """uvicorn, which says where it is once it answers."""

    def __init__(self, config: Any, url: str, browser: bool) -> None:
        import uvicorn

        class Announcing(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                announce(url, browser)

        self.url, self.server = url, Announcing(config)

    def run(self, sockets: list[socket.socket]) -> None:
        """Serve until Ctrl-C."""
        try:
            self.server.run(sockets)
        except KeyboardInterrupt:  # Ctrl-C is how it is meant to end
            return


def announce(url: str, browser: bool) -> None:
    """Print the address, alone on its line, and open it where asked to."""
    try:
        print(url, flush=True)
    except OSError as error:
        raise OutputError("The address cannot be printed: stdout is closed.") from error
    host = url.split("//")[1].rsplit(":", 1)[0].strip("[]")
    note = "Keep this address to yourself: it lets its holder answer. Every answer is kept at once. Ctrl-C ends it."
    if not is_loopback(host):
        note += " Beyond this machine it is not encrypted: use it only in a network you trust."
    print(note, file=sys.stderr, flush=True)
    if browser:
        import webbrowser

        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
