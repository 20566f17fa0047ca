"""The service: one frozen entry a request, made of what was known and of nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stockllm.collectors.simulated import SimulatedMarket, simulate, write
from stockllm.collectors.simulated_world import Table
from stockllm.data.errors import ModelUnavailable, NotEnoughHistory, UnknownCompany, UsageError
from stockllm.data.paths import Home
from stockllm.data.records import PathForecast
from stockllm.data.store import Store
from stockllm.data.stores.ledger import LedgerStore
from stockllm.forecaster.encoding.limits import data_hash
from stockllm.forecaster.forecast import LedgerEntry, _adapter_warnings, forecast, forecastable
from stockllm.forecaster.models.cards import Card
from stockllm.forecaster.models.registry import LoadedModel, ModelRef, base_model_dir, weights_hash
from stockllm.forecaster.outlook.knowledge import Night
from stockllm.forecaster.sampling.calibration import hash_with, read_calibration
from stockllm.forecaster.sampling.samplers import LlamaSampler
from stockllm.market.companies import COMPANIES, Company
from stockllm.market.moments import at_taipei
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
    """Later bars are trebled, and from one evening on the market seems not to have traded for a week.

    Up to that evening both stores hold the same: what all stocks did by then is told of each.
    """
    name, _, style = model.partition(" ")
    options: dict[str, Any] = {"model": str(tiny_model) if name == "tiny" else name, "paths": 5, "horizon": 5}
    options["prompt"] = style or "compact"
    bars = store.bars.bars("2330")
    evening = bars[100].date
    # Thirty companies agree on which days there was a market: a calendar would learn from them.
    codes = [company.code for company in COMPANIES[:30]]
    assert "2330" in codes
    for code in codes:
        store.bars.put([replace(bar, code=code) for bar in bars])
    poisoned_home = Home(tmp_path / "poisoned")
    with Store.open(poisoned_home) as poisoned:
        poisoned.set_simulated(True)
        for code in codes:
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

    def full_disk(self: LedgerStore, made: PathForecast, digest: str, witnessed: datetime | None) -> int:
        if made.code == "2317":
            raise OSError("no space left")
        return plain(self, made, digest, witnessed)

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


# Moments. The world of the simulated market ends with the night before its next session.

LAST, NEXT = date(2026, 3, 31), date(2026, 4, 1)
EVENING, MORNING = at_taipei(LAST, 20), at_taipei(NEXT, 7)
NIGHT = ("TX night", "SOX", "SPX", "TSM")


@pytest.fixture(scope="module")
def moving() -> SimulatedMarket:
    """140 sessions of as many stocks as a market takes, and their world."""
    return simulate(LAST, 140, 3, companies=[c for c in COMPANIES if c.code != "6669"][:24])


@pytest.fixture
def at(moving: SimulatedMarket, tmp_path: Path) -> Callable[..., LedgerEntry]:
    """``at(moment, now)``: a forecast of 2330 in a store of its own, with another market's world if given."""
    count = iter(range(99))

    def made(
        moment: Any, now: datetime | None, market: SimulatedMarket = moving, **options: Any
    ) -> LedgerEntry:
        home = Home(tmp_path / f"at{next(count)}")
        write(market, home)
        with Store.open(home) as opened:
            given = {"model": "ewma+world", "paths": 99, "horizon": 1, "today": LAST} | options
            (entry,) = forecast(opened, ["2330"], moment=moment, now=now, **given)
        return entry

    return made


def cut(market: SimulatedMarket, days: dict[str, int]) -> SimulatedMarket:
    """The market with the last days of some sources missing."""
    assert market.world is not None

    def shorter(name: str, table: Table) -> Table:
        end = len(table) - days.get(name, 0)
        columns = {key: column[:end] for key, column in table.columns.items()}
        expiries = None if table.expiries is None else table.expiries[:end]
        return Table(table.days[:end], columns, table.known_at[:end], expiries)

    world = market.world
    return replace(
        market,
        world=replace(
            world,
            symbols={name: shorter(name, table) for name, table in world.symbols.items()},
            futures={name: shorter(name, table) for name, table in world.futures.items()},
        ),
    )


def test_the_morning_knows_the_night_and_says_so(at: Callable[..., LedgerEntry]) -> None:
    evening, morning = at("evening", MORNING), at("morning", MORNING)
    assert (evening.forecast.moment, evening.knows) == ("evening", ("prices",))
    assert (morning.forecast.moment, morning.knows) == ("morning", ("prices", *NIGHT))
    assert (evening.warnings, morning.warnings) == ((), ())
    assert evening.forecast.known_until == at_taipei(NEXT, 0) - timedelta(seconds=1)
    assert morning.forecast.known_until == MORNING
    assert (evening.forecast.prices != morning.forecast.prices).any()
    document = morning.document()
    assert document["moment"] == "morning"
    assert document["known_until"] == "2026-04-01T07:00:00+08:00"
    assert document["knows"] == ["prices", *NIGHT]


def test_by_the_clock_it_is_morning_from_half_past_five_to_the_open(at: Callable[..., LedgerEntry]) -> None:
    for hour, minute, moment in (
        (5, 29, "evening"),
        (5, 30, "morning"),
        (8, 59, "morning"),
        (9, 0, "evening"),
    ):
        assert at(None, at_taipei(NEXT, hour, minute)).forecast.moment == moment, (hour, minute)
    assert at(None, MORNING, as_of=LAST).forecast.moment == "evening"


def test_a_morning_before_new_york_has_closed_is_an_evening(at: Callable[..., LedgerEntry]) -> None:
    entry, evening = at("morning", EVENING), at("evening", EVENING)
    assert (entry.forecast.moment, entry.knows, entry.forecast.known_until) == (
        "evening",
        ("prices",),
        EVENING,
    )
    assert entry.warnings == (
        "New York has not closed yet before 2026-04-01 (it does on 2026-04-01 at 04:00 in Taipei): "
        "the forecast continues as an evening forecast.",
    )
    assert (entry.forecast.prices == evening.forecast.prices).all()
    assert evening.warnings == ()
    # Between New York's close and the end of the TX night there is New York alone.
    early = at("morning", at_taipei(NEXT, 4, 30))
    assert (early.forecast.moment, early.knows) == ("morning", ("prices", *NIGHT[1:]))


def test_the_simulated_clock_stands_at_the_moment_asked_for(at: Callable[..., LedgerEntry]) -> None:
    ahead = simulate(date(2030, 12, 30), 140, 3, companies=COMPANIES[:24])
    entry = at("morning", None, ahead, today=date(2030, 12, 30))
    assert (entry.forecast.moment, entry.knows, entry.warnings) == ("morning", ("prices", *NIGHT), ())
    assert entry.forecast.known_until == at_taipei(entry.forecast.dates[0], 8, 59)
    early = at("morning", at_taipei(date(2030, 12, 30), 20), ahead, today=date(2030, 12, 30))
    assert early.forecast.moment == "evening"


def test_a_store_without_a_world(at: Callable[..., LedgerEntry], moving: SimulatedMarket) -> None:
    entry = at("morning", MORNING, replace(moving, world=None))
    assert entry.forecast.moment == "evening"
    (said,) = entry.warnings
    assert "nothing of New York or the index future" in said
    assert "continues with the prices alone" in said
    assert at("evening", MORNING, replace(moving, world=None)).warnings == ()


def test_sources_that_have_stopped(at: Callable[..., LedgerEntry], moving: SimulatedMarket) -> None:
    part = at("morning", MORNING, cut(moving, {"SOX": 8}))
    assert (part.forecast.moment, part.knows) == ("morning", ("prices", "TX night"))
    assert part.warnings == (
        "The world has stopped before 2026-04-01: SOX on 2026-03-19; the forecast continues with what is "
        "known, bring newer days in with 'stockllm import PATH'.",
    )
    early = at("morning", MORNING, cut(moving, {"night": 3}))
    assert (early.forecast.moment, early.knows) == ("morning", ("prices", *NIGHT[1:]))
    (said,) = early.warnings
    assert said.startswith("The world has stopped before 2026-04-01: TX night on 2026-03-27; the forecast")
    gone = dict.fromkeys(("SOX", "SPX", "TSM", "night"), 20)
    for asked in ("evening", "morning"):
        entry = at(asked, MORNING, cut(moving, gone))
        assert (entry.forecast.moment, entry.knows) == ("evening", ("prices",))
        (said,) = entry.warnings
        assert "has stopped before" in said
        assert all(name in said for name in NIGHT)
    # A model that reads no world has nothing to say of it in the evening.
    assert at("evening", MORNING, cut(moving, gone), model="ewma").warnings == ()


def test_a_model_that_reads_no_night_says_so(at: Callable[..., LedgerEntry]) -> None:
    entry, evening = at("morning", MORNING, model="ewma"), at("evening", MORNING, model="ewma")
    assert entry.warnings == (
        "The model ewma reads nothing of the night: its forecast of the morning is that of the evening; "
        "ewma+world and network read it.",
    )
    assert entry.knows == ("prices",)
    assert (entry.forecast.prices == evening.forecast.prices).all()


def test_a_new_listing_takes_the_answer_of_the_others(moving: SimulatedMarket, tmp_path: Path) -> None:
    home = Home(tmp_path / "listed")
    write(moving, home)
    with Store.open(home) as opened:
        opened.add_companies([Company.bare("1101")])
        like = [bar for bar in moving.bars if bar.code == "2317"][-30:]
        opened.bars.put([replace(bar, code="1101", reference=None) for bar in like])
        made = forecast(
            opened, ["1101", "2330"], model="ewma+world", paths=19, moment="morning", now=MORNING, today=LAST
        )
    (said,) = made[0].warnings
    assert said.startswith("1101 has traded 30 days so far, too few to know how it answers the night")
    assert "takes the answer of the other stocks" in said
    assert made[1].warnings == ()


def test_too_few_nights_for_any_stocks_answer(at: Callable[..., LedgerEntry]) -> None:
    entry = at("morning", MORNING, simulate(LAST, 40, 3))
    (said,) = entry.warnings
    assert said.startswith("The store has too few nights to know how a stock answers them (40 days;")


def test_the_open_is_on_its_tick_and_near_the_close(at: Callable[..., LedgerEntry]) -> None:
    close = at("evening", MORNING).forecast.last_close
    given = close + tick(close)
    entry = at("open", MORNING, opens={"2330": given})
    assert (entry.forecast.moment, entry.knows) == ("open", ("prices", *NIGHT))
    for wrong in (given + 1, close * 3, close // 3, 0):
        with pytest.raises(UsageError, match="2330 cannot open at"):
            at("open", MORNING, opens={"2330": wrong})
    with pytest.raises(UsageError, match="needs the open of 2330"):
        at("open", MORNING, opens={"2317": given})


@pytest.mark.parametrize(
    ("lasts", "stopped", "known"),
    [
        # The 4th of July is a holiday of all New York.
        ({"SOX": 3, "SPX": 3, "TSM": 3}, set(), {"SOX", "SPX", "TSM"}),
        ({"SOX": 3, "SPX": 4, "TSM": 4}, {"SOX"}, set()),
        ({"SOX": 2, "SPX": 3, "TSM": 3}, {"SOX"}, set()),
        ({"SOX": 2, "SPX": 2, "TSM": None}, {"SOX", "SPX"}, set()),
        ({"SOX": None, "SPX": None, "TSM": None}, set(), set()),
    ],
)
def test_a_day_that_all_of_new_york_lacks_is_no_end(
    lasts: dict[str, int | None], stopped: set[str], known: set[str]
) -> None:
    days = {name: date(2025, 7, day) if day else None for name, day in lasts.items()}
    night = Night(date(2025, 7, 7), at_taipei(date(2025, 7, 7), 8), days | {"TX night": date(2025, 7, 7)})
    assert set(night.stopped()) == stopped
    assert set(night.known()) == known | {"TX night"}
