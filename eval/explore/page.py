"""Does the page of `autoannotate explore` keep up with N images? Search by words and picture, panning and zooming, in Chromium.

python eval/explore/page.py 100000 PICTURES_DIR OUT_DIR [MAP.npz of large.py]

Made points (see large.py), each with one of the pictures of a folder in turn. Chromium draws with SwiftShader here, a GPU in
software: frames are an upper bound of what a laptop's GPU takes, so the script's own part of each frame is told apart.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from large import drawn

from autoannotate.annotator.annotator import Annotator
from autoannotate.explore import app, collection, maps
from autoannotate.explore.collection import Collection, Projection
from autoannotate.explore.findings import Findings
from autoannotate.images import ImageRef, find_images
from autoannotate.labelling.neighbours import Neighbours
from autoannotate.review.server import bound, page_server
from autoannotate.runs.metadata import Metadata

FRAMES = """async (kind) => {
  const map = window.explored.map, times = [];
  const centre = [...map.centre];
  for (let i = 0; i < 40; i += 1) {
    const begun = performance.now();
    if (kind === "pan") { map.centre = [centre[0] + map.extent.side * 0.004 * (i % 20), centre[1]]; map.draw(); }
    else map.zoomBy(i < 20 ? 1.12 : 1 / 1.12);
    await new Promise((done) => requestAnimationFrame(done));
    map.gl.finish();
    times.push(performance.now() - begun);
  }
  return times;
}"""
OWN = """() => {
  const map = window.explored.map, spent = [];
  const draw = map.gl.drawArrays.bind(map.gl);
  map.gl.drawArrays = () => {};
  for (let i = 0; i < 40; i += 1) {
    const begun = performance.now();
    map.gl.uniform2f(map.at.centre, ...map.centre);
    map.overlay(); map.on.moved?.(); map.visible(500); map.under(300, 300);
    spent.push(performance.now() - begun);
  }
  map.gl.drawArrays = draw;
  return spent;
}"""


def made(n: int, pictures: Path, seed: int = 0, file: str = "") -> Collection:
    """A collection of N made points."""
    rng = np.random.default_rng(seed)
    points = drawn(n)
    if file:
        with np.load(file) as held:
            place, levels = held["place"], held["levels"]
    else:
        place = maps.principal_components(points)
        levels = rng.integers(0, 12, (1, n))
    images = find_images(pictures)
    refs = [ImageRef(f"{i:06d}/{images[i % len(images)].path}", images[i % len(images)].file) for i in range(n)]
    annotator = Annotator(collection.NO_CLASSES, "embedded")
    embeddings = rng.normal(size=(n, annotator.encoder.embed_dim)).astype(np.float32)
    features = annotator.encoder.encode_images([_read(images[0])], closer=True).features
    width = features.shape[1]
    axes = rng.normal(size=(width, points.shape[1])).astype(np.float32)
    return Collection(
        title=f"{n:,} made points", refs=refs, embeddings=embeddings,
        projection=Projection(np.zeros(width, np.float32), axes),
        points=points, components=points, neighbours=Neighbours(np.zeros((n, 1), np.int64), np.ones((n, 1))), place=place,
        levels=levels, same=np.arange(n), outlier_scores=rng.random(n) + 0.9, metadata=Metadata.none(n),
        annotator=annotator, seed=0,
    )  # fmt: skip


def _read(ref: ImageRef) -> Any:
    from autoannotate.images import read_image

    return read_image(ref)


def told(name: str, values: list[float]) -> None:
    ranked = sorted(values)
    print(
        f"{name:34} median {statistics.median(values):7.1f} ms, 95% {ranked[int(0.95 * (len(ranked) - 1))]:7.1f} ms",
        flush=True,
    )


def main() -> None:
    n, pictures, out = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    whole = made(n, pictures, file=sys.argv[4] if len(sys.argv) > 4 else "")
    picture = _read(whole.refs[0])
    for name, call in (
        ("search by words", lambda: whole.search("an ultrasound image with calipers")),
        ("search by a picture of the collection", lambda: whole.similar(17)),
        ("search by another picture", lambda: whole.like_picture(picture)),
    ):
        call()
        spent, worked = [], []
        for _ in range(15):
            begun, cpu = time.perf_counter(), time.process_time()
            call()
            spent.append(1000 * (time.perf_counter() - begun))
            worked.append(1000 * (time.process_time() - cpu))
        told(name, spent)
        told("  of it CPU", worked)
    import pandas as pd

    empty = Findings(pd.DataFrame(columns=["of", "q"]), (), (), ())
    with bound("127.0.0.1", 0) as listening:
        served = app.build_app(whole, empty, None, None, None)
        server = page_server(served, listening, "127.0.0.1", command="explore", files=frozenset({app.PICTURE}))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        look(server.url, out)
        server.server.should_exit = True
        thread.join(10)


def look(url: str, out: Path) -> None:
    """Open the page, pan, zoom, and take pictures of it."""
    from playwright.sync_api import sync_playwright

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
        page.screenshot(path=str(out / "map.png"))
        told("a frame's own script", page.evaluate(OWN))
        told("a frame, panning", page.evaluate(FRAMES, "pan"))
        told("a frame, zooming", page.evaluate(FRAMES, "zoom"))
        page.evaluate(
            "() => { window.explored.map.fit(); for (let i = 0; i < 9; i += 1) window.explored.map.zoomBy(1.8); }"
        )
        page.wait_for_timeout(6000)
        page.screenshot(path=str(out / "zoomed.png"))
        page.fill("#words", "a blood cell under the microscope")
        page.press("#words", "Enter")
        page.wait_for_function("() => document.querySelector('#gridTitle').dataset.ms")
        print(
            "search on the page, in the server",
            page.evaluate("() => document.querySelector('#gridTitle').dataset.ms"),
            "ms",
        )
        page.wait_for_timeout(3000)
        page.screenshot(path=str(out / "search.png"))
        browser.close()


if __name__ == "__main__":
    main()
