"""A market's day judged at once says what ``validate`` says of each company alone."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockllm.data.records import Bar, BarSeries
from stockllm.data.validation import validate
from stockllm.data.validation_day import RawDay, rebased, validate_day
from stockllm.market.calendar import default_calendar

DAY = date(2025, 4, 8)
CALENDAR = default_calendar()
DAYS = tuple(CALENDAR.sessions(date(2025, 3, 31), date(2025, 4, 15)))

number = [0.0, -1.0, 1.0, 9.99, 10.0, 10.04, 10.05, 10.051, 11.0, 12.0, 1000.0, 1100.0, float("nan")]
price = st.sampled_from(number)
prices = st.one_of(st.tuples(price, price, price, price), price.map(lambda one: (one,) * 4))
volume = st.sampled_from([0.0, 1.0, 5000.0, -3.0, 0.5, float("nan")])
change = st.sampled_from([0.0, 0.5, -0.5, 1.0, 99.0, float("nan")])
rows = st.tuples(st.sampled_from(["1101", "1102", "1103"]), prices, volume, change)


def series(code: str, closes: dict[date, int]) -> BarSeries:
    days = tuple(sorted(closes))
    column = np.array([closes[day] / 100 for day in days])
    ones = np.ones(len(days))
    return BarSeries(code, days, column, column, column, column, ones, column)


def raw(given_rows: list[tuple[str, tuple[float, ...], float, float]]) -> RawDay:
    n = len(given_rows)
    none = np.full(n, np.nan)
    return RawDay(
        day=DAY,
        source="test",
        codes=[row[0] for row in given_rows],
        lines=np.arange(1, n + 1, dtype=np.int64),
        prices=np.array([row[1] for row in given_rows], dtype=np.float64).reshape(-1, 4),
        volumes=np.array([row[2] for row in given_rows], dtype=np.float64),
        changes=np.array([row[3] for row in given_rows], dtype=np.float64),
        values=none,
        trades=none,
        blank=np.zeros(n, dtype=bool),
        raw=str,
    )


known = st.dictionaries(
    st.sampled_from(["1101", "1102", "1103"]),
    st.dictionaries(st.sampled_from(DAYS), st.sampled_from([1000, 1005, 1050]), max_size=5),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(rows, max_size=6, unique_by=lambda row: row[0]), known)
def test_together_as_alone(
    drawn: list[tuple[str, tuple[float, ...], float, float]], closes: dict[str, dict[date, int]]
) -> None:
    day = raw(drawn)
    history = {code: series(code, found) for code, found in closes.items()}
    nothing = series("", {})
    before, after = (
        {
            code: (found[edge],) * 4
            for code, found in closes.items()
            if (edge := pick([d for d in found if side(d)], default=None)) is not None
        }
        for pick, side in ((max, lambda d: d < DAY), (min, lambda d: d > DAY))
    )
    together = validate_day(
        day,
        calendar=CALENDAR,
        before=before,
        after=after,
        references={},
        history=lambda code: history.get(code, nothing),
    )
    assert len(together.bars) + len(together.quarantined) == len(day)
    reasons = {row.line: row.reason for row in together.quarantined}
    bars = {bar.code: bar for bar in together.bars}
    for i, (code, *_) in enumerate(drawn):
        alone = validate(
            day.company(np.array([i]), code), calendar=CALENDAR, known=history.get(code, nothing)
        )
        assert reasons.get(i + 1) == (alone.quarantined[0].reason if alone.quarantined else None)
        expected = alone.bars[0] if alone.bars else None
        if expected is not None and day.changes[i] == 0:
            # Of a change of nothing this one knows more: the base was the close.
            expected = rebased(expected, expected.close, known=False)
        assert bars.get(code) == expected


def test_of_two_rows_of_a_company_the_first_is_kept() -> None:
    same = (10.0, 10.0, 10.0, 10.0)
    day = raw([("1101", same, 1.0, 0.0), ("1101", same, 2.0, 0.0), ("", same, 1.0, 0.0)])
    verdict = validate_day(
        day, calendar=CALENDAR, before={}, after={}, references={}, history=lambda code: series(code, {})
    )
    assert [(bar.code, bar.volume) for bar in verdict.bars] == [("1101", 1)]
    assert [row.reason for row in verdict.quarantined] == ["duplicate", "unreadable"]


def test_an_ex_dates_base_wins() -> None:
    fell = (9.2, 9.3, 8.8, 9.0)
    day = raw([("1101", fell, 1.0, float("nan")), ("1102", fell, 1.0, float("nan"))])
    before = dict.fromkeys(("1101", "1102"), (1000, 1000, 1000, 1000))
    verdict = validate_day(
        day,
        calendar=CALENDAR,
        before=before,
        after={},
        references={"1101": 920},
        history=lambda code: series(code, {}),
    )
    assert [(bar.reference, bar.flags) for bar in verdict.bars] == [(920, ()), (None, ("past_limit",))]


def test_nothing_in_nothing_out() -> None:
    verdict = validate_day(
        raw([]), calendar=CALENDAR, before={}, after={}, references={}, history=lambda code: series(code, {})
    )
    assert verdict == ([], [], 0)


@pytest.mark.parametrize(("base", "flags"), [(1000, ("past_limit",)), (920, ())])
def test_rebasing_gives_and_takes_the_flag(base: int, flags: tuple[str, ...]) -> None:
    for before in ((), ("past_limit",)):
        bar = Bar("1101", DAY, 920, 930, 880, 900, 1, "x", flags=before)  # type: ignore[arg-type]
        assert rebased(bar, base) == Bar("1101", DAY, 920, 930, 880, 900, 1, "x", reference=base, flags=flags)  # type: ignore[arg-type]
        assert rebased(bar, base, known=False).reference is None
