"""Reading prices: CSV in the reference's layout, and parquet."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.collectors.files import prices_parquet
from stockllm.collectors.files.prices_csv import read, read_day, read_number
from stockllm.data.errors import ImportFailed
from stockllm.data.validation import RawRows, validate

HEADER = ",date,capacity,turnover,open,high,low,close,change,transaction"
ROW = "0,2025-01-02,53594040,1940182343,37.45,37.55,35.5,35.5,-2.15,28766"


def csv_rows(*lines: str, header: str = HEADER) -> RawRows:
    return read("\n".join([header, *lines, ""]), code="2330", source="test.csv", name="2330.csv")


def test_the_reference_layout() -> None:
    (bar,) = validate(csv_rows(ROW)).bars
    assert (bar.code, bar.date, bar.source) == ("2330", date(2025, 1, 2), "test.csv")
    assert (bar.open, bar.high, bar.low, bar.close) == (3745, 3755, 3550, 3550)
    assert (bar.volume, bar.value, bar.trades, bar.reference) == (53594040, 1940182343, 28766, 3765)


def test_columns_go_by_name() -> None:
    rows = csv_rows("35.5,35.5,37.55,37.45,2025-01-02,53594040", header="Close,LOW, high ,open,Date,volume")
    (bar,) = validate(rows).bars
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (3745, 3755, 3550, 3550, 53594040)
    assert (bar.value, bar.trades, bar.reference) == (None, None, None)


def test_windows_line_ends_quotes_and_thousands() -> None:
    text = f'{HEADER}\r\n0,114/01/02,"53,594,040",,"1,075.00","1,080","1,065",1070,X0.00,--\r\n\r\n'
    rows = read(text, code="2330", source="s", name="n")
    (bar,) = validate(rows).bars
    assert (bar.open, bar.volume, bar.value, bar.trades) == (107500, 53594040, None, None)
    assert bar.date == date(2025, 1, 2)


@pytest.mark.parametrize("missing", ["date", "open", "high", "low", "close", "capacity"])
def test_a_missing_column_is_named(missing: str) -> None:
    header = ",".join(name for name in HEADER.split(",") if name != missing)
    name = "capacity or volume" if missing == "capacity" else missing
    with pytest.raises(ImportFailed, match=rf"2330\.csv has no column {name}: ") as caught:
        csv_rows(ROW, header=header)
    assert "\n" not in str(caught.value)


def test_several_missing_columns_are_all_named() -> None:
    with pytest.raises(ImportFailed, match="no column open, high"):
        csv_rows("x", header="date,low,close,volume")


def test_a_header_alone_is_refused() -> None:
    with pytest.raises(ImportFailed, match="no rows"):
        csv_rows()


def test_broken_quoting_is_refused() -> None:
    with pytest.raises(ImportFailed, match="cannot be read as CSV"):
        csv_rows('0,"2025-01-02')


def test_rows_that_cannot_be_read_say_so_and_keep_their_line() -> None:
    result = validate(
        csv_rows(
            ROW,
            "1,2025-01-03,1000,,abc,38,37,37.5,,",
            "2,not a date,1000,,37,38,37,37.5,,",
            "3,2025-01-07,1000,,37,38",
            "4,2025-01-08,1000,,37,38,37,37.5,,,extra",
            "5,2025-01-09,,,37,38,37,37.5,,",
            "6,2025-01-10,0,0,--,--,--,--,0.00,0",
            "7,2025-01-13,5000,,,,,,,",
            "",
            "8,2025-01-14,1000,,37,38,37,37.5,,",
        )
    )
    assert [bar.date.day for bar in result.bars] == [2, 14]
    found = [(row.line, row.reason, row.raw) for row in result.quarantined]
    assert [line for line, _, _ in found] == [3, 4, 5, 6, 7, 8, 9]
    assert [reason for _, reason, _ in found] == ["unreadable"] * 5 + ["no_trade", "unreadable"]
    assert found[0][2] == "1,2025-01-03,1000,,abc,38,37,37.5,,"
    assert found[2][2] == "3,2025-01-07,1000,,37,38"


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-02",
        "2025/1/2",
        "20250102",
        "114/01/02",
        "114-1-2",
        "1140102",
        "114年01月02日",
        "2025-01-02 00:00:00",
        "2025-01-02T00:00:00+08:00",
        " １１４/０１/０２ ",
        "114/01/02*",
        "114/01/02＊",
    ],
)
def test_dates(text: str) -> None:
    assert read_day(text) == date(2025, 1, 2).toordinal()


@pytest.mark.parametrize(
    "text", ["", "abc", "2025-02-30", "2025-13-01", "0/1/2", "25-01-02", "12/31/2025", "1735747200"]
)
def test_no_dates(text: str) -> None:
    assert read_day(text) == 0


@given(st.dates(date(1962, 2, 9), date(2100, 12, 31)))
def test_every_date_in_every_spelling(day: date) -> None:
    roc = day.year - 1911
    for text in (day.isoformat(), f"{day:%Y/%m/%d}", f"{day:%Y%m%d}", f"{roc}/{day:%m/%d}"):
        assert read_day(text) == day.toordinal(), text


def test_numbers() -> None:
    assert read_number("1,075.50") == 1075.5
    assert read_number(" +2.00 ") == 2
    assert read_number("１０") == 10
    for text in ("", "--", "X0.00", "除息", "1,07", "1.2.3", "abc"):
        assert math.isnan(read_number(text)), text


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        rows = read(f"{HEADER}\n{text}", code="2330", source="s", name="n")
    except ImportFailed:
        return
    result = validate(rows)
    assert len(result.bars) + len(result.quarantined) == len(rows) > 0


# Parquet

COLUMNS: dict[str, list[Any]] = {
    "code": ["2330", "2317", "2330", "2317"],
    "date": [date(2025, 1, 2), date(2025, 1, 2), date(2025, 1, 3), date(2025, 1, 3)],
    "open": [1070.0, 180.0, 1075.0, None],
    "high": [1075.0, 181.0, 1080.0, None],
    "low": [1065.0, 179.5, 1070.0, None],
    "close": [1075.0, 180.5, 1075.0, None],
    "volume": [1000, 2000, 3000, 0],
}


def parquet(path: Path, columns: dict[str, Any]) -> list[RawRows]:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    rows = list(prices_parquet.read(path, source="p.parquet", name="p.parquet"))
    assert prices_parquet.count(path, name="p.parquet") == sum(map(len, rows))
    return rows


def test_parquet_by_company(tmp_path: Path) -> None:
    foxconn, tsmc = parquet(tmp_path / "p.parquet", COLUMNS)
    assert (foxconn.code, tsmc.code) == ("2317", "2330")
    assert tsmc.lines.tolist() == [1, 3]
    bars = validate(tsmc).bars
    assert [(bar.date, bar.open, bar.volume) for bar in bars] == [
        (date(2025, 1, 2), 107000, 1000),
        (date(2025, 1, 3), 107500, 3000),
    ]
    result = validate(foxconn)
    assert [(row.line, row.reason, row.raw) for row in result.quarantined] == [
        (4, "no_trade", "2317,2025-01-03,nan,nan,nan,nan,0")
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_timestamps(tmp_path: Path, unit: str) -> None:
    days = np.array(["2025-01-02"] * 2 + ["2025-01-03"] * 2, dtype="datetime64[s]").astype(
        f"datetime64[{unit}]"
    )
    _, tsmc = parquet(tmp_path / "p.parquet", COLUMNS | {"date": days})
    assert tsmc.days.tolist() == [date(2025, 1, 2).toordinal(), date(2025, 1, 3).toordinal()]


def test_parquet_times_with_a_zone_count_in_taipei(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    midnight = np.array(["2025-01-01T16:00:00"] * 4, dtype="datetime64[us]")
    days = pa.array(midnight).cast(pa.timestamp("us", "UTC"))
    _, tsmc = parquet(tmp_path / "p.parquet", COLUMNS | {"date": days})
    assert tsmc.days[0] == date(2025, 1, 2).toordinal()


def test_parquet_of_text_and_single_precision(tmp_path: Path) -> None:
    text = {
        "date": ["114/01/02", "2025-01-02", "x", None],
        "open": ["1,070", "180", "1075", None],
        "close": np.array([1075, 180.5, 1075, 180], dtype=np.float32),
        "code": [2330, 2317, 2330, 2317],
    }
    foxconn, tsmc = parquet(tmp_path / "p.parquet", COLUMNS | text)
    assert [bar.open for bar in validate(tsmc).bars] == [107000]
    assert [row.reason for row in validate(tsmc).quarantined] == ["unreadable"]
    assert [row.reason for row in validate(foxconn).quarantined] == ["unreadable"]


def test_parquet_codes_that_are_no_shares(tmp_path: Path) -> None:
    codes = {"code": ["2330.TW", "084863", None, "0050"]}
    found = {rows.code: validate(rows) for rows in parquet(tmp_path / "p.parquet", COLUMNS | codes)}
    assert len(found["2330"].bars) == 1
    reasons = {code: [row.reason for row in result.quarantined] for code, result in found.items()}
    assert reasons == {"": ["unreadable"], "0050": ["not_a_share"], "084863": ["not_a_share"], "2330": []}


def test_parquet_that_cannot_be_taken_in(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="no column close: "):
        parquet(tmp_path / "a.parquet", {k: v for k, v in COLUMNS.items() if k != "close"})
    with pytest.raises(ImportFailed, match=r"column open of .* holds"):
        parquet(tmp_path / "b.parquet", COLUMNS | {"open": [[1.0]] * 4})
    with pytest.raises(ImportFailed, match=r"column date of .* holds"):
        parquet(tmp_path / "c.parquet", COLUMNS | {"date": [True] * 4})
    damaged = tmp_path / "d.parquet"
    damaged.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(ImportFailed, match="cannot be read as parquet"):
        prices_parquet.count(damaged, name="d.parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: pa.array([], pa.float64()) for name in COLUMNS}), damaged)
    with pytest.raises(ImportFailed, match="no rows"):
        prices_parquet.count(damaged, name="d.parquet")
