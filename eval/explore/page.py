"""Does `autoannotate explore` keep up with N images: its steps, search, and the page in Chromium?

python eval/explore/page.py 200000 PICTURES_DIR WORK_DIR [MAP.npz of large.py]

Made points (200 clusters of large.py, around the sentences of four classes in the space of texts) with three columns, each with
one of the pictures of a folder in turn. Told are the seconds of CPU of each step, the search in the server, and, in Chromium,
how the page opens, moves, hovers, lassoes and what memory it takes. SwiftShader draws here, a GPU in software: the script's own
longest tasks are told apart from frames, which are an upper bound.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import statistics
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from large import drawn

from autoannotate.annotator.annotator import Annotator
from autoannotate.explore import app, collection, groups, maps
from autoannotate.explore.collection import Collection, Projection
from autoannotate.explore.findings import find
from autoannotate.explore.save import save
from autoannotate.images import ImageRef, find_images, read_image
from autoannotate.labelling.features import unit
from autoannotate.labelling.neighbours import near_duplicate_groups, nearest
from autoannotate.review.server import bound, page_server
from autoannotate.runs.metadata import Column, Metadata

CLASSES = ["chest X-ray", "breast ultrasound", "blood cell", "skin"]
WATCH = """() => {
  const seen = { frames: [], tasks: [], on: true };
  let last = 0;
  const tick = (now) => { if (last) seen.frames.push(now - last); last = now; if (seen.on) requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
  const watch = new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((one) => one.duration)));
  watch.observe({ entryTypes: ["longtask"] });
  window.watched = () => { seen.on = false; watch.disconnect(); return { frames: seen.frames, tasks: seen.tasks }; };
}"""
OWN = """() => {
  const map = window.explored.map, { gl } = map, spent = {};
  const kept = gl.drawArrays.bind(gl);
  gl.drawArrays = () => {};
  const time = (name, call, many) => {
    const each = [];
    for (let i = 0; i < many; i += 1) { const begun = performance.now(); call(i); each.push(performance.now() - begun); }
    each.sort((a, b) => a - b);
    spent[name] = [each[Math.floor(many / 2)], each[Math.floor(0.95 * (many - 1))]];
  };
  time("overlay and pictures of a frame", () => { map.overlay(); map.on.moved?.(); }, 40);
  time("what is in view", () => map.visible(500), 40);
  time("what is under the pointer", (i) => map.under(100 + 20 * (i % 30), 300), 60);
  const corner = (i) => [map.width * (0.5 + 0.3 * Math.cos(i / 32)), map.height * (0.5 + 0.4 * Math.sin(i / 32))];
  const round = Array.from({ length: 200 }, (_, i) => corner(i));
  time("a lasso of 200 corners", () => map.inside(round), 5);
  time("paint in another colour", () => document.querySelector("#colour").dispatchEvent(new Event("change")), 1);
  gl.drawArrays = kept;
  return spent;
}"""


def made(n: int, pictures: Path, file: str = "") -> Collection:
    """A collection of N made points before any labels; its map is of `large.py`, or principal components."""
    rng = np.random.default_rng(0)
    annotator = Annotator(collection.NO_CLASSES, "embedded")
    texts = annotator.encoder.encode_texts([f"an image of {name}" for name in CLASSES])
    points = drawn(n)
    axes = rng.normal(size=(points.shape[1], texts.shape[1])) / np.sqrt(points.shape[1])
    values = texts[rng.integers(0, len(CLASSES), n)] + 1.5 * points @ axes
    steps = Steps()
    projection = Projection.of(points)
    near = nearest(points.astype(np.float64), collection.NEIGHBOURS)
    steps.tell("neighbours")
    levels = groups.cluster_levels(near)
    steps.tell("groups, three levels")
    same, scores = near_duplicate_groups(near), groups.outlier_scores(near)
    steps.tell("duplicates, outliers")
    components = maps.standardised_components(points)
    steps.tell("components")
    place = np.load(file)["place"] if file else maps.principal_components(points)
    images = find_images(pictures)
    refs = [ImageRef(f"{i:06d}/{images[i % len(images)].path}", images[i % len(images)].file) for i in range(n)]
    columns = (
        Column("age", np.round(50 + 60 * points[:, 0] + 10 * rng.normal(size=n))),
        Column("sex", rng.integers(0, 2, n), ("F", "M")),
        Column("site", rng.integers(0, 5, n), tuple(f"site {k}" for k in range(5))),
    )
    return Collection(
        title=f"{n:,} made points", refs=refs, embeddings=unit(values).astype(np.float32), projection=projection, points=points,
        components=components, neighbours=near, place=place, levels=levels, same=same, outlier_scores=scores,
        metadata=replace(Metadata.none(n), columns=columns), annotator=annotator, seed=0,
    )  # fmt: skip


class Steps:
    """Tells the CPU of each step."""

    def __init__(self) -> None:
        self.last = time.process_time()

    def tell(self, name: str) -> None:
        now = time.process_time()
        print(f"{name:34} {now - self.last:8.1f} s of CPU", flush=True)
        self.last = now


def told(name: str, values: list[float]) -> None:
    ranked = sorted(values)
    print(
        f"{name:34} median {statistics.median(values):7.1f} ms, 95% {ranked[int(0.95 * (len(ranked) - 1))]:7.1f} ms",
        flush=True,
    )


def search(whole: Collection) -> None:
    """How long a search takes in the server."""
    picture = read_image(whole.refs[0])
    calls = (
        ("search by words", lambda: whole.search("an ultrasound image with calipers")),
        ("search by a picture of the collection", lambda: whole.similar(17)),
        ("encoding another picture", lambda: whole.encoder.encode_images([picture], closer=True)),
    )
    for name, call in calls:
        call()
        spent, worked = [], []
        for _ in range(15):
            begun, cpu = time.perf_counter(), time.process_time()
            call()
            spent.append(1000 * (time.perf_counter() - begun))
            worked.append(1000 * (time.process_time() - cpu))
        told(name, spent)
        told("  of it CPU", worked)


def main() -> None:
    n, pictures, work = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    work.mkdir(parents=True, exist_ok=True)
    whole = made(n, pictures, sys.argv[4] if len(sys.argv) > 4 else "")
    steps = Steps()
    findings = find(whole)
    steps.tell("what goes with three columns")
    for file in save(whole, findings, work / "explore"):
        print(f"  {file.name} {file.stat().st_size / 2**20:.1f} MB")
    steps.tell("files")
    print(f"memory of the server {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB at most")
    search(whole)
    with bound("127.0.0.1", 0) as listening:
        served = app.build_app(whole, findings, None, None, None)
        server = page_server(served, listening, "127.0.0.1", command="explore", files=frozenset({app.PICTURE}))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        look(server.url, work)
        server.server.should_exit = True
        thread.join(10)


def memory(page: Any) -> None:
    """Of the page's script, and of Chromium's processes by kind."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.collectGarbage")
    devtools.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
    print(f"{'memory of the script, after collection':34} {metrics['JSHeapUsedSize'] / 2**20:.0f} MB")
    for status in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, StopIteration):  # processes end while they are looked at
            words = (status / "cmdline").read_bytes().decode(errors="replace")
            if "--type=renderer" in words or "--type=gpu-process" in words:
                kind = "renderer" if "--type=renderer" in words else "gpu process (software)"
                lines = (status / "smaps_rollup").read_text().splitlines()
                pss = next(line for line in lines if line.startswith("Pss:"))
                print(f"{'  ' + kind:34} {int(pss.split()[1]) / 1024:.0f} MB")


def look(url: str, work: Path) -> None:
    """Open the page, pan, zoom, hover, lasso, search, and take pictures of it."""
    from playwright.sync_api import sync_playwright

    def watched(name: str, act: Any) -> None:
        page.evaluate(WATCH)
        begun = time.monotonic()
        act()
        page.wait_for_timeout(300)
        found = page.evaluate("() => window.watched()")
        print(f"{name:34} {time.monotonic() - begun:.1f} s", end="; ")
        told("frames", found["frames"] or [0.0])
        tasks = [round(one) for one in sorted(found["tasks"])[-5:]]
        print(f"{'':34} tasks of the script over 50 ms: {len(found['tasks'])}, the longest {tasks}", flush=True)

    def wheel() -> None:
        for i in range(24):
            page.mouse.move(500, 450)
            page.mouse.wheel(0, -120 if i < 12 else 120)
            page.wait_for_timeout(40)

    def drag() -> None:
        page.mouse.move(500, 450)
        page.mouse.down()
        for i in range(30):
            page.mouse.move(500 + 8 * i, 450 + 3 * i)
            page.wait_for_timeout(20)
        page.mouse.up()

    def hover() -> None:
        for i in range(40):
            page.mouse.move(200 + 12 * i, 300 + 7 * i)
            page.wait_for_timeout(20)

    def lasso() -> None:
        page.keyboard.down("Shift")
        page.mouse.move(400, 300)
        page.mouse.down()
        for i in range(60):
            page.mouse.move(500 + 200 * np.sin(i / 9.5), 450 - 200 * np.cos(i / 9.5))
        page.mouse.up()
        page.keyboard.up("Shift")
        page.wait_for_function("() => document.querySelector('#gridTitle').textContent.includes('Chosen on the map')")
        print(f"{'chosen':34} {page.inner_text('#gridTitle')}")

    with sync_playwright() as started:
        flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(240_000)
        begun = time.monotonic()
        page.goto(url)
        page.wait_for_selector("#legend strong")
        print(f"{'page opens':34} {time.monotonic() - begun:.1f} s")
        page.wait_for_timeout(3000)
        page.screenshot(path=str(work / "map.png"))
        memory(page)
        for name, (median, most) in page.evaluate(OWN).items():
            print(f"{name:34} median {median:7.1f} ms, 95% {most:7.1f} ms")
        page.click("#fit")
        page.wait_for_timeout(2000)
        watched("nothing", lambda: page.wait_for_timeout(1000))
        watched("hover", hover)
        watched("wheel, in and out", wheel)
        watched("drag", drag)
        watched("lasso", lasso)
        page.screenshot(path=str(work / "lasso.png"))
        watched("colour by site", lambda: page.select_option("#colour", label="site"))
        page.click("#fit")
        page.evaluate("() => { for (let i = 0; i < 9; i += 1) window.explored.map.zoomBy(1.8); }")
        page.wait_for_timeout(6000)
        page.screenshot(path=str(work / "zoomed.png"))
        watched("drag among pictures", drag)
        page.fill("#words", "a blood cell under the microscope")
        page.press("#words", "Enter")
        page.wait_for_function("() => document.querySelector('#gridTitle').dataset.ms")
        print(f"{'search on the page, in the server':34} {page.get_attribute('#gridTitle', 'data-ms')} ms")
        page.wait_for_timeout(3000)
        page.screenshot(path=str(work / "search.png"))
        memory(page)
        browser.close()


if __name__ == "__main__":
    main()
