"""How long `autoannotate --help` takes, in times of starting Python, in turns in one run; the least of CPU seconds counts.

And where the seconds go until the encoder has seen its first image.

python eval/speed/start.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys

FIRST_IMAGE = """
import os
def lap(name):
    global last
    now = sum(os.times()[:2])
    print(f"| {name} | {now - last:.2f} |", flush=True)
    last = now
last = 0.0
lap("Python")
import torch; lap("import torch")
import torchvision; lap("import torchvision, which imports torch's compiler")
import open_clip; lap("import open_clip, timm, and transformers where it is installed")
from autoannotate.models.encoder import load_encoder
encoder = load_encoder("embedded"); lap("load the embedded encoder")
from PIL import Image
encoder.encode_images([Image.new("RGB", (256, 256))], closer=True); lap("encode one image, both looks")
"""


def used(command: list[str]) -> float:
    """CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "100"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    asked = {
        "python": [sys.executable, "-c", ""],
        "autoannotate --help": [sys.executable, "-m", "autoannotate", "--help"],
        "autoannotate label --help": [sys.executable, "-m", "autoannotate", "label", "--help"],
    }
    least = dict.fromkeys(asked, float("inf"))
    for _ in range(5):
        for name, command in asked.items():
            least[name] = min(least[name], used(command))
    for name, seconds in least.items():
        print(f"| {name} | {1000 * seconds:.0f} ms | {seconds / least['python']:.1f} |")
    print("\n| to the first image | CPU seconds |\n|---|---:|", flush=True)
    subprocess.run([sys.executable, "-c", FIRST_IMAGE], check=True)


if __name__ == "__main__":
    main()
