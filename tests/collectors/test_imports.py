"""Taking files in: what is found out, what is refused, and that nothing is half written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockllm.collectors import imports
from stockllm.collectors.imports import import_path
from stockllm.data.errors import ImportFailed, StockllmError, StoreError, UnknownCompany
from stockllm.data.paths import Home
from stockllm.data.records import Bar, ImportReport
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar

HEADER = ",date,capacity,turnover,open,high,low,close,change,transaction"
SESSIONS = tuple(default_calendar().sessions(date(2025, 3, 3), date(2025, 5, 30)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Home(tmp_path / "home")) as opened:
        yield opened


def csv_text(days: tuple[date, ...] = SESSIONS[:10], price: float = 100, volume: int = 1000) -> str:
    rows = [f"{i},{day},{volume + i},,{price},{price},{price},{price},," for i, day in enumerate(days)]
    return "\n".join([HEADER, *rows, ""])


def write(folder: Path, name: str, content: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def balanced(report: ImportReport) -> bool:
    return report.accepted + report.unchanged + report.revised + report.quarantined == report.read


def only(reports: list[ImportReport]) -> ImportReport:
    (report,) = reports
    assert balanced(report)
    assert sum(report.reasons.values()) == report.quarantined
    return report


def test_a_file_of_prices_twice(store: Store, tmp_path: Path) -> None:
    bad = "10,2025-03-17,5,,0,0,0,0,,\n11,2025-03-18,5,,100.104,100.104,100.104,100.104,,\n"
    path = write(tmp_path / "in", "2330.csv", csv_text() + bad)
    report = only(import_path(store, path))
    assert report == ImportReport(
        source="in/2330.csv",
        kind="prices",
        read=12,
        accepted=11,
        repaired=1,
        flagged=1,
        quarantined=1,
        companies=1,
        reasons={"zero_price": 1},
    )
    again = only(import_path(store, path))
    assert (again.accepted, again.unchanged, again.quarantined) == (0, 11, 1)
    assert store.bars.count() == 11
    (kept,) = store.bars.quarantined()
    assert (kept.code, kept.line, kept.reason) == ("2330", 12, "zero_price")
    assert store.bars.bars("2330")[0].source == "in/2330.csv"


def test_a_longer_file_adds_and_a_differing_row_replaces(store: Store, tmp_path: Path) -> None:
    import_path(store, write(tmp_path / "in", "2330.csv", csv_text(SESSIONS[:5])))
    changed = csv_text(SESSIONS[:8]).replace(f"0,{SESSIONS[0]},1000,", f"0,{SESSIONS[0]},999,")
    report = only(import_path(store, write(tmp_path / "in", "2330.csv", changed)))
    assert (report.accepted, report.revised, report.unchanged) == (3, 1, 4)
    assert store.bars.bars("2330")[0].volume == 999


@pytest.mark.parametrize("name", ["2330.csv", "2330.TW.csv", "2330_2025.csv", "台積電.csv", "TSMC.CSV"])
def test_the_code_is_in_the_name(store: Store, tmp_path: Path, name: str) -> None:
    import_path(store, write(tmp_path / "in", name, csv_text()))
    assert store.bars.codes() == ["2330"]


def test_what_is_no_share_is_refused_row_by_row(store: Store, tmp_path: Path) -> None:
    write(tmp_path / "in", "0050.csv", csv_text())
    write(tmp_path / "in", "2330.csv", csv_text())
    etf, tsmc = import_path(store, tmp_path / "in")
    assert (etf.quarantined, etf.reasons) == (10, {"not_a_share": 10})
    assert tsmc.accepted == 10


def test_content_decides_not_the_suffix(store: Store, tmp_path: Path) -> None:
    assert only(import_path(store, write(tmp_path / "in", "2330.txt", csv_text()))).kind == "prices"
    assert only(import_path(store, write(tmp_path / "in", "list", '[{"code": 3711}]'))).kind == "companies"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp950"])
def test_encodings(store: Store, tmp_path: Path, encoding: str) -> None:
    text = csv_text().replace(HEADER, f"{HEADER},備註").replace(",,\n", ",,,備註\n")
    report = only(import_path(store, write(tmp_path / "in", "2330.csv", text.encode(encoding))))
    assert report.accepted == 10


def test_a_folder_with_everything(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder, "1101.csv", csv_text())
    write(folder, "2330.csv", csv_text())
    write(folder, "README.md", "not looked at")
    write(folder, ".hidden.csv", "not looked at")
    (folder / "deeper.csv").mkdir()
    article = {"title": "水泥", "url": "http://n/1", "publishedAt": "2025-03-03T00:00:00Z"}
    write(folder, "a_news.json", json.dumps([{"name_zh": "台泥", "news": [article]}]))
    write(folder, "z_list.json", json.dumps([{"name_zh": "台泥", "name_en": "TCC", "code": "1101"}]))
    reports = import_path(store, folder)
    assert [(report.source, report.kind, report.read, report.accepted) for report in reports] == [
        ("in/1101.csv", "prices", 10, 10),
        ("in/2330.csv", "prices", 10, 10),
        ("in/a_news.json", "news", 1, 1),
        ("in/z_list.json", "companies", 1, 1),
    ]
    assert store.resolve("台泥").code == "1101"
    assert [a.title for a in store.news.articles("1101")] == ["水泥"]


def test_progress_counts_rows(store: Store, tmp_path: Path) -> None:
    write(tmp_path / "in", "1101.csv", csv_text())
    write(tmp_path / "in", "2330.csv", csv_text())
    seen: list[tuple[int, int]] = []
    import_path(store, tmp_path / "in", lambda done, total: seen.append((done, total)))
    assert seen == [(10, 20), (20, 20)]


# Bad input

BAD_FILES: dict[str, tuple[str | bytes, str]] = {
    "2330.csv": ("date,open,high,low,volume\n", "no column close"),
    "2317.csv": (HEADER, "no rows"),
    "2303.csv": ("", "is empty"),
    "2308.csv": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe\x80", "neither text nor parquet"),
    "2354.csv": ("just some words", "no column date"),
    "prices.csv": (csv_text(), "gives no company's code"),
    "2301.csv": ("x" * 200_000, "cannot be read as CSV"),
    "notes.txt.csv": ("# Notes\n\nof something else", "no column date, open, high"),
    "a.json": ('[{"name_zh": "台積', "not valid JSON"),
    "b.json": ('[{"foo": 1}]', "neither a company list"),
    "c.json": ("[]", "neither a company list"),
    "d.json": ('{"code": 2330}', "neither a company list"),
    "e.json": ("[" * 100_000, "not valid JSON"),
    "f.parquet": (b"PAR1 but cut off", "cannot be read as parquet"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(store: Store, tmp_path: Path, name: str) -> None:
    content, sentence = BAD_FILES[name]
    path = write(tmp_path / "in", name, content)
    write(tmp_path / "in", "1101.csv", csv_text())
    for target in (path, tmp_path / "in"):
        with pytest.raises(ImportFailed, match=sentence) as caught:
            import_path(store, target)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
    assert store.bars.count() == 0, "the good file of the folder was not taken in either"


def test_paths_that_lead_nowhere(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="There is no file or folder"):
        import_path(store, tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImportFailed, match="holds no CSV, JSON or parquet file"):
        import_path(store, tmp_path / "empty")
    with pytest.raises(ImportFailed, match="neither a file nor a folder"):
        import_path(store, Path("/dev/null"))


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_are_taken_in_or_refused_with_a_sentence(store: Store, tmp_path: Path, junk: bytes) -> None:
    path = write(tmp_path / "in", "2330.csv", junk)
    with pytest.raises(ImportFailed):
        import_path(store, path)
    path.write_bytes(f"{HEADER}\n".encode() + junk)
    try:
        reports = import_path(store, path)
    except ImportFailed:
        return
    assert all(map(balanced, reports))


def test_an_unknown_company_stops_everything(store: Store, tmp_path: Path) -> None:
    write(tmp_path / "in", "2330.csv", csv_text())
    write(tmp_path / "in", "list.json", '[{"name_zh": "台積電"}, {"name_zh": "台積店"}]')
    with pytest.raises(UnknownCompany, match=r"list.json, entry 2: .*台積店.*2330 台積電"):
        import_path(store, tmp_path / "in")
    assert store.bars.count() == 0


def test_a_failure_while_writing_leaves_nothing_of_the_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "in", "2330.csv", csv_text() + "x,2025-03-17,1,,0,0,0,0,,\n")

    def fail(*_: Any) -> int:
        raise StoreError("There is no room left.")

    monkeypatch.setattr(store.bars, "quarantine", fail)
    with pytest.raises(StockllmError, match="no room"):
        import_path(store, path)
    assert store.bars.count() == 0


def test_real_prices_stay_out_of_a_simulated_store(store: Store, tmp_path: Path) -> None:
    store.set_simulated(True)
    store.bars.put([Bar("2330", SESSIONS[0], 1000, 1000, 1000, 1000, 1, "simulated")])
    path = write(tmp_path / "in", "2330.csv", csv_text())
    with pytest.raises(StoreError, match="simulated"):
        import_path(store, path)
    assert store.bars.count() == 1
    assert only(import_path(store, write(tmp_path / "in", "list.json", '[{"code": 3711}]'))).unchanged == 1


# Days the rules do not know


def many(folder: Path, days: tuple[date, ...], count: int, **changes: int) -> None:
    for i in range(count):
        write(folder, f"{1101 + i}.csv", csv_text(days, **changes))


def test_companies_that_trade_prove_a_holiday_wrong(store: Store, tmp_path: Path) -> None:
    holiday = date(2025, 4, 3)
    many(tmp_path / "in", (*SESSIONS[:10], holiday), 12)
    assert all(report.accepted == 11 for report in import_path(store, tmp_path / "in"))
    assert store.calendar().is_session(holiday)
    # From now on a single file is believed too.
    report = only(import_path(store, write(tmp_path / "one", "2330.csv", csv_text((holiday,)))))
    assert report.accepted == 1


@pytest.mark.parametrize(
    ("day", "count", "volume"),
    [
        (date(2025, 4, 3), 9, 1000),  # too few companies
        (date(2025, 4, 3), 12, -10),  # no volume on the day, which is row 10
        (date(2025, 4, 5), 12, 1000),  # a Saturday
    ],
)
def test_what_proves_nothing(store: Store, tmp_path: Path, day: date, count: int, volume: int) -> None:
    many(tmp_path / "in", (*SESSIONS[:10], day), count)
    if volume < 0:
        for path in (tmp_path / "in").iterdir():
            path.write_text(path.read_text().replace(f"{day},1010", f"{day},0"))
    reports = import_path(store, tmp_path / "in")
    assert all(report.reasons == {"not_a_session": 1} for report in reports)


def test_a_row_that_repeats_the_day_before_proves_nothing(store: Store, tmp_path: Path) -> None:
    holiday = date(2025, 4, 3)
    many(tmp_path / "in", (*SESSIONS[:10], holiday), 12)
    for path in (tmp_path / "in").iterdir():
        path.write_text(path.read_text().replace(f"{holiday},1010", f"{holiday},1009"))
    reports = import_path(store, tmp_path / "in")
    assert all(report.reasons == {"not_a_session": 1} for report in reports)


def test_a_day_nobody_had_is_welcome_when_it_comes(store: Store, tmp_path: Path) -> None:
    hole = SESSIONS[5]
    many(tmp_path / "in", SESSIONS[:5] + SESSIONS[6:10], 12)
    import_path(store, tmp_path / "in")
    assert not store.calendar().is_session(hole)
    report = only(import_path(store, write(tmp_path / "one", "1101.csv", csv_text((hole,)))))
    assert report.accepted == 1


def test_a_new_row_is_judged_by_the_bars_already_there(store: Store, tmp_path: Path) -> None:
    import_path(store, write(tmp_path / "in", "2330.csv", csv_text(SESSIONS[:10])))
    report = only(import_path(store, write(tmp_path / "new", "2330.csv", csv_text(SESSIONS[10:11], 10_000))))
    assert report.reasons == {"jump_100x": 1}
    report = only(import_path(store, write(tmp_path / "new", "2330.csv", csv_text(SESSIONS[11:12], 50))))
    assert (report.accepted, report.flagged) == (1, 1)


def test_every_needed_module_is_light() -> None:
    """numpy and pyarrow are allowed here; what trains a model is not."""
    import subprocess
    import sys

    heavy = ("torch", "pandas", "transformers")
    code = f"import sys, {imports.__name__}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
