"""Opening, migrating and refusing; what the store knows of companies, days and runs."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from stockllm.data import database
from stockllm.data.errors import StoreError, UnknownCompany
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import COMPANIES, Company

DAY = date(2025, 3, 3)


def bar(code: str = "2330", day: date = DAY, close: int = 10000, volume: int = 1000) -> Bar:
    return Bar(code, day, 10000, max(10000, close), min(10000, close), close, volume, "test")


def sentence(caught: pytest.ExceptionInfo[BaseException]) -> str:
    """The message, which has to be one sentence on one line."""
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


# Opening


def test_opens_new_and_again(home: Home) -> None:
    with Store.open(home) as store:
        store.bars.put([bar()])
        assert store.notes.get("created_at")
    with Store.open(home, create=False) as store:
        assert store.bars.codes() == ["2330"]
        assert store.home == home
        assert not store.simulated
        store.check()


def test_durable_and_guarded(store: Store) -> None:
    with store._database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "persist", "synchronous": 2, "busy_timeout": 5000, "foreign_keys": 1}


def test_importing_and_reopening_leave_heavy_libraries_out(home: Home) -> None:
    Store.open(home).close()
    code = (
        "import sys; from pathlib import Path; from stockllm.data.store import Store;"
        "from stockllm.data.paths import Home; Store.open(Home(Path(sys.argv[1]))).close();"
        "print([m for m in ('alembic', 'numpy', 'pandas', 'pydantic', 'torch') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(home.root)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["a b", "100%", "what?#", "股票", "it's"])
def test_any_folder_name(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    with Store.open(home) as store:
        store.bars.put([bar()])
    assert home.store.is_file()
    with Store.open(home, create=False) as store:
        assert store.bars.count() == 1


def test_absent(home: Home) -> None:
    with pytest.raises(StoreError, match="stockllm import") as caught:
        Store.open(home, create=False)
    sentence(caught)
    assert not home.root.exists()


def test_an_empty_file_is_absent_too(home: Home) -> None:
    home.ensure().store.touch()
    with pytest.raises(StoreError, match="There is no store"):
        Store.open(home, create=False)
    assert home.store.stat().st_size == 0
    with Store.open(home) as store:
        assert store.bars.codes() == []


def _corrupt(path: Path) -> None:
    path.write_bytes(b"this is no database" * 500)


def _folder(path: Path) -> None:
    path.mkdir()


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (title TEXT)")


def _foreign_alembic(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE alembic_version (version_num TEXT); CREATE TABLE bars (beer TEXT);"
            "INSERT INTO alembic_version VALUES ('ae1027a6acf')"
        )


def _newer(path: Path) -> None:
    Store.open(Home(path.parent)).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_corrupt, "is not a database: move it away"),
        (_folder, "is a folder"),
        (_foreign, "did not make: move it away"),
        (_foreign_alembic, "did not make: move it away"),
        (_newer, "newer stockllm .*: update stockllm"),
    ],
)
def test_no_store(home: Home, spoil: Callable[[Path], None], says: str, create: bool) -> None:
    spoil(home.ensure().store)
    before = home.store.read_bytes() if home.store.is_file() else None
    with pytest.raises(StoreError, match=says) as caught:
        Store.open(home, create=create)
    sentence(caught)
    if before is not None:
        assert home.store.read_bytes() == before


def test_a_damaged_page_is_found(home: Home) -> None:
    with Store.open(home) as store:
        store.bars.put(bar(day=DAY + timedelta(i)) for i in range(8000))
    content = bytearray(home.store.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    home.store.write_bytes(bytes(content))
    with Store.open(home) as store, pytest.raises(StoreError, match="is corrupt") as caught:
        store.check()
    sentence(caught)


def test_unwritable_home(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="STOCKLLM_HOME") as caught:
        Store.open(Home(tmp_path / "file" / "home"))
    sentence(caught)


def test_unwritable_file(store: Store) -> None:
    with store._database.read() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="cannot be written") as caught:
        store.bars.put([bar()])
    sentence(caught)


def test_a_whole_store_of_futures_is_whole(store: Store) -> None:
    """SQLite 3.40 sees NULLs in such tables where there are none."""
    with store._database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO arrivals (id, kind, source, arrived_at, state, pid)"
            " VALUES (1, 'k', 's', '', 'whole', 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO index_futures"
            " (product, session, date, expiry, open, high, low, close, known_at, arrival)"
            " VALUES ('TX', 'day', '2025-01-02', '202501', 1, 1, 1, 1, 1, 1)"
        )
    store.check()


def test_busy(store: Store, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 0)
    with (
        Store.open(home) as other,
        closing(sqlite3.connect(home.store, isolation_level=None)) as connection,
    ):
        connection.execute("BEGIN IMMEDIATE")
        assert other.bars.codes() == []  # reading goes on beside a writer
        with pytest.raises(StoreError, match="by another stockllm: try again") as caught:
            other.bars.put([bar()])
        sentence(caught)
        connection.execute("COMMIT")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="try again"):
            other.bars.codes()
        with pytest.raises(StoreError, match="try again"):
            Store.open(home)


def test_opened_by_many_at_once(home: Home) -> None:
    """All but one wait while the first makes the tables."""
    failures: list[BaseException] = []
    start = threading.Barrier(6)

    def work(number: int) -> None:
        try:
            start.wait()
            with Store.open(home) as store:
                store.bars.put([bar(f"{2000 + number}")])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store.open(home) as store:
        assert store.bars.codes() == [f"{2000 + i}" for i in range(6)]


def test_one_store_in_many_threads(store: Store) -> None:
    counts: list[int] = []
    store.bars.put([bar()])
    threads = [threading.Thread(target=lambda: counts.append(store.bars.count())) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1] * 12


# Real and simulated prices


def test_simulated_is_said_of_an_empty_store(store: Store) -> None:
    store.expect_simulated(True)
    store.expect_simulated(False)
    store.set_simulated(True)
    assert store.simulated
    store.bars.put([bar()])
    store.set_simulated(True)
    store.expect_simulated(True)
    with pytest.raises(StoreError, match="simulated prices, which real ones must not join") as caught:
        store.expect_simulated(False)
    sentence(caught)
    with pytest.raises(StoreError, match="must not join"):
        store.set_simulated(False)


def test_simulated_prices_stay_out_of_a_real_store(store: Store) -> None:
    store.bars.put([bar()])
    store.expect_simulated(False)
    store.set_simulated(False)
    for refused in (store.expect_simulated, store.set_simulated):
        with pytest.raises(StoreError, match="real prices, which simulated ones must not join"):
            refused(True)
    assert not store.simulated


def test_real_prices_stay_out_of_a_store_meant_for_simulated_ones(store: Store) -> None:
    store.set_simulated(True)
    with pytest.raises(StoreError, match="must not join"):
        store.expect_simulated(False)
    store.set_simulated(False)
    store.expect_simulated(False)


# Companies


def test_the_41_and_those_added(store: Store) -> None:
    assert store.companies() == sorted(COMPANIES, key=lambda c: c.code)
    extra = Company(
        "1101",
        "台泥",
        "Taiwan Cement",
        "台泥",
        "TWSE",
        "水泥工業",
        date(1962, 2, 9),
        "TW0001101004",
        ("TCC",),
    )
    assert store.add_companies([extra, COMPANIES[0]]) == 1
    assert store.add_companies([extra]) == 0
    assert store.add_companies([]) == 0
    assert len(store.companies()) == len(COMPANIES) + 1
    assert (
        store.companies()[0]
        == store.company("1101")
        == store.resolve("台泥")
        == store.resolve("tcc")
        == extra
    )


def test_later_facts_of_a_company_win(store: Store) -> None:
    store.add_companies([Company.bare("1101")])
    assert store.add_companies([Company.bare("1101", "台泥"), Company.bare("1101", "台灣水泥")]) == 0
    assert store.company("1101").name_zh == "台灣水泥"


def test_a_name_resolves(store: Store) -> None:
    assert (
        store.resolve("台積電").code == store.resolve("tsmc").code == store.resolve(" 2330 ").code == "2330"
    )
    assert store.company("2330").name_zh == "台積電"


def test_a_stock_known_by_its_bars(store: Store) -> None:
    for lookup in (store.resolve, store.company):
        with pytest.raises(UnknownCompany):
            lookup("9958")
    store.bars.put([bar("9958")])
    assert store.company("9958") == store.resolve(" 9958 ") == Company.bare("9958")


def test_an_unknown_name_is_told_the_nearest(store: Store) -> None:
    with pytest.raises(UnknownCompany, match="台積電") as caught:
        store.resolve("台積店")
    sentence(caught)
    assert caught.value.exit_code == 2


# Calendar


def test_calendar_learns_closed_days(store: Store) -> None:
    days = list(default_calendar().sessions(date(2025, 3, 3), date(2025, 3, 31)))
    typhoon = days[5]
    store.bars.put(bar(str(2000 + i), day) for i in range(12) for day in days if day != typhoon)
    calendar = store.calendar()
    assert default_calendar().is_session(typhoon)
    assert not calendar.is_session(typhoon)
    assert all(calendar.is_session(day) for day in days if day != typhoon)


def test_calendar_of_an_empty_store_is_the_rules(store: Store) -> None:
    assert store.calendar() == default_calendar()


def test_a_users_word_wins(store: Store) -> None:
    store.home.closed_days_file.write_text("closed = [2025-03-04]\nopened = [2025-03-08]\n")
    calendar = store.calendar()
    assert not calendar.is_session(date(2025, 3, 4))
    assert calendar.is_session(date(2025, 3, 8))


@pytest.mark.parametrize(
    "text",
    ["closed = ", "closed = 3", "closed = ['2025-03-04']", "closd = []", "closed = [2025-03-04T00:00:00]"],
)
def test_a_wrong_calendar_file_is_one_sentence(store: Store, text: str) -> None:
    store.home.closed_days_file.write_text(text)
    with pytest.raises(StoreError, match=r"calendar\.toml") as caught:
        store.calendar()
    sentence(caught)


# Runs


def test_runs_are_recorded(store: Store) -> None:
    first = store.runs.start("a", {"rank": 16, "名": "台積電"}, Path("logs") / "a.log")
    second = store.runs.start("b", {})
    store.runs.finish(first, "failed", "There was no room left.")
    b, a = store.runs.list()
    assert (b.id, b.state, b.finished, b.log) == (second, "running", None, None)
    assert (a.id, a.state, a.detail, a.log) == (
        first,
        "failed",
        "There was no room left.",
        Path("logs/a.log"),
    )
    assert a.options == {"rank": 16, "名": "台積電"}
    assert a.finished is not None
    assert a.started <= a.finished
    assert [run.id for run in store.runs.list(limit=1)] == [second]


def test_finishing_what_never_started(store: Store) -> None:
    with pytest.raises(StoreError, match="no training run 7"):
        store.runs.finish(7, "done")


def test_notes_are_replaced(store: Store) -> None:
    assert store.notes.get("x") is None
    store.notes.set("x", "1")
    store.notes.set("x", "2")
    assert store.notes.get("x") == "2"


def test_a_transaction_sees_what_it_has_written(store: Store) -> None:
    bar = Bar("2330", date(2025, 3, 3), 10000, 10000, 10000, 10000, 1000, "test")
    with store.transaction():
        store.bars.put([bar])
        assert store.bars.bars("2330") == [bar]
