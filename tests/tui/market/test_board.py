"""What the dashboard reads, without a screen."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest

from stockllm.data.errors import StoreError
from stockllm.data.health import HealthReport
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.nightly.fitness import examine
from stockllm.tui.core.store import NothingToShow
from stockllm.tui.market import board
from stockllm.tui.system.reading import load_store_state

NOW = datetime(2026, 4, 1, 18, 30, tzinfo=timezone(timedelta(hours=8)))


def test_the_board_lists_the_41_with_their_last_close_and_change(home: Home, bars: list[Bar]) -> None:
    shown = board.load_board(home)
    assert len(shown.rows) == 41
    assert [row.company.code for row in shown.rows] == sorted(row.company.code for row in shown.rows)
    assert (shown.last, shown.simulated) == (date(2026, 3, 31), False)
    row = shown.row("2330")
    assert row is not None
    assert row.last == bars[-1].close / 100
    assert row.change == pytest.approx(bars[-1].close / bars[-2].close - 1)
    assert None not in row.marks
    assert shown.unjudged == ()
    assert shown.row("9999") is None


def test_a_stored_reference_is_what_the_change_is_measured_from(home: Home, bars: list[Bar]) -> None:
    """On an ex-date the close before would show a loss that nobody had."""
    last = bars[-1]
    with Store.open(home) as store:
        ex = Bar("2330", date(2026, 4, 1), *(4 * [100_000]), 1000, "test", reference=100_000)
        store.bars.put([ex])
    row = board.load_board(home).row("2330")
    assert row is not None
    assert last.close != 100_000
    assert row.change == 0


def test_stocks_beside_the_41_are_listed_and_those_without_bars_too(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = Home(tmp_path_factory.mktemp("few"))
    with Store.open(home) as store:
        store.bars.put([Bar("1101", date(2026, 3, 31), 3000, 3100, 2950, 3050, 1_000_000, "test")])
    shown = board.load_board(home)
    assert len(shown.rows) == 42
    extra, known = shown.row("1101"), shown.row("2330")
    assert extra is not None
    assert known is not None
    assert (extra.last, extra.change) == (30.5, None)
    assert (known.last, known.day) == (None, None)
    assert shown.unjudged == ("1101",)


@pytest.mark.parametrize("query", ["2330", "233", "台積", "tsmc", "TSM", " 台積電 "])
def test_the_filter_finds_by_code_chinese_and_english(home: Home, query: str) -> None:
    rows = [row.company.code for row in board.load_board(home).rows if row.answers(query)]
    assert "2330" in rows
    assert len(rows) < 5


def test_verdicts_on_an_older_day_are_not_shown_as_todays(home: Home, bars: list[Bar]) -> None:
    with Store.open(home) as store:
        store.bars.put([Bar("2330", date(2026, 4, 1), *(4 * [bars[-1].close]), 1000, "test")])
    shown = board.load_board(home)
    assert shown.unjudged == ("2330",)
    judged = board.judge(home, shown.unjudged, lambda: False)
    row = shown.with_marks(judged).row("2330")
    assert row is not None
    assert None not in row.marks
    assert board.judge(home, shown.unjudged, lambda: True) == {}
    assert shown.with_marks(judged).marks_still_good(board.load_board(home)) == judged
    with Store.open(home) as store:
        store.bars.put([Bar("2330", date(2026, 4, 2), *(4 * [bars[-1].close]), 1000, "test")])
    assert shown.with_marks(judged).marks_still_good(board.load_board(home)) == {}


def test_a_detail_has_all_of_a_company(home: Home) -> None:
    detail = board.load_detail(home, "2330")
    assert detail.company.name_zh == "台積電"
    assert len(detail.series) == 150
    assert detail.forecast is not None
    assert not detail.stale_forecast
    assert [signal.rule for signal in detail.signals] == list(board.RULES)
    assert [article.source for article in detail.news] == ["經濟日報", "Reuters", "中央社"]


def test_looking_at_a_company_judges_it_but_stores_nothing(home: Home, bars: list[Bar]) -> None:
    with Store.open(home) as store:
        store.bars.put([Bar("2330", date(2026, 4, 1), *(4 * [bars[-1].close]), 1000, "test")])
        before = store.signals.latest("2330")
    detail = board.load_detail(home, "2330")
    assert {signal.as_of for signal in detail.signals} == {date(2026, 4, 1)}
    assert detail.stale_forecast
    with Store.open(home) as store:
        assert store.signals.latest("2330") == before


def test_the_data_state_counts_gaps_quarantine_and_stale_companies(home: Home) -> None:
    state = board.load_data_state(home, NOW)
    assert state.last == date(2026, 3, 31)
    assert state.bars == 41 * 150
    assert (state.gaps, state.quarantined, state.stale) == (0, 0, 0)
    own = state.company("2330")
    assert own is not None
    assert (own.bars, own.gaps) == (150, 0)
    assert state.company("9999") is None
    assert board.load_data_state(home, NOW + timedelta(days=58)).behind > 30


def test_freshness_is_judged_as_the_command_judges_it_and_counted_once(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[datetime] = []

    def count(store: Store, now: datetime) -> HealthReport:
        counted.append(now)
        return examine(store, now)

    monkeypatch.setattr("stockllm.nightly.fitness.examine", count)
    before, after = NOW.replace(hour=16), NOW.replace(hour=17)
    # TPEx publishes at five: before, the day's bars are not missing yet.
    assert board.load_data_state(home, before).behind == 0
    assert board.load_data_state(home, after).behind == 1
    state = load_store_state(home, NOW)
    with Store.open(home) as store:
        report = examine(store, NOW)
    assert {each.company.code: each.behind for each in state.companies} == {
        each.code: each.stale_days for each in report.companies
    }
    assert {each.behind for each in state.companies} == {1}
    assert counted == [before, after]  # the second tab had the answer of the first
    with Store.open(home) as store:
        store.bars.put([Bar("2330", date(2026, 4, 1), *(4 * [150_000]), 1000, "test")])
    behind = {each.company.code: each.behind for each in load_store_state(home, NOW).companies}
    assert (behind["2330"], behind["2317"]) == (0, 1)
    assert len(counted) == 3
    (home.root / "calendar.toml").write_text("closed = [2026-04-01]\n", encoding="utf-8")
    assert board.load_data_state(home, NOW).behind == 0
    assert len(counted) == 4


def test_the_data_state_says_what_is_missing_and_when_the_last_refresh_was(home: Home) -> None:
    assert board.load_data_state(home, NOW).refresh is None
    with Store.open(home) as store:
        id = store.refreshes.begin(date(2026, 3, 31), NOW - timedelta(days=1), 1)
        store.refreshes.end(id, "partial", NOW)
    state = board.load_data_state(home, NOW + timedelta(days=1))
    assert state.refresh is not None
    assert (state.refresh.started, state.refresh.outcome) == (NOW - timedelta(days=1), "partial")
    # 3 to 6 April are holidays.
    assert state.refresh.due == datetime(2026, 4, 7, 18, 30, tzinfo=NOW.tzinfo)
    own = state.company("2330")
    assert own is not None
    assert own.missing is not None
    # That evening is published too: two days lack.
    assert (own.missing.first, own.missing.days, own.missing.why) == (date(2026, 4, 1), 2, "not_asked")


def test_an_absent_and_an_empty_store_are_told_apart(bare_home: Home) -> None:
    with pytest.raises(NothingToShow) as absent:
        board.load_board(bare_home)
    assert absent.value.reason == "absent"
    assert not bare_home.root.exists()
    Store.open(bare_home).close()
    with pytest.raises(NothingToShow) as empty:
        board.load_board(bare_home)
    assert empty.value.reason == "empty"
    assert "stockllm import" in str(empty.value)


def test_a_damaged_store_is_a_sentence(home: Home) -> None:
    home.store.write_bytes(b"not a database at all, whatever its name says" * 100)
    with pytest.raises(StoreError):
        board.load_board(home)
