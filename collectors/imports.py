"""Takes files in: finds out by their content what they are, and accounts for every row.

All files of a folder are looked at before the first one is written, and each comes in whole or not at
all. Taking the same file in again changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stockllm.collectors.clock import Clock, SystemClock
from stockllm.collectors.files import news_json, prices_csv, prices_parquet, sheets, world_files
from stockllm.collectors.files.import_files import (
    JSON_PART,
    TEXT_PART,
    ImportFile,
    files_of,
    json_of,
    look_at,
    text_of,
)
from stockllm.collectors.files.limits import DEFAULT, Limits, cut, head_of
from stockllm.data import clock as own_clock
from stockllm.data.records import Bar, ImportReport, QuarantinedRow

if TYPE_CHECKING:
    from datetime import date, datetime

    from stockllm.collectors.files.adjusted import Basis
    from stockllm.collectors.files.import_files import Kind
    from stockllm.data.records import BarSeries
    from stockllm.data.sentences import Sentence
    from stockllm.data.store import Store
    from stockllm.data.validation import RawRows
    from stockllm.market.calendar import TradingCalendar

#: Called with (rows done, rows in all).
Progress = Callable[[int, int], None]

# Days on which two files must agree in a ratio before it says something.
_ALIKE = 10
# What a list names must be known before prices and news are matched with it.
_ORDER: tuple[Kind, ...] = ("companies", "futures", "world", "csv", "parquet", "news")


def import_path(
    store: Store, path: Path, progress: Progress | None = None, *, basis: Basis | None = None
) -> list[ImportReport]:
    """Take in one path: `import_paths` of it alone."""
    return import_paths(store, [path], progress, basis=basis)


def import_paths(
    store: Store,
    paths: Sequence[Path],
    progress: Progress | None = None,
    *,
    basis: Basis | None = None,
    clock: Clock | None = None,
    limits: Limits = DEFAULT,
) -> list[ImportReport]:
    """Take in files, and every CSV, JSON and parquet file of folders; one report a file and kind.

    In every report ``accepted + unchanged + revised + quarantined == read``. A file with prices and
    the institutions' purchases has two reports, each of all its rows. Prices are adjusted or traded as
    ``basis`` says, else as the tick grid shows. The clock tells which sessions are over. News of
    companies that the store does not know counts as quarantined, under ``unknown_company`` and what
    the file calls it, and is not kept. Raises ImportFailed for a file that cannot be taken in or passes
    the ``limits``, UnknownCompany for a company list that names one, and StoreError where the store
    holds simulated prices. Then nothing of that file is written, and nothing at all where looking at
    the files was enough to tell.
    """
    found = dict.fromkeys(one for path in paths for one in files_of(Path(path)))
    files = [look_at(one, store, basis, limits) for one in found]
    if any(file.kind not in ("companies", "news") for file in files):
        store.expect_simulated(False)
    tick = _ticker(progress, sum(file.rows for file in files))
    calendar = _calendar(files, store)
    now = (clock or SystemClock()).now()
    reports: dict[ImportFile, list[ImportReport]] = {}
    for file in sorted(files, key=lambda file: _ORDER.index(file.kind)):
        if file.kind in ("csv", "parquet"):
            reports[file] = _take_prices(file, store, calendar, now, tick)
            continue
        if file.kind == "companies":
            reports[file] = [_take_companies(file, store)]
        elif file.kind == "news":
            reports[file] = [_take_news(file, store)]
        else:
            take = world_files.take_world if file.kind == "world" else world_files.take_futures
            reports[file] = [take(store, file.source, _sheet_of(file), now)]
        tick(file.rows)
    return [report for file in files for report in reports[file]]


def _ticker(progress: Progress | None, total: int) -> Callable[[int], None]:
    done = 0

    def tick(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, total)

    return tick


# What is in them


def _rows_of(file: ImportFile) -> Iterator[RawRows]:
    if file.kind == "parquet":
        yield from prices_parquet.read(file.path, source=file.source, name=str(file.path))
    else:
        text = text_of(file.path, file.limits, part=TEXT_PART)
        yield prices_csv.read(
            text, code=file.code, source=file.source, name=str(file.path), limits=file.limits
        )


def _sheet_of(file: ImportFile) -> sheets.Sheet:
    assert file.kind in ("world", "futures")
    if head_of(file.path, str(file.path)).startswith(b"PAR1"):
        return sheets.sheet_of_parquet(file.path, file.kind, str(file.path))
    text = text_of(file.path, file.limits, part=TEXT_PART)
    return sheets.sheet_of_text(text, file.kind, str(file.path), file.limits)


def _calendar(files: Iterable[ImportFile], store: Store) -> TradingCalendar:
    """The calendar to judge rows by: what is known, and what these files themselves prove.

    A weekday closed by rule was a session after all if enough companies of the files traded on it.
    A row that repeats the day before is no trade: aggregators fill holidays so.
    """
    import numpy as np

    from stockllm.market.calendar import evidence

    calendar = store.calendar().without_silent()
    traded: Counter[int] = Counter()
    companies = 0
    for file in files:
        if file.kind not in ("csv", "parquet"):
            continue
        for rows in _rows_of(file):
            companies += 1
            moved = np.ones(len(rows), dtype=bool)
            same = (rows.prices[1:] == rows.prices[:-1]).all(axis=1) & (rows.volumes[1:] == rows.volumes[:-1])
            moved[1:] = ~same
            traded.update(set(rows.days[moved & (rows.volumes > 0) & (rows.days > 0)].tolist()))
    return calendar.with_opened(_weekdays(traded, evidence(companies), calendar))


def _weekdays(traded: Counter[int], enough: int, calendar: TradingCalendar) -> Iterator[date]:
    from datetime import date

    for ordinal, count in traded.items():
        day = date.fromordinal(ordinal)
        if count >= enough and day.weekday() < 5 and not calendar.is_session(day):
            yield day


# Taking them in


def _take_prices(
    file: ImportFile, store: Store, calendar: TradingCalendar, now: datetime, tick: Callable[[int], None]
) -> list[ImportReport]:
    """Keep a file's candles, adjusted or traded, and the institutions' purchases where it has them."""
    from stockllm.collectors.files.adjusted import take_adjusted
    from stockllm.data.validation_history import Days

    reports: list[ImportReport] = []
    notes = (file.why,) if file.why is not None and (file.adjusted or file.flows) else ()
    if not file.adjusted:
        report = take_prices(store, file.source, _rows_of(file), calendar=calendar, tick=tick, now=now)
        reports.append(replace(report, notes=(*notes, *report.notes)))
        if not file.flows:
            return reports
    days = Days(calendar, now)
    return reports + take_adjusted(
        store,
        file.source,
        _rows_of(file),
        days=days,
        tick=tick if file.adjusted else _no_tick,
        notes=notes if file.adjusted else (),
        candles=file.adjusted,
    )


def _no_tick(_rows: int) -> None:
    """For rows that were counted before."""


def take_prices(
    store: Store,
    source: str,
    companies: Iterable[RawRows],
    *,
    calendar: TradingCalendar,
    tick: Callable[[int], None],
    now: datetime | None = None,
) -> ImportReport:
    """Judge the rows of one source, company by company, and keep them: all or none.

    Rows of sessions that are not over ``now``, by the clock where it is None, are refused.
    """
    from stockllm.data.validation import validate

    refused: list[QuarantinedRow] = []
    warnings: list[Sentence] = []
    read = repaired = flagged = 0
    codes: set[str] = set()
    now = now or own_clock.now()

    def judged() -> Iterator[Bar]:
        nonlocal read, repaired, flagged
        for rows in companies:
            known = store.bars.series(rows.code) if rows.code else None
            result = validate(rows, calendar=calendar, known=known, now=now)
            warnings.extend(_ratios(result.bars, known))
            refused.extend(result.quarantined)
            read += len(rows)
            repaired += result.repaired
            codes.add(rows.code)
            for bar in result.bars:
                flagged += any(flag != "repaired" for flag in bar.flags)
                yield bar
            tick(len(rows))

    with store.transaction(), store.arrivals.bring("prices", source, own_clock.now()) as arrival:
        counts = store.bars.take(judged(), arrival.at)
        arrival.kept = counts.new + counts.revised
        store.bars.quarantine(refused, arrival.at)
    return ImportReport(
        source=source,
        kind="prices",
        read=read,
        accepted=counts.new,
        unchanged=counts.unchanged,
        revised=counts.revised,
        repaired=repaired,
        flagged=flagged,
        quarantined=len(refused),
        companies=len(codes),
        reasons=dict(Counter(row.reason for row in refused)),
        notes=tuple(warnings),
    )


def _ratios(bars: Sequence[Bar], known: BarSeries | None) -> Iterator[Sentence]:
    """A warning where what comes in is what is stored, times a constant: another unit, or adjusted."""
    import numpy as np

    from stockllm.data.sentences import Sentence

    if known is None or not bars:
        return
    place = {day: k for k, day in enumerate(known.dates)}
    pairs = [(bar, place[bar.date]) for bar in bars if bar.date in place]
    if len(pairs) < _ALIKE:
        return
    at = [k for _, k in pairs]
    new = np.array([(bar.close / 100, bar.volume) for bar, _ in pairs], dtype=float)
    old = np.stack([known.close[at], known.volume[at]], axis=1)
    sound = (old > 0).all(axis=1) & (new > 0).all(axis=1)
    if sound.sum() < _ALIKE:
        return
    for column, zh, en in ((0, "收盤價", "closes"), (1, "成交量", "volumes")):
        ratio = new[sound, column] / old[sound, column]
        middle = float(np.median(ratio))
        if abs(middle - 1) > 0.002 and np.abs(ratio / middle - 1).max() < 0.002:
            hint_zh, hint_en = ("可能是還原股價", "adjusted prices?") if column == 0 else (
                "單位可能是張而非股",
                "lots in place of shares?",
            )  # fmt: skip
            days = int(sound.sum())
            yield Sentence(
                f"the {en} of {bars[0].code} are {middle:.4g} times the stored ones on all {days} days "
                f"({hint_en}); 'stockllm imports undo' takes them back",
                zh=f"{bars[0].code} 的{zh}在 {days} 天都是資料庫的 {middle:.4g} 倍（{hint_zh}）；"
                "'stockllm imports undo' 可復原",
            )


def _take_companies(file: ImportFile, store: Store) -> ImportReport:
    new = store.add_companies(file.companies)
    return ImportReport(
        source=file.source,
        kind="companies",
        read=file.rows,
        accepted=new,
        unchanged=file.rows - new,
        companies=len(file.companies),
    )


def _take_news(file: ImportFile, store: Store) -> ImportReport:
    text = text_of(file.path, file.limits, part=JSON_PART)
    entries = news_json.news_entries(json_of(file.path, text))
    accepted = unchanged = 0
    reasons: Counter[str] = Counter()
    refused: list[QuarantinedRow] = []
    codes: set[str] = set()
    with store.transaction():
        for entry in news_json.read_entries(entries or [], store):
            code = entry.company.code if entry.company else ""
            for line, raw in entry.unreadable:
                refused.append(QuarantinedRow(file.source, line, code, None, "unreadable_article", raw))
            if entry.company is None:
                if entry.articles:
                    reasons[f"unknown_company: {cut(entry.label)}"] += len(entry.articles)
            elif entry.articles:
                new, known = store.news.put(entry.articles, code)
                accepted += new
                unchanged += known
                codes.add(code)
        store.bars.quarantine(refused)
    reasons.update(row.reason for row in refused)
    return ImportReport(
        source=file.source,
        kind="news",
        read=file.rows,
        accepted=accepted,
        unchanged=unchanged,
        quarantined=sum(reasons.values()),
        companies=len(codes),
        reasons=dict(reasons),
    )
