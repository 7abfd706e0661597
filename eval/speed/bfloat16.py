"""Are zero-shot labels the same in bfloat16 (autocast) as in float32, on a CPU with instructions for it, and how fast are they?

250 images of a set, both looks with features, as `label` encodes them; one thread, CPU seconds.

    python eval/speed/bfloat16.py --data EVAL_DIR
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from autoannotate.images import find_images, read_image
from autoannotate.labelling.zero_shot.label_images import zero_shot
from autoannotate.models.encoder import load_encoder

SETS = {
    "chest_pneumonia": ["normal", "pneumonia"],
    "skin_ham10000": ["melanoma", "nevus"],
    "blood_pbc": ["basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil", "platelet"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=250)
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder("embedded", "cpu")
    print("| set | images | float32, ms | bfloat16, ms | times as fast | same label |\n|---|---:|---:|---:|---:|---:|")
    for name, classes in SETS.items():
        found = find_images(options.data / name / "images")
        chosen = np.sort(np.random.default_rng(0).permutation(len(found))[: options.count])
        pictures = [read_image(found[i], encoder.reads_at) for i in chosen]
        labels, spent = [], []
        for low in (False, True):
            started = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                embeddings = encoder.encode_images(pictures, closer=True).embeddings
            spent.append(1000 * (time.process_time() - started) / len(pictures))
            said = zero_shot(embeddings, classes, encoder.encode_texts, encoder.logit_scale)
            labels.append(said.probabilities.argmax(1))
        same = (labels[0] == labels[1]).mean()
        times = spent[0] / spent[1]
        cells = [name, f"{len(pictures)}", f"{spent[0]:.1f}", f"{spent[1]:.1f}", f"{times:.2f}", f"{same:.1%}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
