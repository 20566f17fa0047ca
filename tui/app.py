"""``stockllm-tui``: the dashboard."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from stockllm.data.errors import StockllmError
from stockllm.data.paths import Home
from stockllm.tui.board import forecast_one
from stockllm.tui.hosting import hosting
from stockllm.tui.market_screen import Forecaster, MarketScreen
from stockllm.tui.strings import t
from stockllm.tui.text import Language
from stockllm.tui.theme import DARK, NAMES, UpColour, rise_and_fall

if TYPE_CHECKING:
    from textual.screen import Screen

_TAIPEI = timezone(timedelta(hours=8))


def taipei_now() -> datetime:
    """The time in Taiwan, which has kept UTC+8 all year since 1980."""
    return datetime.now(_TAIPEI)


class StockApp(App[None]):
    """The dashboard over the store of ``home``.

    ``forecaster`` and ``now`` are what a test puts in the place of a model and of the clock.
    """

    TITLE = "stockllm"
    CSS_PATH = "style.tcss"
    ENABLE_COMMAND_PALETTE = False

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "language", "Language", id="app.language", tooltip="Chinese or English"),
        Binding("c", "colours", "Colours", id="app.colours", tooltip="Red or green for a rise"),
        Binding("q", "quit", "Quit", id="app.quit", tooltip="Leave the dashboard"),
    ]

    language: reactive[Language] = reactive("zh", init=False)
    up_colour: reactive[UpColour] = reactive("red", init=False)

    def __init__(
        self,
        home: Home,
        *,
        language: Language = "zh",
        up_colour: UpColour = "red",
        forecaster: Forecaster = forecast_one,
        now: Callable[[], datetime] = taipei_now,
    ) -> None:
        self.home = home
        self.forecaster = forecaster
        self.now = now
        # Before the parent's start, which asks for the colours.
        self._rise_and_fall = rise_and_fall(up_colour)
        super().__init__()
        self.set_reactive(StockApp.language, language)
        self.set_reactive(StockApp.up_colour, up_colour)
        self.register_theme(DARK)
        self.theme = DARK.name

    def get_default_screen(self) -> Screen[Any]:
        """The market; later screens come beside it."""
        return MarketScreen(self.home, self.language, self.forecaster, self.now)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our names, for themes that do not set them."""
        return {**NAMES, **self._rise_and_fall}

    def action_language(self) -> None:
        """The other language, everywhere at once."""
        self.language = "en" if self.language == "zh" else "zh"

    def watch_language(self, language: Language) -> None:
        for screen in self.screen_stack:
            if hasattr(screen, "language"):
                screen.language = language

    def action_colours(self) -> None:
        """Red and green change places."""
        self.up_colour = "green" if self.up_colour == "red" else "red"
        self.notify(t(f"toast.up_{self.up_colour}", self.language), timeout=2)

    def watch_up_colour(self, up_colour: UpColour) -> None:
        self._rise_and_fall = rise_and_fall(up_colour)
        self.refresh_css(animate=False)


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``stockllm-tui``. Exit codes: 0 left by the user, 1 could not start, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="stockllm-tui",
        description="The dashboard: watchlist, candles, forecasts with their uncertainty, signals and news.",
        epilog="Keys are listed under ? in the dashboard. STOCKLLM_HOME moves all state.",
    )
    parser.add_argument("--demo", action="store_true", help="open the simulated market of `stockllm demo`")
    options = parser.parse_args(argv)
    from stockllm.data.settings import Settings

    try:
        # The demo has a home of its own, but the user's language and colours are the user's.
        settings = Settings.load(Home.locate())
    except StockllmError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    here = Home.locate()
    # A STOCKLLM_HOME that already is the demo's own folder holds no second demo.
    inside = here.root.name == "demo" and here.store.exists()
    home = here if inside else Home.locate(demo=options.demo)
    _log_to(home)
    with hosting(home, settings):
        StockApp(home, language=settings.language, up_colour=settings.up_colour).run()


def _log_to(home: Home) -> None:
    """Unexpected errors go to ``logs/tui.log``, never over the screen; without a home, nowhere."""
    log = logging.getLogger("stockllm.tui")
    log.propagate = False
    if home.logs.is_dir():
        handler = logging.FileHandler(home.logs / "tui.log", encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
    else:
        log.addHandler(logging.NullHandler())


if __name__ == "__main__":
    main()
