"""Files made to fill the memory or to break their reading: each is one sentence, and nothing is kept."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stockllm.collectors.files.company_list import resolve_company_list
from stockllm.collectors.files.limits import Limits, read_json
from stockllm.collectors.files.prices_csv import read, read_number
from stockllm.collectors.imports import import_paths
from stockllm.data.errors import ImportFailed, UnknownCompany
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.store import Store

HEADER = "date,open,high,low,close,volume"
ROW = "2025-01-02,100,101,99,100,1000"
SMALL = Limits(megabytes=1, rows=1000, columns=20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Home(tmp_path / "home")) as opened:
        yield opened


def columns(n: int = 2) -> dict[str, Any]:
    prices = {name: [100.0] * n for name in ("open", "high", "low", "close")}
    return {"code": ["2330"] * n, "date": [date(2025, 1, 2)] * n, **prices, "volume": [1000] * n}


def refused(store: Store, path: Path, limits: Limits = SMALL) -> str:
    with pytest.raises(ImportFailed) as caught:
        import_paths(store, [path], limits=limits)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 1000
    assert store.bars.count() == 0
    return sentence


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Sizes


def test_short_rows_under_a_wide_header_share_one_empty_row() -> None:
    wide = ",".join([HEADER, *(f"x{i}" for i in range(900))])
    text = wide + "\n" + "1\n" * 10_000
    tracemalloc.start()
    try:
        assert len(read(text, code="2330", source="s", name="n")) == 10_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6, "an empty row for each would take 72 MB"


def test_too_many_columns_rows_and_bytes(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "2330.csv"
    assert "columns" in refused(store, write(path, HEADER + ",x" * 20 + f"\n{ROW}\n"))
    assert "more than 100 rows" in refused(store, write(path, f"{HEADER}\n" + f"{ROW}\n" * 101))
    assert "import_megabytes" in refused(store, write(path, f"{HEADER}\n" + "\n" * 600_000))
    assert "import_megabytes" in refused(store, write(tmp_path / "list.json", "[" + " " * 200_000 + "]"))


def test_a_parquet_is_judged_by_what_it_says_of_itself(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table = pa.table(columns(1001))
    pq.write_table(table, path)
    assert "more than 1,000 rows" in refused(store, path)
    pq.write_table(pa.table(columns() | {f"x{i}": [0, 0] for i in range(20)}), path)
    assert "columns" in refused(store, path)
    noise = {f"x{i}": np.zeros(1000) for i in range(10)}
    pq.write_table(pa.table(columns(1000) | noise), path, use_dictionary=False, compression="zstd")
    import_paths(store, [path], limits=SMALL)  # 80 KB unpacked
    noise = {f"x{i}": [b"\0" * 10_000] * 1000 for i in range(1)}
    pq.write_table(pa.table(columns(1000) | noise), path, use_dictionary=False, compression="zstd")
    with pytest.raises(ImportFailed, match="import_megabytes"):
        import_paths(store, [path], limits=SMALL)


def test_a_long_code_that_is_repeated_is_kept_once(tmp_path: Path) -> None:
    from stockllm.collectors.files import prices_parquet

    path = tmp_path / "p.parquet"
    code = pa.DictionaryArray.from_arrays(np.zeros(5000, dtype=np.int32), ["x" * 100_000])
    pq.write_table(pa.table(columns(5000) | {"code": code.cast(pa.string())}), path)
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    (rows,) = prices_parquet.read(path, source="s", name="n")
    assert len(rows) == 5000
    assert len(rows.raw(0)) < 3000
    assert pool.bytes_allocated() - before < 50e6, "written out they take 500 MB"


def test_what_is_binary_is_not_read_to_its_end(store: Store, tmp_path: Path) -> None:
    sparse = tmp_path / "2330.csv"
    with sparse.open("wb") as file:
        file.truncate(1 << 33)
    assert "neither text nor parquet" in refused(store, sparse)
    with sparse.open("r+b") as file:
        file.write(HEADER.encode() + b"\n" * 70_000)
    assert "import_megabytes" in refused(store, sparse)


def test_settings_raise_the_limits() -> None:
    given = Settings(import_megabytes=7, import_rows=2000, import_columns=30)
    assert Limits.of(given) == Limits(7, 2000, 30)


# Shapes


@pytest.mark.parametrize(
    ("name", "column", "sentence"),
    [
        ("code", pa.array([{"a": 1}] * 2), "column code of .* holds"),
        ("code", pa.array([b"\xff\xfe"] * 2).cast(pa.binary()), "cannot be read|not UTF-8|holds"),
        ("open", pa.array([{"a": 1.0}] * 2), "column open of .* holds"),
        ("date", pa.array([[1]] * 2), "column date of .* holds"),
    ],
)
def test_columns_of_odd_types(store: Store, tmp_path: Path, name: str, column: Any, sentence: str) -> None:
    import re

    path = tmp_path / "p.parquet"
    pq.write_table(pa.table(columns() | {name: column}), path)
    assert re.search(sentence, refused(store, path))


def test_text_that_is_not_utf_8(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    bad = pa.array([b"\xff\xfe", b"2330"], pa.binary()).view(pa.string())
    pq.write_table(pa.table(columns() | {"code": bad}), path)
    assert "not UTF-8" in refused(store, path)


def test_a_column_that_is_there_twice(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table = pa.table(columns())
    pq.write_table(table.append_column("close", table.column("close")), path)
    assert "column close more than once" in refused(store, path)
    text = write(tmp_path / "2330.csv", f"{HEADER},close\n{ROW},1\n")
    assert "column close more than once" in refused(store, text)


def test_days_that_no_calendar_has_are_unreadable(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    far = pa.array([2**31 - 1, 10**7], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table(columns() | {"date": far}), path)
    (report,) = import_paths(store, [path])
    assert report.reasons == {"unreadable": 2}
    zoned = pa.array([2**62, 2**62 + 1], pa.int64()).cast(pa.timestamp("us", "UTC"))
    pq.write_table(pa.table(columns() | {"date": zoned}), path)
    (report,) = import_paths(store, [path])
    assert report.reasons == {"unreadable": 2}


def test_a_world_of_too_many_symbols(store: Store, tmp_path: Path) -> None:
    rows = "".join(f"S{i},{ROW}\n" for i in range(1001))
    path = write(tmp_path / "world.csv", f"symbol,{HEADER}\n{rows}")
    assert "more than 1,000 codes" in refused(store, path, Limits())


# Texts


def test_half_a_character_becomes_its_sign(store: Store, tmp_path: Path) -> None:
    article = {"title": "台積電 \ud83d", "url": "http://n/1", "publishedAt": "2025-03-03T00:00:00Z"}
    entry = {"name_zh": "台積電", "name_en": "\ud83d", "news": [article, "\ud83d"]}
    path = write(tmp_path / "news.json", json.dumps([entry]))
    (report,) = import_paths(store, [path])
    assert (report.accepted, report.quarantined) == (1, 1)
    assert [one.title for one in store.news.articles("2330")] == ["台積電 \ufffd"]
    listed = write(tmp_path / "list.json", json.dumps([{"name_zh": "\ud83d", "code": 9999, "\ud83d": 1}]))
    import_paths(store, [listed])
    assert store.company("9999").name_zh == "\ufffd"


def test_deep_lists_are_refused_wherever_they_are_read(store: Store, tmp_path: Path) -> None:
    for depth in (60, 100_000):
        path = write(tmp_path / "list.json", '[{"code": ' + "[" * depth + "]" * depth + "}]")
        assert "nested too deeply" in refused(store, path, Limits())
        with pytest.raises(ImportFailed, match="nested too deeply"):
            resolve_company_list(path, store)
    assert read_json("[" * 40 + "]" * 40)


def test_long_names_are_cut(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "list.json", json.dumps([{"name_zh": "長" * 20_000}]))
    with pytest.raises(UnknownCompany) as caught:
        import_paths(store, [path])
    assert len(str(caught.value)) < 500
    entry = {"name_zh": "長" * 20_000, "news": [{"title": "t", "url": "u", "publishedAt": "2025-03-03"}]}
    (report,) = import_paths(store, [write(tmp_path / "news.json", json.dumps([entry]))])
    assert [len(reason) < 150 for reason in report.reasons] == [True]


def test_a_number_to_python_alone_is_no_price() -> None:
    assert np.isnan(read_number("1_700"))
    assert np.isnan(read_number("９_９"))
    assert np.isnan(read_number("1" * 100_000 + "x"))
