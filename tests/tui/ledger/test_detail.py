"""One forecast of the ledger, day by day, beside the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from looking import WIDE
from textual.pilot import Pilot

from stockllm.data.errors import StoreError
from stockllm.data.paths import Home
from stockllm.data.records import PathForecast
from stockllm.data.store import Store
from stockllm.data.stores.scores import Score
from stockllm.data.stores.standing import Reason
from stockllm.forecaster.evaluation.scoring import score_due
from stockllm.market.companies import Company
from stockllm.tui.app import StockApp
from stockllm.tui.ledger.detail import ForecastDetail, Said, SaidDay, load_said
from stockllm.tui.look.text import level, price

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


@pytest.fixture
def two(home: Home, forecast: PathForecast) -> tuple[Home, int, int]:
    """A store with a forecast of 2330 whose days came and were scored, and one whose days are to come."""
    with Store.open(home) as store:
        bars = store.bars.bars("2330")
        origin = len(bars) - 6
        past = replace(
            forecast,
            as_of=bars[origin].date,
            dates=tuple(bar.date for bar in bars[origin + 1 :]),
            last_close=bars[origin].close,
            made_at=datetime(2020, 1, 1, tzinfo=UTC),
        )
        came = store.ledger.freeze(past, "llama")
        coming = next(row.id for row in store.ledger.list() if row.id != came)
        score_due(store)
    return home, came, coming


def test_a_forecast_is_read_with_the_scores_of_its_days(two: tuple[Home, int, int]) -> None:
    home, came, coming = two
    said = load_said(home, came)
    with Store.open(home) as store:
        frozen, bars = store.ledger.get(came), store.bars.bars("2330")[-5:]
    quantiles = frozen.quantiles("close") / 100
    assert [each.day for each in said.days] == [bar.date for bar in bars]
    for place, (each, bar) in enumerate(zip(said.days, bars, strict=True)):
        assert (each.low, each.median, each.high) == tuple(quantiles[[1, 3, 5], place])
        assert each.score is not None
        assert said.came(each.score) == pytest.approx(bar.close / 100)
        assert each.score.inside80 == (each.low <= bar.close / 100 <= each.high)
    naive = sum(score.naive_crps for score in said.scored)
    assert said.error == pytest.approx(sum(score.crps for score in said.scored) / naive)
    ahead = load_said(home, coming)
    assert ahead.scored == ()
    assert ahead.error is None
    with pytest.raises(StoreError, match="no forecast 99999"):
        load_said(home, 99999)


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_the_forecast_under_the_cursor_is_told_day_by_day(
    two: tuple[Home, int, int], make_app: MakeApp, settle: Settle, language: str
) -> None:
    home, came, _ = two
    app = make_app(home, language=language)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        detail = app.screen.query_one(ForecastDetail)
        assert {"zh": "還沒有到", "en": "None of its days"}[language] in detail.render().plain
        await pilot.press("down")
        await settle(pilot)
        told = detail.render().plain
        said = load_said(home, came)
        for each in said.days:
            assert each.score is not None
            line = next(line for line in told.splitlines() if line.startswith(each.day.isoformat()))
            assert f"{level(each.low)}–{level(each.high)}" in line
            assert price(round(said.came(each.score), 2)) in line
            assert ("✓" if each.score.inside80 else "✗") in line
        assert f"{said.error:.2f}" in told
        inside = sum(score.inside80 for score in said.scored)
        counted = {"zh": f"5 天中有 {inside} 天", "en": f"{inside} of 5 days"}
        assert counted[language] in told
        await pilot.press("l")
        await settle(pilot)
        other = {"zh": counted["en"], "en": counted["zh"]}
        assert other[language] in detail.render().plain


async def test_a_narrow_window_leaves_the_room_to_the_table(
    two: tuple[Home, int, int], make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(two[0])
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        detail = app.screen.query_one(ForecastDetail)
        assert not detail.display
        assert detail.said is None
        await pilot.resize_terminal(160, 50)
        await settle(pilot)
        assert detail.display
        assert detail.said is not None


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("late", "開盤之後才做"),
        ("clock", "電腦時鐘"),
        ("paths", "少於 99 條"),
        ("again", "同一天晚上已有先做的預測"),
        ("known", "預測產生時已有結果"),
        ("trained", "模型學過這些日子"),
    ],
)
def test_days_that_prove_nothing_say_why(monkeypatch: pytest.MonkeyPatch, reason: Reason, words: str) -> None:
    score = Score(1, 1, date(2026, 3, 31), 0.02, 0.01, True, False, True, 0.0, 0.01, None, False, True)
    days = (SaidDay(date(2026, 3, 31), 99.0, 100.0, 101.0, score),)
    made = datetime(2026, 4, 1, tzinfo=UTC)
    detail = ForecastDetail()
    detail.set_reactive(
        ForecastDetail.said,
        Said(1, Company.bare("2330"), "llama", date(2026, 3, 30), 100.0, made, 99, days, "morning", reason),
    )
    monkeypatch.setattr(ForecastDetail, "size", type("Size", (), {"width": 56, "height": 30}))
    told = detail.render().plain
    assert words in told
    assert "早晨" in told
    assert "誤差是單純預測的 2.00 倍，沒有較好" in told
    assert "✗" in told
