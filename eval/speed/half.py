"""Whether features in half precision, as the cache keeps them, give the labels of full precision.

Each set is labelled by its class names and from labels of which every fifth is wrong, without a student, by features of float32
and with the same rounded to float16.

    python eval/speed/half.py --data DIR/eval/chest_pneumonia DIR/eval/breast_busi
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from autoannotate import Annotator
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.evaluation.noise_injection import read_noise
from autoannotate.labelling.features import Features
from autoannotate.labelling.pipeline import label
from autoannotate.labelling.task import Task
from autoannotate.models import encoding
from autoannotate.models.embedding_cache import EncodingCache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="folders with labels.csv")
    parser.add_argument("--cache", type=Path, help="where float32 features are kept")
    options = parser.parse_args()
    encoding.EncodingCache = partial(EncodingCache, half=False)  # type: ignore[misc,assignment]
    print(
        "| images | items | same label, by CLIP | same label, noise of 20% | in the queue of both |\n|---|---|---|---|---|"
    )
    same = total = 0
    for folder in options.data:
        data = read_labelled([folder])
        annotator = Annotator(data.class_names, cache=options.cache or True)
        encoded = annotator.encode(data.refs)
        clip = annotator.zero_shot(encoded.embeddings)
        wrong = read_noise("symmetric:0.2").inject(data.labels, encoded.features, seed=0)
        nothing = np.full(clip.probabilities.shape, 1.0 / len(annotator.classes))
        shares, queues = [], []
        for given in (None, wrong):
            found = [
                label(
                    Task(
                        Features(values), clip.probabilities if given is None else nothing, data.class_names, given=given,
                        trust=clip.reliability.trust, meaningful=clip.reliability.meaningful,
                    )
                )
                for values in (encoded.features, encoded.features.astype(np.float16).astype(np.float32))
            ]  # fmt: skip
            equal = found[0].labels == found[1].labels
            same, total = same + int(equal.sum()), total + len(equal)
            shares.append(f"{equal.mean():.2%}")
            first, second = (set(each.queue.rows.tolist()) for each in found)
            queues.append(len(first & second) / max(len(first | second), 1))
        both = f"{np.mean(queues):.1%}"
        print(f"| {Path(folder).name} | {len(data)} | {' | '.join(shares)} | {both} |", flush=True)
    print(f"\n{same} of {total} labels are the same: {same / total:.3%}")


if __name__ == "__main__":
    main()
