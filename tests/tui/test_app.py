"""What every tab shares: palette, memory, own lists, themes, the ASCII charset."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from looking import WIDE, ask_for, chart_text, lines, market, table_text, toasts
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Static

from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.tui.app import StockApp
from stockllm.tui.core.ask import AskScreen, ConfirmScreen
from stockllm.tui.core.keys import COMMON, MARKET
from stockllm.tui.core.palette import Palette
from stockllm.tui.look.ascii import GLYPHS
from stockllm.tui.look.theme import LOOKS, themes
from stockllm.tui.market.watchlist import Watchlist

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


async def test_the_palette_finds_companies_in_both_languages_and_every_action(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        for words, code in (("tsmc", "2330"), ("聯發", "2454"), ("2317", "2317"), ("mediatek", "2454")):
            await ask_for(pilot, settle, words)
            assert market(app).selected == code, words
            assert app.screen is market(app)
        await pilot.press("ctrl+p")
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, Palette)
        actions = {entry.action for entry in screen.all}
        assert {key.action for key in (*MARKET, *COMMON) if key.name != "palette"} <= actions
        await pilot.press(*"zzzz")
        await settle(pilot)
        assert "「zzzz」" in table_text(app, "#palette-list")
        await pilot.press("enter", "escape")
        await settle(pilot)
        assert app.screen is market(app)
        await ask_for(pilot, settle, "weekly bars")
        assert market(app).chart.period == "week"
        await ask_for(pilot, settle, "high contrast")
        assert app.look == "contrast"


async def test_what_the_user_chose_is_there_the_next_time_and_comments_stay(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    home.settings_file.write_text("# mine\nmodel = 'ewma'  # small\n")
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("down", "l", "c", "t", "o", "o", "v", "a")
        await settle(pilot)
        await ask_for(pilot, settle, "plain ascii")
    text = home.settings_file.read_text(encoding="utf-8")
    assert text.startswith("# mine\nmodel = 'ewma'  # small\n")
    settings = Settings.load(home)
    assert (settings.language, settings.up_colour, settings.theme) == ("en", "green", "light")
    assert settings.charset == "ascii"
    assert settings.lists == {"Mine": ("2303",)}
    assert settings.dashboard.company == "2303"
    again = make_app(home)
    async with again.run_test(size=WIDE) as pilot:
        await settle(pilot)
        screen = market(again)
        assert screen.selected == "2303"
        assert (screen.watchlist.order, screen.watchlist.descending) == ("close", True)
        assert screen.chart.span == "1m"
        assert "21 days" in chart_text(again)
        assert (again.look, again.charset) == ("light", "ascii")


async def test_settings_that_cannot_be_written_are_one_sentence(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        home.settings_file.mkdir()
        await pilot.press("l")
        app._save_soon()
        await settle(pilot)
        assert any("settings.toml" in toast for toast in toasts(app))
        assert app.language == "en"


async def test_the_list_sorts_by_each_column_and_back(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        listed = market(app).watchlist
        title = market(app).query_one("#list-title", Static)
        assert not title.display
        for order in ("name", "close", "change", "code"):
            await pilot.press("o")
            await settle(pilot)
            assert listed.order == order
            values = {
                "name": [row.company.name_zh for row in listed.rows],
                "close": [-(row.last or 0) for row in listed.rows],
                "change": [-(row.change or 0) for row in listed.rows],
                "code": [row.company.code for row in listed.rows],
            }[order]
            assert values == sorted(values)
            assert title.display == (order != "code")
        await pilot.press("O")
        await settle(pilot)
        assert listed.rows[0].company.code == "9921"
        assert listed.cursor == "2301"


async def test_own_lists_are_made_filled_shown_and_deleted(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("s")
        await settle(pilot)
        assert "自選清單" in toasts(app)[-1]
        await pilot.press("a", "down", "a", "s")
        await settle(pilot)
        listed = market(app).watchlist
        assert [row.company.code for row in listed.rows] == ["2301", "2303"]
        assert "自選" in str(market(app).query_one("#list-title", Static).render())
        await pilot.press("a")
        await settle(pilot)
        assert [row.company.code for row in listed.rows] == ["2301"]
        assert market(app).selected == "2301"
        await ask_for(pilot, settle, "new list")
        assert isinstance(app.screen, AskScreen)
        await pilot.press(*"chips", "enter")
        await settle(pilot)
        assert listed.list_name == "chips"
        assert [row.company.code for row in listed.rows] == ["2301"]
        await ask_for(pilot, settle, "tsmc")
        assert listed.list_name == ""
        assert market(app).selected == "2330"
        await ask_for(pilot, settle, "chips")
        assert listed.list_name == "chips"
        await ask_for(pilot, settle, "delete the list")
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("n")
        await settle(pilot)
        assert "chips" in market(app).lists
        await ask_for(pilot, settle, "delete the list")
        await pilot.press("y")
        await settle(pilot)
        assert "chips" not in market(app).lists
        assert len(listed.rows) == 41
    assert Settings.load(home).lists == {"自選": ("2301",)}


async def test_every_theme_paints_rise_and_fall_in_its_own_two_colours(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        seen = set()
        for _ in LOOKS:
            chart = market(app).chart
            up, down = (chart.get_component_rich_style(f"chart--{way}").color for way in ("up", "down"))
            seen.add((up, down))
            strips = [chart.render_line(y) for y in range(chart.size.height)]
            assert up in {s.style.color for strip in strips for s in strip if s.style}
            await pilot.press("t")
            await settle(pilot)
        assert len(seen) == len(LOOKS)
        assert app.look == "dark"


def luminance(colour: str) -> float:
    """Relative luminance as the WCAG defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", themes(), ids=lambda theme: theme.name)
def test_everything_written_stands_out_from_its_ground(theme: object) -> None:
    least = 7.0 if "contrast" in theme.name else 4.5  # type: ignore[attr-defined]
    ground = luminance(theme.background)  # type: ignore[attr-defined]
    names = theme.variables  # type: ignore[attr-defined]
    for name in ("text-quiet", "forecast", "simulated", "up", "down"):
        front = luminance(names[name])
        ratio = (max(front, ground) + 0.05) / (min(front, ground) + 0.05)
        assert ratio >= least, name


async def test_the_same_toast_stands_there_once(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for _ in range(3):
            await pilot.press("c")
            await settle(pilot)
        assert len(toasts(app)) == len(set(toasts(app))) == 2


def test_in_ascii_a_candle_s_body_differs_from_its_wick() -> None:
    for shape, plain in (("│", "|"), ("┃", "#"), ("╽", "#"), ("╿", "#"), ("█", "#"), ("╷", "|")):
        assert shape.translate(GLYPHS) == plain


async def test_the_ascii_charset_leaves_no_glyph_of_doubtful_width(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    plain = make_app(home)
    async with plain.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press(*["down"] * 5)
        await settle(pilot)
        before = screen_lines(plain)
        await ask_for(pilot, settle, "plain ascii")
        after = screen_lines(plain)
        doubtful = set(map(chr, GLYPHS))
        assert doubtful & set("".join(before))
        assert not doubtful & set("".join(after))
        assert [cell_len(line) for line in after] == [80] * 24
        assert market(plain).query_one(Watchlist).size.width == 26
        assert lines(market(plain).query_one(Watchlist))


def screen_lines(app: StockApp) -> list[str]:
    """The whole screen as it goes to the terminal."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]
