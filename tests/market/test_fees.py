"""Commission and tax."""

from __future__ import annotations

from decimal import Decimal

import pytest

from stockllm.market.fees import ROUND_TRIP_COST, commission, sales_tax


def test_rates() -> None:
    assert commission(1_000_000) == 1425
    assert commission(1_000_000, Decimal("0.6")) == 855
    assert commission(10_000) == 20, "the minimum"
    assert commission(100_000) == 142, "fractions are dropped"
    assert sales_tax(1_000_000) == 3000
    assert sales_tax(1_000_000, day_trade=True) == 1500
    assert pytest.approx(0.00585) == ROUND_TRIP_COST


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        commission(-1)
    with pytest.raises(ValueError, match="negative"):
        sales_tax(-1)
    with pytest.raises(ValueError, match="discount"):
        commission(100, Decimal(0))
