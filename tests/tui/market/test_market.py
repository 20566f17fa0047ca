"""What the keys of the market tab do to its list and panels; that each does something: test_keys."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

import pytest
from looking import WIDE, chart_text, market, shown, toasts
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Input, Static

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.market.companies import COMPANIES
from stockllm.tui.app import StockApp
from stockllm.tui.core.help import HelpScreen
from stockllm.tui.core.key_bar import KeyBar
from stockllm.tui.core.keys import COMMON, MARKET
from stockllm.tui.core.top_bar import TopBar
from stockllm.tui.drawing.table import Table
from stockllm.tui.look.text import lots, price
from stockllm.tui.market.board import Row
from stockllm.tui.market.chart import CandleChart
from stockllm.tui.market.quote import Quote
from stockllm.tui.market.screen import MarketScreen
from stockllm.tui.market.watchlist import Watchlist, heading, line

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


async def test_it_opens_on_the_first_company_with_everything_read(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        screen = market(app)
        assert screen.selected == "2301"
        assert screen.detail is not None
        assert screen.state is not None
        assert "光寶科" in shown(app, Quote)
        assert "2026-03-31" in shown(app, TopBar)
        assert toasts(app) == []


@pytest.mark.parametrize("width", range(23, 60))
def test_a_name_of_four_characters_is_read_whole_where_there_is_any_room(width: int) -> None:
    company = next(each for each in COMPANIES if each.code == "3048")
    row = Row(company, 35.5, 0.0123, date(2026, 3, 31), ("buy", "sell", "hold"))
    drawn = "".join(part for part, _ in line(row, width, "zh"))
    head = "".join(part for part, _ in heading(width, "zh"))
    assert cell_len(drawn) == cell_len(head) == width
    assert ("益登科技" in drawn) == (width >= 25)
    assert "…" not in head
    assert "▲▼·" in drawn


async def test_the_list_scrolls_with_the_cursor_under_its_heading(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        watchlist = market(app).query_one(Watchlist)
        for key in ("end", *["up"] * 20, "home"):
            await pilot.press(key)
            await pilot.pause()
            lines = [watchlist.render_line(y).text for y in range(watchlist.size.height)]
            assert lines[0].split()[0] == "代號"
            assert any(line.split()[:1] == [watchlist.cursor] for line in lines[1:]), key


async def test_a_click_selects(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.click(Watchlist, offset=(5, 6))
        await settle(pilot)
        assert market(app).selected == "2330"


async def test_the_top_line_shows_a_whole_date_or_none(
    simulated: Path, tmp_path: Path, make_app: MakeApp, settle: Settle
) -> None:
    shutil.copytree(simulated, tmp_path / "demo")
    app = make_app(Home(tmp_path / "demo"))
    async with app.run_test(size=(80, 24)) as pilot:
        for width in (64, 72, 80, 96):
            await pilot.resize_terminal(width, 24)
            await settle(pilot)
            line = shown(app, TopBar)
            assert "…" not in line
            assert width < 80 or "2026-03-31" in line


async def test_l_switches_the_language_everywhere_and_back(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        panels = [panel.border_title for panel in market(app).query(".panel")]
        await pilot.press("l")
        await settle(pilot)
        assert "LITEON" in shown(app, Quote)
        assert "Forecast" in shown(app, KeyBar)
        assert "Volume" in chart_text(app)
        assert all(p != q.border_title for p, q in zip(panels, market(app).query(".panel"), strict=True))
        await pilot.press("l")
        await settle(pilot)
        assert "光寶科" in shown(app, Quote)
        assert "成交量" in chart_text(app)


async def test_c_swaps_red_and_green_in_list_and_chart(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        chart = market(app).query_one(CandleChart)
        names = ("chart--up", "chart--down")
        before = [chart.get_component_rich_style(name).color for name in names]
        strip = chart.render_line(10)
        await pilot.press("c")
        await settle(pilot)
        assert [chart.get_component_rich_style(name).color for name in names] == before[::-1]
        assert chart.render_line(10).text == strip.text
        inks = [{str(s.style) for line in range(40) for s in chart.render_line(line)} for _ in (0,)]
        assert inks
        assert toasts(app) == ["綠漲紅跌"]


async def test_zoom_keys_change_the_days_in_view(home: Home, make_app: MakeApp, settle: Settle) -> None:
    nearer, farther = "plus", "minus"

    def days() -> int:
        return int(chart_text(app).split("日線 ")[1].split()[0])

    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        start = days()
        await pilot.press(nearer)
        await settle(pilot)
        near = days()
        await pilot.press(farther, farther)
        await settle(pilot)
        assert near < start < days()
        await pilot.press(*[farther] * 9, *[nearer] * 12)
        await settle(pilot)
        assert days() < near


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_the_crosshair_reads_out_all_of_a_day_in_a_small_window(
    home: Home, make_app: MakeApp, settle: Settle, language: str
) -> None:
    app = make_app(home, language=language)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("x")
        await settle(pilot)
        series = market(app).detail.series  # type: ignore[union-attr]
        read = shown(app, Quote).splitlines()[1]
        assert read.startswith("03-31 ")
        assert cell_len(read) <= app.screen.query_one(Quote).size.width
        figures = (float(each[-1]) for each in (series.open, series.high, series.low, series.close))
        for name, figure in zip("開高低收" if language == "zh" else "OHLC", figures, strict=True):
            assert f"{name}{price(figure)}" in read
        assert f"{lots(float(series.volume[-1]))}{'張' if language == 'zh' else ' lots'}" in read


async def test_slash_filters_enter_keeps_and_escape_clears(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        watchlist, box = market(app).query_one(Watchlist), market(app).query_one("#filter", Input)
        assert not box.display
        await pilot.press("slash", *"tsmc")
        await settle(pilot)
        assert box.display
        assert [row.company.code for row in watchlist.rows] == ["2330"]
        assert market(app).selected == "2330"
        await pilot.press("enter")
        await settle(pilot)
        assert watchlist.has_focus
        assert box.display
        await pilot.press("slash", *"zzz")
        await settle(pilot)
        assert watchlist.rows == ()
        assert "「zzz」" in watchlist.render_line(2).text
        await pilot.press("escape")
        await settle(pilot)
        assert not box.display
        assert len(watchlist.rows) == 41
        assert market(app).selected == "2330"


async def test_the_filter_takes_chinese(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("slash")
        market(app).query_one("#filter", Input).value = "聯發"
        await settle(pilot)
        assert [row.company.code for row in market(app).query_one(Watchlist).rows] == ["2454"]


async def test_r_reads_the_store_again(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("end")
        await settle(pilot)
        with Store.open(home) as store:
            store.set_simulated(False)
            bars = store.bars.bars("9921")
            later = type(bars[-1])(
                "9921", bars[-1].date.replace(month=4, day=1), *(4 * [12_300]), 5000, "test"
            )
            store.bars.put([later])
        await pilot.press("r")
        await settle(pilot)
        assert market(app).selected == "9921"
        assert "123.0" in shown(app, Quote)
        assert "2026-04-01" in shown(app, TopBar)


async def test_p_turns_the_panels_of_a_small_window(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        seen = []
        for _ in range(4):
            panels = [p.border_title for p in market(app).query("#info .panel") if p.display and p.size.width]
            seen.append(panels)
            await pilot.press("p")
            await settle(pilot)
        assert seen == [[" 訊號 "], [" 新聞 "], [" 資料狀態 "], [" 訊號 "]]


async def test_question_mark_opens_the_help_in_the_language(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("l", "question_mark")
        await settle(pilot)
        assert isinstance(app.screen, HelpScreen)
        text = str(app.screen.query_one("#help-text", Static).render())
        assert all(key.shown in text for key in (*MARKET, *COMMON))
        assert "forecast this stock" in text
        await pilot.press("l")
        await settle(pilot)
        assert "預測目前這檔股票" in str(app.screen.query_one("#help-text", Static).render())
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, MarketScreen)


async def test_the_help_of_a_tab_says_what_its_own_lists_do(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    moves = ("the chart follows", "in the table", "the details follow", "the curves", "in the table")
    enters = ("in the filter", "on a holding", "in the filter", "", "on a refresh its steps")
    app = make_app(home, language="en")
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for number, (move, enter) in enumerate(zip(moves, enters, strict=True), 1):
            await pilot.press(str(number))
            await settle(pilot)
            await pilot.press("question_mark")
            await settle(pilot)
            first, second = str(app.screen.query_one("#help-text", Static).render()).splitlines()[:2]
            assert first.startswith("↑ ↓  j k")
            assert move in first
            assert second.startswith("Enter") == bool(enter)  # a run and an adapter are shown as they are
            assert enter in second
            await pilot.press("escape")
            await settle(pilot)


async def test_q_quits(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("q")
    assert app.return_code == 0


async def test_every_key_has_a_name_and_a_tooltip_and_the_footer_fits(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    for kind in (StockApp, MarketScreen, Watchlist, Table, HelpScreen):
        for binding in kind.BINDINGS:
            assert getattr(binding, "id", None)
            assert getattr(binding, "tooltip", None)
    for width in (40, 60, 80, 100, 160):
        app = make_app(home)
        async with app.run_test(size=(width, 24)) as pilot:
            await pilot.pause()
            for _ in ("zh", "en"):
                bar = market(app).query_one(KeyBar).render()
                assert bar.cell_length <= width
                assert bar.plain.rstrip().endswith(("離開", "Quit"))
                await pilot.press("l")
                await pilot.pause()


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_the_words_of_the_footer_can_be_clicked(
    home: Home, make_app: MakeApp, settle: Settle, language: str
) -> None:
    app = make_app(home, language=language)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for word, happened in (
            ({"zh": "縮放", "en": "Zoom"}, lambda: market(app).chart.spacing is not None),
            ({"zh": "篩選", "en": "Filter"}, lambda: market(app).query_one("#filter").display),
            ({"zh": "說明", "en": "Help"}, lambda: isinstance(app.screen, HelpScreen)),
        ):
            text = shown(app, KeyBar)
            x = cell_len(text[: text.index(word[language])])
            await pilot.click(KeyBar, offset=(x + 1, 0))
            await settle(pilot)
            assert happened(), word
