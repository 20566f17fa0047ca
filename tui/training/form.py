"""The form that starts a training: every flag of ``stockllm train``, checked while it is filled in."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal, Vertical, VerticalScroll
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Checkbox, Input, Static

from stockllm.data.errors import StockllmError
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language
from stockllm.tui.training.messages import FormChecked
from stockllm.tui.training.options import FIELDS, Checked, Field, check, command_line

if TYPE_CHECKING:
    from stockllm.data.paths import Home


class Flag(Checkbox):
    """A checkbox that is empty where it is off; Textual's keeps its X and tells by the colour alone."""

    BUTTON_INNER = " "

    def watch_value(self) -> None:
        self.BUTTON_INNER = "X" if self.value else " "
        super().watch_value()


class TrainForm(ModalScreen[list[str]]):
    """Dismissed with the arguments of ``stockllm``, None where it was left.

    ``company`` is the code that stands in the form at first.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="form.close", tooltip="Leave without training"),
        Binding(
            "ctrl+s,ctrl+enter",
            "start",
            "Start",
            id="form.start",
            tooltip="Start the training",
            priority=True,
        ),
        Binding("down", "app.focus_next", "Down", id="form.down", tooltip="Next field", priority=True),
        Binding("up", "app.focus_previous", "Up", id="form.up", tooltip="Field before", priority=True),
    ]

    language: reactive[Language] = reactive("zh")

    def __init__(self, language: Language, home: Home, company: str) -> None:
        super().__init__()
        self.set_reactive(TrainForm.language, language)
        self.home = home
        self.company = company
        self.checked: Checked | None = None
        self.wants_start = False

    def compose(self) -> ComposeResult:
        language = self.language
        with Vertical(id="form"):
            with VerticalScroll(can_focus=False):
                for group, fields in groupby(FIELDS, key=lambda field: field.group):
                    yield Static(t(f"form.{group}", language), classes="form-group", markup=False)
                    with Grid(classes="form-fields"):
                        for field in fields:
                            with Horizontal(classes="form-field"):
                                yield Static(self._label(field), classes="form-label", markup=False)
                                yield self._box(field)
            yield Static(id="form-says", markup=False)
            yield Static(t("form.keys", language), classes="ask-keys", markup=False)

    def _label(self, field: Field) -> str:
        label = t(f"field.{field.name}", self.language)
        return label if cell_len(label) <= 24 else field.flag

    def _box(self, field: Field) -> Input | Checkbox:
        if field.kind == "flag":
            return Flag(f"--{field.flag}", id=field.name, compact=True)
        value = self.company if field.name == "companies" else ""
        box = Input(value, placeholder=field.hint, id=field.name, compact=True)
        box.tooltip = f"--{field.flag}"
        return box

    def on_mount(self) -> None:
        self.query_one("#form").border_title = t("form.title", self.language)
        self.query_one("#companies", Input).focus()
        self.check(self.values())

    def values(self) -> dict[str, str]:
        """What is filled in, by field; empty where nothing is."""
        found = {}
        for field in FIELDS:
            if field.kind == "flag":
                found[field.name] = "yes" if self.query_one(f"#{field.name}", Checkbox).value else ""
            else:
                found[field.name] = self.query_one(f"#{field.name}", Input).value
        return found

    @work(thread=True, exclusive=True, exit_on_error=False, group="check", description="check the form")
    def check(self, values: dict[str, str]) -> None:
        """Says what is wrong with the form, or that nothing is."""
        try:
            self.post_message(FormChecked(values, check(self.home, values), ""))
        except StockllmError as error:
            self.post_message(FormChecked(values, None, error.sentence(self.language)))
        except Exception as error:
            self.post_message(FormChecked(values, None, f"{type(error).__name__}: {error}"))

    @on(FormChecked)
    def _checked(self, message: FormChecked) -> None:
        if message.values != self.values():
            return  # of what stood there before
        self.checked = message.checked
        says = self.query_one("#form-says", Static)
        says.set_class(message.checked is None, "wrong")
        if message.checked is None:
            says.update(message.sentence)
        else:
            codes = len(message.checked.codes)
            flags = " ".join(message.checked.arguments)
            says.update(f"✓ {t('form.ready', self.language, count=codes)}  stockllm train {flags}")
        if self.wants_start and self.checked is not None:
            self.dismiss(command_line(self.home, self.checked))
        self.wants_start = False

    @on(Input.Changed)
    @on(Checkbox.Changed)
    def _changed(self) -> None:
        self.checked = None
        self.check(self.values())

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.app.action_focus_next()

    def action_start(self) -> None:
        """Check once more, and start if nothing is wrong."""
        self.wants_start = True
        self.check(self.values())

    def action_leave(self) -> None:
        """Close without starting anything."""
        self.dismiss(None)
