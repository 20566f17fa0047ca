"""Two lines under the chart while an older forecast is held against what came."""

from __future__ import annotations

import math
from bisect import bisect_left

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language
from stockllm.tui.market.board import Detail, Past


class OutcomeLine(Widget):
    """What a frozen forecast said of its last day, and what that day was."""

    detail: reactive[Detail | None] = reactive(None)
    past: reactive[Past | None] = reactive(None)
    language: reactive[Language] = reactive("zh")

    def render(self) -> Content:
        """The outcome, or that it is still open; beneath it whose forecast this was."""
        if self.past is None or self.detail is None:
            return Content("")
        width, language = self.size.width, self.language
        forecast = self.past.forecast
        low, middle, high = (float(q) / 100 for q in forecast.quantiles("close")[[1, 3, 5], -1])
        due = forecast.dates[-1]
        said = t(
            "outcome.said",
            language,
            day=text.day(due, language),
            low=text.level(low),
            high=text.level(high),
            median=text.level(middle),
        )
        came = self._came()
        if came is None:
            first, look = [t("outcome.open", language), said], "$text-quiet"
        else:
            hit = self._inside(low, came, high)
            verdict = t("outcome.hit" if hit else "outcome.missed", language)
            happened = t("outcome.came", language, price=text.price(came))
            off = t("outcome.error", language, move=text.percent(middle / came - 1))
            first, look = [verdict, happened, said, off], "$success" if hit else "$text-warning"
        name = forecast.model if forecast.adapter is None else f"{forecast.model}+{forecast.adapter}"
        second = [
            t("outcome.past", language, day=text.day(forecast.as_of, language)),
            t("forecast.model", language, model=text.clip(name, 28)),
            *self._against_naive(),
            t("outcome.back", language),
        ]
        return Content.assemble(
            (text.join_fitting(first, width, " · "), f"bold {look}"),
            "\n",
            (text.join_fitting(second, width, " · "), "$text-quiet"),
        )

    def _came(self) -> float | None:
        """The close of the day it was due, in the units of its own day; None where there is none yet.

        The score's, which allows for ex-dates, where the day has been scored.
        """
        assert self.past is not None
        assert self.detail is not None
        forecast, score, series = self.past.forecast, self.past.score, self.detail.series
        if score is not None and score.date == forecast.dates[-1]:
            return round(forecast.last_close / 100 * math.exp(score.actual), 2)
        place = bisect_left(series.dates, forecast.dates[-1])
        found = place < len(series) and series.dates[place] == forecast.dates[-1]
        return float(series.close[place]) if found else None

    def _inside(self, low: float, came: float, high: float) -> bool:
        """As the ledger has it where it is scored, so that no two tabs differ; else an edge is inside, to the
        half of a cent that floats may be off."""
        assert self.past is not None
        score = self.past.score
        if score is not None and score.date == self.past.forecast.dates[-1]:
            return score.inside80
        return low - 0.005 <= came <= high + 0.005

    def _against_naive(self) -> list[str]:
        assert self.past is not None
        score = self.past.score
        if score is None or score.naive_crps <= 0:
            return []
        return [t("outcome.crps", self.language, ratio=f"{score.crps / score.naive_crps:.2f}")]
