"""What is counted in a text."""

from __future__ import annotations

import pytest

from stockllm.forecaster.evaluation.text_measures import (
    has_risk_note,
    numbers,
    numbers_in_context,
    percentiles,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("close 1,005.50 TWD, +3.00%", ["1005.5", "3"]),
        ("2026-03-31 收盤 1005 元", ["2026-03-31", "1005"]),
        ("漲 ３．５ 元", ["3.5"]),
        ("1. First\n2) Second 7", ["7"]),
        ("-2.10 and 0.50", ["2.1", "0.5"]),
        ("100,200", ["100200"]),
        ("12,34", ["12", "34"]),
        ("none", []),
    ],
)
def test_numbers_in_one_spelling(text: str, found: list[str]) -> None:
    assert numbers(text) == found


def test_numbers_in_context() -> None:
    context = "date,close\n2026-03-30,1005.0\n2026-03-31,1010.5"
    assert numbers_in_context("It closed at 1,010.50 on 2026-03-31, up from 1005.", context) == (3, 3)
    assert numbers_in_context("It will reach 1200 by 2026-04-30; it was 1010.5.", context) == (1, 3)
    assert numbers_in_context("It went up.", context) == (0, 0)
    # A day is one figure: its year and month alone are not in the context.
    assert numbers_in_context("In 2026, month 03.", context) == (0, 2)


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        ("風險提示：以上只描述過去的價格，不能預測未來，也不是投資建議。", True),
        ("本分析僅供參考，不構成任何投資建議。", True),
        ("Risk note: this describes past prices, foretells nothing and is no advice to trade.", True),
        ("This is not financial advice.", True),
        ("Past performance is no guarantee of future results.", True),
        ("Risk level: high (volatility 45% a year).", False),
        ("風險等級：高。", False),
        ("Buy now, it will go up.", False),
        ("My advice: buy.", False),
        ("建議買進。", False),
        ("", False),
    ],
)
def test_a_note_of_risk_is_more_than_the_word(text: str, noted: bool) -> None:
    assert has_risk_note(text) is noted


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles([float(n) for n in range(1, 101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert percentiles([3.0, 1.0]) == {"p50": 1.0, "p95": 3.0, "p99": 3.0}
