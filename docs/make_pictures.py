"""Draw the figures of the concepts, and photograph reports and the page, from the runs that `autoannotate demo` made.

autoannotate demo --out DEMO && python docs/make_pictures.py DEMO
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

from autoannotate import Annotations
from autoannotate.runs.history import load_round

TARGET = Path(__file__).parent / "pictures"
STORIES = {"chest-or-breast": ("chest", "breast"), "normal-or-pneumonia": ("normal", "pneumonia")}


def main(demo: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
    for axis, (name, (first, second)) in zip(axes, STORIES.items(), strict=True):
        table = Annotations.load(demo / name / "run").table
        truth = pd.read_csv(demo / name / "truth.csv")["label"].to_numpy()
        sure = table["clip_confidence"].to_numpy()
        of_second = np.where(table["clip_label"] == second, sure, 1 - sure)
        for label in (first, second):
            axis.hist(of_second[truth == label], bins=np.linspace(0, 1, 31), alpha=0.6, label=label)
        axis.set(xlabel=f"zero-shot probability of {second}", ylabel="images")
        axis.legend(title="truth", frameon=False)
    figure.savefig(TARGET / "zero-shot.png", dpi=110)

    run = demo / "normal-or-pneumonia" / "run"
    truth = pd.read_csv(run.parent / "truth.csv")["label"].to_numpy()
    before, after = load_round(run, 0).table, Annotations.load(run).table
    open_ = (after["source"] != "clinician").to_numpy()
    shares = {
        "CLIP": (before["clip_label"] == truth).mean(),
        "labels": (before["label"] == truth).mean(),
        f"after {(~open_).sum()} answers,\nnot answered": (after["label"] == truth)[open_].mean(),
        f"after {(~open_).sum()} answers,\nall": (after["label"] == truth).mean(),
    }
    figure, axis = plt.subplots(figsize=(5.5, 2.4), layout="constrained")
    bars = axis.barh(list(shares), [100 * share for share in shares.values()], color="teal")
    axis.bar_label(bars, fmt="%.0f%%", padding=3)
    axis.set(xlim=(0, 110), xlabel="labels right, %")
    axis.invert_yaxis()
    figure.savefig(TARGET / "answers.png", dpi=110)


def photograph(demo: Path) -> None:
    """The first screen of both reports, and the page with the second run's queue, as Chromium shows them."""
    run = demo / "normal-or-pneumonia" / "run"
    command = [sys.executable, "-m", "autoannotate", "review", str(run), "--reader", "Ana", "--no-browser"]
    chromium = os.environ.get("AUTOANNOTATE_CHROMIUM", "/usr/bin/chromium")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as started:
        assert server.stdout is not None
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, address, size in (
            ("report", (demo / "chest-or-breast" / "run" / "report.html").as_uri(), (1200, 1150)),
            ("demo-report", (run / "report.html").as_uri(), (1100, 900)),
            ("review", server.stdout.readline().strip(), (1280, 800)),
        ):
            page = browser.new_page(viewport={"width": size[0], "height": size[1]})
            page.goto(address)
            page.wait_for_load_state("networkidle")
            page.get_by_text("Still being found").wait_for(state="hidden")
            page.screenshot(path=TARGET / f"{name}.png")
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    photograph(Path(sys.argv[1]))
