"""Adjusted candles, flows, the world and futures from files: all good, and all the ways to be bad."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standin import FakeClock

from stockllm.collectors.files import adjusted as adjusted_module
from stockllm.collectors.imports import import_paths
from stockllm.data.errors import ImportFailed, StoreError
from stockllm.data.health import health
from stockllm.data.paths import Home
from stockllm.data.records import ImportReport
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar
from stockllm.market.moments import TAIPEI

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SESSIONS = tuple(default_calendar().sessions(date(2025, 3, 3), date(2025, 4, 30)))
NOW = datetime(2025, 5, 2, 9)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Home(tmp_path / "home")) as opened:
        yield opened


@pytest.fixture
def take(store: Store) -> Callable[..., list[ImportReport]]:
    """Import one file, at a moment of Taipei's; every row is accounted for."""

    def run(path: Path, now: datetime = NOW, **options: Any) -> list[ImportReport]:
        reports = import_paths(store, [path], clock=FakeClock(now), **options)
        for report in reports:
            assert report.accepted + report.unchanged + report.revised + report.quarantined == report.read
            assert sum(report.reasons.values()) == report.quarantined
        return reports

    return run


def candles(code: str, days: tuple[date, ...] = SESSIONS, seed: int = 1) -> list[dict[str, Any]]:
    """A company's adjusted candles of five digits, as float32 as files have them."""
    chance = random.Random(f"{code} {seed}")
    rows, close = [], 50.0
    for day in days:
        opening, close = close, close * (1 + chance.gauss(0, 0.01))
        prices = [opening, max(opening, close) * 1.003, min(opening, close) * 0.997, close]
        opening_, high, low, close_ = (float(np.float32(f"{price:.5g}")) for price in prices)
        row = {"code": code, "date": day, "open": opening_, "high": high, "low": low, "close": close_}
        net = {f"{who}_lots": chance.randrange(-50, 50) for who in ("foreign", "trust", "dealer")}
        rows.append(row | {"volume": chance.randrange(1000, 90000)} | net)
    return rows


def parquet(path: Path, rows: list[dict[str, Any]], **types: Any) -> Path:
    table = pa.table({name: [row.get(name) for row in rows] for name in rows[0]})
    for name, kind in types.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    pq.write_table(table, path, row_group_size=30)
    return path


def sentences(reports: list[ImportReport]) -> str:
    for note in (note for report in reports for note in report.notes):
        assert note.zh
        assert "\n" not in note
    return " | ".join(str(note) for report in reports for note in report.notes)


# Adjusted candles and flows


def test_adjusted_candles_and_flows(store: Store, take: Callable[..., Any], tmp_path: Path) -> None:
    rows = candles("2330") + candles("00757") + candles("1101")
    path = parquet(tmp_path / "history.parquet", rows)
    bars, flows = take(path)
    assert (bars.kind, bars.read, bars.accepted, bars.companies) == ("adjusted", len(rows), len(rows), 3)
    assert (flows.kind, flows.accepted) == ("flows", len(rows))
    assert "taken as adjusted prices because 9" in sentences([bars])
    assert store.bars.codes() == [], "traded bars stay apart"
    own = [row for row in rows if row["code"] == "00757"]
    series = store.adjusted.series("00757")
    assert series.close.tolist() == [row["close"] for row in own], "with all their digits"
    figures = store.flows.of("00757")
    assert figures["foreign_net"].tolist() == [1000 * row["foreign_lots"] for row in own]
    evening = datetime(2025, 4, 30, 17, 59, tzinfo=TAIPEI)
    assert date.fromordinal(store.flows.of("1101", evening).days[-1]) == SESSIONS[-2]
    again = take(path)
    assert [(r.accepted, r.unchanged) for r in again] == [(0, len(rows))] * 2
    assert health(store).document()["history"] == [
        {"kind": kind, "subjects": 3, "first": "2025-03-03", "last": "2025-04-30"}
        for kind in ("adjusted", "flows")
    ]


def test_a_later_file_revises(store: Store, take: Callable[..., Any], tmp_path: Path) -> None:
    rows = candles("2330")
    take(parquet(tmp_path / "one.parquet", rows))
    for row in rows[:10]:
        row |= {name: row[name] / 2 for name in ("open", "high", "low", "close")}
    rows[-1]["foreign_lots"] += 1
    bars, flows = take(parquet(tmp_path / "two.parquet", rows))
    assert (bars.revised, bars.unchanged) == (10, len(rows) - 10)
    assert (flows.revised, flows.unchanged) == (1, len(rows) - 1)
    assert store.adjusted.series("2330").close.tolist() == [row["close"] for row in rows]
    before = store.flows.of("2330", NOW.replace(tzinfo=TAIPEI) - timedelta(seconds=1))
    after = store.flows.of("2330", NOW.replace(tzinfo=TAIPEI))
    assert after["foreign_net"][-1] - before["foreign_net"][-1] == 1000


def test_every_bad_row_of_a_history(store: Store, take: Callable[..., Any], tmp_path: Path) -> None:
    good = candles("2330")
    bad = {
        "unreadable": {"close": float("nan")},
        "zero_price": {"low": 0.0},
        "negative_volume": {"volume": -1},
        "future_date": {"date": date(2025, 5, 5)},
        "session_open": {"date": date(2025, 5, 2)},
        "not_a_session": {"date": date(2025, 3, 8)},
        "low_above_high": {"low": 99.0},
        "open_outside_range": {"open": 99.0},
        "close_outside_range": {"close": 99.0},
        "jump_100x": {"date": SESSIONS[20]}
        | {c: good[20][c] * 100 for c in ("open", "high", "low", "close")},
        "lost_zeros": {"code": "757"},
        "not_a_code": {"code": "TSM"},
        "duplicate": {"date": SESSIONS[3]},
    }
    rows = [row for i, row in enumerate(good) if i not in (20, 30)]
    rows += [good[30] | changes for changes in bad.values()]
    rows.append(good[30] | {"open": float("inf")})
    bars, flows = take(parquet(tmp_path / "history.parquet", rows))
    assert bars.reasons == dict.fromkeys(bad, 1) | {"unreadable": 2}
    assert bars.accepted == len(good) - 2
    # What is wrong with a candle says nothing about the purchases of its day: the first of them counts.
    assert flows.reasons.keys() == {
        "future_date", "session_open", "not_a_session", "lost_zeros", "not_a_code", "duplicate"
    }  # fmt: skip
    assert "the codes 757 have lost their leading zeros" in sentences([bars])
    kept = Counter(row.reason for row in store.bars.quarantined())
    assert kept.keys() == bars.reasons.keys()
    assert health(store).companies == (), "rows that never meant to be traded bars miss nobody"


def test_codes_as_numbers_lose_their_zeros_and_are_named(take: Callable[..., Any], tmp_path: Path) -> None:
    rows = candles("2330") + [row | {"code": "50"} for row in candles("0050")]
    bars, flows = take(parquet(tmp_path / "history.parquet", rows, code=pa.int64()))
    assert bars.reasons == flows.reasons == {"lost_zeros": len(SESSIONS)}
    assert bars.accepted == len(SESSIONS)


def test_the_grid_tells_and_the_flags_overrule_it(
    store: Store, take: Callable[..., Any], tmp_path: Path
) -> None:
    rows = candles("2330")
    (bars, _) = take(parquet(tmp_path / "a.parquet", rows), basis="traded")
    assert bars.kind == "prices"
    assert "because --traded says so" in sentences([bars])
    assert store.bars.count("2330") == len(rows)
    assert store.flows.codes() == ["2330"], "purchases are no prices"
    even = [row | dict.fromkeys(("open", "high", "low", "close"), 50.0) for row in candles("2317")]
    reports = take(parquet(tmp_path / "b.parquet", even))
    assert [report.kind for report in reports] == ["prices", "flows"]
    (bars, _) = take(parquet(tmp_path / "b.parquet", even), basis="adjusted")
    assert (bars.kind, bars.accepted) == ("adjusted", len(even))
    assert "because --adjusted says so (0%" in sentences([bars])


def test_a_prices_csv_that_is_adjusted(store: Store, take: Callable[..., Any], tmp_path: Path) -> None:
    lines = [
        f"{r['date']},{r['open']},{r['high']},{r['low']},{r['close']},{r['volume']}" for r in candles("2454")
    ]
    path = tmp_path / "2454.csv"
    path.write_text("\n".join(["date,open,high,low,close,volume", *lines]))
    (bars,) = take(path)
    assert (bars.kind, bars.accepted) == ("adjusted", len(lines))
    assert store.adjusted.codes() == ["2454"]
    path.write_text("\n".join(["date,open,high,low,close,volume", *lines[:19]]))
    (bars,) = take(path)
    assert bars.kind == "prices", "fewer days than a month's prove nothing"


def test_an_import_that_breaks_off_leaves_nothing_of_the_file(
    store: Store, take: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adjusted_module, "_PIECE", 1)  # every company a transaction of its own
    path = parquet(tmp_path / "history.parquet", candles("1101") + candles("2330"))
    keep = store.flows.keep

    def full(arrival: Any, code: str, *rest: Any) -> Any:
        if code == "2330":
            assert store.adjusted.codes() == []
            raise StoreError("no room", zh="沒有空間")
        return keep(arrival, code, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(store.flows, "keep", full)
        with pytest.raises(StoreError):
            take(path)
    assert store.is_empty()
    take(path)
    assert store.adjusted.codes() == store.flows.codes() == ["1101", "2330"]


def test_real_figures_do_not_join_simulated_ones(
    store: Store, take: Callable[..., Any], tmp_path: Path
) -> None:
    path = parquet(tmp_path / "history.parquet", candles("2330"))
    take(path)
    with pytest.raises(StoreError):
        store.set_simulated(True)
    with Store.open(Home(tmp_path / "other")) as other:
        other.set_simulated(True)
        with pytest.raises(StoreError):
            import_paths(other, [path])


# New York


def world(path: Path, rows: list[tuple[Any, ...]]) -> Path:
    text = "\n".join(["symbol,date,open,high,low,close,volume", *(",".join(map(str, r)) for r in rows)])
    path.write_text(text + "\n", encoding="utf-8")
    return path


def weekdays(n: int, start: date = date(2025, 3, 3)) -> list[date]:
    return [start + timedelta(7 * (i // 5) + i % 5) for i in range(n)]


def test_the_world_by_new_yorks_dates(store: Store, take: Callable[..., Any], tmp_path: Path) -> None:
    rows: list[tuple[Any, ...]] = [("^SOX", day, 10, 11, 9, 10.5, 0) for day in weekdays(5)]
    rows += [("tsm", f"{day} 00:00:00-05:00", 10, 11, 9, 10.5, 7) for day in weekdays(5)]
    # A bar stamped at its start in UTC is of the day that New York writes.
    rows += [("^GSPC", "2025-03-04T03:30:00+00:00", 10, 11, 9, 10.5, "")]
    (report,) = take(world(tmp_path / "world.csv", rows))
    assert (report.kind, report.accepted, report.notes) == ("world", 11, ())
    found = store.world.bars()
    assert {symbol: len(series) for symbol, series in found.items()} == {"SOX": 5, "SPX": 1, "TSM": 5}
    assert date.fromordinal(found["SPX"].days[0]) == date(2025, 3, 3)
    assert np.isnan(found["SPX"].volume[0])
    closed = datetime.fromtimestamp(found["SPX"].known_at[0], UTC)
    assert closed == datetime(2025, 3, 3, 21, tzinfo=UTC)
    (again,) = take(tmp_path / "world.csv")
    assert (again.accepted, again.unchanged) == (0, 11)


def test_every_bad_row_of_the_world(store: Store, take: Callable[..., Any], tmp_path: Path) -> None:
    good = [("SOX", day, 10, 11, 9, 10.5, 0) for day in weekdays(20)]
    bad = {
        "duplicate": ("SOX", weekdays(20)[2], 10, 11, 9, 10.6, 0),
        "unreadable": ("SOX", "soon", 10, 11, 9, 10.5, 0),
        "zero_price": ("SOX", date(2025, 4, 1), 10, 11, -9, 10.5, 0),
        "low_above_high": ("SOX", date(2025, 4, 1), 10, 8, 9, 10.5, 0),
        "close_outside_range": ("SOX", date(2025, 4, 1), 10, 11, 9, 12, 0),
        "not_a_session": ("SOX", date(2025, 4, 5), 10, 11, 9, 10.5, 0),
        "future_date": ("SOX", date(2025, 5, 2), 10, 11, 9, 10.5, 0),
        "session_open": ("SOX", date(2025, 5, 1), 10, 11, 9, 10.5, 0),
    }
    infinite = ("SOX", date(2025, 4, 1), "inf", 11, 9, 10.5, 0)
    path = world(tmp_path / "world.csv", [*good, *bad.values(), infinite])
    # Three in the morning of 2 May in Taipei: New York still trades on the 1st.
    (report,) = take(path, now=datetime(2025, 5, 2, 3))
    assert report.reasons == dict.fromkeys(bad, 1) | {"unreadable": 2}
    assert report.accepted == 20
    # An hour later that session is over, and nothing else has changed.
    (later,) = take(path, now=datetime(2025, 5, 2, 4, 1))
    assert (later.accepted, later.unchanged) == (1, 20)
    assert "session_open" not in later.reasons


def test_gaps_and_unknown_symbols_are_said(store: Store, take: Callable[..., Any], tmp_path: Path) -> None:
    days = weekdays(20)
    rows = [("SOX", day, 10, 11, 9, 10.5, 0) for day in days]
    rows += [("TSM", day, 10, 11, 9, 10.5, 0) for day in days if day not in days[5:8]]
    rows += [("XYZ", day, 10, 11, 9, 10.5, 0) for day in days]
    said = sentences(take(world(tmp_path / "world.csv", rows)))
    assert "TSM lacks 3 days that others have, from 2025-03-10 to 2025-03-12" in said
    assert "the symbols XYZ are not among those that forecasts use" in said
    assert len(store.world.bars(["XYZ"])["XYZ"]) == 20
    alone = [row for row in rows if row[0] == "SOX" and row[1] not in days[5:10]]
    (tmp_path / "alone").mkdir()
    said = sentences(take(world(tmp_path / "alone" / "sox.csv", alone)))
    assert "SOX has a gap of more than 5 days, the first between 2025-03-07 and 2025-03-17" in said


def test_the_world_as_parquet_with_a_zone(store: Store, take: Callable[..., Any], tmp_path: Path) -> None:
    stamps = pa.array([datetime(2025, 3, 3, 5), datetime(2025, 3, 4, 5)], pa.timestamp("ns", "UTC"))
    prices = {name: pa.array([10.0, 11.0]) for name in ("open", "high", "low", "close")}
    table = pa.table({"symbol": ["SOX", "SOX"], "date": stamps, **prices})
    pq.write_table(table, tmp_path / "world.parquet")
    (report,) = take(tmp_path / "world.parquet")
    assert report.accepted == 2
    assert date.fromordinal(store.world.bars()["SOX"].days[0]) == date(2025, 3, 3)


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("symbol,date,open,high,low", "close"),
        ("symbol,open,high,low,close", "date"),
        ("date,session,contract,open,high,low", "close"),
        ("交易日期,交易時段,到期月份(週別),開盤價,最高價,最低價", "close"),
    ],
)
def test_missing_columns_are_one_sentence(
    header: str, missing: str, store: Store, take: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "some.csv"
    path.write_text(header + "\n1,2,3,4,5\n")
    with pytest.raises(ImportFailed, match=f"has no column {missing}") as caught:
        take(path)
    assert "缺少欄位" in caught.value.zh
    assert store.is_empty()
    path.write_text("symbol,date,open,high,low,close\n")
    with pytest.raises(ImportFailed, match="no rows"):
        take(path)


# TAIFEX

HEADER = (
    "交易日期,契約,到期月份(週別),開盤價,最高價,最低價,收盤價,漲跌價,漲跌%,成交量,結算價,未沖銷契約數,"
    "最後最佳買價,最後最佳賣價,歷史最高價,歷史最低價,是否因訊息面暫停交易,交易時段,價差對單式委託成交量"
)


def taifex(day: str, session: str, month: str = "202503  ", close: str = "101") -> str:
    tail = "100,4711" if session == "一般" else "-,-"
    return f"{day},TX,{month},100,102,99,{close},1,1.00%,2587,{tail},100,101,200,50,,{session},"


def test_a_file_of_taifexs_own(store: Store, take: Callable[..., Any], tmp_path: Path) -> None:
    rows = [
        taifex("2025/03/10", "一般"),
        taifex("2025/03/10", "盤後") + ",",  # a comma too many
        taifex("2025/03/10", "一般", "202504  "),
        taifex("2025/03/10", "一般", "202503W2"),
        taifex("2025/03/10", "一般", "202503/202504"),
        taifex("2025/03/11", "盤後"),
        taifex("2025/03/11", "盤前"),
        taifex("2025/03/11", "一般", close="-"),
    ]
    path = tmp_path / "tx.csv"
    path.write_bytes("\r\n".join([HEADER, *rows, ""]).encode("big5"))
    (report,) = take(path)
    assert (report.kind, report.accepted) == ("futures", 3)
    assert report.reasons == {"other_contract": 3, "unknown_session": 1, "unreadable": 1}
    assert {row.reason for row in store.bars.quarantined()} == {"unknown_session", "unreadable"}
    days, nights = store.world.days(), store.world.nights()
    assert (days.settlement.tolist(), days.open_interest.tolist()) == ([100.0], [4711.0])
    assert nights.change_pct.tolist() == [1.0, 1.0]
    assert np.isnan(nights.settlement).all()
    assert nights.expiry.tolist() == [202503, 202503]
    monday, tuesday = (datetime.fromtimestamp(at, TAIPEI) for at in nights.known_at.tolist())
    assert (monday, tuesday) == (
        datetime(2025, 3, 8, 5, tzinfo=TAIPEI),
        datetime(2025, 3, 11, 5, tzinfo=TAIPEI),
    )


@pytest.mark.parametrize(
    ("now", "reasons"),
    [
        (datetime(2025, 3, 10, 14, 59), {"future_date": 1}),  # the night of the 11th begins at 15:00
        (datetime(2025, 3, 11, 4, 59), {"session_open": 1}),
        (datetime(2025, 3, 11, 5, 0), {}),
    ],
)
def test_a_night_that_still_runs_is_kept_out(
    now: datetime, reasons: dict[str, int], take: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "tx.csv"
    path.write_text("\n".join([HEADER, taifex("2025/03/11", "盤後")]), encoding="utf-8")
    (report,) = take(path, now=now)
    assert report.reasons == reasons


# The real files


def test_the_real_world_and_futures(store: Store, shared_dir: Path) -> None:
    market = shared_dir / "market"
    reports = import_paths(store, [market / "world.parquet", market / "tx_futures.parquet"])
    assert [(r.kind, r.read, r.accepted) for r in reports] == [
        ("world", 17153, 17153),
        ("futures", 4091, 4091),
    ]
    # Every night is over before its day opens, and on the day itself or before.
    nights = store.world.nights()
    assert len(nights) == 2046
    opens = (nights.days - date(1970, 1, 1).toordinal()) * 86400 + 3600  # 09:00 in Taipei
    assert (nights.known_at < opens).all()
    assert (nights.known_at >= opens - 15 * 86400).all()


def test_the_real_history_in_part(store: Store, shared_dir: Path, tmp_path: Path) -> None:
    import pyarrow.compute as pc

    table = pq.read_table(shared_dir / "market" / "history.parquet")
    codes = ["00757", "2330", "2317", "3008"]
    part = table.filter(pc.is_in(table["code"].cast(pa.string()), value_set=pa.array(codes)))
    pq.write_table(part, tmp_path / "part.parquet")
    bars, flows = import_paths(store, [tmp_path / "part.parquet"])
    assert bars.read == bars.accepted == flows.accepted == part.num_rows
    whole = store.adjusted.all()
    assert whole.codes == tuple(sorted(codes))
    assert len(whole) == part.num_rows
    own = part.filter(pc.equal(part["code"].cast(pa.string()), "2330"))
    assert np.array_equal(store.adjusted.series("2330").close, own["close"].to_numpy().astype(np.float64))
