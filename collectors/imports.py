"""Takes files in: finds out by their content what they are, and accounts for every row.

All files of a folder are looked at before the first one is written, and each comes in whole or not at
all. Taking the same file in again changes nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stockllm.collectors import company_list, news_json, prices_csv, prices_parquet, world_files
from stockllm.collectors.clock import Clock, SystemClock
from stockllm.data import clock as own_clock
from stockllm.data.errors import ImportFailed, UnknownCompany
from stockllm.data.records import Bar, ImportReport, QuarantinedRow

if TYPE_CHECKING:
    from datetime import date, datetime

    from stockllm.collectors.adjusted import Basis
    from stockllm.data.records import Series
    from stockllm.data.sentences import Sentence
    from stockllm.data.store import Store
    from stockllm.data.validation import RawRows
    from stockllm.market.calendar import TradingCalendar
    from stockllm.market.companies import Company

#: Called with (rows done, rows in all).
Progress = Callable[[int, int], None]

_SUFFIXES = frozenset({".csv", ".json", ".parquet"})
_CODES = re.compile(r"(?<![A-Za-z0-9])\d{4,6}[A-Z]?(?![A-Za-z0-9])")
_YEAR = re.compile(r"(19|20)\d\d((0[1-9]|1[0-2]))?")

# Days on which two files must agree in a ratio before it says something.
_ALIKE = 10
_WHAT = "prices, world prices or index futures (CSV or parquet), a company list (JSON) or news (JSON)"
_WHAT_ZH = "股價、國際行情或指數期貨（CSV 或 parquet）、公司清單（JSON）或新聞（JSON）"

Kind = Literal["csv", "parquet", "companies", "news", "world", "futures"]
# What a list names must be known before prices and news are matched with it.
_ORDER: tuple[Kind, ...] = ("companies", "futures", "world", "csv", "parquet", "news")


@dataclass(frozen=True)
class _File:
    """A file that was looked at: ``source`` is folder and name, ``rows`` how many it holds.

    Prices are ``adjusted`` or traded, and ``why`` says what told; ``flows`` says whether the file has
    the institutions' purchases too.
    """

    path: Path
    source: str
    kind: Kind
    rows: int
    code: str = ""
    companies: tuple[Company, ...] = ()
    adjusted: bool = False
    why: Sentence | None = None
    flows: bool = False


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
) -> list[ImportReport]:
    """Take in files, and every CSV, JSON and parquet file of folders; one report a file and kind.

    In every report ``accepted + unchanged + revised + quarantined == read``. A file with prices and
    the institutions' purchases has two reports, each of all its rows. Prices are adjusted or traded as
    ``basis`` says, else as the tick grid shows. The clock tells which sessions are over. News of
    companies that the store does not know counts as quarantined, under ``unknown_company`` and what
    the file calls it, and is not kept. Raises ImportFailed for a file that cannot be taken in,
    UnknownCompany for a company list that names one, and StoreError where the store holds simulated
    prices. Then nothing of that file is written, and nothing at all where looking at the files was
    enough to tell.
    """
    found = dict.fromkeys(one for path in paths for one in _files(Path(path)))
    files = [_look_at(one, store, basis) for one in found]
    if any(file.kind not in ("companies", "news") for file in files):
        store.expect_simulated(False)
    tick = _ticker(progress, sum(file.rows for file in files))
    calendar = _calendar(files, store)
    now = (clock or SystemClock()).now()
    reports: dict[_File, list[ImportReport]] = {}
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
            reports[file] = [take(store, file.source, _grid_of(file), now)]
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


# Looking at files


def _files(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            found = sorted(
                file
                for file in path.iterdir()
                if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".") and file.is_file()
            )
            if not found:
                raise ImportFailed(
                    f"The folder {path} holds no CSV, JSON or parquet file: name one that does.",
                    zh=f"資料夾 {path} 裡沒有 CSV、JSON 或 parquet 檔：請指定有這些檔案的資料夾。",
                )
            return found
        if not path.exists():
            raise ImportFailed(
                f"There is no file or folder {path}: check the path.",
                zh=f"沒有 {path} 這個檔案或資料夾：請檢查路徑。",
            )
    except OSError as error:
        raise ImportFailed(
            f"{path} cannot be read ({error.strerror}): check its permissions.",
            zh=f"{path} 無法讀取（{error.strerror}）：請檢查其權限。",
        ) from error
    if not path.is_file():
        raise ImportFailed(
            f"{path} is neither a file nor a folder: name {_WHAT}.",
            zh=f"{path} 不是檔案也不是資料夾：請指定{_WHAT_ZH}。",
        )
    return [path]


def _look_at(path: Path, store: Store, basis: Basis | None) -> _File:
    """Find out what a file is. ImportFailed where it is nothing that can be taken in."""
    from stockllm.collectors.adjusted import Grid

    absolute = path.absolute()
    source = f"{absolute.parent.name}/{absolute.name}" if absolute.parent.name else absolute.name
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise ImportFailed(
            f"{path} cannot be read ({error.strerror}): check its permissions.",
            zh=f"{path} 無法讀取（{error.strerror}）：請檢查其權限。",
        ) from error
    if not head:
        raise ImportFailed(
            f"{path} is empty: there is nothing to import.", zh=f"{path} 是空的：沒有可匯入的內容。"
        )
    if head == b"PAR1":
        header = world_files.header_of_parquet(path)
        if kind := world_files.kind_of(header):
            return _File(path, source, kind, len(world_files.grid_of_parquet(path, kind, str(path))))
        rows = prices_parquet.count(path, name=str(path))
        grid = Grid()
        for code, prices in prices_parquet.prices_by_code(path, name=str(path)):
            grid.see(code, prices)
        found, why = grid.basis(basis)
        flows = prices_csv.find_flows(header) is not None
        return _File(path, source, "parquet", rows, adjusted=found == "adjusted", why=why, flows=flows)
    text = _text(path)
    if text.lstrip()[:1] in ("[", "{"):
        document = _json(path, text)
        news = news_json.news_entries(document)
        if news is not None:
            articles = sum(len(entry.get(key) or ()) for entry in news for key in news_json.NEWS_KEYS)
            return _File(path, source, "news", articles)
        companies = company_list.company_entries(document)
        if companies is not None:
            resolved = company_list.resolve_entries(companies, store, str(path))
            return _File(path, source, "companies", len(companies), companies=tuple(resolved))
        raise ImportFailed(
            f"{path} is JSON but neither a company list, such as "
            '[{"name_zh": "台積電"}, {"code": 3711}], nor news with articles under '
            f"{', '.join(news_json.NEWS_KEYS)}: correct it.",
            zh=(
                f"{path} 是 JSON，但既不是公司清單，也不是在 {', '.join(news_json.NEWS_KEYS)} 之"
                "下列出文章的新聞：請修正。"
            ),
        )
    header = world_files.header_of_text(text)
    if kind := world_files.kind_of(header):
        return _File(path, source, kind, len(world_files.grid_of_text(text, kind, str(path))))
    prices_csv.check_header(text, str(path))  # before a file that holds no prices is asked for a code
    code = _code(path, store)
    raw = prices_csv.read(text, code=code, source=source, name=str(path))
    grid = Grid()
    grid.see(code, raw.prices)
    found, why = grid.basis(basis)
    return _File(
        path,
        source,
        "csv",
        len(raw),
        code,
        adjusted=found == "adjusted",
        why=why,
        flows=raw.flows is not None,
    )


def _text(path: Path) -> str:
    """A text file in UTF-8, UTF-16 with its mark, or Big5, as Taiwanese spreadsheets write."""
    data = path.read_bytes()
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp950")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ImportFailed(
        f"{path} is neither text nor parquet: name {_WHAT}.",
        zh=f"{path} 既不是文字檔也不是 parquet：請指定{_WHAT_ZH}。",
    )


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImportFailed(
            f"{path} is not valid JSON ({error}): export it again.",
            zh=f"{path} 不是正確的 JSON（{error}）：請重新匯出。",
        ) from error


def _code(path: Path, store: Store) -> str:
    """The code in a prices file's name: 2330.csv, 2330.TW.csv, 2330_2025.csv, or 台積電.csv.

    Where two numbers may be codes, none is guessed.
    """
    found = list(dict.fromkeys(_CODES.findall(path.stem)))
    if len(found) == 1:
        return found[0]
    if found:
        if not _YEAR.fullmatch(found[0]) and all(map(_YEAR.fullmatch, found[1:])):
            return found[0]
        raise ImportFailed(
            f"The name of {path} holds {' and '.join(found)}, each of which may be a company's code: name a "
            "prices file by its code alone, such as 2330.csv.",
            zh=f"檔名 {path} 有 {'、'.join(found)}，都可能是股票代號：請只以代號命名股價檔，例如 2330.csv。",
        )
    try:
        return store.resolve(path.stem).code
    except UnknownCompany as error:
        raise ImportFailed(
            f"The name of {path} gives no company's code: name a prices file by it, such as 2330.csv.",
            zh=f"從檔名 {path} 看不出股票代號：請以代號命名股價檔，例如 2330.csv。",
        ) from error


def _rows_of(file: _File) -> Iterator[RawRows]:
    if file.kind == "parquet":
        yield from prices_parquet.read(file.path, source=file.source, name=str(file.path))
    else:
        yield prices_csv.read(_text(file.path), code=file.code, source=file.source, name=str(file.path))


def _grid_of(file: _File) -> world_files.Grid:
    assert file.kind in ("world", "futures")
    if file.path.read_bytes()[:4] == b"PAR1":
        return world_files.grid_of_parquet(file.path, file.kind, str(file.path))
    return world_files.grid_of_text(_text(file.path), file.kind, str(file.path))


def _calendar(files: Iterable[_File], store: Store) -> TradingCalendar:
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
    file: _File, store: Store, calendar: TradingCalendar, now: datetime, tick: Callable[[int], None]
) -> list[ImportReport]:
    """Keep a file's candles, adjusted or traded, and the institutions' purchases where it has them."""
    from stockllm.collectors.adjusted import take_adjusted
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


def _ratios(bars: Sequence[Bar], known: Series | None) -> Iterator[Sentence]:
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


def _take_companies(file: _File, store: Store) -> ImportReport:
    new = store.add_companies(file.companies)
    return ImportReport(
        source=file.source,
        kind="companies",
        read=file.rows,
        accepted=new,
        unchanged=file.rows - new,
        companies=len(file.companies),
    )


def _take_news(file: _File, store: Store) -> ImportReport:
    entries = news_json.news_entries(_json(file.path, _text(file.path)))
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
                    reasons[f"unknown_company: {entry.label}"] += len(entry.articles)
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
