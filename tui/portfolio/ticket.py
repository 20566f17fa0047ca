"""The order ticket: what it would cost, or why it would be refused, while it is filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from stockllm.data.errors import StockllmError
from stockllm.market.companies import display
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language
from stockllm.tui.portfolio import reading as core
from stockllm.tui.portfolio.messages import TicketChecked
from stockllm.tui.portfolio.reading import Portfolio, Ticket

if TYPE_CHECKING:
    from stockllm.data.paths import Home

FIELDS = ("side", "company", "shares", "price")


def summary(ticket: Ticket, language: Language) -> str:
    """An order in one line, with all it costs or brings."""
    order, cost = ticket.order, ticket.charges
    return t(
        f"ticket.{order.side}",
        language,
        name=f"{ticket.company.code} {display(ticket.company, language)}",
        shares=f"{order.shares:,}",
        price=text.price(order.price / 100),
        session=text.day(ticket.session, language),
        value=f"{cost.value:,}",
        commission=f"{cost.commission:,}",
        tax=f"{cost.tax:,}",
        total=f"{cost.paid if order.side == 'buy' else cost.received:,}",
    )


class TicketScreen(ModalScreen[Ticket]):
    """Dismissed with an order that the rules allow and the user confirmed, None where it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="ticket.close", tooltip="Leave without an order"),
        Binding("ctrl+s", "send", "Send", id="ticket.send", tooltip="Send the order", priority=True),
        Binding("down", "app.focus_next", "Down", id="ticket.down", tooltip="Next field", priority=True),
        Binding("up", "app.focus_previous", "Up", id="ticket.up", tooltip="Field before", priority=True),
    ]

    def __init__(self, language: Language, home: Home, portfolio: Portfolio, values: dict[str, str]) -> None:
        super().__init__()
        self.language = language
        self.home = home
        self.portfolio = portfolio
        self.values = values
        self.ticket: Ticket | None = None
        self.asked = False

    def compose(self) -> ComposeResult:
        language = self.language
        who = t(f"portfolio.{self.portfolio.which.kind}", language, account=self.portfolio.look.account)
        with Vertical(classes="ask", id="ticket"):
            yield Static(who, id="ticket-account", markup=False)
            for name in FIELDS:
                with Horizontal(classes="form-field"):
                    yield Static(t(f"ticket.field.{name}", language), classes="form-label", markup=False)
                    yield Input(self.values.get(name, ""), id=name, compact=True)
            yield Static(id="ticket-says", markup=False)
            yield Static(t("ticket.keys", language), classes="ask-keys", markup=False)

    def on_mount(self) -> None:
        self.query_one("#ticket").border_title = t("ticket.title", self.language)
        self.query_one("#shares", Input).focus()
        self._changed()

    @on(Input.Changed)
    def _changed(self) -> None:
        self.ticket, self.asked = None, False
        self.check(self.typed())

    def typed(self) -> dict[str, str]:
        """What is filled in now."""
        return {name: self.query_one(f"#{name}", Input).value for name in FIELDS}

    @work(thread=True, exclusive=True, exit_on_error=False, group="ticket", description="check the order")
    def check(self, values: dict[str, str]) -> None:
        """Says what the order would cost, or why it would be refused."""
        try:
            ticket = core.check_ticket(self.home, self.portfolio.which, **values, portfolio=self.portfolio)
            self.post_message(TicketChecked(values, ticket, ""))
        except StockllmError as error:
            self.post_message(TicketChecked(values, None, error.sentence(self.language)))
        except Exception as error:
            self.post_message(TicketChecked(values, None, f"{type(error).__name__}: {error}"))

    @on(TicketChecked)
    def _checked(self, message: TicketChecked) -> None:
        if message.values != self.typed():
            return  # of what stood there before: never may another order be sent than is to be read
        self.ticket = message.ticket
        says = self.query_one("#ticket-says", Static)
        says.set_class(message.ticket is None, "wrong")
        says.update(summary(message.ticket, self.language) if message.ticket else message.sentence)

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.app.action_focus_next()

    def action_send(self) -> None:
        """The first time ask, the second time send: nothing is sent by one key."""
        if self.ticket is None:
            return
        if self.asked:
            self.dismiss(self.ticket)
            return
        self.asked = True
        says = self.query_one("#ticket-says", Static)
        says.update(f"{summary(self.ticket, self.language)}\n{t('ticket.really', self.language)}")

    def action_leave(self) -> None:
        """Send nothing."""
        self.dismiss(None)
