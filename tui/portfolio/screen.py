"""The Portfolio tab: holdings, cash, gains, orders and fills of one account, and a ticket."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from stockllm.data.errors import StockllmError, UsageError
from stockllm.market.companies import display
from stockllm.tui.core.ask import ConfirmScreen
from stockllm.tui.core.keys import PORTFOLIO, Key, bindings
from stockllm.tui.core.messages import LoadFailed
from stockllm.tui.core.store import NothingToShow
from stockllm.tui.core.tab import TabScreen, Write
from stockllm.tui.drawing.curve import Curve, Plot
from stockllm.tui.drawing.table import Cell, Column, Line, Table
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.portfolio import reading as core
from stockllm.tui.portfolio.account import AccountScreen
from stockllm.tui.portfolio.messages import AccountsFound, OrderChanged, PastFound, PortfolioLoaded
from stockllm.tui.portfolio.reading import AccountPast, Holding, Portfolio, Ticket, Which
from stockllm.tui.portfolio.ticket import TicketScreen

if TYPE_CHECKING:
    from datetime import date

    from stockllm.trading.brokers.broker import Placed


class PortfolioScreen(TabScreen):
    """One account, named in the first line at all times."""

    TAB = "portfolio"
    READING = ("portfolio",)
    KEYS: ClassVar[tuple[Key, ...]] = PORTFOLIO
    NOTES = ("help.portfolio",)
    BINDINGS: ClassVar[list[BindingType]] = bindings(PORTFOLIO, "portfolio")

    portfolio: Portfolio | None = None
    past: AccountPast | None = None
    #: Whether the past of the account that is shown was asked for and has come.
    past_known = False
    #: The accounts there are, and the one that is asked; None is the first, which is the settings' own.
    accounts: tuple[Which, ...] = ()
    asked: Which | None = None
    notice: StockllmError | None = None

    def body(self) -> ComposeResult:
        yield Static(id="account", markup=False)
        with Horizontal(id="portfolio"):
            yield Table(id="holdings")
            yield Table(id="orders")
        yield Curve(id="equity")

    def on_mount(self) -> None:
        self.query_one("#holdings", Table).focus()
        self.show()
        self.load()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self.portfolio is not None or self.notice is not None:
            self.load()

    # Reading and sending, each in a thread of its own

    @work(thread=True, exclusive=True, exit_on_error=False, group="portfolio", description="ask the broker")
    def load(self) -> None:
        try:
            accounts = core.load_accounts(self.stock.home)
            if self.asked is None and not accounts:
                raise UsageError(t("portfolio.none", "en"), zh=t("portfolio.none", "zh"))
            asked = self.asked or accounts[0]
            self.answer(AccountsFound(accounts, asked))
            self.answer(PortfolioLoaded(core.load_portfolio(self.stock.home, asked)))
        except Exception as error:
            self.answer(LoadFailed("portfolio", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="equity", description="reckon the past")
    def load_past(self, which: Which) -> None:
        try:
            self.answer(PastFound(which, core.load_account_past(self.stock.home, which)))
        except Exception as error:
            self.answer(LoadFailed("equity", error))

    @work(thread=True, exit_on_error=False, group="order", description="send an order")
    def send(self, which: Which, ticket: Ticket) -> None:
        try:
            self.post_message(OrderChanged(core.send(self.stock.home, which, ticket)))
        except Exception as error:
            self.post_message(LoadFailed("order", error))

    @work(thread=True, exit_on_error=False, group="order", description="cancel an order")
    def take_back(self, which: Which, id: int) -> None:
        try:
            self.post_message(OrderChanged(core.cancel(self.stock.home, which, id)))
        except Exception as error:
            self.post_message(LoadFailed("order", error))

    # What the threads report

    @on(AccountsFound)
    def _accounts_found(self, message: AccountsFound) -> None:
        self.accounts, self.asked = message.accounts, message.asked

    @on(PortfolioLoaded)
    def _loaded(self, message: PortfolioLoaded) -> None:
        which = message.portfolio.which
        if self.portfolio is None or self.portfolio.which != which:
            self.past, self.past_known = None, False  # never one account's figures under another's name
        self.portfolio, self.notice = message.portfolio, None
        self.show()
        self.load_past(which)

    @on(PastFound)
    def _past_found(self, message: PastFound) -> None:
        if self.portfolio is not None and self.portfolio.which == message.account:
            self.past, self.past_known = message.past, True
            self.show()

    @on(OrderChanged)
    def _changed(self, message: OrderChanged) -> None:
        placed = message.placed
        state = t(f"order.state.{placed.state}", self.language)
        self.notify(t("toast.order", self.language, id=placed.id, state=state), markup=False)
        self.load()

    @on(LoadFailed)
    def _failed(self, message: LoadFailed) -> None:
        error = message.error
        if message.group == "portfolio" and isinstance(error, NothingToShow | UsageError):
            # No account yet, or no store: how to get one is no trouble.
            self.portfolio, self.notice = None, error
            self.show()
            return
        if message.group == "portfolio" and self.portfolio is None and isinstance(error, StockllmError):
            self.notice = error  # and not "reading" for ever
            self.show()
        self.report(error, "toast.order_failed" if message.group == "order" else "toast.load_failed")
        if message.group == "order":
            self.load()

    # What the user does

    def action_ticket(self, side: str) -> None:
        """Fill in an order; it is sent only after it was asked for twice."""
        portfolio = self.portfolio
        if portfolio is None:
            said = self._notice() or t("toast.no_account", self.language)
            self.notify(said, severity="warning", markup=False)
            return
        values = {"side": t(f"order.side.{side}", self.language), "company": self.stock.market.selected}
        held = self._held()
        if side == "sell" and held is not None:
            free = held.shares - portfolio.selling(held.company.code)
            values |= {"company": held.company.code, "shares": str(free)}
            if held.close is not None:
                values["price"] = f"{held.close / 100:.2f}"

        def filled(ticket: Ticket | None) -> None:
            if ticket is not None:
                self.send(portfolio.which, ticket)

        self.app.push_screen(TicketScreen(self.language, self.stock.home, portfolio, values), filled)

    def _held(self) -> Holding | None:
        key = self.query_one("#holdings", Table).cursor
        holdings = self.portfolio.holdings if self.portfolio else ()
        return next((each for each in holdings if each.company.code == key), None)

    def action_cancel(self) -> None:
        """Ask, and take back the open order under the cursor."""
        portfolio = self.portfolio
        key = self.query_one("#orders", Table).cursor
        placed = next((o for o in (portfolio.orders if portfolio else ()) if str(o.id) == key), None)
        if portfolio is None or placed is None or placed.state != "open":
            self.notify(t("toast.no_open_order", self.language), severity="warning")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.take_back(portfolio.which, placed.id)

        question = t("portfolio.cancel", self.language, id=placed.id)
        self.app.push_screen(ConfirmScreen(self.language, question), answered)

    def action_account(self) -> None:
        """The next account, after the last the first."""
        if not set(self.accounts) - {self.asked}:
            self.notify(t("toast.one_account", self.language), severity="warning")
            return
        now = self.accounts.index(self.asked) if self.asked in self.accounts else -1
        self.asked = self.accounts[(now + 1) % len(self.accounts)]
        self.load()

    def action_new_account(self) -> None:
        """Fill in a new account of the local exchange, and show it once it is opened."""

        def opened(name: str | None) -> None:
            if name:
                self.notify(t("toast.account_opened", self.language, name=name), markup=False)
                self.asked = Which("local", name)
                self.load()

        self.app.push_screen(AccountScreen(self.language, self.stock.home), opened)

    def store_changed(self) -> None:
        # A server is asked when the user comes or asks, not whenever a price comes in.
        if self.portfolio is None or self.portfolio.which.kind == "local":
            self.load()

    def action_reload(self) -> None:
        """Ask the broker again."""
        self.load()

    def exports(self) -> Write | None:
        """The holdings, and what became of the account, as CSV."""
        if self.portfolio is None:
            return None
        home, portfolio, past, now = self.stock.home, self.portfolio, self.past, self.stock.now()
        return lambda: core.export_portfolio(home, portfolio, past, now)

    @on(Table.Picked, "#holdings")
    def _company(self, message: Table.Picked) -> None:
        self.stock.action_company(message.key)

    # Showing

    def watch_language(self) -> None:
        if self.query(Table):
            self.show()

    def on_resize(self) -> None:
        self.query_one("#account", Static).update(self._head())  # in one line or two

    def show(self) -> None:
        """Everything, in the language of the screen."""
        language, portfolio = self.language, self.portfolio
        self.query_one("#account", Static).update(self._head())
        self.query_one("#holdings", Table).fill(
            (
                Column(t("ledger.company", language), 0),
                Column(t("portfolio.shares", language), 9, "right"),
                Column(t("list.last", language), 8, "right", rank=1),
                Column(t("portfolio.worth", language), 11, "right"),
                Column(t("portfolio.gain", language), 11, "right"),
                Column(t("portfolio.today", language), 10, "right", rank=2),
                Column(t("portfolio.realised", language), 11, "right", rank=3),
            ),
            [Line(h.company.code, self._holding(h)) for h in (portfolio.holdings if portfolio else ())],
            t("portfolio.no_holdings", language) if portfolio else self._notice(),
        )
        self.query_one("#orders", Table).fill(
            (
                Column(t("portfolio.session", language), 10),
                Column(t("portfolio.side", language), 4),
                Column(t("ledger.company", language), 0),
                Column(t("portfolio.shares", language), 9, "right"),
                Column(t("portfolio.price", language), 8, "right"),
                Column(t("portfolio.state", language), 9),
                Column(t("portfolio.charges", language), 8, "right", rank=1),
            ),
            [Line(str(o.id), self._order(o)) for o in (portfolio.orders if portfolio else ())],
            t("portfolio.no_orders", language) if portfolio else "",
        )
        curve = self.query_one("#equity", Curve)
        curve.display = portfolio is not None
        curve.plot = equity_plot(self.past, known=self.past_known, language=language)

    def _notice(self) -> str:
        """Why there is no account to show; empty where nothing is known to be wrong."""
        return self.notice.sentence(self.language) if self.notice is not None else ""

    def _head(self) -> Content:
        portfolio, language = self.portfolio, self.language
        which = portfolio.which if portfolio else self.asked
        pieces: list[str | tuple[str, str]] = []
        if which is not None:  # also of an account that did not answer
            who = t(f"portfolio.{which.kind}", language, account=which.name)
            pieces += [(f" {who} ", "bold $background on $forecast"), "  "]
        if portfolio is None:
            return Content.assemble(*pieces, self._notice() or t("header.loading", language))
        look = portfolio.look
        if look.equity is not None:
            pieces += [t("portfolio.equity", language, twd=f"{look.equity:,}"), "  "]
        pieces += [t("portfolio.free", language, twd=f"{look.free:,}"), "  "]
        if self.has_class("-narrow"):
            pieces[-1] = "\n"
        if look.day is not None:  # an account that trades in the past stands behind the store
            pieces += [(text.day(look.day, language), "$text-quiet"), "  "]
        for key, value in (("portfolio.sum_today", portfolio.today), ("portfolio.sum_gain", portfolio.gain)):
            pieces += [(t(key, language, twd=f"{value:+,}"), _way(value)), "  "]
        pieces += self._realised()
        if look.drawdown:
            pieces.append((t("portfolio.drawdown", language, share=f"{look.drawdown:.1%}"), "$text-warning"))
        if look.estimated:
            pieces.append((t("portfolio.estimated", language), "$text-quiet"))
        return Content.assemble(*pieces)

    def _realised(self) -> list[str | tuple[str, str]]:
        """What sales brought, today and in all; that nobody knows where the server keeps no books."""
        if not self.past_known:
            return []
        if self.past is None:
            return [(t("portfolio.realised_unknown", self.language), "$text-quiet"), "  "]
        if self.past.history is None:
            return []
        today, total = self.past.history.realised_today, self.past.history.realised_total
        said = t("portfolio.sum_realised", self.language, twd=f"{total:+,}", today=f"{today:+,}")
        return [(said, _way(total)), "  "]

    def _holding(self, each: Holding) -> tuple[Cell, ...]:
        def money(value: int | None) -> Cell:
            if value is None:
                return ("–", "quiet")
            return (f"{value:+,}", "up" if value > 0 else "down" if value < 0 else "quiet")

        realised = self.past.history.realised if self.past and self.past.history else None
        return (
            (f"{each.company.code} {display(each.company, self.language)}", "row"),
            (f"{each.shares:,}", "row"),
            ("–" if each.close is None else text.price(each.close / 100), "quiet"),
            ("–" if each.worth is None else f"{each.worth:,}", "row"),
            money(each.gain),
            money(each.today),
            money(realised.get(each.company.code, 0) if realised is not None else None),
        )

    def _order(self, placed: Placed) -> tuple[Cell, ...]:
        portfolio, order = self.portfolio, placed.order
        assert portfolio is not None
        fill = portfolio.fills.get(placed.id)
        company = portfolio.companies.get(order.code)
        name = display(company, self.language) if company else ""
        look = {"open": "forecast", "filled": "row", "unknown": "warning", "refused": "warning"}
        return (
            (text.day(placed.session, self.language), "quiet"),
            (t(f"order.side.{order.side}", self.language), "up" if order.side == "buy" else "down"),
            (f"{order.code} {name}", "row"),
            (f"{order.shares:,}", "row"),
            (text.price(order.price / 100), "row"),
            (t(f"order.state.{placed.state}", self.language), look.get(placed.state, "quiet")),
            (f"{fill.commission + fill.tax:,}" if fill else "", "quiet"),
        )


def equity_plot(past: AccountPast | None, *, known: bool, language: text.Language) -> Plot:
    """An account's way beside buying and holding, as gains on the opening sum; why there is none."""
    history = past.history if past else None
    if past is None or history is None or len(history.days) < 2:
        reason = "loading" if not known else "at_server" if past is None else "unbegun"
        return Plot(t("portfolio.curve", language), notice=t(f"portfolio.past.{reason}", language))
    opening = history.opening.cash

    def line(days: tuple[date, ...], twd: tuple[int, ...]) -> tuple[tuple[float, float], ...]:
        return tuple((float(d.toordinal()), v / opening - 1) for d, v in zip(days, twd, strict=True))

    mine, instead = t("portfolio.curve_is", language, gain=f"{history.gain:+.2%}"), ""
    if past.held:
        hold = f"{past.held[-1] / opening - 1:+.2%}"
        instead = t("portfolio.curve_hold", language, count=past.companies, gain=hold)
    return Plot(
        "", line(history.days, history.equity), line(past.held_days, past.held), marks=((0.0, "0%"),),
        ends=(history.days[0].isoformat(), history.days[-1].isoformat()), percent=True, digits=1,
        legend=(mine, instead),
    )  # fmt: skip


def _way(value: int) -> str:
    return "$up" if value > 0 else "$down" if value < 0 else "$text-quiet"
