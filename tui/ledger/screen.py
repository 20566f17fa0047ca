"""The Forecasts tab: the ledger as a table, its filters, and how the forecasts did over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Static

from stockllm.market.companies import display
from stockllm.tui.core.keys import LEDGER, Key, bindings
from stockllm.tui.core.messages import LoadFailed
from stockllm.tui.core.store import NothingToShow
from stockllm.tui.core.tab import TabScreen, Write
from stockllm.tui.drawing.box import say
from stockllm.tui.drawing.curve import Curve, Plot
from stockllm.tui.drawing.table import Cell, Column, Lines, Table
from stockllm.tui.ledger import reading as core
from stockllm.tui.ledger.detail import ForecastDetail, load_said
from stockllm.tui.ledger.messages import BandsLoaded, LedgerChosen, LedgerLoaded, SaidLoaded, Scored
from stockllm.tui.ledger.reading import Band, Chosen, Entry, Ledger
from stockllm.tui.look import text
from stockllm.tui.look.strings import t

if TYPE_CHECKING:
    from datetime import date


_VERDICTS = {"open": ("·", "quiet"), "hit": ("✓", "forecast"), "miss": ("✗", "warning")}


class LedgerScreen(TabScreen):
    """Every forecast that was made, and what came of it."""

    TAB = "ledger"
    READING = ("ledger", "choose")
    KEYS: ClassVar[tuple[Key, ...]] = LEDGER
    NOTES = ("help.ledger", "help.counts")
    BINDINGS: ClassVar[list[BindingType]] = bindings(LEDGER, "ledger")
    #: Not the filter, which would take the keys that are pressed before it is hidden.
    AUTO_FOCUS = "Table"

    ledger: Ledger | None = None
    chosen: Chosen | None = None
    record: tuple[str, str] = ("", "")

    def body(self) -> ComposeResult:
        yield Static(id="record", markup=False)
        yield Input(id="filter", compact=True)
        with Horizontal(id="forecasts"):
            yield Table(id="ledger")
            yield ForecastDetail(id="said").data_bind(TabScreen.language)
        with Horizontal(id="curves"):
            yield Curve(id="coverage")
            yield Curve(id="ratio")

    def on_mount(self) -> None:
        self.bands: dict[int, Band] = {}
        self.query_text, self.order, self.descending = "", "made", True
        self.model: str | None = None
        self.adapter: str | None = None
        self.query_one("#filter").display = False
        self.query_one(Table).focus()
        self.show()
        self.load_ledger()

    # Reading, each in a thread of its own

    @work(thread=True, exclusive=True, exit_on_error=False, group="ledger", description="read the ledger")
    def load_ledger(self) -> None:
        try:
            self.answer(LedgerLoaded(core.load_ledger(self.stock.home)))
        except Exception as error:
            self.post_message(LoadFailed("ledger", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="choose", description="filter the ledger")
    def choose(self) -> None:
        ledger = self.ledger
        if ledger is None:
            return
        try:
            chosen = core.choose(
                ledger, self.query_text, self.model, self.adapter, self.order, self.descending
            )
            codes = {entry.company.code for entry in chosen.entries}
            code = next(iter(codes)) if len(codes) == 1 else None
            # The record is of all, or of one model with its adapter; the words are of what the curves show.
            names = {entry.name for entry in chosen.entries}
            every = self.model is None and self.adapter is None
            name = next(iter(names)) if len(names) == 1 and not every else None
            said = core.load_record(self.stock.home, code, name) if every or name else ("", "")
            self.answer(LedgerChosen(chosen, said))
        except Exception as error:
            self.post_message(LoadFailed("ledger", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="bands", description="read bands")
    def load_bands(self, ids: tuple[int, ...]) -> None:
        try:
            self.post_message(BandsLoaded(core.load_bands(self.stock.home, ids)))
        except Exception as error:
            self.post_message(LoadFailed("ledger", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="said", description="read a forecast")
    def load_said(self, id: int) -> None:
        try:
            self.answer(SaidLoaded(load_said(self.stock.home, id)))
        except Exception as error:
            self.post_message(LoadFailed("ledger", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="score", description="score forecasts")
    def score(self) -> None:
        try:
            self.post_message(Scored(core.score_now(self.stock.home)))
        except Exception as error:
            self.post_message(LoadFailed("score", error))

    # What the threads report

    @on(LedgerLoaded)
    def _loaded(self, message: LedgerLoaded) -> None:
        self.ledger = message.ledger
        self.choose()

    @on(LedgerChosen)
    def _chosen(self, message: LedgerChosen) -> None:
        self.chosen, self.record = message.chosen, message.record
        self.show()
        self._say_more(anew=True)  # days may have been scored

    @on(BandsLoaded)
    def _bands_loaded(self, message: BandsLoaded) -> None:
        self.bands |= message.bands
        self._fill()

    @on(SaidLoaded)
    def _said_loaded(self, message: SaidLoaded) -> None:
        self.query_one(ForecastDetail).said = message.said

    @on(Scored)
    def _scored(self, message: Scored) -> None:
        self.notify(t("toast.scored", self.language, days=message.days))
        self.load_ledger()

    @on(LoadFailed)
    def _failed(self, message: LoadFailed) -> None:
        if isinstance(message.error, NothingToShow):
            self.query_one("#record", Static).update(message.error.sentence(self.language))
            return
        self.report(message.error, "toast.load_failed")

    # What the user does

    def action_filter(self) -> None:
        """Open the filter by company."""
        box = self.query_one("#filter", Input)
        box.display = True
        self.set_focus(box)  # at once, for what is typed in the same instant

    def action_clear(self) -> None:
        """Show every forecast again."""
        box = self.query_one("#filter", Input)
        box.value, box.display = "", False
        self.set_focus(self.query_one(Table))
        self.model = self.adapter = None
        self.choose()

    @on(Input.Changed, "#filter")
    def _typed(self, message: Input.Changed) -> None:
        self.query_text = message.value
        self.choose()

    @on(Input.Submitted, "#filter")
    def _entered(self, message: Input.Submitted) -> None:
        message.input.display = bool(message.value)
        self.set_focus(self.query_one(Table))

    def action_model(self) -> None:
        """The forecasts of the next model; after the last, of all."""
        if self.ledger is not None:
            self.model = _next(self.model, self.ledger.models)
            self.choose()

    def action_adapter(self) -> None:
        """The forecasts of the next adapter; after the last, of all."""
        if self.ledger is not None:
            self.adapter = _next(self.adapter, self.ledger.adapters)
            self.choose()

    def action_order(self) -> None:
        """Sort by the next column."""
        self.order = core.ORDERS[(core.ORDERS.index(self.order) + 1) % len(core.ORDERS)]
        self.descending = self.order in ("made", "due")
        self.choose()

    def action_reverse(self) -> None:
        """Turn the order around."""
        self.descending = not self.descending
        self.choose()

    def action_score(self) -> None:
        """Score every day that has come."""
        self.notify(t("toast.scoring", self.language), timeout=2)
        self.score()

    def store_changed(self) -> None:
        self.load_ledger()

    def action_reload(self) -> None:
        """Read the ledger again."""
        self.load_ledger()

    def exports(self) -> Write | None:
        """The forecasts that are listed, as CSV."""
        if self.chosen is None or not self.chosen.entries:
            return None
        home, entries, now = self.stock.home, self.chosen.entries, self.stock.now()
        return lambda: [core.export_ledger(home, entries, now)]

    @on(Table.Picked)
    def _picked(self, message: Table.Picked) -> None:
        entry = (
            next((e for e in self.chosen.entries if str(e.id) == message.key), None) if self.chosen else None
        )
        if entry is not None:
            self.stock.action_company(entry.company.code)
            self.stock.market.load_past(entry.id)

    @on(Table.Moved)
    def _in_sight(self) -> None:
        self._say_more()
        wanted = tuple(int(key) for key in self.query_one(Table).in_sight if int(key) not in self.bands)
        if wanted:
            self.load_bands(wanted)

    # Showing

    def _say_more(self, anew: bool = False) -> None:
        """The forecast under the cursor day by day, where there is room for it."""
        table, detail = self.query_one(Table), self.query_one(ForecastDetail)
        if table.index is None:
            detail.said = None
        elif detail.display and (anew or detail.said is None or str(detail.said.id) != table.cursor):
            self.load_said(int(table.cursor))

    def watch_language(self) -> None:
        if self.query(Table):
            self.show()

    def show(self) -> None:
        """Everything, in the language of the screen."""
        self.query_one("#filter", Input).placeholder = t("filter.placeholder", self.language)
        self._fill()
        self._in_sight()
        self._say()
        chosen = self.chosen
        note = t("curve.none" if self.ledger is not None else "header.loading", self.language)
        mark = "" if chosen is None or chosen.counted else " " + t("curve.uncounted", self.language)
        coverage, ratio = (chosen.coverage, chosen.ratio) if chosen else ((), ())
        self.query_one("#coverage", Curve).plot = Plot(
            t("curve.coverage", self.language) + mark,
            _points(coverage),
            marks=((0.8, "80%"),),
            ends=_ends(coverage),
            notice=note,
            percent=True,
        )
        self.query_one("#ratio", Curve).plot = Plot(
            t("curve.ratio", self.language) + mark,
            _points(ratio),
            marks=((1.0, "1"),),
            ends=_ends(ratio),
            notice=note,
        )

    def _say(self) -> None:
        """The line above: what is filtered, and the record in words."""
        parts = []
        if self.model is not None:
            parts.append(t("forecast.model", self.language, model=self.model))
        if self.adapter is not None:
            shown = self.adapter or t("ledger.no_adapter", self.language)
            parts.append(t("ledger.adapter", self.language, adapter=shown))
        if self.order != "made" or not self.descending:
            parts.append(t(f"ledger.by.{self.order}", self.language) + (" ↓" if self.descending else " ↑"))
        if self.chosen is not None:
            parts.append(t("ledger.count", self.language, count=len(self.chosen.entries)))
        said = self.record[self.language == "en"]
        say(self.query_one("#record", Static), " · ".join([*parts, said] if said else parts))

    def _fill(self) -> None:
        language = self.language
        columns = (
            Column("", 1),
            Column(t("ledger.as_of", language), 10),
            Column(t("ledger.due", language), 10),
            Column(t("ledger.company", language), 0),
            Column(t("ledger.model", language), 18, rank=3),
            Column(t("ledger.band", language), 15, "right", rank=1),
            Column(t("ledger.came", language), 8, "right"),
            Column(t("ledger.days", language), 5, "right", rank=4),
            Column(t("ledger.error", language), 6, "right", rank=2),
        )
        entries = self.chosen.entries if self.chosen else ()
        key = "ledger.none" if self.ledger is not None else "header.loading"
        # Made when they are drawn: a year of all stocks is a hundred thousand forecasts.
        rows = Lines([str(entry.id) for entry in entries], lambda place: self._cells(entries[place]))
        self.query_one(Table).fill(columns, rows, t(key, language))

    def _model(self, entry: Entry) -> str:
        """The model, and the moment where it was not the evening."""
        if entry.moment == "evening":
            return entry.name
        return f"{entry.name} · {t(f'moment.{entry.moment}', self.language)}"

    def _cells(self, entry: Entry) -> tuple[Cell, ...]:
        band = self.bands.get(entry.id)
        mark, look = _VERDICTS[entry.verdict]
        came = band.came(entry.actual) if band else None
        ratio = entry.error
        quiet = "row" if entry.counts else "quiet"
        return (
            (mark, look),
            (entry.as_of.isoformat(), quiet),
            (entry.due.isoformat(), quiet),
            (f"{entry.company.code} {display(entry.company, self.language)}", quiet),
            (self._model(entry), "quiet"),
            ("…" if band is None else f"{text.level(band.low)}–{text.level(band.high)}", quiet),
            ("–" if came is None else text.price(round(came, 2)), look if came is not None else "quiet"),
            (f"{entry.days}/{entry.horizon}", "quiet"),
            ("–" if ratio is None else f"{ratio:.2f}", "warning" if ratio and ratio > 1 else quiet),
        )


def _next(now: str | None, names: tuple[str, ...]) -> str | None:
    """The name after ``now``; None, which is all, follows the last."""
    following = [None, *names]
    return following[(following.index(now) + 1) % len(following)] if now in following else None


def _points(line: tuple[tuple[date, float], ...]) -> tuple[tuple[float, float], ...]:
    return tuple((float(day.toordinal()), value) for day, value in line)


def _ends(line: tuple[tuple[date, float], ...]) -> tuple[str, str]:
    if not line:
        return "", ""
    return line[0][0].isoformat(), line[-1][0].isoformat() if len(line) > 1 else ""
