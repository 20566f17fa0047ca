"""What was asked for last is what signals and screens show, and hindsight is called by its name."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from stockllm.data.errors import ImportFailed, UsageError
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.forecaster.forecast import forecast
from stockllm.forecaster.training.progress import ProgressLog, TrainEvent, read_progress

LAST = date(2025, 6, 30)


@pytest.fixture
def store(home_dir: Path) -> Store:
    """A company with 90 weekdays of quiet prices up to LAST."""
    store = Store.open(Home.locate())
    rng = np.random.default_rng(1)
    days = [LAST - timedelta(days=k) for k in range(140) if (LAST - timedelta(days=k)).weekday() < 5][:90]
    price, bars = 10000, []
    for day in reversed(days):
        price = int(np.clip(price + rng.integers(-15, 16) * 10, 8000, 12000)) // 50 * 50
        bars.append(Bar("2330", day, price, price + 50, price - 50, price, 1_000_000, "test"))
    store.bars.put(bars)
    return store


def test_the_request_made_last_is_shown_also_when_it_was_made_before(store: Store) -> None:
    (first,) = forecast(store, ["2330"], model="ewma", paths=5, today=LAST)
    (second,) = forecast(store, ["2330"], model="drift", paths=5, today=LAST)
    assert (store.ledger.latest("2330") or (0,))[0] == second.id
    (again,) = forecast(store, ["2330"], model="ewma", paths=5, today=LAST)
    assert again.id == first.id
    assert (store.ledger.latest("2330") or (0,))[0] == first.id


def test_a_forecast_from_a_past_day_does_not_become_the_one_shown(store: Store) -> None:
    (now,) = forecast(store, ["2330"], model="ewma", paths=5, today=LAST)
    forecast(store, ["2330"], model="drift", paths=5, as_of=LAST)
    assert (store.ledger.latest("2330") or (0,))[0] == now.id


def test_a_model_that_has_read_later_days_is_called_hindsight(store: Store) -> None:
    (entry,) = forecast(store, ["2330"], model="llama", paths=2, horizon=1, as_of=LAST)
    assert any("hindsight" in warning for warning in entry.warnings)
    (plain,) = forecast(store, ["2330"], model="ewma", paths=2, horizon=1, as_of=LAST)
    assert not any("hindsight" in warning for warning in plain.warnings)


def test_an_answer_longer_than_the_model_reads_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="shorter --horizon"):
        forecast(store, ["2330"], model="llama", prompt="reference", horizon=60, paths=1, today=LAST)
    assert store.ledger.list() == []


def test_a_bad_path_among_good_ones_writes_nothing(home_dir: Path, tmp_path: Path) -> None:
    from stockllm.collectors.imports import import_paths

    good, bad = tmp_path / "2330.csv", tmp_path / "2317.csv"
    good.write_text(",date,capacity,open,high,low,close\n0,2025-01-02,1000,10,10,10,10\n", "utf-8")
    bad.write_text(",date,open,high,low,close\n0,2025-01-02,10,10,10,10\n", "utf-8")
    with Store.open(Home.locate()) as store:
        with pytest.raises(ImportFailed, match="capacity"):
            import_paths(store, [good, bad])
        assert store.bars.codes() == []


def test_progress_of_a_run_on_generated_prices_says_so(tmp_path: Path) -> None:
    ProgressLog(tmp_path, simulated=True)(TrainEvent("training", 1, 2))
    (line,) = (tmp_path / "progress.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["market"] == "SIMULATED"
    assert [event.step for event in read_progress(tmp_path)] == [1]
