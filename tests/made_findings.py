"""A small run of several findings an image, made by hand over real image files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from made_runs import draw_images, stamped

from autoannotate import Annotations

NAMES = ("effusion", "mass", "old fracture")
VALUES = ((1, 1, 0), (0, 0, 0), (1, 0, -1), (0, 1, 0))
PATHS = tuple(f"scans/{n}.png" for n in range(4))


def make_findings_run(images: Path, **run: Any) -> Annotations:
    """Four images: effusion and mass, nothing, effusion and an undecided fracture, mass; the first's mass is in doubt."""
    draw_images(images, PATHS)
    rows = [
        (path, name, value)
        for path, of in zip(PATHS, VALUES, strict=True)
        for name, value in zip(NAMES, of, strict=True)
    ]
    doubted = [path == PATHS[0] and name == "mass" for path, name, _ in rows]
    findings = pd.DataFrame(
        {
            "path": [row[0] for row in rows],
            "finding": [row[1] for row in rows],
            "value": [row[2] for row in rows],
            "probability": [
                0.2 if d else {1: 0.9, 0: 0.1, -1: 0.4}[row[2]] for d, row in zip(doubted, rows, strict=True)
            ],
            "source": "clip",
            "suspect": [int(d) for d in doubted],
            "suspect_score": [0.8 if d else 0.1 for d in doubted],
            "clip_probability": 0.5,
            "reason": ["the other images make it no mass (80%)" if d else "" for d in doubted],
        }
    )
    labels = ["|".join(name for name, value in zip(NAMES, of, strict=True) if value == 1) for of in VALUES]
    table = pd.DataFrame(
        {
            "path": PATHS, "label": labels, "confidence": [0.2, 0.9, 0.6, 0.9], "source": "clip", "suspect": [1, 0, 0, 0],
            "suspect_score": [0.8, 0.1, 0.1, 0.1], "clip_label": "", "clip_confidence": 0.5,
        }
    )  # fmt: skip
    suspects = pd.DataFrame(
        {
            "rank": [1], "path": [PATHS[0]], "label": [labels[0]], "suggested_label": ["effusion"], "suspect_score": [0.8],
            "reason": ["mass: the other images make it no mass (80%)"],
        }
    )  # fmt: skip
    about = {
        name: {
            "present": sum(of[i] == 1 for of in VALUES), "absent": sum(of[i] == 0 for of in VALUES),
            "undecided": sum(of[i] == -1 for of in VALUES), "suspects": int(name == "mass"), "answered": 0,
            "meaningful": name != "old fracture", "trust": 0.9, "verdict": "told apart", "advice": "", "evidence": {},
        }
        for i, name in enumerate(NAMES)
    }  # fmt: skip
    known = {
        "format": 1, "version": "0.1.0", "classes": list(NAMES), "findings": about, "seed": 0,
        "arguments": {"images": str(images), "cache": False},
        "model": {"name": "embedded", "weights_sha256": "ab" * 32, "image_size": 128},
        "counts": {"images": 4, "per_class": {name: about[name]["present"] for name in NAMES}},
        "reliability": {"trust": 0.9, "meaningful": True, "verdict": "Told apart: effusion and mass."},
    }  # fmt: skip
    sure = pd.DataFrame(np.array(findings["probability"]).reshape(4, 3), columns=list(NAMES))
    sure.insert(0, "path", PATHS)
    lost = pd.DataFrame({"path": [], "reason": []}, dtype=object)
    return stamped(Annotations(table, suspects, lost, known | run, probabilities=sure, findings=findings))
