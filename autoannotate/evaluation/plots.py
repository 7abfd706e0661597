"""Pictures of an evaluation as PNG bytes: box plots of differences to the baseline, means with intervals, and curves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, ACCENT, OTHER = "#1c2226", "#59636b", "#e3e0da", "#1d6b74", "#9aa5ab"
COLOURS = ("#d4771f", "#7a5195", "#5b8c3a", "#b8434e", "#3f78b5", "#8a6d3b", "#c06c9e", "#59636b")
DASHES = ("-", "--", ":", "-.")
OURS = "ours"
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": LINE,
    "xtick.color": MUTED, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "figure.dpi": 160, "svg.hashsalt": "autoannotate",
}  # fmt: skip


def difference_boxes(differences: Mapping[str, NDArray[np.floating]], title: str, baseline: str) -> bytes:
    """Box plots of a metric's difference to the baseline, in points, a row a method, every run a dot.

    Parameters
    ----------
    differences : (R,) a method, as shares; NaN (a failed run) is left out
    """
    names = list(differences)
    with _styled():
        figure, axes = _axes(7.2, 1.25 + 0.42 * len(names))
        values = [100 * np.asarray(v, dtype=np.float64)[~np.isnan(v)] for v in differences.values()]
        places = np.arange(len(names))[::-1]
        axes.axvline(0, color=MUTED, linewidth=1, zorder=1)
        boxes = axes.boxplot(
            values, positions=places, orientation="horizontal", widths=0.55, showfliers=False, patch_artist=True,
            medianprops={"color": INK, "linewidth": 1.4}, whiskerprops={"color": MUTED}, capprops={"color": MUTED},
            boxprops={"linewidth": 0.8}, manage_ticks=False, zorder=2,
        )  # fmt: skip
        for name, box in zip(names, boxes["boxes"], strict=True):
            box.set(
                facecolor=ACCENT if name == OURS else OTHER, alpha=0.45, edgecolor=ACCENT if name == OURS else MUTED
            )
        for place, points in zip(places, values, strict=True):
            spread = np.linspace(-0.16, 0.16, len(points)) if len(points) > 1 else np.zeros(len(points))
            axes.plot(points, place + spread, "o", color=INK, alpha=0.5, markersize=2.6, zorder=3)
        axes.set_yticks(places, names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_title(title)
        axes.set_xlabel(f"points of difference to “{baseline}” in the same run (each dot is a run)")
        _grid(axes, "x")
        return _png(figure)


def curves(
    points: Mapping[str, Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]]], title: str, x: str, y: str
) -> bytes:
    """A curve a method: the mean over runs, and every run faintly behind it. points: (x, y) of each run."""
    with _styled():
        figure, axes = _axes(7.2, 4.4)
        looks = look_of(list(points))
        for name, runs in points.items():
            colour, dashes = looks[name]
            for at, value in runs:
                axes.plot(at, 100 * value, color=colour, alpha=0.18, linewidth=0.8)
            grid, mean, _, _ = mean_curve(runs)
            width = 2.4 if name == OURS else 1.6
            axes.plot(
                grid, 100 * mean, color=colour, linestyle=dashes, linewidth=width, label=name,
                marker="o" if len(grid) < 9 else None, ms=4,
            )  # fmt: skip
        axes.set_title(title)
        axes.set_xlabel(x)
        axes.set_ylabel(f"{y} in %")
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
        _grid(axes, "both")
        return _png(figure)


def look_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and line style of each method: ours has the colour that it has in the boxes, the others differ from each other.

    >>> look_of(["random", "ours"])["ours"]
    ('#1d6b74', '-')
    """
    others = [name for name in names if name != OURS]
    looks = {
        name: (COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]) for i, name in enumerate(others)
    }
    return looks | {OURS: (ACCENT, "-")}


def mean_curve(
    runs: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]], most: int = 200
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """x, and mean, least and greatest y over runs, all (G,), on the x that the runs have, at most about `most`.

    A run is interpolated linearly between its own points, and where it ended early keeps its last value.

    >>> a, b = (np.array([0.0, 1.0]), np.array([0.5, 0.9])), (np.array([0.0, 1.0]), np.array([0.7, 0.9]))
    >>> [v.tolist() for v in mean_curve([a, b])]
    [[0.0, 1.0], [0.6, 0.9], [0.5, 0.9], [0.7, 0.9]]
    """
    grid = np.unique(np.concatenate([np.asarray(x, dtype=np.float64) for x, _ in runs]))
    if len(grid) > most:
        grid = grid[np.unique(np.linspace(0, len(grid) - 1, most).round().astype(int))]
    values = np.stack([np.interp(grid, x, y) for x, y in runs])
    return grid, values.mean(axis=0), values.min(axis=0), values.max(axis=0)


class _styled:  # noqa: N801 - reads as a function
    """Our style inside the block, whatever the user's own settings for matplotlib are."""

    def __enter__(self) -> None:
        import matplotlib

        ours: Any = {**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}
        self._context = matplotlib.rc_context(ours)
        self._context.__enter__()

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(None, None, None)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # without pyplot: no window system, nothing global

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.add_subplot()


def _grid(axes: Axes, which: str) -> None:
    axes.grid(axis=which, color=LINE, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(
        out, format="png", metadata={"Software": None}
    )  # no version, so that the same numbers give the same bytes
    return out.getvalue()
