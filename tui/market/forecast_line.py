"""Three lines under the chart: what the forecast says, what made it, and how its model has done."""

from __future__ import annotations

from datetime import timedelta, timezone

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stockllm.data.records import PathForecast
from stockllm.tui.drawing.plot import future_sessions
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language
from stockllm.tui.market.board import Detail

#: Taiwan has kept UTC+8 all year since 1980.
TAIPEI = timezone(timedelta(hours=8))


class ForecastLine(Widget):
    """The forecast in words: median, 80% range, model, data cut-off, paths, what the bands hold.

    Below stands the model's record in the ledger: who reads a forecast reads what it is worth.
    """

    detail: reactive[Detail | None] = reactive(None)
    language: reactive[Language] = reactive("zh")
    #: (code, done, total) of the forecast that is being made; ``total`` 0 before the first report.
    running: reactive[tuple[str, int, int] | None] = reactive(None)

    def render(self) -> Content:
        """The running forecast's progress, else the newest forecast, else how to make one."""
        detail = self.detail
        if detail is None:
            return Content("")
        width = self.size.width
        meta = "" if detail.forecast is None else self._meta(detail, detail.forecast, width)
        if detail.record is not None:
            meta += "\n" + text.clip(detail.record[self.language == "en"], width)
        if self.running is not None and self.running[0] == detail.company.code:
            return Content.assemble((text.clip(self._progress(), width), "$forecast bold"), "\n", meta)
        if detail.forecast is None:
            return Content.assemble((text.clip(t("forecast.none", self.language), width), "$text-quiet"))
        if detail.stale_forecast:
            warning = t("forecast.stale", self.language, day=text.day(detail.forecast.as_of, self.language))
            first = (text.clip(f"⚠ {warning}", width), "$text-warning")
        else:
            first = (self._outcome(detail.forecast, width), "$forecast")
        return Content.assemble(first, "\n", (meta, "$text-quiet"))

    def _progress(self) -> str:
        assert self.running is not None
        _, done, total = self.running
        if not total or not done:
            return t("forecast.running", self.language)
        return t("forecast.progress", self.language, done=done, total=total)

    def _outcome(self, forecast: PathForecast, width: int) -> str:
        """Median and ranges on the last day, in fewer words where the 80% range would not fit."""
        q10, q25, q50, q75, q90 = (float(q) / 100 for q in forecast.quantiles("close")[1:6, -1])
        day = f"{forecast.dates[-1]:%m/%d}"
        move = text.percent(q50 / (forecast.last_close / 100) - 1)
        language, level = self.language, text.level

        def parts(form: str) -> list[str]:
            return [
                t(f"forecast.last{form}", language, day=day),
                t(f"forecast.median{form}", language, price=level(q50), move=move),
                t(f"forecast.range{form}", language, low=level(q10), high=level(q90)),
            ]

        needed = parts("") if cell_len("  ".join(parts(""))) <= width else parts(".short")
        half = t("forecast.half", language, low=level(q25), high=level(q75))
        return text.join_fitting(
            [*needed, half, t("forecast.horizon", language, count=forecast.horizon)], width
        )

    def _meta(self, detail: Detail, forecast: PathForecast, width: int) -> str:
        """Model, data cut-off and paths first; how to read the picture as far as there is room."""
        ahead = future_sessions(detail.series, forecast) > 0
        language = self.language
        model = forecast.model if forecast.adapter is None else f"{forecast.model}+{forecast.adapter}"
        made = forecast.made_at.astimezone(TAIPEI)
        key = "forecast.model" if width >= 60 else "forecast.model.short"
        parts = [
            t(key, language, model=text.clip(model, 28)),
            t("forecast.as_of", language, day=text.day(forecast.as_of, language)),
            t("forecast.paths", language, count=forecast.paths),
            t("forecast.bands", language),
            *([t("forecast.hollow", language)] if ahead else []),
            t("forecast.made", language, when=f"{made:%m/%d %H:%M}"),
            t("forecast.honest", language),
        ]
        return text.join_fitting(parts, width, " · ")
