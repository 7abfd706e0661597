"""Downloads, against a small server on this machine that answers as the Hugging Face hub does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import checkpoints
import pytest

from autoannotate.errors import ModelError
from autoannotate.models.encoder import load_encoder
from autoannotate.models.loading import hub


class Hub(ThreadingHTTPServer):
    """Serves `files` of the repository org/clip; org/gated wants a login, other repositories do not exist."""

    files: Path
    asked: list[str]


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        self.server.asked.append(self.path)
        *_, org, name, _, _, file = ["", "", "", *self.path.split("/")]
        path = self.server.files / file
        if name == "clip" and path.is_file():
            body = path.read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{file}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)
            return
        codes = {"clip": (404, "EntryNotFound"), "gated": (403, "GatedRepo")}
        status, code = codes.get(name, (404, "RepoNotFound" if org else ""))
        self.send_response(status if org else 200)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    running = Hub(("127.0.0.1", 0), Answer)
    running.files, running.asked = tmp_path / "served", []
    running.files.mkdir()
    url = f"http://127.0.0.1:{running.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def test_a_model_named_by_the_user_is_downloaded_once(server: Hub) -> None:
    checkpoints.open_clip_folder(server.files)
    first = load_encoder("hf-hub:org/clip").encode_texts(["a chest x-ray"])
    server.asked.clear()
    again = load_encoder("hf-hub:org/clip").encode_texts(["a chest x-ray"])
    assert not server.asked
    assert first.tobytes() == again.tobytes()


def test_a_repository_in_transformers_form_is_downloaded_too(server: Hub) -> None:
    checkpoints.transformers_clip(server.files)
    assert load_encoder("hf-hub:org/clip").encode_texts(["a chest x-ray"]).shape == (1, 24)


def test_a_tokenizer_and_text_tower_come_with_the_model(server: Hub) -> None:
    server.files.rmdir()
    checkpoints.biomedclip_folder(server.files)
    assert load_encoder("hf-hub:org/clip").encode_texts(["a chest x-ray"]).shape == (1, 48)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("hf-hub:org/gated", "accept their terms at https://huggingface.co/org/gated and log in"),
        ("hf-hub:org/none", "There is no repository org/none on the Hugging Face hub, or it is private"),
        ("hf-hub:org/clip", "The repository org/clip on the Hugging Face hub holds no CLIP weights"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(server: Hub, model: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as refusal:
        load_encoder(model)
    assert "\n" not in str(refusal.value)
    assert "embedded" in str(refusal.value)


def test_a_hub_that_does_not_answer_is_given_up_soon(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()
    monkeypatch.setattr(Answer, "answer", lambda self, with_body: silent.wait(30))
    monkeypatch.setattr(hub, "_TIMEOUT_S", 0.2)
    with pytest.raises(ModelError, match="not on this machine and the Hugging Face hub cannot be reached"):
        load_encoder("biomedclip")
    silent.set()
