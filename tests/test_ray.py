"""`--engine ray`: the same encodings and labels as on one machine, whoever is killed; and what is wrong, in a sentence."""

from __future__ import annotations

import os
import secrets
import signal
import site
import socket
import subprocess
import sys
import threading
import time
import venv
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from made_scans import write_scans

from autoannotate import Annotations, Annotator
from autoannotate.errors import AutoannotateError, UsageError

CLASSES = ["CT scan", "photograph"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder, of_each=4)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    return folder


def test_the_local_engine_imports_no_ray() -> None:
    code = "import sys, autoannotate.annotator.annotator, autoannotate.models.encoding; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_engine_that_is_none_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="There is no engine 'spark': choose one of local, ray"):
        Annotator(CLASSES, engine="spark")


def test_what_only_this_machine_can_read_is_one_sentence(scans: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        archive.write(next(scans.rglob("*.png")), "scan.png")
    with pytest.raises(AutoannotateError, match=r"scan\.png is in an archive or a PACS"):
        Annotator(CLASSES, engine="ray", cache=tmp_path).label(tmp_path / "scans.zip")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two nodes of a cluster on this machine, one core each, and a bucket on a real S3-compatible server for both."""
    if find_spec("ray") is None:  # not imported before it has its token
        pytest.skip("the extra `ray` is not installed")
    moto = pytest.importorskip("moto.server", reason="moto is not here: pip install 'autoannotate[test]'")
    boto3 = pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            patch.setenv(f"AWS_{name}", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # at 15, workers would come last on a machine under load
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]))
        patch.setenv(
            "RAY_AUTH_MODE", "token"
        )  # a token of its own: whoever runs the tests may have another one at home
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        boto3.client("s3").create_bucket(Bucket="encoded")
        boto3.client("s3").create_bucket(Bucket="scans")
        usual = ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats"]
        head = ["--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false"]
        started: list[subprocess.Popen[str]] = []
        try:
            for options in (head, [f"--address={address}"]):
                started.append(_ray_node([*options, *usual]))
            patch.setenv("RAY_ADDRESS", address)
            yield address
        finally:
            for node in reversed(started):
                node.terminate()
                node.wait(120)  # a machine under load is slow to end one
            server.stop()


def _ray_node(options: list[str], python: str = sys.executable) -> subprocess.Popen[str]:
    """A node of a cluster, which lives as long as the process."""
    node = subprocess.Popen(
        [python, "-m", "ray.scripts.scripts", "start", "--block", *options], stdout=subprocess.PIPE, text=True
    )
    assert node.stdout is not None
    while "Ray runtime started" not in (line := node.stdout.readline()):
        assert line, "the node ended"
    threading.Thread(target=node.stdout.read, daemon=True).start()
    return node


def _kill_an_actor_at_work(killed: list[int], done: threading.Event) -> None:
    """Kill one process of this cluster that is encoding a batch just now."""
    token = os.environ["RAY_AUTH_TOKEN"].encode()
    while not killed and not done.wait(0.05):
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                title = (place / "cmdline").read_bytes()
                if b"Encode" in title and b".submit" in title and token in (place / "environ").read_bytes():
                    os.kill(int(place.name), signal.SIGKILL)
                    killed.append(int(place.name))
                    return


@pytest.mark.slow
class TestCluster:
    """With Ray itself, on this machine."""

    @pytest.fixture(scope="class")
    @classmethod
    def local(cls, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Annotations:
        return Annotator(CLASSES, student="none", cache=tmp_path_factory.mktemp("local")).label(scans)

    @staticmethod
    def check_same(ray: Annotations, local: Annotations) -> None:
        same = ["path", "label", "clip_label", "note"]
        assert ray.table[same].equals(local.table[same])
        np.testing.assert_allclose(ray.table["clip_confidence"], local.table["clip_confidence"], atol=1e-3)
        assert ray.unreadable["path"].tolist() == local.unreadable["path"].tolist() == ["broken.jpg"]

    def test_a_path_that_only_the_driver_sees_is_one_sentence_and_a_worker_killed_costs_its_batch_and_nothing_else(
        self, scans: Path, tmp_path: Path, cluster: str, local: Annotations
    ) -> None:
        store = tmp_path / "store"
        settings = {"student": "none", "engine": "ray", "store": str(store)}
        held = os.open(scans, os.O_RDONLY)  # in every other process the path leads elsewhere
        mount = tmp_path / "mount"
        mount.symlink_to(f"/proc/self/fd/{held}")
        try:
            with pytest.raises(AutoannotateError, match=r"The machine \S+ does not see .* this one does"):
                Annotator(CLASSES, cache=tmp_path / "cache", **settings).label(mount)
        finally:
            os.close(held)
        mount.unlink()
        mount.symlink_to(scans)  # mended, it is enough to ask again

        killed: list[int] = []
        done = threading.Event()
        killer = threading.Thread(target=_kill_an_actor_at_work, args=(killed, done))
        killer.start()
        try:
            ray = Annotator(CLASSES, cache=tmp_path / "cache", **settings).label(mount)
        finally:
            done.set()
            killer.join()
        assert killed
        self.check_same(ray, local)
        written = sorted(store.rglob("*.parquet"))
        assert written
        # a driver that was killed before it had folded anything: the store has it all
        again = Annotator(CLASSES, cache=tmp_path / "again", **settings).label(mount)
        assert again.table.equals(ray.table)
        assert sorted(store.rglob("*.parquet")) == written

    def test_images_and_store_in_buckets_and_a_driver_killed_in_the_middle_goes_on(
        self, scans: Path, tmp_path: Path, cluster: str, local: Annotations
    ) -> None:
        s3 = pytest.importorskip("boto3").client("s3")
        pytest.importorskip("s3fs", reason="s3fs is not here: pip install 'autoannotate[test]'")
        for file in filter(Path.is_file, scans.rglob("*")):
            s3.upload_file(str(file), "scans", f"study/{file.relative_to(scans).as_posix()}")

        def written() -> dict[str, str]:
            found = s3.list_objects_v2(Bucket="encoded").get("Contents", [])
            return {each["Key"]: f"{each['LastModified']} {each['ETag']}" for each in found if each["Size"]}

        out = tmp_path / "run"
        command = [sys.executable, "-m", "autoannotate", "label", "s3://scans/study", "--classes", ",".join(CLASSES)]
        command += ["--engine", "ray", "--store", "s3://encoded/scans", "--student", "none", "--out", str(out)]
        command += ["--cache", str(tmp_path / "cache")]
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (before := written()):
            assert driver.poll() is None
            time.sleep(0.02)
        driver.kill()
        driver.wait()
        seen: dict[str, str] = {}
        while seen != before:  # until its actors have ended too
            seen = before
            time.sleep(2)
            before = written()
        assert not (out / "run.json").exists()
        assert len(before) < 8  # as many as there are in the end
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
        self.check_same(Annotations.load(out), local)
        after = written()
        assert before.items() < after.items()  # nothing was done twice

    def test_a_worker_without_the_package_is_one_sentence_that_names_it(
        self, scans: Path, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bare = tmp_path / "bare"
        venv.create(bare, with_pip=False, symlinks=True)
        (packages,) = bare.glob("lib/python*/site-packages")
        for place in map(Path, site.getsitepackages()):
            for item in place.iterdir():
                if "autoannotate" not in item.name and not (packages / item.name).exists():
                    (packages / item.name).symlink_to(item)
        monkeypatch.delenv("PYTHONPATH")
        monkeypatch.chdir(tmp_path)  # Ray hands workers the driver's folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["--head", f"--port={port}", "--include-dashboard=false", "--num-cpus=1", "--disable-usage-stats"]
        node = _ray_node([*options, "--object-store-memory=100000000"], str(bare / "bin" / "python"))
        try:
            command = [sys.executable, "-m", "autoannotate", "label", str(scans), "--classes", ",".join(CLASSES)]
            command += ["--engine", "ray", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "run")]
            source = str(Path(__file__).parents[1])
            environment = os.environ | {"RAY_ADDRESS": f"127.0.0.1:{port}", "PYTHONPATH": source}
            told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        finally:
            node.terminate()
            node.wait(120)
        assert told.returncode == 1
        assert "lacks the package autoannotate: run pip install" in told.stderr
        assert "Traceback" not in told.stderr

    def test_a_cluster_that_is_not_there_is_one_sentence(
        self, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("ray", reason="the extra `ray` is not installed")
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
        with pytest.raises(AutoannotateError, match=r"The Ray cluster at 127\.0\.0\.1:1 cannot be reached"):
            Annotator(CLASSES, engine="ray", cache=tmp_path).label(scans)
