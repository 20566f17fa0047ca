"""The service: one frozen entry a request, made of what was known and of nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stockllm.data.errors import ModelUnavailable, NotEnoughHistory, UnknownCompany, UsageError
from stockllm.data.paths import Home
from stockllm.data.records import PathForecast
from stockllm.data.store import Store
from stockllm.data.stores.ledger import LedgerStore
from stockllm.forecaster.encoding.limits import data_hash
from stockllm.forecaster.forecast import LedgerEntry, _adapter_warnings, forecast, forecastable
from stockllm.forecaster.models.cards import Card
from stockllm.forecaster.models.registry import LoadedModel, ModelRef, base_model_dir, weights_hash
from stockllm.forecaster.sampling.calibration import hash_with, read_calibration
from stockllm.forecaster.sampling.samplers import LlamaSampler
from stockllm.market.companies import COMPANIES
from stockllm.market.ticks import limits, tick


@pytest.fixture
def store(filled_home: Home) -> Iterator[Store]:
    """2330 and 2317 with 150 simulated days each."""
    with Store.open(filled_home) as opened:
        yield opened


def ewma(store: Store, *codes: str, **options: Any) -> list[LedgerEntry]:
    return forecast(store, codes or ("2330",), **({"model": "ewma", "paths": 19} | options))


def assert_candles(made: PathForecast) -> None:
    before = np.full(made.paths, made.last_close)
    for opened, high, low, close in made.prices.astype(np.int64).transpose(1, 2, 0):
        down, up = limits(before)
        assert ((down <= low) & (low <= np.minimum(opened, close))).all()
        assert ((np.maximum(opened, close) <= high) & (high <= up)).all()
        for price in (opened, high, low, close):
            assert (price % tick(price) == 0).all()
        before = close


def test_a_forecast_says_what_it_is(store: Store) -> None:
    (entry,) = ewma(store, horizon=3, seed=5)
    made = entry.forecast
    assert (made.code, made.name, made.market) == ("2330", "台積電", "TWSE")
    assert (made.paths, made.horizon, made.seed, made.prompt) == (19, 3, 5, "compact")
    assert (made.model, made.adapter, made.adapter_hash) == ("ewma", None, None)
    assert made.simulated
    assert made.parse_failures == 0
    last = store.bars.bars("2330")[-1]
    assert (made.as_of, made.last_close) == (last.date, last.close)
    assert made.dates == store.calendar().next_sessions(last.date, 3)
    assert made.document()["simulated"] is True
    assert_candles(made)


@pytest.mark.parametrize("model", ["ewma", "tiny"])
def test_the_same_request_is_answered_from_the_ledger(store: Store, tiny_model: Path, model: str) -> None:
    name = str(tiny_model) if model == "tiny" else model
    first = forecast(store, ["2330", "2317"], model=name, paths=9)
    again = forecast(store, ["2317", "2330"], model=name, paths=9)
    assert [entry.id for entry in again] == [entry.id for entry in reversed(first)]
    assert [e.forecast.document() for e in again] == [e.forecast.document() for e in reversed(first)]
    assert (again[0].forecast.prices == first[1].forecast.prices).all()
    assert len(store.ledger.list()) == 2
    if model == "tiny":
        assert first[0].forecast.model_hash == weights_hash(tiny_model)


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"paths": 20}, {"horizon": 4}, {"prompt": "reference"}, {"as_of": date(2025, 6, 2)}],
)
def test_another_request_is_another_entry(store: Store, other: dict[str, Any]) -> None:
    (first,) = ewma(store)
    (second,) = ewma(store, **other)
    assert first.id != second.id


def test_corrected_bars_are_forecast_anew(store: Store) -> None:
    (first,) = ewma(store)
    bar = store.bars.bars("2330")[70]
    store.bars.put([replace(bar, volume=bar.volume + 1000)])
    (second,) = ewma(store)
    assert first.id != second.id


def test_nothing_sampled_when_all_is_known(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ewma(store)
    told: list[tuple[int, int]] = []
    ewma(store, "2330", progress=lambda *counts: told.append(counts))
    assert told == []
    ewma(store, "2330", "2317", progress=lambda *counts: told.append(counts))
    assert told == [(1, 1)]


@pytest.mark.parametrize("model", ["ewma", "tiny", "tiny reference"])
def test_as_of_uses_nothing_later(
    store: Store, fill_home: Callable[..., None], tmp_path: Path, tiny_model: Path, model: str
) -> None:
    """Later bars are trebled, and from one evening on the market seems not to have traded for a week."""
    name, _, style = model.partition(" ")
    options: dict[str, Any] = {"model": str(tiny_model) if name == "tiny" else name, "paths": 5, "horizon": 5}
    options["prompt"] = style or "compact"
    bars = store.bars.bars("2330")
    evening = bars[100].date
    poisoned_home = Home(tmp_path / "poisoned")
    with Store.open(poisoned_home) as poisoned:
        poisoned.set_simulated(True)
        # Thirty companies agree on which days there was a market: a calendar would learn from them.
        for code in ["2330", *(company.code for company in COMPANIES[:30])]:
            known = [replace(bar, code=code) for bar in bars[:101]]
            later = [
                replace(
                    bar, code=code, open=bar.open * 3, high=bar.high * 3, low=bar.low * 3, close=bar.close * 3
                )
                for bar in bars[104:]
            ]
            poisoned.bars.put(known + later)
        assert poisoned.calendar().next_sessions(evening, 5) != poisoned.calendar(evening).next_sessions(
            evening, 5
        )
        (wrong,) = forecast(poisoned, ["2330"], as_of=evening, **options)
    (right,) = forecast(store, ["2330"], as_of=evening, **options)
    assert right.forecast.as_of == evening
    assert wrong.forecast.dates == right.forecast.dates
    assert (wrong.forecast.prices == right.forecast.prices).all()
    assert (wrong.forecast.volumes == right.forecast.volumes).all()


def test_as_of_a_day_without_a_bar_is_the_evening_before_it(store: Store) -> None:
    last = store.bars.bars("2330")[-1].date
    (entry,) = ewma(store, as_of=last + timedelta(days=3))
    assert entry.forecast.as_of == last
    assert entry.warnings == ()


def test_too_little_history_says_both_counts_and_writes_nothing(
    fill_home: Callable[..., None], tmp_path: Path
) -> None:
    home = Home(tmp_path / "short")
    fill_home(home, ("2330",), 60)
    fill_home(home, ("2317",), 19)
    with Store.open(home) as store:
        with pytest.raises(
            NotEnoughHistory, match=r"2317 鴻海 has 19 trading days and this forecast reads 20"
        ):
            ewma(store, "2330", "2317")
        assert store.ledger.list() == []
        with pytest.raises(NotEnoughHistory, match="no prices of 2303 聯電: bring some in"):
            ewma(store, "2303")
        with pytest.raises(NotEnoughHistory, match=r"no prices of 2330 台積電 up to 2024-01-01: bring"):
            ewma(store, "2330", as_of=date(2024, 1, 1))
        fit, why_not = forecastable(store, ["2330", "2317", "2303"], "compact")
        assert fit == ["2330"]
        assert [sentence[:24] for sentence in why_not] == [
            "2317 鴻海 has 19 trading d",
            "There are no prices of 2",
        ]


def test_twenty_days_are_enough(fill_home: Callable[..., None], tmp_path: Path, tiny_model: Path) -> None:
    home = Home(tmp_path / "short")
    fill_home(home, ("2330",), 20)
    with Store.open(home) as store:
        for model in ("ewma", str(tiny_model)):
            (entry,) = forecast(store, ["2330"], model=model, paths=3)
            assert_candles(entry.forecast)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"horizon": 0}, "The horizon is 1 to 60 trading days, not 0"),
        ({"horizon": 61}, "The horizon is 1 to 60 trading days, not 61"),
        ({"paths": 0}, "The number of paths is 1 to 10,000, not 0"),
        ({"paths": 10_001}, "The number of paths is 1 to 10,000, not 10001"),
        ({"seed": -1}, "The seed is a whole number from 0 to 4294967295, not -1"),
        ({"seed": 2**32}, "The seed is a whole number"),
    ],
)
def test_bad_numbers(store: Store, options: dict[str, int], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        ewma(store, **options)


def test_unknown_names(store: Store) -> None:
    with pytest.raises(ModelUnavailable, match="no model 'gpt'"):
        ewma(store, model="gpt")
    with pytest.raises(ModelUnavailable, match="no adapter 'five'"):
        ewma(store, model="llama+five")
    with pytest.raises(UnknownCompany):
        ewma(store, "9999")


def test_old_data_is_said_with_its_date(store: Store) -> None:
    last = store.bars.bars("2330")[-1].date
    (fresh,) = ewma(store, today=last + timedelta(days=14))
    assert fresh.warnings == ()
    (stale,) = ewma(store, today=last + timedelta(days=15))
    assert stale.warnings == (
        f"The data of 2330 台積電 ends on {last}, 15 days before {last + timedelta(days=15)}: "
        "the forecast goes on from there.",
    )
    (asked,) = ewma(store, as_of=last, today=last + timedelta(days=99))
    assert asked.warnings == ()
    (ahead,) = ewma(store, as_of=last + timedelta(days=40), today=last)
    assert "40 days before" in ahead.warnings[0]
    assert fresh.id == stale.id == asked.id == ahead.id


def test_an_adapter_asked_otherwise_than_trained_is_said() -> None:
    card = Card(
        name="five", base="llama", base_hash="", hash="", made_at="", companies=[], data_start="",
        data_end="",
        validation_from=None, embargo=0, simulated=True, prompt="reference", tasks=[], engine="peft", steps=1,
        examples={}, losses={}, flags={"with_news": True}, run="",
    )  # fmt: skip
    sampler = LlamaSampler(
        LoadedModel(ModelRef("llama", "x"), None, None, "", "", card), "compact", ("Close",)
    )
    told = list(_adapter_warnings(sampler, "compact", simulated=False))
    assert told == [
        "The adapter five was trained on the reference prompt and is asked in the compact one: "
        "forecast with --prompt reference.",
        "The adapter five was trained with news and is asked without: forecasts carry none yet.",
        "The adapter five was trained on simulated prices: train one on the real ones.",
    ]
    (told_of_news,) = _adapter_warnings(sampler, "reference", simulated=True)
    assert "with news" in told_of_news


def test_all_or_nothing_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = LedgerStore.freeze

    def full_disk(self: LedgerStore, made: PathForecast, digest: str) -> int:
        if made.code == "2317":
            raise OSError("no space left")
        return plain(self, made, digest)

    monkeypatch.setattr(LedgerStore, "freeze", full_disk)
    with pytest.raises(OSError, match="no space"):
        ewma(store, "2330", "2317")
    assert store.ledger.list() == []


def test_the_hash_is_over_every_column(store: Store) -> None:
    series = store.bars.series("2330")
    changed = [
        replace(series, **{name: getattr(series, name) + 1}) for name in ("open", "volume", "reference")
    ]
    assert len({data_hash(s) for s in (series, series[:-1], *changed)}) == 5


def test_the_baseline_loads_no_model(filled_home: Home) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from stockllm.data.paths import Home\n"
        "from stockllm.data.store import Store\n"
        "from stockllm.forecaster.forecast import forecast\n"
        "with Store.open(Home(Path(sys.argv[1]))) as store:\n"
        "    (entry,) = forecast(store, ['2330'], model='ewma', paths=9)\n"
        "assert entry.forecast.paths == 9\n"
        "loaded = {'torch', 'transformers', 'peft', 'pandas'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(filled_home.root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_41_of_the_real_market(shared_dir: Path, tmp_path: Path) -> None:
    from stockllm.collectors.imports import import_path

    with Store.open(Home(tmp_path / "real")) as store:
        import_path(store, shared_dir / "market" / "prices")
        codes = [company.code for company in store.companies()]
        entries = forecast(store, codes, model="llama", paths=5, today=date(2026, 4, 1))
        again = forecast(store, codes, model="llama", paths=5)
    assert [entry.forecast.code for entry in entries] == codes
    assert len(codes) == 41
    assert [entry.id for entry in again] == [entry.id for entry in entries]
    embedded = hash_with(weights_hash(base_model_dir()), read_calibration(base_model_dir()))
    for entry in entries:
        assert entry.warnings == ()
        assert not entry.forecast.simulated
        assert entry.forecast.model_hash == embedded
        assert_candles(entry.forecast)
