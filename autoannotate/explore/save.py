"""What exploring writes: map.parquet (map.csv without pyarrow), clusters.csv, associations.csv, shortcuts.csv, slices.csv and
report.html."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autoannotate._internal.files import plain_errors, write_files
from autoannotate._internal.wording import counted
from autoannotate.explore.collection import Collection
from autoannotate.explore.findings import Findings
from autoannotate.explore.groups import purity
from autoannotate.explore.risks import Shortcut, Slice
from autoannotate.runs import tables

PLOTTED = 30_000  # points in the interactive figure of the report; the image has all


def save(collection: Collection, findings: Findings, folder: Path) -> list[Path]:
    """Write all files, or none, in the folder; those of an earlier call are replaced.

    Raises
    ------
    OutputError
        Where the folder cannot be written.
    """
    with plain_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    name, content = _map(collection)
    files = {
        folder / name: content,
        folder / "clusters.csv": tables.to_csv(cluster_table(collection)),
        folder / "associations.csv": tables.to_csv(findings.associations),
        folder / "shortcuts.csv": tables.to_csv(_rows(findings.shortcuts, Shortcut)),
        folder / "slices.csv": tables.to_csv(_rows(findings.slices, Slice)),
        folder / "report.html": render(collection, findings).encode("utf-8", errors="replace"),
    }
    write_files(files)
    return list(files)


def map_table(collection: Collection) -> pd.DataFrame:
    """One row an image: path, x, y, and all that the map can be coloured by."""
    table: dict[str, Any] = {"path": collection.paths, "x": collection.place[:, 0], "y": collection.place[:, 1]}
    for column in collection.columns:
        values = column.values
        if column.is_category:
            names = np.array([*column.levels, None], dtype=object)
            table[column.name] = names[np.where(values >= 0, values, len(column.levels))]
        else:
            table[column.name] = values
    table["near_duplicate_group"] = collection.same
    return pd.DataFrame(table)


def _rows(found: Sequence[Shortcut | Slice], kind: type[Shortcut | Slice]) -> pd.DataFrame:
    """One row each, the parts of an effect as columns of their own."""
    rows = []
    for one in found:
        row = asdict(one)
        effect = row.pop("effect", {})
        rows.append(row | {name: effect[name] for name in ("statistic", "value", "low", "high", "p") if name in effect})
    names = [field.name for field in fields(kind) if field.name != "effect"]
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else names)


def _map(collection: Collection) -> tuple[str, bytes]:
    table = map_table(collection)
    if importlib.util.find_spec("pyarrow") is None:
        return "map.csv", tables.to_csv(table.astype({"x": float, "y": float}).fillna(""))
    out = io.BytesIO()
    table.to_parquet(out, index=False)
    return "map.parquet", out.getvalue()


def cluster_table(collection: Collection) -> pd.DataFrame:
    """One row a cluster: its size, label, words, and typical images."""
    labels = collection.rows_of_run.get("label")
    rows = []
    for cluster, words in zip(collection.clusters, collection.words, strict=True):
        label, share = ("", float("nan")) if labels is None else purity(cluster.rows, labels)
        rows.append(
            {
                "level": cluster.level + 1,
                "cluster": cluster.number + 1,
                "parent": cluster.parent + 1 if cluster.parent >= 0 else "",
                "images": len(cluster.rows),
                "label": label,
                "purity": share if labels is not None else "",
                "looks_like": ", ".join(words),
                "typical": "|".join(collection.paths[i] for i in cluster.typical),
            }
        )
    return pd.DataFrame(rows)


def render(collection: Collection, findings: Findings) -> str:
    """The report: self-contained, opens offline; the map as an image, and to move in."""
    from jinja2 import Environment

    here = resources.files("autoannotate.explore")
    template = Environment(autoescape=True).from_string((here / "report.html.jinja").read_text(encoding="utf-8"))
    shown = np.sort(np.random.default_rng(collection.seed).permutation(len(collection.refs))[:PLOTTED])
    data = {
        "paths": [collection.paths[i] for i in shown],
        "columns": [
            {
                "name": column.name,
                "levels": list(column.levels),
                "values": [
                    None if value != value else value if column.is_category else float(f"{value:.5g}")
                    for value in column.values[shown].tolist()
                ],
            }
            for column in collection.columns
        ],
        "places": base64.b64encode(collection.place[shown].astype("<f4").tobytes()).decode(),
    }
    script = (here / "static" / "map.js").read_text(encoding="utf-8").replace("export ", "")
    return template.render(
        title=collection.title,
        images=counted(len(collection.refs), "image"),
        picture=base64.b64encode(_picture(collection)).decode(),
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        script=script,
        clusters=cluster_table(collection).to_dict(orient="records"),
        duplicates=len(collection.duplicates),
        outliers=[collection.paths[i] for i in collection.outliers],
        whole=findings.associations.query("of == 'images'").to_dict(orient="records"),
        parts=findings.associations.query("of != 'images' and q < 0.05").head(60).to_dict(orient="records"),
        shortcuts=[asdict(one) for one in findings.shortcuts],
        slices=[asdict(one) for one in findings.slices[:20]],
        notes=findings.notes,
        shown=counted(len(shown), "image"),
        seed=collection.seed,
    )


def _picture(collection: Collection) -> bytes:
    """The map coloured by its first column, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    column = collection.columns[0]
    colours = [
        "#56b4e9",
        "#e69f00",
        "#2fbf8f",
        "#c9b400",
        "#e0609e",
        "#d55e00",
        "#8f8cf2",
        "#7bb23a",
        "#c9a27c",
        "#00a5ad",
    ]
    figure = Figure(figsize=(9, 6.2), dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    x, y = collection.place.T
    size = float(np.clip(12_000 / len(x), 1.0, 18.0))
    if column.is_category:
        for code, level in enumerate(column.levels[:20]):
            rows = column.values == code
            axes.scatter(
                x[rows], y[rows], s=size, color=colours[code % len(colours)], label=level, linewidths=0, alpha=0.85
            )
        axes.legend(title=column.name, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)
    else:
        found = axes.scatter(x, y, s=size, c=column.values, cmap="viridis", linewidths=0)
        figure.colorbar(found, label=column.name)
    axes.set_aspect("equal", "datalim")
    axes.axis("off")
    out = io.BytesIO()
    figure.savefig(out, format="png", bbox_inches="tight", metadata={"Software": None})
    return out.getvalue()
