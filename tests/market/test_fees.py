"""Commission and tax."""

from __future__ import annotations

from decimal import Decimal

import pytest

from stockllm.market.fees import ROUND_TRIP_COST, Charges, charges, commission, sales_tax


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


def test_an_etf_is_taxed_less() -> None:
    assert (
        sales_tax(1_000_000, instrument="etf")
        == sales_tax(1_000_000, instrument="etf", day_trade=True)
        == 1000
    )
    assert charges("sell", "0050", 1000, 18000) == Charges(180_000, 256, 180)
    assert charges("sell", "00631L", 1000, 18000).tax == 180


def test_charges_of_each_side() -> None:
    bought = charges("buy", "2330", 2000, 107500, discount=Decimal("0.6"))
    assert (bought, bought.paid) == (Charges(2_150_000, 1838, 0), 2_151_838)
    sold = charges("sell", "2330", 2000, 107500)
    assert (sold, sold.received) == (Charges(2_150_000, 3063, 6450), 2_140_487)
    odd = charges("sell", "2330", 7, 3425)
    assert (odd, odd.received) == (Charges(239, 20, 0), 219)
