"""The risk policy: sales, buys, each limit, and what must hold of any evening."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.errors import UsageError
from stockllm.market.fees import charges
from stockllm.trading.brokers.broker import Placed, Position
from stockllm.trading.exchange.rules import Order, check_form
from stockllm.trading.strategy.policy import Advice, Plan, Policy, Standing, decide, round_trip

EVENING, SESSION = date(2025, 3, 6), date(2025, 3, 7)


def advice(
    code: str,
    action: str = "buy",
    *,
    strength: float | None = None,
    expected: float | None = None,
    as_of: date = EVENING,
) -> Advice:
    return Advice(code, as_of, action, strength, expected, "理由。", "A reason.")  # type: ignore[arg-type]


def standing(
    free: int = 10_000_000,
    held: dict[str, int] | None = None,
    *,
    equity: int | None = 10_000_000,
    peak: int = 10_000_000,
    orders: tuple[Placed, ...] = (),
) -> Standing:
    positions = {code: Position(code, shares, 1) for code, shares in (held or {}).items()}
    return Standing(EVENING, SESSION, free, equity, peak, positions, orders)


def why(plan: Plan) -> dict[str, str]:
    return {each.code: each.why for each in plan.decisions}


def test_a_buy_takes_its_part_in_lots_with_its_commission() -> None:
    plan = decide([advice("2330")], standing(), {"2330": 20_000}, Policy())
    assert plan.orders == (Order("2330", "buy", 4000, 20_000),)  # 5 lots would be 1,001,425
    assert why(plan) == {"2330": "buy"}
    full = decide([advice("2330")], standing(), {"2330": 19_950}, Policy())
    assert full.orders[0].shares == 5000  # 997,500 and 1,421 of commission


def test_an_odd_lot_where_a_lot_is_too_much() -> None:
    plan = decide([advice("2330")], standing(), {"2330": 100_000}, Policy(position_cap=Decimal("0.05")))
    assert plan.orders == (Order("2330", "buy", 499, 100_000),)
    lots = decide(
        [advice("2330")],
        standing(),
        {"2330": 100_000},
        Policy(position_cap=Decimal("0.05"), odd_lots=False),
    )
    assert (lots.orders, why(lots)) == ((), {"2330": "cap"})


def test_what_cash_is_left_buys_no_crumbs() -> None:
    plan = decide([advice("2330")], standing(free=600_000), {"2330": 20_000}, Policy())
    assert (plan.orders, why(plan)) == ((), {"2330": "cash"})
    assert "1,000 shares" in plan.decisions[0].reason_en


def test_the_strongest_first_until_the_floor() -> None:
    asked = [advice(code, strength=s) for code, s in (("1", 0.1), ("2", 0.3), ("3", 0.2))]
    prices = dict.fromkeys("123", 10_000)
    policy = Policy(position_cap=Decimal("0.4"), cash_floor=Decimal("0.15"), odd_lots=False)
    plan = decide(asked, standing(), prices, policy)
    assert [(o.code, o.shares) for o in plan.orders] == [("2", 39_000), ("3", 39_000), ("1", 6_000)]
    paid = sum(charges("buy", o.code, o.shares, o.price).paid for o in plan.orders)
    assert 10_000_000 - paid >= 1_500_000
    none = decide(asked, standing(free=1_500_000), prices, policy)
    assert set(why(none).values()) == {"cash"}


def test_equals_take_turns() -> None:
    firsts = {
        decide(
            [advice(code, as_of=day) for code in "12345"],
            replace(standing(), evening=day),
            dict.fromkeys("12345", 10_000),
            Policy(),
        )
        .orders[0]
        .code
        for day in (date(2025, 3, d) for d in range(1, 31))
    }
    assert firsts == set("12345")


def test_a_sale_sells_all_and_comes_first() -> None:
    plan = decide(
        [advice("2330", "sell"), advice("2317")],
        standing(held={"2330": 2180}),
        {"2330": 20_010, "2317": 5_000},
        Policy(),
    )
    assert plan.orders[:2] == (Order("2330", "sell", 2000, 20_050), Order("2330", "sell", 180, 20_050))
    assert plan.orders[2].side == "buy"
    lots = decide(
        [advice("2330", "sell")], standing(held={"2330": 180}), {"2330": 20_000}, Policy(odd_lots=False)
    )
    assert why(lots) == {"2330": "odd"}


def test_nobody_pays_to_sell() -> None:
    plan = decide([advice("2330", "sell")], standing(held={"2330": 3}), {"2330": 500}, Policy())
    assert (plan.orders, why(plan)) == ((), {"2330": "odd"})


def test_the_edge_has_to_beat_the_round_trip() -> None:
    cost = round_trip(Order("2330", "buy", 5000, 19_950), Decimal(1))
    assert cost == pytest.approx(0.00585, abs=1e-5)
    for expected, wanted in ((cost - 1e-4, "edge"), (cost + 1e-4, "buy"), (None, "buy")):
        plan = decide([advice("2330", expected=expected)], standing(), {"2330": 19_950}, Policy())
        assert why(plan) == {"2330": wanted}
    strict = Policy(minimum_edge=Decimal("0.01"))
    plan = decide([advice("2330", expected=0.015)], standing(), {"2330": 19_950}, strict)
    assert why(plan) == {"2330": "edge"}
    unasked = decide([advice("2330", expected=-0.5)], standing(), {"2330": 19_950}, Policy(minimum_edge=None))
    assert why(unasked) == {"2330": "buy"}
    # An odd lot's commission of 20 TWD a side eats any edge.
    tiny = decide(
        [advice("2330", expected=0.02)],
        standing(equity=10_000, peak=10_000),
        {"2330": 90_000},
        Policy(),
    )
    assert why(tiny) == {"2330": "edge"}


def test_the_stop_sells_everything_and_buys_nothing() -> None:
    stopped = decide(
        [advice("2317"), advice("2330", "buy")],
        standing(held={"2330": 1000}, equity=8_000_000),
        {"2330": 20_000, "2317": 5_000},
        Policy(),
    )
    assert stopped.stopped
    assert stopped.orders == (Order("2330", "sell", 1000, 20_000),)
    assert why(stopped) == {"2330": "stop", "2317": "stopped"}
    almost = decide([advice("2317")], standing(equity=8_000_001), {"2317": 5_000}, Policy())
    assert not almost.stopped
    assert almost.orders


def test_what_is_left_alone() -> None:
    order = Placed(1, Order("2317", "buy", 1000, 5_000), SESSION, "unknown")
    plan = decide(
        [
            advice("2317"),
            advice("2303", as_of=date(2025, 3, 5)),
            advice("2308"),
            advice("2454", "hold"),
            advice("3231", "sell"),
            advice("2382", "buy"),
        ],
        standing(held={"2382": 1000, "6669": 1000}, orders=(order,)),
        dict.fromkeys(("2317", "2303", "2454", "3231", "2382"), 5_000),
        Policy(),
    )
    assert plan.orders == ()
    assert why(plan) == {
        "2317": "pending", "2303": "stale", "2308": "price", "2454": "hold", "3231": "hold",
        "2382": "held", "6669": "hold",
    }  # fmt: skip
    unknown = decide([advice("2317")], standing(equity=None), {"2317": 5_000}, Policy())
    assert why(unknown) == {"2317": "equity"}


def test_an_empty_account_orders_nothing() -> None:
    plan = decide([advice("2317")], standing(free=0, equity=0, peak=0), {"2317": 5_000}, Policy())
    assert (plan.orders, plan.stopped, why(plan)) == ((), False, {"2317": "cash"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("position_cap", "1.1"),
        ("position_cap", "0"),
        ("cash_floor", "-0.1"),
        ("stop", "nan"),
        ("minimum_edge", "2"),
        ("discount", "0"),
    ],
)
def test_limits_that_are_none(field: str, value: str) -> None:
    with pytest.raises(UsageError):
        Policy(**{field: Decimal(value)})


codes = st.sampled_from(["2330", "2317", "0050", "6669", "2303"])
prices = st.integers(1, 500_000)
parts = st.integers(1, 100).map(lambda n: Decimal(n) / 100)


@given(
    asked=st.dictionaries(
        codes,
        st.tuples(
            st.sampled_from(["buy", "sell", "hold"]),
            st.none() | st.floats(-1, 1),
            st.none() | st.floats(-0.1, 0.1),
        ),
    ),
    held=st.dictionaries(codes, st.integers(1, 30_000)),
    references=st.dictionaries(codes, prices),
    free=st.integers(0, 10**9),
    more=st.integers(0, 10**9),
    cap=parts,
    floor=parts,
    odd=st.booleans(),
)
def test_any_evening(
    asked: dict[str, tuple[str, float | None, float | None]],
    held: dict[str, int],
    references: dict[str, int],
    free: int,
    more: int,
    cap: Decimal,
    floor: Decimal,
    odd: bool,
) -> None:
    policy = Policy(position_cap=cap, cash_floor=floor, odd_lots=odd)
    known = standing(free, held, equity=free + more, peak=free + more)
    given_advice = [advice(c, a, strength=s, expected=e) for c, (a, s, e) in asked.items()]
    plan = decide(given_advice, known, references, policy)
    assert decide(reversed(given_advice), known, references, policy) == plan
    assert sorted(each.code for each in plan.decisions) == sorted({*asked, *held})
    assert all(each.reason_zh.endswith("。") and each.reason_en.endswith(".") for each in plan.decisions)
    spent = 0
    for order in plan.orders:
        assert check_form(order, SESSION) == order  # on its tick, lots or an odd lot
        if order.side == "sell":
            assert asked[order.code][0] == "sell"
            continue
        assert order.code not in held
        paid = charges("buy", order.code, order.shares, order.price).paid
        assert paid <= cap * known.equity  # type: ignore[operator]
        spent += paid
    assert not spent or free - spent >= int(floor * (free + more))
    sold = {code: sum(o.shares for o in plan.orders if (o.code, o.side) == (code, "sell")) for code in held}
    assert all(sold[code] <= shares for code, shares in held.items())
