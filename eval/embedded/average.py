"""Average the weights of two checkpoints of one training (Wortsman et al. 2022, arXiv 2109.01903): FIRST SECOND OUT."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

WEIGHTS = "open_clip_model.safetensors"


def main() -> None:
    first, second, out = map(Path, sys.argv[1:])
    one, other = load_file(first / WEIGHTS), load_file(second / WEIGHTS)
    out.mkdir(parents=True, exist_ok=True)
    averaged = {
        name: ((tensor.float() + other[name].float()) / 2).to(tensor.dtype)
        if tensor.is_floating_point()
        else other[name]
        for name, tensor in one.items()
    }
    save_file(averaged, out / WEIGHTS)
    shutil.copy(first / "open_clip_config.json", out)


if __name__ == "__main__":
    main()
