"""How many readers see each image: named at the start, kept beside the answers, and the same after every update.

Without a plan each reader is asked about the whole queue. *Single*: one reader an image. *Double*: two readers, of all
images or of a share of them chosen at random by the image's path, blind to each other; a third settles what they
disagree on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from autoannotate._internal.files import OF_A_RUN, write_files
from autoannotate.errors import InputError, UsageError

FILE = "reading-plan.json"
SALT = b"autoannotate reading plan"


@dataclass(frozen=True)
class ReadingPlan:
    """How many readers an image has.

    Attributes
    ----------
    readings : 1 or 2
    share : of the images that are read twice, in (0, 1]
    seed : another one chooses other images
    """

    readings: int
    share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.readings not in (1, 2) or not 0 < self.share <= 1:
            raise UsageError("A reading plan is single, double, or double:0.2 for a fifth of the images read twice.")

    def readers(self, path: str) -> int:
        """How many readers see the image."""
        return 2 if self.readings == 2 and order_of(path, self.seed) < self.share else 1

    def __str__(self) -> str:
        if self.readings == 1:
            return "single"
        return "double" if self.share == 1 else f"double:{self.share:g}"


def order_of(path: str, seed: int = 0) -> float:
    """A number in [0, 1) for an image, at random but always the same."""
    digest = hashlib.blake2b(f"{seed}:{path}".encode("utf-8", "surrogateescape"), digest_size=8, key=SALT).digest()
    return int.from_bytes(digest, "big") / 2**64


def parse_plan(text: str) -> ReadingPlan:
    """The plan that a text names.

    >>> parse_plan("double:0.2")
    ReadingPlan(readings=2, share=0.2, seed=0)
    """
    name, _, share = text.strip().lower().partition(":")
    try:
        return ReadingPlan({"single": 1, "double": 2}.get(name, 0), float(share) if share else 1.0)
    except ValueError:
        return ReadingPlan(0)


def load_plan(folder: Path) -> ReadingPlan | None:
    """The plan of the run in the folder; None where none was named.

    Raises
    ------
    InputError
        Where it is damaged.
    """
    try:
        return ReadingPlan(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, UsageError) as error:
        raise InputError(f"{folder / FILE} cannot be read ({error}): mend it or move it away.") from error


def keep_plan(folder: Path, plan: ReadingPlan, answered: bool) -> None:
    """Keep the plan of the run in the folder.

    Parameters
    ----------
    answered : whether there are answers: then a plan may only ask for more readings than it did

    Raises
    ------
    UsageError
        With what is wrong, and the way out.
    """
    known = load_plan(folder)
    if known == plan:
        return
    fewer = known is not None and (plan.readings, plan.share) < (known.readings, known.share)
    if answered and fewer:
        raise UsageError(
            f"The run is being read by the plan {known}; once there are answers a plan may only ask for more."
        )
    write_files({folder / FILE: (json.dumps(asdict(plan)) + "\n").encode()}, OF_A_RUN)
