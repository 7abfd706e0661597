"""The server behind the page: who gets in, what gets out, and what is kept."""

from __future__ import annotations

import resource
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_run, replace_picture, stamped
from PIL import Image

from autoannotate.answers.store import AnswerStore
from autoannotate.errors import InputError
from autoannotate.review.pictures import HEADER
from autoannotate.review.session import check_reader
from autoannotate.review.similar_images import alike, compact

httpx = pytest.importorskip("httpx", reason="the package httpx is not installed")


class Page:
    """A server as a user starts it, and a client that behaves as the page does."""

    def __init__(self, run: Path, *options: str, limit: int | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "autoannotate", "review", str(run), "--no-browser", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=None if limit is None else lambda: _limit(limit),
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.origin = self.url.split("/?")[0]
        self.client = httpx.Client(base_url=self.origin, timeout=60)
        self.arrival = self.client.get(self.url)

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/{path}", params={"reader": "Ana", **query})

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.client.post(f"/api/{path}", json=body, headers={"Origin": self.origin, **headers})

    def answer(self, *numbers: int, reader: str = "Ana", batch: str = "b", **changes: Any) -> Any:
        answers = []
        for number in numbers:
            seen = self.get(f"items/{number}").json()
            said = {"path": seen["path"], "verdict": "label", "label": "chest", "fingerprint": seen["fingerprint"]}
            answers.append(said | changes)
        return self.post("answers", {"reader": reader, "batch": batch, "answers": answers})

    def close(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def _limit(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    make_run(folder / "images").save(folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def page(run: Path) -> Iterator[Page]:
    opened = Page(run, "--reader", "Ana")
    yield opened
    opened.close()


def test_nobody_gets_in_without_the_token(page: Page) -> None:
    stranger = httpx.Client(base_url=page.origin)
    for path in ("/", "/?token=guess", "/static/main.js", "/api/session?reader=Ana", "/api/items/0/view?v=x"):
        assert stranger.get(path).status_code == 403, path
    assert page.arrival.status_code == 200
    cookie = page.arrival.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    token = page.url.split("token=")[1]
    assert token not in cookie
    assert token not in page.arrival.text
    assert page.client.get("/").status_code == 200


def test_every_answer_of_the_server_carries_the_headers_that_keep_others_out(page: Page) -> None:
    for path in ("/", "/static/main.js", "/api/session?reader=Ana", "/api/nothing"):
        headers = page.client.get(path).headers
        assert headers["cache-control"] == "no-store", path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_foreign_name_pointed_here_gets_nothing(page: Page, host: str) -> None:
    port = page.origin.rsplit(":", 1)[1]
    for name in (host, f"{host.split(':')[0]}:{port}"):
        assert page.client.get("/api/session?reader=Ana", headers={"Host": name}).status_code in (400, 421), name


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_no_other_origin_can_answer_even_with_the_cookie(page: Page, run: Path, headers: dict[str, str]) -> None:
    seen = page.get("items/0").json()
    one = {"path": seen["path"], "verdict": "unsure", "fingerprint": seen["fingerprint"]}
    body = {"reader": "Mal", "batch": "m", "answers": [one]}
    assert page.post("answers", body, **headers).status_code in (403, 415)
    assert page.client.post("/api/answers", json=body).status_code == 403
    assert page.client.put("/api/answers", json=body, headers={"Origin": page.origin}).status_code == 405
    with AnswerStore(run) as store:
        assert store.current("Mal") == []


@pytest.mark.parametrize(
    "path",
    [
        "/static/../desk.py", "/static/%2e%2e/desk.py", "/static/..%2fdesk.py", "/static//etc/passwd", "/etc/passwd",
        "/api/items/-1/view?v=x", "/api/items/99/view?v=x", "/api/items/..%2f..%2fetc%2fpasswd/view?v=x", "/docs",
        "/openapi.json",
    ],
)  # fmt: skip
def test_nothing_but_the_images_of_the_run_can_be_fetched(page: Page, path: str) -> None:
    response = page.client.get(path)
    assert response.status_code in (400, 404, 422)
    assert "root:" not in response.text
    assert "import" not in response.text


def test_what_makes_no_sense_is_refused_whole(page: Page, run: Path) -> None:
    assert page.answer(0, reader="Eva", path="../run/run.json").status_code == 400
    assert page.answer(0, reader="Eva", label="brain").status_code == 400
    assert page.answer(0, reader="Eva", verdict="maybe").status_code == 400
    assert page.answer(0, reader="Eva", verdict="unsure").status_code == 400, "a class with another verdict"
    assert page.answer(0, 1, reader="Eva", fingerprint="stale").status_code == 409
    assert page.answer(0, reader="=1+1").status_code == 400
    assert page.answer(reader="Eva").status_code == 400
    assert page.post("answers", {"reader": "Eva"}).status_code == 422
    assert "Ana" not in page.post("answers", {"reader": "Eva", "answers": "Ana"}).text
    with AnswerStore(run) as store:
        assert store.current("Eva") == []


def test_an_answer_sent_again_after_a_lost_reply_is_kept_once(page: Page, run: Path) -> None:
    for _ in range(2):
        assert page.answer(0, 1, reader="Twice", batch="same").json()["kept"] == 2
    with AnswerStore(run) as store:
        assert len(store.current("Twice")) == 2
    assert len(page.post("undo", {"reader": "Twice"}).json()["undone"]) == 2
    assert page.post("undo", {"reader": "Twice"}).json()["undone"] == []


def test_two_servers_on_one_run_share_its_answers(page: Page, run: Path) -> None:
    other = Page(run, "--reader", "Ana")
    try:
        assert other.answer(2, reader="Both", batch="1").status_code == 200
        assert page.answer(3, reader="Both", batch="2").status_code == 200
        for each in (page, other):
            assert each.client.get("/api/session", params={"reader": "Both"}).json()["answered"] == 2
        assert httpx.get(f"{other.origin}/", cookies=dict(page.client.cookies)).status_code == 403
    finally:
        other.close()


def test_a_taken_port_and_a_folder_without_a_run_are_plain_messages(page: Page, run: Path, tmp_path: Path) -> None:
    port = page.origin.rsplit(":", 1)[1]
    for arguments, says in (([run, "--port", port], "another --port"), ([tmp_path], "no run in")):
        command = [sys.executable, "-m", "autoannotate", "review", *map(str, arguments), "--no-browser"]
        said = subprocess.run(command, capture_output=True, text=True)
        assert said.returncode in (1, 2)
        assert says in said.stderr.replace("\n", " ")
        assert "Traceback" not in said.stderr


def test_moved_images_are_found_where_the_user_says(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run.parent, tmp_path / "copy")
    images = (tmp_path / "copy" / "images").rename(tmp_path / "elsewhere")
    moved = tmp_path / "copy" / "run"
    text = (moved / "run.json").read_text().replace(str(run.parent / "images"), str(tmp_path / "copy" / "images"))
    (moved / "run.json").write_text(text)
    command = [sys.executable, "-m", "autoannotate", "review", str(moved), "--no-browser"]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 1
    assert "--images" in said.stderr
    page = Page(moved, "--images", str(images))
    try:
        assert page.get("items/0").json()["state"] == "ok"
    finally:
        page.close()


def test_a_replaced_picture_is_asked_again_and_its_old_answer_not_shown(tmp_path: Path) -> None:
    stamped(make_run(tmp_path / "images")).save(tmp_path / "run")
    page = Page(tmp_path / "run")
    try:
        assert page.answer(0, 1, reader="Ana").status_code == 200
        assert page.answer(0, reader="Ben", label="breast").status_code == 200
        assert page.get("agreement").json()["disagreements"] == 1
        replace_picture(tmp_path / "images", "a/1.png")
        assert page.get("queue").json()["items"][0]["answer"] is None
        offered = page.get("grid", label="chest").json()["items"]
        assert "a/1.png" in [item["path"] for item in offered]
        assert page.get("session").json()["answered"] == 1
        assert page.get("agreement").json()["disagreements"] == 0
        assert page.answer(0, label="breast", batch="again").status_code == 200
        assert page.get("queue").json()["items"][0]["answer"]["label"] == "breast"
        assert page.post("undo", {"reader": "Ana"}).json()["standing"] == {"a/1.png": None}
    finally:
        page.close()


def test_a_full_disk_is_a_plain_message_and_the_server_goes_on(tmp_path: Path) -> None:
    """A limit on file sizes stands for the full disk: the system refuses to write in the same place."""
    make_run(tmp_path / "images").save(tmp_path / "run")
    with AnswerStore(tmp_path / "run") as store:
        size = max(item.stat().st_size for item in (tmp_path / "run").glob("answers*"))
    page = Page(tmp_path / "run", limit=size)
    try:
        response = page.answer(0, 1, 2, 3, note="x" * 3900)
        assert response.status_code == 507
        assert "disk is full" in response.json()["detail"]
        assert page.get("session").json()["answered"] == 0
    finally:
        page.close()
    with AnswerStore(tmp_path / "run") as store:
        assert store.everything() == []


def test_a_dicom_file_shows_its_pixels_and_nothing_of_its_header(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    header = dcmread(str(get_testdata_file("CT_small.dcm")))
    header.PatientName, header.PatientID, header.InstitutionName = "Doe^Jane", "PHI-4711", "Secret Hospital"
    (tmp_path / "images").mkdir()
    header.save_as(tmp_path / "images" / "ct.dcm")
    make_run(tmp_path / "images", ["ct.dcm"], draw=False).save(tmp_path / "run")
    page = Page(tmp_path / "run")
    try:
        version = page.get("items/0").json()["fingerprint"]
        sent = [
            page.get("session"),
            page.get("queue"),
            page.get("items/0"),
            *(page.get(f"items/0/{kind}", v=version) for kind in ("view", "thumbnail", "values")),
        ]
        assert [response.status_code for response in sent] == [200] * 6
        for response in sent:
            for secret in (b"Doe", b"Jane", b"4711", b"Secret", str(header.StudyInstanceUID).encode()):
                assert secret not in response.content
        width, height, offset, step, low, high, inverted = struct.unpack("<II5d", sent[-1].content[:48])
        pixels = np.frombuffer(sent[-1].content[HEADER.size :], "<u2").reshape(height, width)
        hounsfield = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
        assert np.array_equal(offset + step * pixels, hounsfield)
        assert low < high
        assert inverted == 0
        assert page.get("items/0/view", v="another").status_code == 409
    finally:
        page.close()


def test_sixteen_bits_reach_the_page_and_eight_are_no_second_picture(tmp_path: Path) -> None:
    deep = np.linspace(0, 60000, 64 * 48).reshape(48, 64).astype(np.uint16)
    (tmp_path / "images").mkdir()
    Image.fromarray(deep).save(tmp_path / "images" / "deep.png")
    Image.fromarray((deep >> 8).astype(np.uint8)).save(tmp_path / "images" / "flat.png")
    make_run(tmp_path / "images", ["deep.png", "flat.png"], draw=False).save(tmp_path / "run")
    page = Page(tmp_path / "run")
    try:
        version = [page.get(f"items/{i}").json()["fingerprint"] for i in range(2)]
        content = page.get("items/0/values", v=version[0]).content
        assert np.array_equal(np.frombuffer(content[HEADER.size :], "<u2").reshape(48, 64), deep)
        assert page.get("items/1/values", v=version[1]).content == b""
    finally:
        page.close()


@pytest.mark.parametrize("name", ["", "  ", "=Ana", "@Ana", "x" * 61, "a\nb", "a\x00"])
def test_a_name_that_could_do_harm_is_none(name: str) -> None:
    with pytest.raises(InputError):
        check_reader(name)


def test_lookalikes_are_the_nearest_and_the_nearly_identical() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 128)).astype(np.float32)
    features[:30] += 3.0
    features[41] = features[40] + 1e-4
    found = alike([str(i) for i in range(60)], features)
    assert set(found.groups) == {"40", "41"}
    assert "41" not in found.neighbours["40"]
    assert all(int(other) < 30 for other in found.neighbours["0"])
    assert alike(["only"], features[:1]).neighbours == {}


def test_compact_features_agree_with_the_exact_ones() -> None:
    from autoannotate.labelling.features import compact as exact

    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 20)) @ rng.normal(size=(20, 100))
    ours, theirs = compact(features), exact(features)
    assert np.abs(ours @ ours.T - theirs @ theirs.T).max() < 1e-6
