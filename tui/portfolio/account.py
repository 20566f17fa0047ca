"""The form that opens an account at the simulated exchange, checked while it is filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from stockllm.data.errors import StockllmError
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language
from stockllm.tui.portfolio import reading as core
from stockllm.tui.portfolio.messages import AccountChecked, AccountOpened

if TYPE_CHECKING:
    from stockllm.data.paths import Home

#: The fields, and what stands in them at first: what ``stockllm exchange account add`` takes by itself.
FIELDS = {"name": "", "cash": "100000000", "discount": "1", "password": ""}


class AccountScreen(ModalScreen[str]):
    """Dismissed with the name of the account that was opened, None where none was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="account.close", tooltip="Leave without an account"),
        Binding("ctrl+s", "open", "Open", id="account.open", tooltip="Open the account", priority=True),
        Binding("down", "app.focus_next", "Down", id="account.down", tooltip="Next field", priority=True),
        Binding("up", "app.focus_previous", "Up", id="account.up", tooltip="Field before", priority=True),
    ]

    language: reactive[Language] = reactive("zh")

    def __init__(self, language: Language, home: Home) -> None:
        super().__init__()
        self.set_reactive(AccountScreen.language, language)
        self.home = home
        self.good = False
        #: Between asking for the account and getting it: it is asked for once.
        self.asked = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="ask", id="account-form"):
            for name, value in FIELDS.items():
                with Horizontal(classes="form-field"):
                    label = t(f"account.field.{name}", self.language)
                    yield Static(label, classes="form-label", markup=False)
                    yield Input(value, id=name, compact=True, password=name == "password")
            yield Static(id="account-says", markup=False)
            yield Static(t("account.keys", self.language), classes="ask-keys", markup=False)

    def on_mount(self) -> None:
        self.query_one("#account-form").border_title = t("account.title", self.language)
        self._changed()

    def typed(self) -> dict[str, str]:
        """What is filled in now."""
        return {name: self.query_one(f"#{name}", Input).value for name in FIELDS}

    @on(Input.Changed)
    def _changed(self) -> None:
        self.good = False
        self.check(self.typed())

    @work(thread=True, exclusive=True, exit_on_error=False, group="ticket", description="check an account")
    def check(self, values: dict[str, str]) -> None:
        """Says what is wrong with the account, or what would be opened."""
        try:
            new = core.check_account(self.home, **values)
            said = t("account.good", self.language, name=new.name, twd=f"{new.cash:,}", part=new.discount)
            self.post_message(AccountChecked(values, True, said))
        except StockllmError as error:
            self.post_message(AccountChecked(values, False, error.sentence(self.language)))
        except Exception as error:
            self.post_message(AccountChecked(values, False, f"{type(error).__name__}: {error}"))

    @work(thread=True, exit_on_error=False, group="order", description="open an account")
    def open_account(self, values: dict[str, str]) -> None:
        """Open it; what went wrong is said in the form, where it can be mended."""
        try:
            self.post_message(AccountOpened(core.open_new_account(self.home, **values)))
        except StockllmError as error:
            self.post_message(AccountChecked(values, False, error.sentence(self.language)))
        except Exception as error:
            self.post_message(AccountChecked(values, False, f"{type(error).__name__}: {error}"))

    @on(AccountChecked)
    def _checked(self, message: AccountChecked) -> None:
        if message.values != self.typed():
            return  # of what stood there before
        self.good = message.good
        self.asked = False
        says = self.query_one("#account-says", Static)
        says.set_class(not message.good, "wrong")
        says.update(message.sentence)

    @on(AccountOpened)
    def _opened(self, message: AccountOpened) -> None:
        self.dismiss(message.name)

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.app.action_focus_next()

    def action_open(self) -> None:
        """Open the account, if nothing is wrong with it."""
        if self.good and not self.asked:
            self.asked = True
            self.open_account(self.typed())

    def action_leave(self) -> None:
        """Open none."""
        self.dismiss(None)
