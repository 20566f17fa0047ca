"""The Forecasts tab: what the ledger holds, filtered, sorted, scored, compared and exported."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from looking import WIDE, lines, market, shown, table_text, toasts
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input, Static

from stockllm.data.errors import StoreError
from stockllm.data.paths import Home
from stockllm.data.records import Bar, PathForecast
from stockllm.data.store import Store
from stockllm.forecaster.evaluation.scoring import record, score_due
from stockllm.tui.app import StockApp
from stockllm.tui.drawing.curve import Curve, Plot, draw
from stockllm.tui.ledger import reading as ledger_core
from stockllm.tui.ledger.reading import Ledger, choose
from stockllm.tui.ledger.screen import LedgerScreen
from stockllm.tui.look.text import level, price
from stockllm.tui.market.outcome_line import OutcomeLine

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


def past(forecast: PathForecast, bars: list[Bar], back: int, name: str) -> PathForecast:
    """The forecast moved ``back`` sessions into the past and to another company."""
    origin = len(bars) - 1 - back
    moved = forecast.prices * (bars[origin].close / forecast.last_close)
    return replace(
        forecast,
        code=bars[0].code,
        name=name,
        as_of=bars[origin].date,
        dates=tuple(bar.date for bar in bars[origin + 1 : origin + 6]),
        last_close=bars[origin].close,
        prices=np.rint(moved).astype(np.int32),
        made_at=datetime(2020, 1, 1, tzinfo=UTC),
    )


@pytest.fixture(scope="module")
def scored(filled: Path, tmp_path_factory: pytest.TempPathFactory, forecast: PathForecast) -> Path:
    """The small market with 24 older forecasts of two companies and two models, all scored."""
    home = Home(tmp_path_factory.mktemp("scored") / "home")
    shutil.copytree(filled, home.root)
    with Store.open(home) as store:
        for code in ("2317", "2330"):
            bars = store.bars.bars(code)
            for back in range(5, 41, 6):
                moved = past(forecast, bars, back, code)
                store.ledger.freeze(moved, "llama")
                other = replace(moved, model="drift", adapter=None, adapter_hash=None)
                other = replace(other, prices=np.rint(other.prices * 1.03).astype(np.int32))
                store.ledger.freeze(other, "drift")
        score_due(store)
    return home.root


@pytest.fixture
def ledger_home(scored: Path, tmp_path: Path) -> Home:
    shutil.copytree(scored, tmp_path / "home")
    return Home(tmp_path / "home")


async def test_the_ledger_is_a_table_with_what_came(
    ledger_home: Home, make_app: MakeApp, settle: Settle
) -> None:
    with Store.open(ledger_home) as store:
        rows = store.ledger.list()
        said = record(store)
        every = {row.id: [s.score for s in store.scores.list() if s.score.forecast == row.id] for row in rows}
    app = make_app(ledger_home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, LedgerScreen)
        assert screen.chosen is not None
        assert len(screen.chosen.entries) == len(rows) == 25
        assert said.sentence_zh in str(screen.query_one("#record", Static).render())
        for entry in screen.chosen.entries:
            scores = every[entry.id]
            last = [score for score in scores if score.day == entry.horizon]
            assert entry.verdict == ("open" if not last else "hit" if last[0].inside80 else "miss")
            assert entry.days == len(scores)
        seen = {entry.verdict for entry in screen.chosen.entries}
        assert {"open", "hit"} <= seen
        text = table_text(app, "#ledger")
        with Store.open(ledger_home) as store:
            first = next(entry for entry in screen.chosen.entries if entry.verdict != "open")
            frozen = store.ledger.get(first.id)
            due = store.bars.bars(first.company.code, first.due, first.due)[0]
        low, high = (frozen.quantiles("close")[k, -1] / 100 for k in (1, 5))
        head = f"{first.as_of} {first.due} {first.company.code}"
        line = next(row for row in text.splitlines() if head in row and first.name in row)
        assert f"{level(low)}–{level(high)}" in line
        assert f" {price(due.close / 100)} " in line
        # The curves end where the record beside them stands: without the baseline's own forecasts.
        assert screen.chosen.ratio[-1][1] == pytest.approx(said.ratio)
        assert screen.chosen.coverage[-1][1] == pytest.approx(said.coverage80)
        drift = choose(screen.ledger or Ledger(()), model="drift")
        assert drift.ratio[-1][1] != pytest.approx(said.ratio)
        drawn = "\n".join(lines(screen.query_one("#ratio", Curve)))
        assert any(0x2800 < ord(c) < 0x2900 for c in drawn)


async def test_keys_that_are_pressed_while_it_opens_are_not_lost(
    ledger_home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(ledger_home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        for key in "345":
            app.post_message(Key(key, key))
        await settle(pilot)
        assert app.current_mode == "system"
        await settle(pilot)


async def test_rows_that_a_larger_window_brings_into_sight_get_their_bands(
    ledger_home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(ledger_home)
    async with app.run_test(size=(100, 24)) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        before = len(table_text(app, "#ledger").splitlines())
        await pilot.resize_terminal(100, 50)
        await settle(pilot)
        text = table_text(app, "#ledger")
        assert len(text.splitlines()) > before
        assert "…" not in text


async def test_filters_orders_language_and_the_way_to_the_chart(
    ledger_home: Home, make_app: MakeApp, settle: Settle
) -> None:
    with Store.open(ledger_home) as store:
        said = record(store, model="llama+taiwan-41").sentence_zh
        assert said != record(store, model="llama").sentence_zh
    app = make_app(ledger_home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, LedgerScreen)

        def listed() -> list[ledger_core.Entry]:
            assert screen.chosen is not None
            return list(screen.chosen.entries)

        await pilot.press("m")
        await settle(pilot)
        assert {entry.model for entry in listed()} == {"drift"}
        await pilot.press("m")
        await settle(pilot)
        # All that answers is of one adapter, so the record is that adapter's, not an empty one of "llama".
        assert said in str(screen.query_one("#record", Static).render())
        await pilot.press("a", "a")
        await settle(pilot)
        assert {(entry.model, entry.adapter) for entry in listed()} == {("llama", "taiwan-41")}
        await pilot.press("slash", *"2317")
        await settle(pilot)
        assert {entry.company.code for entry in listed()} == {"2317"}
        assert len(listed()) == 6
        await pilot.press("escape", "o", "o", "o")
        await settle(pilot)
        assert not screen.query_one("#filter", Input).display
        errors = [entry.error for entry in listed() if entry.error is not None]
        assert errors == sorted(errors)
        assert len(listed()) == 25
        await pilot.press("O", "l")
        await settle(pilot)
        errors = [entry.error for entry in listed() if entry.error is not None]
        assert errors == sorted(errors, reverse=True)
        assert "Company" in table_text(app, "#ledger")
        await pilot.press("enter")
        await settle(pilot)
        assert app.screen is market(app)
        assert market(app).past is not None
        assert "Forecast as of" in shown(app, OutcomeLine)
        await pilot.press("3", "e")
        await settle(pilot)
        path = Path(toasts(app)[-1].splitlines()[-1])
        with path.open(encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 25
        assert {row["verdict"] for row in rows} >= {"open", "hit"}


async def test_u_scores_what_has_come_and_trouble_is_one_sentence(
    home: Home,
    make_app: MakeApp,
    settle: Settle,
    forecast: PathForecast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Store.open(home) as store:
        store.ledger.freeze(past(forecast, store.bars.bars("2330"), 10, "台積電"), "past")
    app = make_app(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        assert "尚" not in table_text(app, "#ledger")
        await pilot.press("u")
        await settle(pilot)
        assert toasts(app)[-1] == "評分了 5 天"
        assert isinstance(app.screen, LedgerScreen)
        assert app.screen.chosen is not None
        assert sorted(entry.days for entry in app.screen.chosen.entries) == [0, 5]

        def locked(_home: Home) -> None:
            raise StoreError("The store is busy: try again.")

        monkeypatch.setattr(ledger_core, "load_ledger", locked)
        await pilot.press("r")
        await settle(pilot)
        assert toasts(app)[-1] == "The store is busy: try again."


async def test_without_a_store_the_tab_says_so(bare_home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(bare_home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        assert "stockllm demo" in str(app.screen.query_one("#record", Static).render())
        assert toasts(app) == []


def test_a_curve_labels_its_levels_and_stays_inside_its_cells() -> None:
    line = tuple((float(x), 0.5 + x / 100) for x in range(40))
    plot = Plot("title", line, marks=((0.8, "80%"),), ends=("2026-01-01", "2026-02-09"), percent=True)
    for width, height in ((12, 3), (40, 8), (100, 20), (5, 2)):
        canvas = draw(plot, width, height)
        assert all(len(row) == width for row in canvas.glyphs)
    text = draw(plot, 60, 10).plain()
    assert "80%" in text
    assert "2026-02-09" in text
    assert text.splitlines()[1].split()[0] == "91%"
    assert "nothing" in draw(Plot("t", notice="nothing"), 40, 8).plain()
