"""Whether the review page and the exports stay usable where there are many images: how long the page's server takes, what an
export takes, and the memory of both.

The images are hard links to a few made pictures, and their encodings are made too and put into a cache; `label`, `review`
and `export` are the commands themselves, each in a process of its own.

    python eval/speed/page.py --count 100000
"""

from __future__ import annotations

import argparse
import http.cookiejar
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from growth import CLASSES, apart, make
from PIL import Image

PICTURES, IN_A_FOLDER = 200, 1000
EXPORTS = ("csv", "jsonl", "parquet", "coco", "label-studio", "huggingface")
BLOCK = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where all is made, and stays")
    parser.add_argument("--exports", default=",".join(EXPORTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        os.environ["AUTOANNOTATE_CACHE"] = str(folder / "cache")
        images, run = folder / "images", folder / "run"
        if not (run / "run.json").exists():
            draw(images, options.count)
            apart(fill_cache, images, folder / "embeddings.npy", options.count)
            label = ["label", str(images), "--classes", ",".join(CLASSES), "--student", "none", "--out", str(run)]
            print(f"label: {told(*command(label))}", file=sys.stderr, flush=True)
        asked, peak, started = page(run)
        print(f"\nreview of {options.count:,} images: answers after {started:.1f} s, peak {peak:.2f} GiB\n")
        print("| asked | seconds, median | the slowest | MB |\n|---|---:|---:|---:|")
        for name, (times, size) in asked.items():
            print(f"| {name} | {statistics.median(times):.2f} | {max(times):.2f} | {size / 1e6:.2f} |")
        print("\n| export, all labels | seconds, CPU seconds, peak GiB |\n|---|---|")
        for name in filter(None, options.exports.split(",")):
            out = folder / f"out-{name}"
            used = command(["export", str(run), "--what", "all", "--format", name, "--out", str(out), *link(name)])
            print(f"| {name} | {told(*used)} |", flush=True)
            subprocess.run(["rm", "-rf", *map(str, folder.glob("out-*"))], check=True)


def link(name: str) -> list[str]:
    return ["--link", "hard"] if name in ("coco", "label-studio", "huggingface") else []


def told(seconds: float, cpu: float, peak: float) -> str:
    return f"{seconds:.0f}, {cpu:.0f}, {peak:.2f}"


def command(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak memory in GiB of a command."""
    started = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", "autoannotate", *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{arguments[0]} failed")
    return time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def draw(images: Path, count: int) -> None:
    """So many files, which are hard links to `PICTURES` pictures."""
    rng = np.random.default_rng(0)
    first = images.parent / "pictures"
    first.mkdir(parents=True, exist_ok=True)
    for i in range(PICTURES):
        noise = Image.fromarray(rng.integers(0, 255, (12, 12), dtype=np.uint8)).resize((96, 96))
        noise.save(first / f"{i}.png")
    for i in range(count):
        place = images / f"{i // IN_A_FOLDER:04d}"
        if i % IN_A_FOLDER == 0:
            place.mkdir(parents=True, exist_ok=True)
        os.link(first / f"{i % PICTURES}.png", place / f"{i:07d}.png")


def fill_cache(images: Path, file: Path, count: int) -> None:
    """Put made encodings of the images into the cache."""
    from autoannotate.images import find_images, fingerprint
    from autoannotate.models.embedding_cache import EncodingCache
    from autoannotate.models.encoder import load_encoder

    make(file, count)
    values = np.load(file, mmap_mode="r")
    cache = EncodingCache(Path(os.environ["AUTOANNOTATE_CACHE"]), load_encoder("embedded").weights_hash)
    refs = find_images(images)
    for start in range(0, count, BLOCK):
        block = np.asarray(values[start : start + BLOCK])
        cache.put([fingerprint(ref) for ref in refs[start : start + BLOCK]], block, block)
    cache.close()


def page(run: Path) -> tuple[dict[str, tuple[list[float], int]], float, float]:
    """What the page asks of its server: seconds and bytes by request; its peak memory, GiB; seconds until it answered."""
    began = time.monotonic()
    server = subprocess.Popen(
        [sys.executable, "-m", "autoannotate", "review", str(run), "--no-browser"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    started = time.monotonic() - began
    base = address.partition("?")[0]
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    opener.open(address).read()
    found: dict[str, tuple[list[float], int]] = {}

    def ask(name: str, path: str, body: object = None, times: int = 3) -> dict:
        taken, content = [], b""
        for _ in range(times):
            at = time.monotonic()
            request = urllib.request.Request(base + path, None if body is None else json.dumps(body).encode())
            if body is not None:
                request.add_header("Content-Type", "application/json")
                request.add_header("Origin", base.rstrip("/"))
            content = opener.open(request).read()
            taken.append(time.monotonic() - at)
        found[name] = taken, len(content)
        return json.loads(content)

    ask("session", "api/session?reader=Ana")
    ask("queue of suspects", "api/queue?reader=Ana&which=suspects")
    ask("queue of all others", "api/queue?reader=Ana&which=rest")
    label = f"label={CLASSES[0].replace(' ', '%20')}"
    some = ask("grid of a class", f"api/grid?reader=Ana&{label}")
    ask("grid of all", "api/grid?reader=Ana&show=all")
    ask("grid by part of a name", "api/grid?reader=Ana&name=0042")
    while ask("session", "api/session?reader=Ana", times=1)["lookalikes"] == "working":
        time.sleep(1)
    found["until similar images are found"] = [time.monotonic() - began], 0
    ask("grid of a class, with similar images", f"api/grid?reader=Ana&{label}")
    ask("grid of images like one", f"api/grid?reader=Ana&like={some['items'][0]['id']}")
    one = some["items"][0]
    looks = ask("looks of a page of 40", "api/looks?" + "&".join(f"number={each['id']}" for each in some["items"][:40]))
    ask("details of one image", f"api/items/{one['id']}?reader=Ana")
    given = [
        {"path": each["path"], "verdict": "label", "label": CLASSES[0], "fingerprint": each["fingerprint"]}
        for each in looks
    ]
    ask("40 answers", "api/answers", {"reader": "Ana", "batch": "one", "answers": given}, times=1)
    ask("grid after answers", f"api/grid?reader=Ana&{label}")
    server.terminate()
    _, _, used = os.wait4(server.pid, 0)
    return found, used.ru_maxrss / 2**20, started


if __name__ == "__main__":
    main()
