"""Two lines above the chart: which company, its last price, and the day's open, high, low, close."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stockllm.market.companies import display
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language
from stockllm.tui.market.board import Board, Detail
from stockllm.tui.market.chart import Pointer


class Quote(Widget):
    """The selected company's name and last session."""

    detail: reactive[Detail | None] = reactive(None)
    board: reactive[Board | None] = reactive(None)
    #: What the crosshair stands on; the second line reads it out.
    pointer: reactive[Pointer | None] = reactive(None)
    language: reactive[Language] = reactive("zh")

    def render(self) -> Content:
        """Name and price above, the day's figures beneath; what does not fit is left away."""
        if self.detail is None:
            return Content("")
        width = self.size.width
        right, look = self._price()
        title, *more = self._title()
        room = max(1, width - cell_len(right) - 2)
        title = text.clip(title, room)
        about = text.join_fitting([title, *more], room).removeprefix(title)
        gap = " " * max(1, width - cell_len(title) - cell_len(about) - cell_len(right))
        return Content.assemble(
            (title, "bold"),
            (about, "$text-quiet"),
            gap,
            (right, f"bold {look}"),
            "\n",
            self._pointed(self.pointer, width) if self.pointer else (self._day(width), "$text-quiet"),
        )

    def _title(self) -> list[str]:
        """Code and name, then what there may be room for: the other name, market, industry."""
        assert self.detail is not None
        company = self.detail.company
        name = display(company, self.language)
        parts = [company.code if name == company.code else f"{company.code} {name}"]
        other = company.name_zh if self.language == "en" else company.name_en
        if other != name:
            parts.append(other)
        if company.market:
            parts.append(t(f"quote.{company.market}", self.language))
        if company.industry and self.language == "zh":
            parts.append(company.industry)
        return parts

    def _price(self) -> tuple[str, str]:
        assert self.detail is not None
        series = self.detail.series
        if not len(series):
            return "", "$text-quiet"
        last, before = float(series.close[-1]), float(series.reference[-1])
        row = self.board.row(self.detail.company.code) if self.board else None
        change = row.change if row and row.day == series.dates[-1] else last / before - 1
        move = last - last / (1 + change) if change else 0.0
        arrow, look = ("▲ ", "$up") if move > 0 else ("▼ ", "$down") if move < 0 else ("", "$text-quiet")
        figures = f"{text.price(last)}  {arrow}{text.move(move)} ({text.percent(change)})"
        return figures, look

    def _pointed(self, pointer: Pointer, width: int) -> tuple[str, str]:
        """The bar under the crosshair: its date first, then its figures as far as there is room."""
        bar, language = pointer.bar, self.language
        change = bar.close / pointer.before - 1 if pointer.before else None
        day, moved = text.day(pointer.day, language), [] if change is None else [text.percent(change)]
        figures = [
            (t(f"quote.{name}", language), text.price(getattr(bar, name)))
            for name in ("open", "high", "low", "close")
        ]
        rest = []
        if pointer.band is not None:
            low, high = (text.level(level) for level in pointer.band)
            rest.append(t("quote.band", language, low=low, high=high))
        count = t("quote.lots", language, count=text.lots(bar.volume))
        rest.append(f"{t('quote.volume', language)} {count}")
        parts = [day, *moved, *(f"{name} {price}" for name, price in figures), *rest]
        if cell_len("  ".join(parts)) > width:
            # The axis has the year, the line above the chart's last change: the close is here alone.
            tight = [day[5:], *(f"{name}{price}" for name, price in figures), *rest, *moved]
            parts = [text.join_fitting(tight, width, " ")]
        look = "$text-quiet" if not change else "$up" if change > 0 else "$down"
        return text.join_fitting(parts, width, "  "), f"bold {look}"

    def _day(self, width: int) -> str:
        assert self.detail is not None
        series = self.detail.series
        if not len(series):
            return ""
        columns = (("open", series.open), ("high", series.high), ("low", series.low), ("close", series.close))
        parts = [f"{t(f'quote.{name}', self.language)} {text.price(float(c[-1]))}" for name, c in columns]
        count = t("quote.lots", self.language, count=text.lots(float(series.volume[-1])))
        parts.append(f"{t('quote.volume', self.language)} {count}")
        parts.append(text.day(series.dates[-1], self.language, weekday=True))
        return text.join_fitting(parts, width, "  ")
