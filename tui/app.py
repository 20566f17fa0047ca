"""``stockllm-tui``: the dashboard."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from textual import work
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.reactive import reactive
from textual.timer import Timer

from stockllm.data.errors import StockllmError
from stockllm.data.paths import Home
from stockllm.tui.commands import offered
from stockllm.tui.core import jobs
from stockllm.tui.core.dashboard import Facts, Trouble
from stockllm.tui.core.help import HelpScreen
from stockllm.tui.core.jobs import Job
from stockllm.tui.core.keys import COMMON, bindings
from stockllm.tui.core.palette import Palette
from stockllm.tui.core.tab import TabScreen
from stockllm.tui.core.top_bar import TABS
from stockllm.tui.core.turns import KeysInTurn
from stockllm.tui.hosting import hosting
from stockllm.tui.look.ascii import AsciiFilter, Charset
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language
from stockllm.tui.look.theme import LOOKS, NAMES, Look, UpColour, theme_name, themes
from stockllm.tui.market.board import Forecaster, forecast_one
from stockllm.tui.market.screen import MarketScreen
from stockllm.tui.memory import TIDY_S, Tidy

if TYPE_CHECKING:
    from stockllm.data.settings import Settings
    from stockllm.tui.core.dashboard import Dashboard

_TAIPEI = timezone(timedelta(hours=8))

#: How long after a change the settings are written: keys held down are one change.
_REMEMBER_AFTER_S = 1.0

#: Troubles kept for the System tab.
_TROUBLES = 200
_LOG_BYTES = 500_000

log = logging.getLogger("stockllm.tui")


def taipei_now() -> datetime:
    """The time in Taiwan, which has kept UTC+8 all year since 1980."""
    return datetime.now(_TAIPEI)


class StockApp(KeysInTurn):
    """The dashboard over the store of ``home``.

    ``settings`` are the user's, which ``settings_home`` keeps (``home`` itself where not given).
    ``forecaster``, ``now`` and ``command`` are what a test puts in the place of a model, of the clock
    and of the command line.
    """

    TITLE = "stockllm"
    CSS_PATH = "style.tcss"
    ENABLE_COMMAND_PALETTE = False
    DEFAULT_MODE = "market"

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(COMMON, "app"),
        *(
            Binding(str(number), f"app.tab('{name}')", name, False, id=f"app.tab.{name}", tooltip=name)
            for number, name in enumerate(TABS, 1)
        ),
    ]

    language: reactive[Language] = reactive("zh", init=False)
    up_colour: reactive[UpColour] = reactive("red", init=False)
    look: reactive[Look] = reactive("dark", init=False)
    charset: reactive[Charset] = reactive("blocks", init=False)
    facts: reactive[Facts] = reactive(Facts(), init=False)

    #: The screen of the first tab, which is always there.
    market: MarketScreen

    def __init__(
        self,
        home: Home,
        settings: Settings,
        *,
        settings_home: Home | None = None,
        forecaster: Forecaster = forecast_one,
        now: Callable[[], datetime] = taipei_now,
        command: Sequence[str] = jobs.COMMAND,
    ) -> None:
        self.home = home
        self.settings = settings
        self.settings_home = settings_home or home
        self.forecaster = forecaster
        self.now = now
        self.command = tuple(command)
        self.troubles: deque[Trouble] = deque(maxlen=_TROUBLES)
        self._ascii = AsciiFilter(enabled=settings.charset == "ascii")
        self._unsaved: dict[str, Any] = {}
        self._saving: Timer | None = None
        #: Grows by one whenever another process has written to the store.
        self.changes = 0
        self.tidy = Tidy()
        #: Leave with the terminal as it was when told to end, instead of dying over it.
        self.ends_when_told = False
        super().__init__()
        self.set_reactive(StockApp.language, settings.language)
        self.set_reactive(StockApp.up_colour, settings.up_colour)
        self.set_reactive(StockApp.look, settings.theme)
        self.set_reactive(StockApp.charset, settings.charset)
        for theme in themes():
            self.register_theme(theme)
        self.theme = theme_name(settings.theme, settings.up_colour)
        for name in TABS:
            self.add_mode(name, partial(self._tab, name))

    def _tab(self, name: str) -> TabScreen:
        """The screen of a tab, made when it is first opened; only then is its code imported."""
        if name == "ledger":
            from stockllm.tui.ledger.screen import LedgerScreen

            return LedgerScreen(self.language)
        if name == "portfolio":
            from stockllm.tui.portfolio.screen import PortfolioScreen

            return PortfolioScreen(self.language)
        if name == "training":
            from stockllm.tui.training.screen import TrainingScreen

            return TrainingScreen(self.language)
        if name == "system":
            from stockllm.tui.system.screen import SystemScreen

            return SystemScreen(self.language)
        where = self.settings.dashboard
        self.market = MarketScreen(self.language, self.forecaster, self.now, where, self.settings.lists)
        return self.market

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our names, for themes that do not set them."""
        return NAMES

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and the ASCII charset where it is wanted."""
        return [*super().get_line_filters(), *([self._ascii] if self._ascii.enabled else [])]

    def on_mount(self) -> None:
        if self.settings.dashboard.tab in TABS[1:]:
            self.switch_mode(self.settings.dashboard.tab)
        self.set_interval(TIDY_S, self._tidy)
        if self.ends_when_told and os.name == "posix":
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGTERM, self.exit, None, 128 + signal.SIGTERM
            )

    def _tidy(self) -> None:
        self.tidy(quiet=all(worker.is_finished for worker in self.workers))

    def delay_update(self, delay: float = 0.01) -> None:
        """Textual holds back painting for 50 ms when the tab changes; ours are quicker than that."""
        super().delay_update(min(delay, 0.01))

    # Where the user is

    def action_tab(self, name: str) -> None:
        """Show a tab."""
        if name in TABS and not isinstance(self.screen, Palette):
            self.switch_mode(name)
            self.remember({"dashboard": {"tab": name}})

    def action_on_tab(self, name: str, action: str) -> None:
        """Show a tab, and do there what its own key would have done."""
        self.action_tab(name)
        if isinstance(self.screen, TabScreen) and name == self.screen.TAB:
            self.screen.do_when_read(action)

    def action_company(self, code: str) -> None:
        """Show a company on the market tab."""
        self.action_tab("market")
        self.market.show_company(code)

    def action_palette(self) -> None:
        """Find a company, a tab or an action."""
        if isinstance(self.screen, TabScreen):
            self.push_screen(Palette(self.language, offered(self.market, self.screen)), self._chosen)

    async def _chosen(self, action: str | None) -> None:
        if action:
            await self.run_action(action, self.screen)

    def action_help(self) -> None:
        """The keys of the tab."""
        if isinstance(self.screen, TabScreen):
            self.push_screen(HelpScreen(self.language, self.screen.TAB, self.screen.KEYS, self.screen.NOTES))

    # How it looks

    def action_language(self) -> None:
        """The other language, everywhere at once."""
        self.language = "en" if self.language == "zh" else "zh"
        self.remember({"language": self.language})

    def watch_language(self, language: Language) -> None:
        for screen in self.screen_stack:
            if hasattr(screen, "language"):
                screen.language = language

    def action_colours(self) -> None:
        """The colours of rise and fall change places."""
        self.up_colour = "green" if self.up_colour == "red" else "red"
        self.notify(t(f"toast.up_{self.up_colour}", self.language), timeout=2)
        self.remember({"up_colour": self.up_colour})

    def action_look(self, look: Look | None = None) -> None:
        """The look named, else the next one."""
        self.look = look or LOOKS[(LOOKS.index(self.look) + 1) % len(LOOKS)]
        self.notify(t(f"look.{self.look}", self.language), timeout=2)
        self.remember({"theme": self.look})

    def watch_up_colour(self) -> None:
        self.theme = theme_name(self.look, self.up_colour)

    def watch_look(self) -> None:
        self.theme = theme_name(self.look, self.up_colour)

    def action_charset(self, charset: Charset) -> None:
        """Lines and blocks, or plain ASCII."""
        self.charset = charset
        self.remember({"charset": charset})

    def watch_charset(self, charset: Charset) -> None:
        self._ascii.enabled = charset == "ascii"
        for widget in self.screen.walk_children(with_self=True):
            widget.notify_style_update()
        self.refresh(layout=True)

    @work(thread=True, exit_on_error=False, group="browser", description="open an address")
    def browse(self, url: str) -> None:
        """Open an address of the web in the browser, which may take its time to start."""
        try:
            self.open_url(url)
        except Exception as error:
            self.call_from_thread(self.report, error, t("toast.no_browser", self.language, url=url))

    @property
    def demo_shown(self) -> bool:
        """Whether the home that is shown is the demo's."""
        return self.home.root == self.settings_home.root / "demo"

    def show_demo(self) -> None:
        """Show the simulated market of the user's home from now on."""
        self.home = Home(self.settings_home.root / "demo")

    # What it starts

    def start_job(self, name: str, arguments: Sequence[str]) -> Job:
        """Start a command of stockllm for this home; for a worker, as it waits for the system."""
        return jobs.start(self.home, name, arguments, self.command, self.language)

    # What it remembers

    def remember(self, changes: Mapping[str, Any]) -> None:
        """Have ``changes`` written to the settings, together with those that follow at once."""
        for key, value in changes.items():
            there = self._unsaved.get(key)
            both = isinstance(value, Mapping) and isinstance(there, Mapping)
            self._unsaved[key] = {**there, **value} if both and there else value
        if self._saving is None:
            self._saving = self.set_timer(_REMEMBER_AFTER_S, self._save_soon)

    def _save_soon(self) -> None:
        self._saving = None
        self._save()

    @work(thread=True, exit_on_error=False, group="settings", description="write the settings")
    def _save(self) -> None:
        self.save()

    def save(self) -> None:
        """Write what is to be remembered now; a failure is told once and the dashboard goes on."""
        changes, self._unsaved = self._unsaved, {}
        if not changes or not self.settings_home.root.is_dir():
            return  # looking at a home that is not there does not make one
        from stockllm.data.settings_file import remember

        try:
            remember(self.settings_home, changes)
        except StockllmError as error:
            if self.is_running:
                self.call_later(self.report, error, t("toast.not_saved", self.language))

    def on_unmount(self) -> None:
        self.save()

    # What goes wrong

    def report(self, error: Exception, title: str) -> None:
        """One sentence in a toast; the traceback of what nobody foresaw goes to the log."""
        if isinstance(error, StockllmError):
            log.warning("%s: %s", title, error)
        else:
            log.error("unexpected error", exc_info=error)
            told = {"kind": type(error).__name__, "log": str(self.home.logs / "tui.log")}
            error = StockllmError(t("toast.unexpected", "en", **told), zh=t("toast.unexpected", "zh", **told))
        self.troubles.append(Trouble(self.now(), title, error))
        self.notify(error.sentence(self.language), title=title, severity="error", markup=False)

    def notify(self, message: str, *, title: str = "", **how: Any) -> None:
        """A toast. What stands there already is said anew, not twice: five of a kind would hide the chart."""
        for each in tuple(self._notifications):
            if (each.message, each.title) == (message, title):
                self._unnotify(each, refresh=False)
        super().notify(message, title=title, **how)

    def _fatal_error(self) -> None:
        """A fault of our own ends the dashboard with one sentence; the traceback is for the log.

        Textual would print it, with the values of all variables, the user's keys among them.
        """
        error = self._exception or RuntimeError("unknown")
        log.critical("the dashboard broke", exc_info=error)
        kind, path = type(error).__name__, str(self.home.logs / "tui.log")
        self.panic(t("toast.broke", self.language, kind=kind, log=path))


if TYPE_CHECKING:

    def _kept(app: StockApp) -> Dashboard:
        """The tabs know the app by this alone; here mypy checks that it is so."""
        return app


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``stockllm-tui``. Exit codes: 0 left by the user, 1 could not start, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="stockllm-tui",
        description="The dashboard: watchlist, candles, forecasts with their uncertainty, signals and news.",
        epilog="Keys are listed under ? in the dashboard. STOCKLLM_HOME moves all state.",
    )
    parser.add_argument("--demo", action="store_true", help="open the simulated market of `stockllm demo`")
    parser.add_argument("--web", action="store_true", help="serve it to a browser of this machine")
    parser.add_argument("--port", type=int, default=None, help="port of --web, 8000 where not given")
    options = parser.parse_args(argv)
    if options.port is not None and not (options.web and 0 < options.port < 65536):
        parser.error("--port is a number from 1 to 65535, and goes with --web")
    from stockllm.data.settings import Settings, spoken

    try:
        # The demo has a home of its own, but the user's language and colours are the user's.
        settings = Settings.load(Home.locate())
    except StockllmError as error:
        print(error.sentence(spoken()), file=sys.stderr)
        sys.exit(error.exit_code)
    if options.web:
        _serve(options, settings.language)
    # Within --web it is Textual that has put a pipe in the terminal's place.
    if "TEXTUAL_DRIVER" not in os.environ and not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(t("start.no_terminal", settings.language), file=sys.stderr)
        sys.exit(1)
    here = Home.locate()
    # A STOCKLLM_HOME that already is the demo's own folder holds no second demo.
    inside = here.root.name == "demo" and here.store.exists()
    home = here if inside else Home.locate(demo=options.demo)
    _log_to(home)
    with hosting(home, settings):
        app = StockApp(home, settings, settings_home=here)
        app.tidy.begin()
        app.ends_when_told = True
        app.run()
    sys.exit(app.return_code or 0)


def _serve(options: argparse.Namespace, language: Language) -> NoReturn:
    """Serve the dashboard to browsers until Ctrl-C, and leave."""
    from stockllm.tui.web import PORT, serve

    try:
        serve(options.port or PORT, ["--demo"] if options.demo else [])
    except StockllmError as error:
        print(error.sentence(language), file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(0)


def _log_to(home: Home) -> None:
    """Troubles go to ``logs/tui.log``, never over the screen; without a home, nowhere."""
    log.propagate = False
    if home.logs.is_dir():
        from stockllm.data.logfiles import rotating

        handler = rotating(home.logs / "tui.log", _LOG_BYTES, 1, delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
    else:
        log.addHandler(logging.NullHandler())


if __name__ == "__main__":
    main()
