"""How long `autoannotate --help` takes, in times of starting Python, both in turns in one run; the least of CPU seconds counts.

python eval/speed/start.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys


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


if __name__ == "__main__":
    main()
