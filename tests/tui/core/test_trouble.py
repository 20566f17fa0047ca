"""What is seen when there is nothing to see, or something is wrong. Never a traceback."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.tui.app import StockApp, main
from stockllm.tui.core.key_bar import KeyBar
from stockllm.tui.market import board
from stockllm.tui.market.guide import GuideScreen
from stockllm.tui.market.quote import Quote
from stockllm.tui.market.screen import MarketScreen

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


def guide(app: StockApp) -> str:
    assert isinstance(app.screen, GuideScreen)
    return str(app.screen.query_one("#guide", Static).render())


async def test_without_a_store_it_shows_how_to_begin_in_both_languages(
    bare_home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(bare_home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = guide(app)
        assert "stockllm demo" in text
        assert "stockllm import PATH" in text
        assert "這裡還沒有資料庫" in text
        await pilot.press("l")
        await settle(pilot)
        assert "There is no store yet" in guide(app)
    assert not bare_home.root.exists()


async def test_an_empty_store_shows_the_guide_and_r_finds_the_data_that_came(
    filled: Path, bare_home: Home, make_app: MakeApp, settle: Settle
) -> None:
    Store.open(bare_home).close()
    app = make_app(bare_home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "資料庫是空的" in guide(app)
        await pilot.press("r")
        await settle(pilot)
        assert "資料庫是空的" in guide(app)
        bare_home.store.write_bytes((filled / "store.sqlite").read_bytes())
        await pilot.press("r")
        await settle(pilot)
        assert isinstance(app.screen, MarketScreen)
        assert app.screen.detail is not None


@pytest.mark.parametrize("damage", ["text", "torn", "folder"])
async def test_a_corrupt_store_is_a_sentence(
    home: Home, make_app: MakeApp, settle: Settle, damage: str
) -> None:
    if damage == "text":
        home.store.write_text("this was never a database\n" * 200)
    elif damage == "torn":
        home.store.write_bytes(home.store.read_bytes()[:5000] + b"\x00" * 20_000)
    else:
        home.store.unlink()
        home.store.mkdir()
    app = make_app(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = guide(app)
        assert "資料庫無法讀取" in text
        assert "store.sqlite" in text
        assert "Traceback" not in text
        await pilot.press("q")
    assert app.return_code == 0


async def test_a_store_that_breaks_while_open_is_a_toast(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        home.store.write_text("gone\n" * 1000)
        await pilot.press("down")
        await settle(pilot)
        messages = [note.message for note in app._notifications]
        assert len(messages) == 1
        assert "store.sqlite" in messages[0]
        assert isinstance(app.screen, MarketScreen)


@pytest.mark.parametrize("step", ["load_board", "read_detail", "load_data_state"])
async def test_an_unexpected_error_names_the_log_and_nothing_else_breaks(
    home: Home, make_app: MakeApp, settle: Settle, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(board, step, broken)
    app = make_app(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        messages = [note.message for note in app._notifications]
        assert len(messages) == 1
        assert "ZeroDivisionError" in messages[0]
        assert "tui.log" in messages[0]


async def test_a_company_without_bars_says_so(
    tmp_path: Path, make_app: MakeApp, settle: Settle, filled: Path
) -> None:
    home = Home(tmp_path / "few")
    with Store.open(Home(filled)) as full, Store.open(home) as store:
        store.bars.put(full.bars.bars("2330"))
    app = make_app(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, MarketScreen)
        chart = screen.query_one("#chart")
        text = "\n".join(chart.render_line(y).text for y in range(chart.size.height))
        assert "還沒有價格資料" in text


@pytest.mark.parametrize("size", [(20, 6), (30, 10), (60, 16), (80, 12), (250, 80)])
async def test_odd_sizes_do_not_break_it(
    home: Home, make_app: MakeApp, settle: Settle, size: tuple[int, int]
) -> None:
    app = make_app(home)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("plus", "down", "p")
        await settle(pilot)
        await pilot.resize_terminal(100, 30)
        await settle(pilot)
        assert [note.message for note in app._notifications] == []


def test_wrong_settings_are_a_sentence_before_the_screen_is_taken(
    home_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home_dir.mkdir()
    (home_dir / "settings.toml").write_text('language = "fr"\n')
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip()
    assert "language" in said
    assert "\n" not in said


def test_help_and_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "--demo" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["--no-such-flag"])
    assert stopped.value.code == 2


def test_a_fault_of_our_own_ends_in_one_sentence_and_not_in_a_traceback(
    home: Home, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(_quote: Quote) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(Quote, "render", broken)
    app = make_app(home)
    app.run(headless=True, size=(120, 40))
    said = "".join(capfd.readouterr())
    assert app.return_code == 1
    assert "ZeroDivisionError" in said
    assert "tui.log" in said
    assert "Traceback" not in said
    assert "nobody foresaw this" not in said


#: What stands for ``stockllm`` on the first start: makes the stores out of one that is there.
COMMAND = """
import os, shutil, sys
from pathlib import Path
home = Path(os.environ["STOCKLLM_HOME"])
if sys.argv[1] == "import" and sys.argv[2] != "good":
    sys.exit(f"There is no file {sys.argv[2]}.")
target = home / "demo" if sys.argv[1] == "demo" else home
shutil.copytree(os.environ["FILLED"], target, dirs_exist_ok=True)
print("Done.")
"""


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_the_guide_of_the_demo_offers_no_real_prices_among_simulated_ones(
    bare_home: Home, make_app: MakeApp, settle: Settle, language: str
) -> None:
    app = make_app(Home(bare_home.root / "demo"), language=language)
    app.settings_home = bare_home
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        screen, text = app.screen, guide(app)
        assert isinstance(screen, GuideScreen)
        assert "stockllm demo" in text
        assert "stockllm import" not in text
        assert "stockllm refresh" not in text
        assert f"{bare_home.root}" in text.replace(f"{app.home.root}", "")  # where real prices belong
        names = str(screen.query_one(KeyBar).render())
        assert "Demo" in names or "試用" in names
        assert not any(word in names for word in ("Import", "匯入", "Refresh", "更新"))
        await pilot.press("i", "u")
        await settle(pilot)
        assert app.screen is screen
        assert screen.job is None
        assert not app.troubles
    assert not list(bare_home.root.rglob("*"))


async def test_the_guide_makes_the_demo_or_imports_and_shows_what_came(
    filled: Path,
    bare_home: Home,
    make_app: MakeApp,
    settle: Settle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FILLED", str(filled))

    async def done(pilot: Pilot[None], screen: GuideScreen) -> None:
        deadline = time.monotonic() + 60
        while screen.job is None or not screen.job.ended():
            assert time.monotonic() < deadline
            await pilot.pause(0.02)
        screen.look()
        await settle(pilot)

    for language, keys, root in (("zh", ("d",), bare_home.root / "demo"), ("en", ("i",), bare_home.root)):
        app = make_app(bare_home, command=(sys.executable, "-c", COMMAND), language=language)
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            screen = app.screen
            assert isinstance(screen, GuideScreen)
            if keys == ("i",):
                for name in ("bad", "good"):
                    await pilot.press("i", *name, "enter")
                    await settle(pilot)
                    await done(pilot, screen)
                    if name == "bad":
                        assert app._notifications
                        assert "There is no file bad." in [note.message for note in app._notifications]
                        assert app.screen is screen
            else:
                await pilot.press(*keys)
                await settle(pilot)
                await done(pilot, screen)
            assert isinstance(app.screen, MarketScreen)
            assert app.home.root == root
            assert app.screen.detail is not None
