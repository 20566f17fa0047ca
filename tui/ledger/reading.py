"""What the Forecasts tab shows, read from the ledger. Knows no screen; every function may run in a thread."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stockllm.market.companies import Company
from stockllm.tui.core import export
from stockllm.tui.core.store import open_store
from stockllm.tui.look.strings import t

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.stores.standing import Reason
    from stockllm.market.moments import Moment

Verdict = Literal["open", "hit", "miss"]

#: What the table can be sorted by, in the order of the key that walks along them.
ORDERS = ("made", "due", "code", "error")


@dataclass(frozen=True, slots=True)
class Entry:
    """One forecast of the ledger and what became of it.

    ``verdict`` is whether the close of the day it was due lay inside its 80% band; ``days`` of its
    ``horizon`` are scored, with ``crps`` and ``naive`` summed over them and ``inside`` of them inside
    the band. ``actual`` is the log return of the due day. ``why_not`` is why it does not
    count, None where it does or may: see ``data.stores.standing``.
    """

    id: int
    company: Company
    as_of: date
    made_at: datetime
    due: date
    model: str
    adapter: str | None
    horizon: int
    days: int
    verdict: Verdict
    crps: float
    naive: float
    inside: int
    actual: float | None
    moment: Moment = "evening"
    why_not: Reason | None = None

    @property
    def counts(self) -> bool:
        """Whether it proves something once its days have come."""
        return self.why_not is None

    @property
    def name(self) -> str:
        """The model as a user names it."""
        return self.model if self.adapter is None else f"{self.model}+{self.adapter}"

    @property
    def error(self) -> float | None:
        """Its CRPS over the naive forecast's; None where nothing is scored."""
        return self.crps / self.naive if self.naive > 0 else None

    def answers(self, query: str, model: str | None, adapter: str | None) -> bool:
        """Whether it is of a company that ``query`` may mean, of this model and adapter ("": none)."""
        wanted = query.strip().casefold()
        return (
            (model is None or self.model == model)
            and (adapter is None or (self.adapter or "") == adapter)
            and any(wanted in name.casefold() for name in self.company.names())
        )


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """All forecasts, the newest first."""

    entries: tuple[Entry, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The models there are."""
        return tuple(sorted({entry.model for entry in self.entries}))

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters there are; "" stands for a model without one."""
        return tuple(sorted({entry.adapter or "" for entry in self.entries}))


def load_ledger(home: Home) -> Ledger:
    """The whole ledger with its scores."""
    from stockllm.data.stores.standing import settled

    with open_store(home) as store:
        rows = store.ledger.list(limit=1_000_000)
        known = {company.code: company for company in store.companies()}
        days = {
            id: list(group)
            for id, group in groupby(store.scores.list(), key=lambda each: each.score.forecast)
        }
    entries = []
    for row in rows:
        scored = days.get(row.id, [])
        last = next((each.score for each in scored if each.score.day == row.horizon), None)
        if row.code not in known:
            known[row.code] = Company.bare(row.code)
        entries.append(
            Entry(
                row.id,
                known[row.code],
                row.as_of,
                row.made_at,
                row.due,
                row.model,
                row.adapter,
                row.horizon,
                len(scored),
                "open" if last is None else "hit" if last.inside80 else "miss",
                sum(each.score.crps for each in scored),
                sum(each.score.naive_crps for each in scored),
                sum(each.score.inside80 for each in scored),
                None if last is None else last.actual,
                row.moment,
                settled(row.why_not, (each.score for each in scored)),
            )
        )
    return Ledger(tuple(entries))


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The entries that answer a filter, in order, and how they did, evening by evening.

    ``coverage`` and ``ratio`` are over all scored days up to an evening: the share inside the 80% band,
    and the CRPS over the naive forecast's. ``counted`` says that they are of forecasts that prove
    something; where there are none, they are of all that were scored. As in the record, the baselines'
    own forecasts are left out where no model is asked for, unless there are no others.
    """

    entries: tuple[Entry, ...]
    coverage: tuple[tuple[date, float], ...]
    ratio: tuple[tuple[date, float], ...]
    counted: bool


def choose(
    ledger: Ledger,
    query: str = "",
    model: str | None = None,
    adapter: str | None = None,
    order: str = "made",
    descending: bool = True,
) -> Chosen:
    """The entries that answer, and their curves."""
    from stockllm.forecaster.models.registry import BASELINES

    found = [entry for entry in ledger.entries if entry.answers(query, model, adapter)]
    scored = [entry for entry in found if entry.days]
    if model is None:
        scored = [entry for entry in scored if entry.model not in BASELINES] or scored
    counted = [entry for entry in scored if entry.counts]
    coverage, ratio = _curves(counted or scored)
    return Chosen(tuple(_sorted(found, order, descending)), coverage, ratio, bool(counted))


def _sorted(entries: list[Entry], order: str, descending: bool) -> list[Entry]:
    if order == "error":
        known = [entry for entry in entries if entry.error is not None]
        known.sort(key=lambda entry: entry.error or 0.0, reverse=descending)
        return known + [entry for entry in entries if entry.error is None]
    keys = {
        "made": lambda entry: (entry.as_of, entry.id),
        "due": lambda entry: (entry.due, entry.id),
        "code": lambda entry: (entry.company.code, entry.as_of, entry.id),
    }
    return sorted(entries, key=keys[order], reverse=descending)


def _curves(
    entries: Iterable[Entry],
) -> tuple[tuple[tuple[date, float], ...], tuple[tuple[date, float], ...]]:
    ordered = sorted(entries, key=lambda entry: entry.as_of)
    evenings, sums = [], []
    for evening, group in groupby(ordered, key=lambda entry: entry.as_of):
        own = list(group)
        evenings.append(evening)
        sums.append(
            (
                sum(e.inside for e in own),
                sum(e.days for e in own),
                sum(e.crps for e in own),
                sum(e.naive for e in own),
            )
        )
    running = list(accumulate(sums, lambda a, b: (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])))
    together = list(zip(evenings, running, strict=True))
    return (
        tuple((evening, inside / days) for evening, (inside, days, _, _) in together),
        tuple((evening, crps / naive) for evening, (_, _, crps, naive) in together if naive > 0),
    )


def load_record(home: Home, code: str | None, model: str | None) -> tuple[str, str]:
    """The record against the naive forecast in words, Chinese and English, as the ledger's command has it.

    Where forecasts of several moments are scored, each moment's record follows.
    """
    from stockllm.forecaster.evaluation.scoring import record, records_by_moment

    with open_store(home) as store:
        found = record(store, code, model)
        apart = records_by_moment(store, code, model)
    zh, en = found.sentence_zh, found.sentence_en
    if len(apart) > 1:
        for moment, each in apart.items():
            zh += f" {t(f'moment.{moment}', 'zh')}：{each.sentence_zh.removeprefix('紀錄：')}"
            en += f" {t(f'moment.{moment}', 'en')}: {each.sentence_en.removeprefix('Record: ')}"
    return zh, en


@dataclass(frozen=True, slots=True)
class Band:
    """What a forecast said of the day it was due, in TWD: the 80% band, its middle, the last close."""

    low: float
    median: float
    high: float
    last: float

    def came(self, actual: float | None) -> float | None:
        """The close that came, allowing for ex-dates as the score does."""
        return None if actual is None else self.last * math.exp(actual)


def load_bands(home: Home, ids: Iterable[int]) -> dict[int, Band]:
    """The bands of some forecasts; their paths are read one by one."""
    bands = {}
    with open_store(home) as store:
        for id in ids:
            forecast = store.ledger.get(id)
            low, middle, high = (float(q) / 100 for q in forecast.quantiles("close")[[1, 3, 5], -1])
            bands[id] = Band(low, middle, high, forecast.last_close / 100)
    return bands


def score_now(home: Home) -> int:
    """Scores every day that has come; the number of days scored."""
    from stockllm.forecaster.evaluation.scoring import score_due

    with open_store(home) as store:
        return score_due(store).days


def export_ledger(home: Home, entries: Sequence[Entry], now: datetime) -> Path:
    """The entries as a CSV, with their bands."""
    bands = load_bands(home, [entry.id for entry in entries])
    heading = (
        "id", "code", "as_of", "made_at", "due", "model", "adapter", "horizon", "low80", "median", "high80",
        "came", "verdict", "days_scored", "crps", "naive_crps", "counts", "moment", "why_not",
    )  # fmt: skip
    rows = [
        (
            entry.id, entry.company.code, entry.as_of, entry.made_at.isoformat(), entry.due, entry.model,
            entry.adapter or "", entry.horizon, band.low, band.median, band.high,
            "" if (came := band.came(entry.actual)) is None else round(came, 2), entry.verdict, entry.days,
            entry.crps, entry.naive, entry.counts, entry.moment, entry.why_not or "",
        )
        for entry in entries
        for band in [bands[entry.id]]
    ]  # fmt: skip
    return export.write_csv(export.folder(home) / f"ledger-{now:%Y-%m-%d-%H%M%S}.csv", heading, rows)
