"""The cache of encoded images: nothing is encoded twice, whatever a file is called, who else writes, or when it was stopped."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoannotate.errors import OutputError, UsageError
from autoannotate.images import find_images
from autoannotate.labelling import neighbours
from autoannotate.models import encoding
from autoannotate.models.cache_size import parse_size
from autoannotate.models.embedding_cache import FILE, EncodingCache, StoredFeatures
from autoannotate.models.encoder import Encoder, load_encoder
from autoannotate.models.encoding import encode


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("embedded", "cpu")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((60, 60)).save(folder / "deep" / f"{i}.png")
    return folder


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the network saw, call by call."""
    seen: list[int] = []
    real = Encoder.encode_images

    def count(self: Encoder, images: object, *arguments: object, **options: object) -> object:
        found = list(images)  # type: ignore[call-overload]
        seen.append(len(found))
        return real(self, found, *arguments, **options)

    monkeypatch.setattr(Encoder, "encode_images", count)
    return seen


def test_a_folder_that_was_moved_or_copied_is_recognised_by_its_content(
    pictures: Path, tmp_path: Path, encoder: Encoder, encoded: list[int]
) -> None:
    before = encode(find_images(pictures), encoder, tmp_path / "cache")
    shutil.copytree(pictures, tmp_path / "copied")
    pictures.rename(tmp_path / "moved")
    for place in ("copied", "moved"):
        after = encode(find_images(tmp_path / place), encoder, tmp_path / "cache")
        assert after.features.tobytes() == before.features.tobytes()
        assert after.embeddings.tobytes() == before.embeddings.tobytes()
    assert sum(encoded) == 4
    shutil.copy(
        tmp_path / "moved" / "deep" / "0.png", tmp_path / "moved" / "again.jpg"
    )  # another ending: another reader
    encode(find_images(tmp_path / "moved"), encoder, tmp_path / "cache")
    assert sum(encoded) == 5


def test_copies_in_one_folder_are_encoded_once_and_a_change_is_seen(
    pictures: Path, tmp_path: Path, encoder: Encoder, encoded: list[int]
) -> None:
    for i in range(3):
        shutil.copy(pictures / "deep" / "0.png", pictures / f"copy-{i}.png")
    found = encode(find_images(pictures), encoder, tmp_path / "cache")
    assert (len(found.refs), sum(encoded)) == (7, 4)
    assert np.unique(found.features, axis=0).shape[0] == 4
    Image.new("RGB", (60, 60), "red").save(pictures / "copy-1.png")
    encode(find_images(pictures), encoder, tmp_path / "cache")
    assert sum(encoded) == 5


def test_copies_of_a_broken_file_are_each_unreadable(pictures: Path, tmp_path: Path, encoder: Encoder) -> None:
    for i in range(9):
        (pictures / f"broken-{i}.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    found = encode(find_images(pictures), encoder, tmp_path / "cache")
    assert sorted(path for path, _ in found.unreadable) == [f"broken-{i}.jpg" for i in range(9)]
    assert len(found.refs) == 4


def test_no_more_is_kept_than_may_be_and_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(100, 5000)).astype(np.float32)
    names = [f"{i}" for i in range(100)]
    kept = EncodingCache(tmp_path, "weights", half=False)
    kept.put(names, rows[:, :8], rows)
    kept.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as table, table:  # as if they were used on 100 different days
        for i, name in enumerate(names):
            table.execute("UPDATE uses SET used = ? WHERE key LIKE ?", (86400 * i, f"%:{name}"))
    kept = EncodingCache(tmp_path, "weights", size=1_000_000)
    assert kept.known(names[:3]) == set(names[:3])  # used now
    assert 40 < kept.trim() < 70
    left = kept.known(names)
    assert set(names[:3]) < left
    assert left == {*names[:3], *names[-(len(left) - 3) :]}
    kept.close()
    assert (tmp_path / FILE).stat().st_size < 1_300_000


def test_what_a_run_needs_stays_however_small_the_cache(
    pictures: Path, tmp_path: Path, encoder: Encoder, encoded: list[int]
) -> None:
    assert len(encode(find_images(pictures), encoder, tmp_path / "cache", cache_size=0).features) == 4
    with closing(sqlite3.connect(tmp_path / "cache" / FILE)) as table, table:
        table.execute("UPDATE uses SET used = 5")
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (60, 60), "red").save(other / "red.png")
    encode(find_images(other), encoder, tmp_path / "cache", cache_size=0)
    kept = EncodingCache(tmp_path / "cache", encoder.weights_hash)
    assert kept._rows.execute("SELECT COUNT(*) FROM encodings").fetchone() == (1,)
    kept.close()


def test_half_precision_takes_half_the_space_and_loses_nothing_that_matters(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(10, 4000)).astype(np.float32) / 60
    kept = EncodingCache(tmp_path, "weights")
    kept.put([f"{i}" for i in range(10)], rows[:, :8], rows)
    embeddings, features = kept.get([f"{i}" for i in range(10)])
    assert features.dtype == np.float32
    assert (embeddings == rows[:, :8]).all()
    np.testing.assert_allclose(features, rows, rtol=1e-3, atol=1e-6)
    size = kept._rows.execute("SELECT SUM(LENGTH(features)) FROM encodings").fetchone()[0]
    assert size == 10 * (2 * 4000 + 1)
    kept.put(["large"], rows[:1, :8], 1e6 * rows[:1])
    np.testing.assert_allclose(kept.get(["large"])[1], 1e6 * rows[:1], rtol=1e-6)


WRITER = """
import sys
import numpy as np
from pathlib import Path
from autoannotate.models.embedding_cache import EncodingCache
me = sys.argv[2]
kept = EncodingCache(Path(sys.argv[1]), "weights")
for i in range(int(sys.argv[3])):
    kept.put([f"{me}-{i}", f"both-{i}"], np.full((2, 4), i), np.full((2, 3000), i))
    print(i, flush=True)
"""


def writer(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_several_processes_write_at_once_and_one_that_is_killed_loses_nothing_it_kept(tmp_path: Path) -> None:
    first, second, killed = writer(tmp_path, "a", 40), writer(tmp_path, "b", 40), writer(tmp_path, "c", 10**6)
    assert killed.stdout is not None
    for line in killed.stdout:
        if int(line) >= 20:
            break
    os.kill(killed.pid, signal.SIGKILL)
    assert first.wait() == second.wait() == 0
    killed.wait()
    kept = EncodingCache(tmp_path, "weights")
    expected = [f"{name}-{i}" for name, n in (("a", 40), ("b", 40), ("c", 21)) for i in range(n)]
    assert kept.known(expected) == set(expected)
    assert (kept.get(expected)[1][:, 0] == [int(name.split("-")[1]) for name in expected]).all()


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    kept = EncodingCache(tmp_path, "weights")
    kept.put(["one"], np.ones((1, 4)), np.ones((1, 4)))
    assert kept.known(["one"]) == {"one"}
    assert (tmp_path / "encodings.damaged").is_file()


def test_a_file_that_is_damaged_behind_its_head_is_said_once_and_the_next_run_begins_anew(tmp_path: Path) -> None:
    kept, keys = EncodingCache(tmp_path, "weights"), [str(i) for i in range(200)]
    kept.put(keys, np.ones((200, 40)), np.ones((200, 400)))
    kept.close()
    data = bytearray((tmp_path / FILE).read_bytes())
    data[len(data) // 3 :] = os.urandom(len(data) - len(data) // 3)
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(OutputError, match="damaged, and were put aside: run the same command again"):
        EncodingCache(tmp_path, "weights").known(keys)
    again = EncodingCache(tmp_path, "weights")
    assert again.known(keys) == set()
    again.put(["one"], np.ones((1, 4)), np.ones((1, 4)))
    assert again.known(["one"]) == {"one"}


def test_of_many_images_features_stay_in_the_cache_until_they_are_asked_for(
    pictures: Path, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encode(find_images(pictures), encoder, tmp_path / "cache").features
    monkeypatch.setattr(encoding, "MANY", 3)
    stored = encode(find_images(pictures), encoder, tmp_path / "cache").features
    assert isinstance(stored, StoredFeatures)
    assert stored.shape == whole.shape
    for rows in (slice(1, 3), np.array([3, 0, 0]), np.array([True, False, True, False]), np.array([], dtype=int)):
        assert (stored[rows] == whole[rows]).all()
    assert (stored[:, :5] == whole[:, :5]).all()
    assert (np.asarray(stored) == whole).all()
    assert neighbours.MANY > 3


@pytest.mark.parametrize(("text", "size"), [("500MB", 500_000_000), ("1.5 GB", 1_500_000_000), ("0KB", 0)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["500", "much", "-1GB", "nanGB", "GB"])
def test_a_size_that_is_none_is_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="as in 500MB or 20GB"):
        parse_size(text)
