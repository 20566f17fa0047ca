"""The chance processes that the simulated market and its world share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: GARCH(1,1) weights of yesterday's squared shock and of yesterday's variance.
_ALPHA, _BETA = 0.12, 0.85
#: Degrees of freedom of the daily shocks: fat tails, finite kurtosis.
_FREEDOM = 5
#: Days the volatilities run before the first session, so that no run starts calm.
_WARM_UP = 120


def storms(rng: Generator, count: int) -> Floats:
    """A two-state Markov chain: 0 on calm days, 1 in storms of about a month, 4 months apart."""
    import numpy as np

    chance = rng.random(count + _WARM_UP)
    state, states = 0, []
    for draw in chance:
        state = int(draw < 0.012) if state == 0 else int(draw >= 0.045)
        states.append(state)
    return np.array(states[_WARM_UP:], dtype=np.float64)


def clustered(rng: Generator, count: int, width: int) -> tuple[Floats, Floats]:
    """Unit-variance GARCH(1,1) processes with Student-t shocks, and their standard deviations."""
    import numpy as np

    draws = rng.standard_t(_FREEDOM, (count + _WARM_UP, width)) * np.sqrt((_FREEDOM - 2) / _FREEDOM)
    deviations = np.empty_like(draws)
    variance = np.ones(width)
    for row, draw in enumerate(draws):
        deviations[row] = np.sqrt(variance)
        # Bounded: one wild draw must not make a month of limit days.
        variance = np.minimum(1 - _ALPHA - _BETA + (_ALPHA * draw**2 + _BETA) * variance, 9.0)
    return (draws * deviations)[_WARM_UP:], deviations[_WARM_UP:]
