"""Small files as people have them, good and bad, each with its right answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest

from stockllm.collectors.files.prices_csv import read_day
from stockllm.collectors.imports import import_path, import_paths
from stockllm.data.errors import ImportFailed
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar
from stockllm.market.moments import at_taipei

FILES = Path(__file__).parent / "files"
DAYS = tuple(default_calendar().sessions(date(2025, 3, 3), date(2025, 3, 28)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Home(tmp_path / "home")) as opened:
        yield opened


class At:
    """A clock that stands."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def rows(prices: list[tuple[date, float, int]], header: str = "date,volume,open,high,low,close") -> str:
    return "\n".join([header, *(f"{day},{v},{p},{p},{p},{p}" for day, p, v in prices), ""])


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("file", sorted(p.relative_to(FILES).as_posix() for p in FILES.rglob("*.csv")))
def test_what_people_have_comes_in_alike(store: Store, file: str) -> None:
    (report,) = import_path(store, FILES / file)
    assert (report.read, report.accepted, report.quarantined) == (2, 2, 0)
    found = [
        (bar.date, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in store.bars.bars("2330")
    ]
    assert found == [
        (date(2025, 3, 3), 10000, 10100, 9950, 10050, 12000),
        (date(2025, 3, 4), 10050, 10100, 10000, 10000, 8000),
    ]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-03-30 16:00:00+00:00", date(2026, 3, 31)),
        ("2026-03-30T15:59:59Z", date(2026, 3, 30)),
        ("2026-03-31 00:00:00+08:00", date(2026, 3, 31)),
        ("2026-03-31T00:00:00+0900", date(2026, 3, 30)),
        ("2026-03-30 20:00:00-04:00", date(2026, 3, 31)),
        ("2026-03-30 16:00:00", date(2026, 3, 30)),
        ("2026-03-30 16:00:00.123 UTC", date(2026, 3, 31)),
        ("20260330", date(2026, 3, 30)),
    ],
)
def test_a_time_with_a_zone_is_a_day_in_taipei(text: str, day: date) -> None:
    assert date.fromordinal(read_day(text)) == day


def test_rows_are_held_against_the_clock(store: Store, tmp_path: Path) -> None:
    days = [*DAYS[:3], date(2062, 3, 30)]
    path = write(tmp_path / "in", "2330.csv", rows([(day, 100, 1000) for day in days]))
    (early,) = import_paths(store, [path], clock=At(at_taipei(DAYS[2], 10)))
    assert early.reasons == {"future_date": 1, "session_open": 1}
    assert store.bars.last_date() == DAYS[1]
    (late,) = import_paths(store, [path], clock=At(at_taipei(DAYS[2], 15)))
    assert (late.accepted, late.unchanged, late.reasons) == (1, 2, {"future_date": 1})
    assert store.bars.last_date() == DAYS[2]


def test_flat_rows_without_volume_are_no_trades(store: Store, tmp_path: Path) -> None:
    flat = [(day, 100, 0) for day in DAYS[1:11]]
    path = write(tmp_path / "in", "2330.csv", rows([(DAYS[0], 100, 1000), *flat]))
    (report,) = import_path(store, path)
    assert (report.accepted, report.reasons) == (1, {"no_trade": 10})


@pytest.mark.parametrize("name", ["2025_2330.csv", "2330_2317.csv", "2002-2025.csv", "prices_2025_2330.csv"])
def test_two_codes_in_a_name_are_refused(store: Store, tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "in", name, rows([(DAYS[0], 100, 1000)]))
    with pytest.raises(ImportFailed, match="each of which may be a company's code"):
        import_path(store, path)
    assert store.bars.codes() == []


def test_a_column_that_is_there_twice_is_refused(store: Store, tmp_path: Path) -> None:
    text = "Date,Volume,Open,High,Low,Close,Close\n2025-03-03,1000,100,100,100,100,90\n"
    with pytest.raises(ImportFailed, match="has the column close more than once"):
        import_path(store, write(tmp_path / "in", "2330.csv", text))


@pytest.mark.parametrize(
    ("factor", "volume", "words"),
    [(1, 0.001, "volumes of 2330 are 0.001 times"), (0.95, 1, "closes of 2330 are 0.95 times")],
)
def test_a_constant_ratio_is_warned_of(
    store: Store, tmp_path: Path, factor: float, volume: float, words: str
) -> None:
    before = [(day, 100 + k, 1_000_000 + 1000 * k) for k, day in enumerate(DAYS)]
    import_path(store, write(tmp_path / "in", "2330.csv", rows(before)))
    after = [(day, price * factor, round(shares * volume)) for day, price, shares in before]
    (report,) = import_path(store, write(tmp_path / "new", "2330.csv", rows(after)), basis="traded")
    assert report.revised == len(DAYS)
    assert words in " ".join(report.notes)
    (again,) = import_path(store, write(tmp_path / "in", "2330.csv", rows(before)), basis="traded")
    assert again.revised == len(DAYS)
