"""Write the pairs table that `autoannotate pretrain clip` reads: one row for each caption that is true of an image.

Facts (modality, body part, finding) become sentences through vocabulary.yaml; all images of one fact share the same set of
sentences, so that which caption is true of which image is known exactly. Free text is kept beside them, and shared by
the images of its case. Cases and videos are named in `group`, to be held out together.

    python eval/embedded/captions.py --pretrain PRETRAIN_DIR --out pairs.csv
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import re
from collections import Counter
from pathlib import Path

import yaml

EXCLUDED = set(Path(__file__).with_name("excluded.txt").read_text().split())  # flipped copies found by leaks.py
DEMO_SETS = {"pydicom_frames"}  # the product's own demo measures itself on these files
VOCABULARY = yaml.safe_load(Path(__file__).with_name("vocabulary.yaml").read_text())
KEPT = {
    "modality": 1.0,
    "body_part": 0.6,
    "view": 0.6,
    "finding": 0.15,
    "bare": 1.0,
}  # share of each level's sentences
WORDS_OF_FREE_TEXT = 24
MEANINGLESS = {"unlabelled", "", "none"}
VIEWS = ("axial", "sagittal", "coronal", "PA", "AP Supine", "AP", "Lateral", "T1W", "T2 weighted", "FLAIR")


def terms_of(table: dict[str, list[str]], name: str) -> list[str]:
    """The exchangeable terms of a fact: the entry itself, else the longest entry that begins it, else the fact's own words."""
    if name in table:
        return table[name]
    beginnings = [key for key in table if name.startswith(key.removesuffix("*"))]
    return table[max(beginnings, key=len)] if beginnings else [name]


def draw(sentence: str) -> float:
    """A number in [0, 1) that depends on nothing but the sentence."""
    return int.from_bytes(hashlib.sha256(sentence.encode()).digest()[:4]) / 2**32


def sentences(modality: str, body_part: str, label: str) -> list[str]:
    """Captions that the three facts of a row allow, at five levels of detail.

    A sentence is kept or left out by its own hash, whatever image it is for, so that two images of which it is true
    either both have it or neither has.
    """
    facts = {
        "m": terms_of(VOCABULARY["modalities"], modality),
        "b": terms_of(VOCABULARY["body_parts"], body_part),
        "f": terms_of(VOCABULARY["findings"], label),
    }
    if body_part in MEANINGLESS:  # everyday photographs
        facts["b"] = ["-"]
    levels = dict(VOCABULARY["templates"])
    if label in MEANINGLESS:
        del levels["finding"], levels["bare"]
    if body_part in MEANINGLESS:
        levels.pop("body_part")
        levels["modality"] = ["{m}", "a {m}"]
        levels["finding"] = ["{m} of {f}", "a {m} of a {f}"]
    view = next((view for view in VIEWS if view in modality), None)
    if view:
        levels["view"] = ["{b} {m}, " + view + " view", view + " {m} of the {b}"]
    written: list[str] = []
    for level, templates in levels.items():
        every = {
            template.format(m=m, b=b, f=f)
            for template, m, b, f in itertools.product(templates, facts["m"], facts["b"], facts["f"])
        }
        written += sorted(sentence for sentence in every if draw(sentence) < KEPT[level])
    return written


def free_text(caption: str) -> list[str]:
    """The first words of a written report, when it says anything."""
    words = re.sub(r"\s+", " ", caption).strip(" -.").split(" ")
    return [" ".join(words[:WORDS_OF_FREE_TEXT])] if len(words) >= 3 else []


def group_of(row: dict[str, str]) -> str:
    """The case of a MedPix file, the video of a lung ultrasound frame, else the image itself."""
    stem = Path(row["path"]).stem
    if row["set"].startswith("medpix"):
        return stem[:7]
    if row["set"] == "lung_pocus":
        return re.sub(r"_f\d$", "", stem)
    return row["path"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrain", type=Path, required=True, help="the folder that holds pairs.csv and images/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without", nargs="*", default=[], help="sets to leave out, to see what they bring")
    options = parser.parse_args()

    left_out = DEMO_SETS | set(options.without)
    with (options.pretrain / "pairs.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["set"] not in left_out and row["path"] not in EXCLUDED]
    sizes = Counter(row["set"] for row in rows)
    with options.out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "caption", "group", "weight"])
        for row in rows:
            # Square-root sampling: a set of 100 is seen a third as often as one of 1,000, not a tenth.
            weight = f"{sizes[row['set']] ** -0.5:.5f}"
            label = row["label"]
            if row["set"].startswith("medpix"):
                label = "" if len(label.split()) > 8 else label
            for text in sentences(row["modality"], row["body_part"], label) + free_text(row["caption"]):
                table.writerow([row["path"], text, group_of(row), weight])


if __name__ == "__main__":
    main()
