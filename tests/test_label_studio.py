"""The round trip through a real Label Studio server: what is exported is imported there, answered, exported and applied.

AUTOANNOTATE_LABEL_STUDIO holds the path of the Python of an environment with label-studio (`python3 -m venv V &&
V/bin/pip install label-studio`, then V/bin/python). Its first start makes a database, which takes a minute or more.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run

from autoannotate import Annotations
from autoannotate.answers.apply import apply
from autoannotate.answers.store import AnswerStore

pytestmark = pytest.mark.slow
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PATHS = ("a/1.png", "a/2.png", "a/10.png", "b/=3.png")
PATIENCE = 1200  # seconds for the first start, on a machine with much else to do


@dataclass(frozen=True)
class Server:
    """A running Label Studio and the folder that it may serve files from."""

    address: str
    files: Path

    def call(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": kind}
        request = urllib.request.Request(self.address + path, body or None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:2000]!r}") from error

    def post(self, path: str, /, **body: Any) -> Any:
        return json.loads(self.call("POST", path, json.dumps(body).encode()))

    def project(self, tasks: Path) -> int:
        """A project with the config and the tasks that were exported, uploaded as a file, as a person would."""
        config = tasks.with_name(f"{tasks.stem}.config.xml").read_text(encoding="utf-8")
        number = int(self.post("/api/projects", title="suspects", label_config=config)["id"])
        head = 'Content-Disposition: form-data; name="file"; filename="tasks.json"\r\nContent-Type: application/json'
        body = b"\r\n".join((b"--x", head.encode(), b"", tasks.read_bytes(), b"--x--", b""))
        self.call("POST", f"/api/projects/{number}/import", body, "multipart/form-data; boundary=x")
        return number

    def tasks(self, project: int) -> list[dict[str, Any]]:
        return list(json.loads(self.call("GET", f"/api/tasks?project={project}&fields=all"))["tasks"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    python = os.environ.get("AUTOANNOTATE_LABEL_STUDIO")
    if not python:
        pytest.skip("set AUTOANNOTATE_LABEL_STUDIO to the Python of an environment with label-studio")
    folder, files = tmp_path_factory.mktemp("label-studio"), tmp_path_factory.mktemp("files")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(files),
    }
    command = [
        *(str(Path(python).with_name("label-studio")), "start", "--no-browser", "--data-dir", str(folder)),
        *("--port", str(port), "--internal-host", "127.0.0.1", "--enable-legacy-api-token", "--user-token", TOKEN),
        *("--username", "ana@example.org", "--password", "only-for-this-test"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        found = Server(f"http://127.0.0.1:{port}", files)
        end = time.monotonic() + PATIENCE
        while not _answers(found):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"Label Studio did not start: {(folder / 'log').read_text(errors='replace')[-2000:]}")
            time.sleep(1)
        yield found
    finally:
        process.terminate()
        process.wait(30)


def _answers(server: Server) -> bool:
    try:
        with urllib.request.urlopen(server.address + "/health", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    make_run(tmp_path / "scans", PATHS).save(tmp_path / "run")
    return Annotations.load(tmp_path / "run")


def choice(label: str, note: str = "") -> list[dict[str, Any]]:
    said = {"from_name": "answer", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
    words = {"from_name": "note", "to_name": "image", "type": "textarea", "value": {"text": [note]}}
    return [said, words] if note else [said]


def test_export_import_answer_export_apply(server: Server, run: Annotations, tmp_path: Path) -> None:
    run.export("label-studio", tmp_path / "tasks.json", what="all")
    project = server.project(tmp_path / "tasks.json")
    tasks = server.tasks(project)
    assert [task["data"]["path"] for task in tasks] == list(PATHS)
    predicted = [task["predictions"][0] for task in tasks]
    assert [one["result"][0]["value"]["choices"] for one in predicted] == [[label] for label in run.table["label"]]
    assert [one["score"] for one in predicted] == run.table["confidence"].tolist()

    said = (("breast", "the ribs are missing"), ("none-of-these", ""), ("chest", ""))
    for task, (label, note) in zip(tasks, said, strict=False):
        server.post(f"/api/tasks/{task['id']}/annotations/", result=choice(label, note), lead_time=2.5)
    server.post(f"/api/tasks/{tasks[3]['id']}/annotations/", result=choice("breast"), was_cancelled=True)

    exports = {}
    for kind in ("JSON", "JSON_MIN", "CSV", "TSV"):
        exports[kind] = tmp_path / f"{kind}.export"
        exports[kind].write_bytes(server.call("GET", f"/api/projects/{project}/export?exportType={kind}"))
    applied = apply(run, exports["JSON"], reader="Ana")
    assert applied.report["outcome"].tolist() == ["applied"] * 3
    table = applied.annotations.table
    assert table["label"].tolist() == ["breast", "none-of-these", "chest", "breast"]
    assert table["source"].tolist() == ["clinician", "clinician", "clinician", "clip"]
    with AnswerStore(tmp_path / "run") as store:
        first = store.current()[0]
    assert (first.reader, first.note, first.seconds) == ("Ana", "the ribs are missing", 2.5)
    assert first.answered_at.startswith("20")

    for kind in ("JSON", "JSON_MIN", "CSV", "TSV"):  # whichever way the answers come, they are the same answers
        again = apply(applied.annotations, exports[kind], reader="Ana", skip_problems=kind != "JSON")
        assert set(again.report["outcome"][:3]) == {"known already"}, kind
    with AnswerStore(tmp_path / "run") as store:
        assert len(store.everything()) == 3


def test_pictures_as_files_are_served(server: Server, run: Annotations) -> None:
    run.export("label-studio", server.files / "tasks.json", what="all", link="copy")
    folder = server.files / "tasks-images"
    assert len(list(folder.iterdir())) == len(PATHS)
    project = server.project(server.files / "tasks.json")
    server.post("/api/storages/localfiles", project=project, path=str(folder), use_blob_urls=True)
    for task, path in zip(server.tasks(project), PATHS, strict=True):
        assert task["data"]["path"] == path
        assert server.call("GET", task["data"]["image"]) == run.image(path).file.read_bytes()


def test_an_item_of_slices_is_one_task_whose_answer_comes_back(server: Server, tmp_path: Path) -> None:
    import nibabel
    import numpy as np

    (tmp_path / "in").mkdir()
    for name in ("brain", "knee"):
        values = np.random.default_rng(0).integers(0, 255, (24, 24, 6), dtype=np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 4, 1])), tmp_path / "in" / f"{name}.nii.gz")
    run = make_run(tmp_path / "in", ("brain.nii.gz", "knee.nii.gz"), draw=False)
    run.run["arguments"] = {"images": str(tmp_path / "in"), "item": "auto"}
    run.save(tmp_path / "run")
    run = Annotations.load(tmp_path / "run")
    run.export("label-studio", tmp_path / "tasks.json", what="all")
    project = server.project(tmp_path / "tasks.json")
    tasks = server.tasks(project)
    assert [(task["data"]["path"], len(task["data"]["images"])) for task in tasks] == [
        ("brain.nii.gz", 6), ("knee.nii.gz", 6),
    ]  # fmt: skip
    server.post(f"/api/tasks/{tasks[0]['id']}/annotations/", result=choice("breast"))
    for kind in ("JSON", "JSON_MIN", "CSV"):
        answers = tmp_path / f"{kind}.export"
        answers.write_bytes(server.call("GET", f"/api/projects/{project}/export?exportType={kind}"))
        applied = apply(run, answers, reader="Ana")
        assert applied.annotations.table["label"].tolist() == ["breast", "breast"]
        assert applied.annotations.table["source"].tolist() == ["clinician", "clip"]
