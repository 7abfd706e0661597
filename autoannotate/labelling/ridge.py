"""Ridge regression that predicts each row without the row's own target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Ridge:
    """Weighted ridge regression of many targets on one basis (N, D), each row predicted without its own target.

    Closed form: f₋ᵢ = (fᵢ − hᵢ yᵢ) / (1 − hᵢ), hᵢ = wᵢ φᵢᵀ (ΦᵀWΦ + sI)⁻¹ φᵢ (Allen 1974, "The relationship between variable
    selection and data augmentation and a method for prediction"). With groups, (N,) ids, each row is predicted without the
    targets of its whole group: f₋g = (I − H_g)⁻¹ (f_g − H_g y_g), with H_g the group's block of the hat matrix.
    """

    def __init__(
        self,
        basis: NDArray[np.float64],
        weights: NDArray[np.float64],
        strength: float,
        groups: NDArray[np.integer] | None = None,
    ) -> None:
        from scipy.linalg import solve_triangular

        gram = (basis * weights[:, None]).T @ basis
        gram[np.diag_indices_from(gram)] += strength
        root = np.linalg.cholesky(gram)
        self.white = solve_triangular(root, basis.T, lower=True, check_finite=False)
        self.weights = weights[:, None]
        self.own = np.minimum(self.weights * (self.white**2).sum(axis=0)[:, None], 0.999)
        self._blocks: list[tuple[NDArray[np.intp], NDArray[np.float64]]] = []
        if groups is not None:
            order = np.argsort(groups, kind="stable")
            for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
                if len(rows) > 1:
                    self._blocks.append((rows, self.white[:, rows].T @ self.white[:, rows] * weights[rows]))

    def left_out(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores, (N, K), by targets (N, K)."""
        fitted = self.white.T @ (self.white @ (self.weights * targets))
        left_out: NDArray[np.float64] = (fitted - self.own * targets) / (1.0 - self.own)
        for rows, hat in self._blocks:
            rest = np.eye(len(rows)) * (1.0 + 1e-9) - hat
            left_out[rows] = np.linalg.solve(rest, fitted[rows] - hat @ targets[rows])
        return left_out
