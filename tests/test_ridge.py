"""Ridge regression in closed form is what it says."""

from __future__ import annotations

import numpy as np
import pytest

from autoannotate.labelling.ridge import Ridge


def test_leaving_one_out_in_closed_form_is_leaving_one_out() -> None:
    rng = np.random.default_rng(0)
    points, targets, weights = rng.normal(size=(30, 6)), rng.normal(size=(30, 2)), rng.uniform(0.1, 5, 30)
    quick = Ridge(points, weights, 2.0).left_out(targets)
    for i in (0, 7, 29):
        rest = np.arange(30) != i
        gram = (points[rest] * weights[rest, None]).T @ points[rest] + 2.0 * np.eye(6)
        slow = points[i] @ np.linalg.solve(gram, (points[rest] * weights[rest, None]).T @ targets[rest])
        assert quick[i] == pytest.approx(slow)
