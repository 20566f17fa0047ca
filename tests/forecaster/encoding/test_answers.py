"""Answers in plain text, read back: the same candles the grammar would have given, or a reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pytest

from stockllm.data.records import BarSeries, PromptStyle
from stockllm.forecaster.encoding.answers import NoCandles, Reader
from stockllm.forecaster.encoding.prompts import CompactVersion, training_messages
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.evaluation.evaluate import failures
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import resolve

COMPANY = resolve("2330")


@pytest.fixture
def window(walk: Callable[..., BarSeries]) -> Window:
    """Forty known days of a made-up series; the two days asked about are known to `truth` alone."""
    series = walk(4, 40, wild=False)
    return open_window(series, COMPANY, 30, default_calendar().next_sessions(series.dates[-1], 2))


def known(walk: Callable[..., BarSeries], days: int = 3) -> Window:
    """A window whose future is known."""
    series = walk(4, 43, wild=False)
    cut = len(series) - days
    past, future = series[:cut], series[cut:]
    return Window(COMPANY.code, COMPANY.name_zh, COMPANY.market, past, 30, future, future.dates)


@pytest.mark.parametrize(("style", "version"), [("compact", 1), ("compact", 2), ("reference", 2)])
def test_the_true_answer_is_read_back(
    walk: Callable[..., BarSeries], style: PromptStyle, version: CompactVersion
) -> None:
    window = known(walk)
    text = training_messages(window, style, version=version).completion[0]["content"]
    answer = Reader(window, style, version).read(text)
    truth = np.rint(
        np.stack([window.future.open, window.future.high, window.future.low, window.future.close], axis=1)
        * 100
    )
    assert answer.exact
    # The compact style speaks in eighths of a standard deviation: half a step of 2% is an eighth of 1%.
    assert np.abs(np.log(answer.prices / truth)).max() < (0.004 if style == "compact" else 1e-12)
    assert failures(answer.prices[None], round(float(window.history.close[-1]) * 100)) == 0
    if style == "reference":
        assert answer.volumes.tolist() == window.future.volume.tolist()


@pytest.mark.parametrize(
    "around", ["Sure:\n{}", "```\n{}\n```", "{}\n\nThis is no advice.", "\n  {}  \n", "{}\n+1 +1 +1 +1 12"]
)
def test_sentences_and_days_beyond_are_passed_over(window: Window, around: str) -> None:
    days = "+1 +5 -3 +2 12\n+0 +4 -5 -2 11"
    plain, framed = (Reader(window, "compact", 1).read(text) for text in (days, around.format(days)))
    assert np.array_equal(plain.prices, framed.prices)
    assert plain.exact
    assert framed.exact == (around.strip() == "{}")
    # The same candles in the second version's words; day 2's are unknown in one word or in four.
    for words in ("?", "m ? k l"):
        days = f"m n ? c +1 +2 3 4 m\n{words} +0 -2 4 3 l"
        beyond = around.replace("+1 +1 +1 +1 12", "? +1 +1 0 0 m")
        second = Reader(window, "compact").read(beyond.format(days))
        assert np.array_equal(plain.prices, second.prices)
        assert np.array_equal(plain.volumes, second.volumes)
        assert second.exact == (around.strip() == "{}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no candles"),
        ("I cannot predict stock prices.", "no candles"),
        ("+1 +5 -3 +2 12", "1 day in place of 2"),
        ("+1 +5 -3 +2 12\nthen\n+0 +4 -5 -2 11", "words between"),
        ("+1 +5 -3 +6 12\n+0 +4 -5 -2 11", "out of order"),
        ("+1 +5 +2 +2 12\n+0 +4 -5 -2 11", "out of order"),
        ("+1 +169 -3 +2 12\n+0 +4 -5 -2 11", "daily limit"),
        ("+1 +5 -3 +2 25\n+0 +4 -5 -2 11", "volume"),
        ("1 5 -3 2 12\n0 4 -5 -2 11", "no candles"),
        ("+1 +5 -3 +2 12 +0 +4 -5 -2 11", "no candles"),
        ("+9999999999 +5 -3 +2 12", "no candles"),
    ],
)
def test_what_cannot_trade_is_no_candle(window: Window, text: str, why: str) -> None:
    with pytest.raises(NoCandles, match=why):
        Reader(window, "compact", 1).read(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no candles"),
        ("+1 +5 -3 +2 12\n+0 +4 -5 -2 11", "no candles"),
        ("m n ? c +1 +2 3 4 m", "1 day in place of 2"),
        ("m n ? c +1 +2 3 4 m\nthen\n? +0 -2 4 3 l", "words between"),
        ("m n ? c +1 +2 169 4 m\n? +0 -2 4 3 l", "daily limit"),
        ("m n ? c +1 +2 3 169 m\n? +0 -2 4 3 l", "daily limit"),
        ("m n ? c +1 +2 -3 4 m\n? +0 -2 4 3 l", "1 day in place of 2"),
        ("m n ? z +1 +2 3 4 m\nm n ? c +0 -2 4 3 z", "no candles"),
        ("? ? +1 +2 3 4 m", "no candles"),
    ],
)
def test_the_second_version_takes_no_less(window: Window, text: str, why: str) -> None:
    with pytest.raises(NoCandles, match=why):
        Reader(window, "compact").read(text)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{day}, Open: {p}, High: {p}, Low: {p}, Close: {p}, Capacity: {v}", ""),
        ("Date: {day}, Open: {p}, High: {p}, Low: {p}, Close: {p}, Capacity: {v}", ""),
        ("{other}, Open: {p}, High: {p}, Low: {p}, Close: {p}, Capacity: {v}", "other days"),
        ("{day}, Open: {p}, High: {p}, Low: 0, Close: {p}, Capacity: {v}", "out of order"),
        ("{day}, Open: {p}, High: 9999, Low: {p}, Close: {p}, Capacity: {v}", "daily limit"),
        ("{day}, Open: {p}, High: {p}, Low: {p}, Close: {p}", "no candles"),
        ("{day}, Open: {p}, High: {p}, Low: {p}, Close: {p}, Capacity: 999999999999999", "volume"),
        ("{day}, Open: {p}, High: {p}, Low: {p}, Close: {q}, Capacity: {v}", "out of order"),
        ("{day}, Open: {p}, High: {t}, Low: {p}, Close: {p}, Capacity: {v}", "off its tick"),
    ],
)
def test_reference_rows(walk: Callable[..., BarSeries], row: str, why: str) -> None:
    window = known(walk, 1)
    close = float(window.history.close[-1])
    day: date = window.future_dates[0]
    text = row.format(
        day=day, other=date(2020, 1, 2), p=f"{close:.2f}", q=f"{close - 1:.2f}", t=f"{close + 0.01:.2f}",
        v=round(float(window.history.volume[-1])),
    )  # fmt: skip
    if why:
        with pytest.raises(NoCandles, match=why):
            Reader(window, "reference").read(text)
    else:
        assert Reader(window, "reference").read(text).prices[0, 3] == round(close * 100)
