"""What volumes cost: processor time and memory to find, to read and to encode the slices that are looked at.

python eval/items/cost.py DATA/more/volumes/images
python eval/items/cost.py DATA/more/volumes/images --read     # without the encoder
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from autoannotate import Annotator
from autoannotate.images import find, isolation, read_image
from autoannotate.images.items import items_of


def main(place: Path, encode: bool) -> None:
    told: list[float] = []

    def step(name: str, per: int) -> None:
        isolation._end_all()  # children's time is known once they have ended
        spent = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        seconds = spent - sum(told)
        told.append(seconds)
        mine, theirs = (
            resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        print(
            f"{name}: {seconds:.1f} s of a processor, {1000 * seconds / per:.0f} ms each of {per}; "
            f"at most {mine:.2f} GiB here, {theirs:.2f} GiB in a reader",
            flush=True,
        )

    step("start", 1)
    items = items_of(find(place).refs)
    step("find", len(items))
    slices = [part for item in items for part in item.sampled]
    for part in slices:
        read_image(part)
    step("read", len(slices))
    if encode:
        annotator = Annotator(["brain MRI", "CT scan"], student="none", cache=False)
        _ = annotator.encoder
        step("load the encoder", 1)
        annotator.encode([item.middle for item in items])
        step("read and encode", len(slices))


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--read" not in sys.argv)
