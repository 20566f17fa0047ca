"""What a trade of ordinary shares costs. Whole TWD; fractions are dropped, as brokers do."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

#: Broker's commission, each side.
COMMISSION_RATE = Decimal("0.001425")
#: The least a broker takes, in TWD.
COMMISSION_MINIMUM = 20
#: Securities transaction tax on sales of shares.
SALES_TAX_RATE = Decimal("0.003")
#: The same for shares bought and sold on one day.
DAY_TRADE_TAX_RATE = Decimal("0.0015")

#: Buying and selling again without a discount, as a share of the price: two commissions, one tax.
ROUND_TRIP_COST: float = float(2 * COMMISSION_RATE + SALES_TAX_RATE)


def commission(value_twd: int, discount: Decimal = Decimal(1)) -> int:
    """The commission on one side of a trade worth ``value_twd``.

    ``discount`` is the part of the full rate that is charged: Decimal("0.6") at 40% off. Raises
    ValueError for a negative value or a discount outside (0, 1].
    """
    if not 0 < discount <= 1:
        raise ValueError(f"a discount lies above 0 and at most at 1, not at {discount}")
    return max(_whole(value_twd, COMMISSION_RATE * discount), COMMISSION_MINIMUM)


def sales_tax(value_twd: int, *, day_trade: bool = False) -> int:
    """The transaction tax on selling shares worth ``value_twd``. Raises ValueError if negative."""
    return _whole(value_twd, DAY_TRADE_TAX_RATE if day_trade else SALES_TAX_RATE)


def _whole(value_twd: int, rate: Decimal) -> int:
    if value_twd < 0:
        raise ValueError(f"a trade's value is not negative, but {value_twd} was given")
    return int((value_twd * rate).to_integral_value(rounding=ROUND_DOWN))
