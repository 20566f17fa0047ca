"""Which orders the exchange takes: form, ticks, limits, means and the window."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from stockllm.data.errors import OrderRefused
from stockllm.market.calendar import default_calendar
from stockllm.trading.exchange.rules import Order, booked_for, check_form, check_limits, check_means, twd

DAY = date(2025, 3, 4)
CALENDAR = default_calendar()


def order(**changes: Any) -> Order:
    fields: dict[str, Any] = {"code": "2330", "side": "buy", "shares": 1000, "price": 10000} | changes
    return Order(**fields)


def refusal(**changes: Any) -> str:
    with pytest.raises(OrderRefused) as caught:
        check_form(order(**changes), DAY)
    assert caught.value.zh.startswith(f"{caught.value.status}：")
    assert caught.value.zh.endswith("。")
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("shares", [1, 999, 1000, 2000, 499_000])
def test_lots_and_odd_lots(shares: int) -> None:
    assert check_form(order(shares=shares), DAY).shares == shares


def test_a_refusal_says_in_chinese_too_what_to_do() -> None:
    with pytest.raises(OrderRefused) as caught:
        check_form(order(shares=2330), DAY)
    assert caught.value.status == "股數錯誤"
    assert caught.value.zh == "股數錯誤：不能委託 2,330 股，請填 1,000 股的倍數，或 1 至 999 股的零股。"


@pytest.mark.parametrize("shares", [0, -1, -1000, 1001, 1500, 10**12, 2**63])
def test_odd_amounts(shares: int) -> None:
    assert refusal(shares=shares) == "shares"


@pytest.mark.parametrize("price", [0, -5, 10**12])
def test_impossible_prices(price: int) -> None:
    assert refusal(price=price) == "price"


def test_an_unknown_side() -> None:
    assert refusal(side="short") == "side"


# The university simulator's own figures, in hundredths.
@pytest.mark.parametrize(
    ("price", "down", "up"), [(3427, 3425, 3430), (6626, 6620, 6630), (145626, 145500, 146000)]
)
def test_prices_off_their_tick(price: int, down: int, up: int) -> None:
    assert refusal(price=price) == "off_tick"
    assert check_form(order(price=price), DAY, "round").price == down
    assert check_form(order(price=price, side="sell"), DAY, "round").price == up


def test_an_etf_has_its_own_ticks() -> None:
    assert check_form(order(code="0050", price=18005), DAY).price == 18005
    assert refusal(price=18005) == "off_tick"


def test_limits() -> None:
    for price in (5670, 6930):
        check_limits(order(price=price), 6300, DAY)
    for price in (5660, 6940):
        with pytest.raises(OrderRefused, match=r"outside the day's limits of 56\.7 to 69\.3"):
            check_limits(order(price=price), 6300, DAY)
    check_limits(order(price=99900), None, DAY)


def test_means() -> None:
    whole = Decimal(1)
    assert check_means(order(), cash=100_142, shares=0, discount=whole) == 100_142
    with pytest.raises(OrderRefused, match="100,142 TWD and 100,141 are free"):
        check_means(order(), cash=100_141, shares=0, discount=whole)
    assert check_means(order(side="sell"), cash=0, shares=1000, discount=whole) == 0
    with pytest.raises(OrderRefused, match="999 are free"):
        check_means(order(side="sell"), cash=0, shares=999, discount=whole)
    with pytest.raises(OrderRefused, match="charges would exceed the 7 TWD"):
        check_means(order(side="sell", shares=1, price=700), cash=0, shares=1, discount=whole)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "window", "session"),
    [
        ("2025-03-04 16:01", "evening", "2025-03-05"),
        ("2025-03-04 23:59", "evening", "2025-03-05"),
        ("2025-03-05 00:00", "evening", "2025-03-05"),
        ("2025-03-05 08:59:59", "evening", "2025-03-05"),
        ("2025-03-07 20:00", "evening", "2025-03-10"),  # Friday evening: Monday
        ("2025-02-28 20:00", "evening", "2025-03-03"),  # a weekday's holiday takes orders in its evening
        ("2025-03-05 09:00", "intraday", "2025-03-05"),
        ("2025-03-05 12:59:59", "intraday", "2025-03-05"),
        ("2025-03-05 20:00", "intraday", "2025-03-06"),
        ("2025-03-05 10:00", "always", "2025-03-06"),
        ("2025-03-08 10:00", "always", "2025-03-10"),
    ],
)
def test_the_window(now: str, window: Any, session: str) -> None:
    assert booked_for(at(now), window, CALENDAR, date(2025, 2, 27)) == date.fromisoformat(session)


@pytest.mark.parametrize(
    ("now", "window", "zh"),
    [
        ("2025-03-05 09:00", "evening", "非委託時間"),
        ("2025-03-05 16:00:59", "evening", "非委託時間"),
        ("2025-03-05 13:00", "intraday", "非委託時間"),
        ("2025-03-08 20:00", "evening", "今日無開盤"),
        ("2025-03-09 08:00", "intraday", "今日無開盤"),
        ("2025-02-28 11:00", "intraday", "今日無開盤"),
    ],
)
def test_outside_the_window(now: str, window: Any, zh: str) -> None:
    with pytest.raises(OrderRefused) as caught:
        booked_for(at(now), window, CALENDAR, date(2025, 2, 27))
    assert (caught.value.reason, caught.value.status) == ("closed", zh)
    assert caught.value.zh.startswith(f"{zh}：")


def test_a_session_that_is_over_takes_no_orders() -> None:
    assert booked_for(at("2025-03-05 08:00"), "evening", CALENDAR, date(2025, 3, 5)) == date(2025, 3, 6)


def test_prices_as_people_write_them() -> None:
    assert [twd(p) for p in (100, 3425, 107500, 1)] == ["1", "34.25", "1075", "0.01"]
