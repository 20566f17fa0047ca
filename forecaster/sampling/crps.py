"""The score of sampled forecasts that training and evaluation share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fair_crps(samples: Floats, actual: Floats) -> Floats:
    """Continuous ranked probability score of ensembles, in its fair form, shape (n,).

    mean |x_i - y| - sum_ij |x_i - x_j| / (2 m (m - 1)), unbiased in the number m of paths (Ferro
    2014): the form that divides by m^2 punishes small ensembles. It may be slightly negative.
    """
    ordered = np.sort(samples, axis=1)
    paths = ordered.shape[1]
    if paths < 2:
        raise ValueError("the fair CRPS needs two paths")
    # sum_ij |x_i - x_j| = 2 sum_k (2k - m + 1) x_(k), k from 0
    weights = 2 * np.arange(paths) - paths + 1
    spread = ordered @ weights / (paths * (paths - 1))
    score: Floats = np.abs(ordered - actual[:, None]).mean(axis=1) - spread
    return score
