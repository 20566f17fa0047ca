"""What a trade costs. Whole TWD; fractions are dropped, as brokers do."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Literal

from stockllm.market.instruments import Instrument, instrument_of

Side = Literal["buy", "sell"]

#: Broker's commission, each side.
COMMISSION_RATE = Decimal("0.001425")
#: The least a broker takes, in TWD.
COMMISSION_MINIMUM = 20
#: Securities transaction tax on sales of shares.
SALES_TAX_RATE = Decimal("0.003")
#: The same for shares bought and sold on one day.
DAY_TRADE_TAX_RATE = Decimal("0.0015")
#: The same on sales of an ETF's units, however long they were held.
ETF_TAX_RATE = Decimal("0.001")

#: Buying and selling again without a discount, as a share of the price: two commissions, one tax.
ROUND_TRIP_COST: float = float(2 * COMMISSION_RATE + SALES_TAX_RATE)


@dataclass(frozen=True, slots=True)
class Charges:
    """What one side of a trade is worth and costs, in whole TWD."""

    value: int
    commission: int
    tax: int

    @property
    def paid(self) -> int:
        """What a buyer gives for it all."""
        return self.value + self.commission

    @property
    def received(self) -> int:
        """What a seller is left with; negative where the charges exceed the value."""
        return self.value - self.commission - self.tax


def charges(
    side: Side, code: str, shares: int, price: int, *, discount: Decimal = Decimal(1), day_trade: bool = False
) -> Charges:
    """The one fee function: what ``shares`` of ``code`` at ``price`` hundredths are worth and cost.

    The value of an odd lot may be a fraction of a TWD, which is dropped. Raises ValueError for a
    negative number or a discount outside (0, 1].
    """
    value = trade_value(shares, price)
    tax = sales_tax(value, instrument=instrument_of(code), day_trade=day_trade) if side == "sell" else 0
    return Charges(value, commission(value, discount), tax)


def trade_value(shares: int, price: int) -> int:
    """Whole TWD of ``shares`` at ``price`` hundredths."""
    return shares * price // 100


def commission(value_twd: int, discount: Decimal = Decimal(1)) -> int:
    """The commission on one side of a trade worth ``value_twd``.

    ``discount`` is the part of the full rate that is charged: Decimal("0.6") at 40% off. Raises
    ValueError for a negative value or a discount outside (0, 1].
    """
    if not 0 < discount <= 1:
        raise ValueError(f"a discount lies above 0 and at most at 1, not at {discount}")
    return max(_whole(value_twd, COMMISSION_RATE * discount), COMMISSION_MINIMUM)


def sales_tax(value_twd: int, *, instrument: Instrument = "share", day_trade: bool = False) -> int:
    """The transaction tax on selling what is worth ``value_twd``. Raises ValueError if negative."""
    if instrument == "etf":
        return _whole(value_twd, ETF_TAX_RATE)
    return _whole(value_twd, DAY_TRADE_TAX_RATE if day_trade else SALES_TAX_RATE)


def _whole(value_twd: int, rate: Decimal) -> int:
    if value_twd < 0:
        raise ValueError(f"a trade's value is not negative, but {value_twd} was given")
    return int((value_twd * rate).to_integral_value(rounding=ROUND_DOWN))
