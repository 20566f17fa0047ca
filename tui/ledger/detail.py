"""One forecast of the ledger, day by day: what it said, what came, and how far it was off."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stockllm.market.companies import Company, display
from stockllm.tui.core.store import open_store
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language, pad

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.stores.scores import Score
    from stockllm.data.stores.standing import Reason
    from stockllm.market.moments import Moment

_TAIPEI = timezone(timedelta(hours=8))

#: A piece of a line as (text, style).
Piece = tuple[str, str]

#: Cells of date, 80% band, median, close that came, verdict, error. The band is what a narrow box leaves out.
_DATE, _BAND, _PRICE, _ERROR = 10, 15, 8, 6


@dataclass(frozen=True, slots=True)
class SaidDay:
    """What a forecast said of one day, in TWD, and the day's score; None where it has not come."""

    day: date
    low: float
    median: float
    high: float
    score: Score | None


@dataclass(frozen=True, slots=True)
class Said:
    """A frozen forecast: whose, from which evening and close (TWD), made when, and its days."""

    id: int
    company: Company
    model: str
    as_of: date
    last: float
    made_at: datetime
    paths: int
    days: tuple[SaidDay, ...]
    moment: Moment = "evening"
    why_not: Reason | None = None

    @property
    def scored(self) -> tuple[Score, ...]:
        """The scores of the days that have come."""
        return tuple(day.score for day in self.days if day.score is not None)

    @property
    def error(self) -> float | None:
        """The CRPS of the days that have come over the naive forecast's; None where none has."""
        naive = sum(score.naive_crps for score in self.scored)
        return sum(score.crps for score in self.scored) / naive if naive > 0 else None

    def came(self, score: Score) -> float:
        """The close that came in TWD, allowing for ex-dates as the score does."""
        return self.last * math.exp(score.actual)


def load_said(home: Home, id: int) -> Said:
    """The forecast ``id`` with its scores; StoreError where there is none."""
    from stockllm.data.stores.standing import settled

    with open_store(home) as store:
        forecast = store.ledger.get(id)
        scores = {score.day: score for score in store.scores.of(id)}
        known = {company.code: company for company in store.companies()}
        why_not = settled(store.ledger.standings(forecast.code).get(id), scores.values())
    table = forecast.quantiles("close")[[1, 3, 5]] / 100
    return Said(
        id,
        known.get(forecast.code) or Company.bare(forecast.code),
        forecast.model if forecast.adapter is None else f"{forecast.model}+{forecast.adapter}",
        forecast.as_of,
        forecast.last_close / 100,
        forecast.made_at,
        len(forecast.prices),
        tuple(
            SaidDay(day, low, middle, high, scores.get(place))
            for place, (day, (low, middle, high)) in enumerate(
                zip(forecast.dates, table.T.tolist(), strict=True), start=1
            )
        ),
        forecast.moment,
        why_not,
    )


class ForecastDetail(Widget):
    """The forecast under the cursor, where the screen is wide enough for it beside the table."""

    said: reactive[Said | None] = reactive(None)
    language: reactive[Language] = reactive("zh")

    def render(self) -> Content:
        """Whose forecast, its days, and what they come to."""
        if self.said is None:
            return Content("")
        width = max(1, self.size.width)
        lines = [*self._head(self.said), [], *self._days(self.said, width), [], *self._sum(self.said)]
        notes = [text.wrap(t(key, self.language), width) for key in self._notes(self.said)]
        lines += [[(line, "$text-quiet")] for note in notes for line in ["", *note]]
        fitting = [piece for line in lines[: self.size.height] for piece in (*line, ("\n", ""))]
        return Content.assemble(*fitting[:-1])

    def _head(self, said: Said) -> Iterator[list[Piece]]:
        language, width = self.language, max(1, self.size.width)
        name = display(said.company, language)
        title = said.company.code if name == said.company.code else f"{said.company.code} {name}"
        yield [(text.clip(title, width), "bold")]
        made = said.made_at.astimezone(_TAIPEI)
        for parts in (
            [
                t("detail.as_of", language, day=text.day(said.as_of, language, weekday=True)),
                t("detail.last", language, price=text.price(said.last)),
            ],
            [said.model, t("detail.paths", language, count=said.paths)],
            [
                t("detail.made", language, at=f"{made:%Y-%m-%d %H:%M}"),
                *([t(f"moment.{said.moment}", language)] if said.moment != "evening" else []),
            ],
        ):
            yield [(text.join_fitting(parts, width, " · "), "$text-quiet")]

    def _days(self, said: Said, width: int) -> Iterator[list[Piece]]:
        wide = width >= _DATE + _BAND + 2 * _PRICE + 2 + _ERROR + 5
        heads = [pad(t("detail.day", self.language), _DATE)]
        heads += [pad(t("ledger.band", self.language), _BAND, "right")] if wide else []
        heads += [
            pad(t("detail.median", self.language), _PRICE, "right"),
            pad(t("ledger.came", self.language), _PRICE, "right"),
            " ",
            pad(t("ledger.error", self.language), _ERROR, "right"),
        ]
        yield [(" ".join(heads), "$text-quiet")]
        for each in said.days:
            score = each.score
            look = "$text-quiet" if score is None else "$forecast" if score.inside80 else "$text-warning"
            cells: list[Piece] = [(pad(each.day.isoformat(), _DATE), "")]
            if wide:
                band = f"{text.level(each.low)}–{text.level(each.high)}"
                cells.append((pad(band, _BAND, "right"), ""))
            cells.append((pad(text.level(each.median), _PRICE, "right"), ""))
            came = "–" if score is None else text.price(round(said.came(score), 2))
            cells.append((pad(came, _PRICE, "right"), look))
            cells.append(("·" if score is None else "✓" if score.inside80 else "✗", look))
            ratio = score.crps / score.naive_crps if score is not None and score.naive_crps > 0 else None
            worse = "$text-warning" if ratio is not None and ratio > 1 else "$text-quiet"
            cells.append((pad("–" if ratio is None else f"{ratio:.2f}", _ERROR, "right"), worse))
            yield [piece for cell in cells for piece in (cell, (" ", ""))][:-1]

    def _sum(self, said: Said) -> Iterator[list[Piece]]:
        language, scored = self.language, said.scored
        if not scored:
            yield [(t("detail.open", language), "$text-quiet")]
            return
        inside = sum(score.inside80 for score in scored)
        yield [(t("detail.inside", language, inside=inside, days=len(scored)), "")]
        if said.error is not None:
            key = "detail.better" if said.error < 1 else "detail.worse"
            look = "$forecast" if said.error < 1 else "$text-warning"
            yield [(t(key, language, ratio=f"{said.error:.2f}"), look)]

    def _notes(self, said: Said) -> Iterator[str]:
        if said.why_not is not None:
            yield f"why_not.{said.why_not}"
        yield "detail.enter"
