"""Images that somebody chose on the map, put first in the queue of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from autoannotate.runs import history
from autoannotate.runs.lock import alone
from autoannotate.runs.run import Run
from autoannotate.runs.save import contents

REASON = "chosen on the map"


def put_first(folder: Path, paths: Sequence[str]) -> int:
    """Put images first in the queue of suspects, as a new round of the run.

    Returns
    -------
    int
        How many images there were; those that were in the queue already move to its beginning.
    """
    with alone(folder):
        history.settle(folder)
        run = Run.load(folder)
        known = set(run.table["path"])
        chosen = [path for path in dict.fromkeys(paths) if path in known]
        of_label = run.table.set_index("path")
        before = run.suspects.set_index("path", drop=False)
        rows = [
            before.loc[path].to_dict() | {"reason": f"{REASON}; {before['reason'].loc[path]!s}".rstrip("; ")}
            if path in before.index
            else {
                "path": path,
                "label": of_label.loc[path, "label"],
                "suggested_label": of_label.loc[path, "label"],
                "suspect_score": of_label.loc[path, "suspect_score"],
                "reason": REASON,
            }
            for path in chosen
        ]
        queue = pd.concat([pd.DataFrame(rows), run.suspects[~run.suspects["path"].isin(chosen)]], ignore_index=True)
        queue["rank"] = range(1, len(queue) + 1)
        table = run.table.copy()
        table.loc[table["path"].isin(chosen), "suspect"] = 1
        last = history.rounds(folder)[-1]
        record = replace(
            last, number=last.number + 1, what="queue", made_at=datetime.now(UTC).isoformat(timespec="seconds"), new=(),
            taken_back=(), changes=(), restored=None,
        )  # fmt: skip
        about = run.run | {"round": record.number}
        history.keep(folder, contents(replace(run, table=table, suspects=queue, run=about)), record)
        return len(chosen)
