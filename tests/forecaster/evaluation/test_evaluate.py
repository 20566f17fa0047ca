"""Evaluation: the windows it cuts, what it may know, and figures held against a second calculation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stockllm.data.errors import ModelUnavailable, NotEnoughHistory, StockllmError, UsageError
from stockllm.data.paths import Home
from stockllm.data.records import Bar, BarSeries
from stockllm.data.store import Store
from stockllm.forecaster.encoding.windows import open_window
from stockllm.forecaster.evaluation import evaluate as module
from stockllm.forecaster.evaluation import metrics
from stockllm.forecaster.evaluation.cases import Request, gather, trained_until
from stockllm.forecaster.evaluation.evaluate import best_baseline, document, evaluate, failures, summary
from stockllm.forecaster.evaluation.report import FIGURES, REPORT, markdown, write
from stockllm.forecaster.models.cards import CARD_FILE, Card
from stockllm.forecaster.models.registry import BASELINES, ModelRef
from stockllm.forecaster.sampling.baselines import ewma_walk
from stockllm.forecaster.sampling.cutoffs import Cutoff, cutoff, held_out

Walk = Callable[..., BarSeries]
CODES = ("2317", "2330", "2412", "2454", "3008", "6505")
DAYS = 90
KEYS = {
    *("crps", "crps_ratio", "pinball", "coverage50", "coverage80", "coverage95", "mse", "rmse", "nrmse"),
    *("mase", "direction", "direction_ci", "rank_ic", "dm_p", "n", "parse_failures"),
}


def bars(series: BarSeries, code: str) -> list[Bar]:
    table = np.stack([series.open, series.high, series.low, series.close, series.reference], axis=1)
    return [
        Bar(code, day, *prices[:4], volume, "test", reference=prices[4])
        for day, prices, volume in zip(
            series.dates,
            np.rint(table * 100).astype(int).tolist(),
            series.volume.astype(int).tolist(),
            strict=True,
        )
    ]


@pytest.fixture(scope="module")
def market(walk: Walk) -> dict[str, BarSeries]:
    return {code: replace(walk(int(code), DAYS, 100), code=code) for code in CODES}


@pytest.fixture(scope="module")
def store(market: dict[str, BarSeries], tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Store.open(Home(tmp_path_factory.mktemp("evaluate"))) as opened:
        for code, series in market.items():
            opened.bars.put(bars(series, code))
        yield opened


@pytest.fixture(scope="module")
def request_of(market: dict[str, BarSeries]) -> Callable[..., Request]:
    """``request_of(70, 89, ...)``: days by their number."""
    days = market["2330"].dates

    def make(start: int = 70, end: int = 89, **more: Any) -> Request:
        given = {"models": ("last", "ewma"), "codes": CODES, "horizons": (1, 5), "paths": 19} | more
        return Request(days[start], days[end], **given)

    return make


def test_every_evening_whose_days_lie_in_the_period(
    store: Store, market: dict[str, BarSeries], request_of: Callable[..., Request]
) -> None:
    cases = gather(store, request_of(70, 79))
    days = market["2330"].dates
    assert {w.origin for w in cases.windows} == set(days[69:79])
    assert len(cases.windows) == 10 * len(CODES)
    assert (~np.isnan(cases.actual)).sum(axis=0).tolist() == [60, 36]  # five-day ones end by day 79
    for window, actual, ends in zip(cases.windows, cases.actual, cases.ends, strict=True):
        series = market[window.code]
        index = series.dates.index(window.origin)
        assert window.history.dates == series.dates[: index + 1]
        assert window.future_dates == store.calendar().next_sessions(window.origin, 5)
        assert len(window.future) == 0
        moves = np.log(series.close / series.reference)[index + 1 : index + 6]
        assert actual[0] == pytest.approx(moves[0])
        if not np.isnan(actual[1]):
            assert actual[1] == pytest.approx(moves.sum())
            assert ends[1] == series.dates[index + 5].toordinal() <= days[79].toordinal()


def test_stride_takes_whole_evenings(store: Store, request_of: Callable[..., Request]) -> None:
    every = sorted({w.origin for w in gather(store, request_of()).windows})
    third = gather(store, request_of(stride=3))
    assert sorted({w.origin for w in third.windows}) == every[::3]
    assert len(third.windows) == len(every[::3]) * len(CODES)


def test_a_company_that_did_not_trade_is_no_evening_of_its_own(
    market: dict[str, BarSeries], request_of: Callable[..., Request], tmp_path: Path
) -> None:
    with Store.open(Home(tmp_path)) as store:
        store.bars.put(bars(market["2330"], "2330"))
        gone = set(range(60, 75))
        store.bars.put(bar for k, bar in enumerate(bars(market["2317"], "2317")) if k not in gone)
        cases = gather(store, request_of(70, 79, codes=("2317", "2330"), horizons=(1,), stride=2))
    days = market["2330"].dates
    assert [w.origin for w in cases.windows if w.code == "2330"] == list(days[69:79:2])
    assert [w.origin for w in cases.windows if w.code == "2317"] == [days[75], days[77]]


def test_figures_are_what_a_second_calculation_gives(
    store: Store, market: dict[str, BarSeries], request_of: Callable[..., Request]
) -> None:
    asked = request_of(models=("ewma", "drift"), seed=5)
    made = evaluate(store, asked)
    figures = document(made)["models"]["ewma"]["5"]
    returns, actual, closes, origins = [], [], [], []
    calendar = store.calendar()
    for code in CODES:
        series = market[code]
        for index in range(69, 85):
            history = series[: index + 1]
            dates = calendar.next_sessions(series.dates[index], 5)
            (drawn,) = ewma_walk([open_window(history, store.company(code), 60, dates)], paths=19, seed=5)
            returns.append(np.log(drawn.prices[:, 4, 3] / 100 / series.close[index]))
            actual.append(np.log(series.close / series.reference)[index + 1 : index + 6].sum())
            closes.append(series.close[index])
            origins.append(series.dates[index].toordinal())
    table, happened, base = np.array(returns), np.array(actual), np.array(closes)
    error = base * np.exp(np.median(table, axis=1)) - base * np.exp(happened)
    assert figures["n"] == len(actual) == 96
    assert figures["crps"] == pytest.approx(metrics.fair_crps(table, happened).mean(), rel=1e-5)
    assert figures["mse"] == pytest.approx((error**2).mean(), rel=1e-5)
    assert figures["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    inside = metrics.inside(table, happened).mean(axis=1)
    assert [figures[f"coverage{k}"] for k in (50, 80, 95)] == pytest.approx(inside, rel=1e-5)
    expected = metrics.rank_ic(table.mean(axis=1), happened, np.array(origins))
    assert figures["rank_ic"] == pytest.approx(expected, rel=1e-5)
    assert figures["crps_ratio"] == 1.0


def test_the_document(store: Store, request_of: Callable[..., Request]) -> None:
    made = evaluate(store, request_of(models=("bootstrap", "last"), paths=9))
    found = document(made)
    json.dumps(found, allow_nan=False)
    assert list(found["models"]) == ["bootstrap", "last", "ewma"]  # the naive baseline is always there
    for figures in found["models"].values():
        assert list(figures) == ["1", "5"]
        for each in figures.values():
            assert each.keys() >= KEYS
            assert each["parse_failures"] == 0
            assert each["seen"] is False
    for horizon, best in found["best_baseline"].items():
        crps = {name: figures[horizon]["crps"] for name, figures in found["models"].items()}
        assert best == min(crps, key=lambda name: crps[name])
        assert found["models"][best][horizon]["dm_p"] is None
    point = found["models"]["last"]["1"]
    assert point["direction"] is point["direction_ci"] is point["rank_ic"] is None
    assert point["width80"] == 0
    assert (found["paths"], found["simulated"], found["seen"]["last"]) == (9, False, False)
    assert found["networks_trained_until"] == trained_until(store, made.request).isoformat()


def test_the_same_request_the_same_document(store: Store, request_of: Callable[..., Request]) -> None:
    asked = request_of(models=("ewma", "ets"), paths=9, stride=4)
    assert document(evaluate(store, asked)) == document(evaluate(store, asked))


def other(series: BarSeries, first: int) -> BarSeries:
    """The series with other prices from day number ``first`` on; candles stay candles."""
    up = np.where(np.arange(len(series)) >= first, 1.03, 1.0)
    return replace(series, high=series.high * up, close=series.close * up)


def poisoned_store(market: dict[str, BarSeries], first: int, folder: Path) -> Store:
    opened = Store.open(Home(folder))
    for code, series in market.items():
        opened.bars.put(bars(other(series, first), code))
    return opened


def test_days_after_the_period_change_nothing(
    store: Store, market: dict[str, BarSeries], request_of: Callable[..., Request], tmp_path: Path
) -> None:
    # The networks, for which 90 days are too few, are looked at evening by evening below.
    models = tuple(name for name in BASELINES if name not in ("lstm", "cnn", "network"))
    asked = request_of(65, 79, models=models, paths=5, stride=5)
    with poisoned_store(market, 80, tmp_path) as poisoned:
        assert document(evaluate(poisoned, asked)) == document(evaluate(store, asked))


@pytest.mark.parametrize("name", [*BASELINES, "llama"])
def test_a_forecast_knows_nothing_after_its_evening(
    store: Store,
    market: dict[str, BarSeries],
    request_of: Callable[..., Request],
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stockllm.forecaster.sampling.neural.STEPS", 20)
    monkeypatch.setattr("stockllm.forecaster.sampling.neural.FEWEST_WINDOWS", 20)
    monkeypatch.setattr("stockllm.forecaster.sampling.informed.FEWEST", 20)
    # Two evenings, and everything from the day after the second one is other than it was.
    asked = request_of(70, 75, models=(name,), horizons=(5,), paths=5, force=True, codes=CODES[:2])
    with poisoned_store(market, 71, tmp_path) as poisoned:
        clean, dirty = evaluate(store, asked), evaluate(poisoned, asked)
    last = market["2330"].dates[70]
    rows = [i for i, window in enumerate(clean.cases.windows) if window.origin <= last]
    assert len(rows) == 4
    a, b = clean.scores[name][5], dirty.scores[name][5]
    assert a.median[rows].tolist() == b.median[rows].tolist()
    assert a.mean[rows].tolist() == b.mean[rows].tolist()
    assert a.crps[rows].tolist() != b.crps[rows].tolist()


def test_networks_learn_until_one_horizon_before_the_period(
    store: Store, market: dict[str, BarSeries], request_of: Callable[..., Request]
) -> None:
    days = market["2330"].dates
    assert trained_until(store, request_of(70)) == days[70 - 1 - 5]
    with pytest.raises(NotEnoughHistory, match="needs 200 windows"):
        evaluate(store, request_of(23, models=("cnn",)))


def test_a_split_on_its_day_is_no_miss(market: dict[str, BarSeries], tmp_path: Path) -> None:
    series = market["2330"]
    half = np.where(np.arange(DAYS) >= 80, 0.5, 1.0)
    split = replace(
        series, open=series.open * half, high=series.high * half, low=series.low * half,
        close=series.close * half, reference=series.reference * half,
    )  # fmt: skip
    with Store.open(Home(tmp_path / "a")) as one, Store.open(Home(tmp_path / "b")) as two:
        one.bars.put(bars(series, "2330"))
        two.bars.put(bars(split, "2330"))
        asked = Request(series.dates[78], series.dates[84], ("last",), ("2330",), (5,), 2)
        a, b = gather(one, asked), gather(two, asked)
    assert b.actual == pytest.approx(a.actual, abs=2e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"start": 80, "end": 70}, "before it starts"),
        ({"models": ()}, "No model was named"),
        ({"horizons": ()}, "not none"),
        ({"horizons": (0,)}, "1 to 60 trading days, not 0"),
        ({"horizons": (1, 61)}, "not 1, 61"),
        ({"paths": 1}, "one path has no width"),
        ({"stride": 0}, "stride"),
        ({"seed": -1}, "seed"),
        ({"start": 80, "end": 84, "horizons": (1, 20)}, "No forecast of 20 days fits"),
    ],
)
def test_requests_that_cannot_be(
    store: Store, request_of: Callable[..., Request], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        evaluate(store, request_of(**change))
    assert "\n" not in str(caught.value)


def test_a_model_that_is_none_and_a_period_without_prices(
    store: Store, request_of: Callable[..., Request]
) -> None:
    with pytest.raises(ModelUnavailable):
        evaluate(store, request_of(models=("nothing",)))
    late = replace(request_of(), start=date(2027, 1, 1), end=date(2027, 3, 1))
    with pytest.raises(NotEnoughHistory, match="prices end on"):
        evaluate(store, late)


def test_a_company_with_too_few_days_is_named(
    market: dict[str, BarSeries], request_of: Callable[..., Request], tmp_path: Path
) -> None:
    with Store.open(Home(tmp_path)) as store:
        store.bars.put(bars(market["2330"], "2330"))
        store.bars.put(bars(market["2317"][80:], "2317"))
        made = evaluate(store, request_of(codes=("2317", "2330"), paths=3))
    assert len(made.cases.left_out) == 1
    assert "2317" in made.cases.left_out[0]
    assert "left out: 2317" in markdown(made)


# Cut-offs


def base(folder: Path, **facts: Any) -> ModelRef:
    folder.mkdir(exist_ok=True)
    (folder / "training.json").write_text(json.dumps(facts), "utf-8")
    return ModelRef("llama", folder)


def adapter(ref: ModelRef, folder: Path, data_end: str, simulated: bool) -> ModelRef:
    folder.mkdir()
    card = Card(
        name="a", base="llama", base_hash="", hash="", made_at="", companies=[], data_start="",
        data_end=data_end, validation_from=None, embargo=0, simulated=simulated, prompt="compact", tasks=[],
        engine="peft", steps=1, examples={}, losses={}, flags={}, run="",
    )  # fmt: skip
    (folder / CARD_FILE).write_text(json.dumps(asdict(card)), "utf-8")
    return replace(ref, adapter="a", adapter_dir=folder)


def test_the_later_cut_off_of_base_and_adapter_holds(tmp_path: Path) -> None:
    ref = base(tmp_path / "base", data_end="2025-12-31", held_out=["1101"])
    assert cutoff(ref, simulated=False) == Cutoff(date(2025, 12, 31))
    assert held_out(ref) == ("1101",)
    later = adapter(ref, tmp_path / "later", "2026-02-27", simulated=False)
    assert cutoff(later, simulated=False).day == date(2026, 2, 27)
    earlier = adapter(ref, tmp_path / "earlier", "2025-06-30", simulated=False)
    assert cutoff(earlier, simulated=False).day == date(2025, 12, 31)


def test_real_prices_are_not_a_simulated_market(tmp_path: Path) -> None:
    ref = base(tmp_path / "base", data_end="2025-12-31")
    assert cutoff(ref, simulated=True) == Cutoff()
    made_up = adapter(ref, tmp_path / "made-up", "2026-02-27", simulated=True)
    assert cutoff(made_up, simulated=True).day == date(2026, 2, 27)
    assert cutoff(made_up, simulated=False).day == date(2025, 12, 31)


def test_what_nobody_can_say_is_unknown(tmp_path: Path) -> None:
    for ref in (
        ModelRef("x", tmp_path),
        ModelRef("owner/model", "owner/model"),
        base(tmp_path / "b", data_end="?"),
    ):
        assert cutoff(ref, simulated=False) == Cutoff(known=False)
        assert held_out(ref) == ()
    known_adapter = adapter(ModelRef("x", tmp_path), tmp_path / "a", "2026-01-30", simulated=False)
    limit = cutoff(known_adapter, simulated=False)
    assert limit.seen(date(2026, 1, 30)) is True
    assert limit.seen(date(2026, 2, 2)) is None
    unread = replace(
        base(tmp_path / "c", data_end="2025-01-02"), adapter="gone", adapter_dir=tmp_path / "gone"
    )
    assert cutoff(unread, simulated=False).known is False


def test_a_baseline_has_seen_nothing() -> None:
    assert cutoff(ModelRef("ewma", None), simulated=False).seen(date(1999, 1, 1)) is False
    assert held_out(ModelRef("ewma", None)) == ()


def test_a_seen_period_is_refused_or_marked(
    store: Store, request_of: Callable[..., Request], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = request_of(models=("drift",), paths=5)

    def read(ref: ModelRef, *, simulated: bool) -> Cutoff:
        return Cutoff(asked.start if ref.name == "drift" else None)

    monkeypatch.setattr(module, "cutoff", read)
    with pytest.raises(UsageError, match=f"drift was trained on days up to {asked.start}"):
        evaluate(store, asked)
    made = evaluate(store, replace(asked, force=True))
    assert made.seen == {"drift": True, "ewma": False}
    assert summary(made, "drift", 1)["seen"] is True
    assert "drift (seen)" in markdown(made)
    assert "**Not a test** of drift" in markdown(made)


def test_the_embedded_model_is_refused_on_what_it_read(
    store: Store, request_of: Callable[..., Request]
) -> None:
    with pytest.raises(UsageError, match="llama was trained on days up to"):
        evaluate(store, request_of(models=("llama",)))


# Reports


def test_the_report(store: Store, request_of: Callable[..., Request], tmp_path: Path) -> None:
    made = evaluate(store, request_of(paths=9))
    folder = tmp_path / "a" / "report"
    for _ in range(2):
        written = write(made, folder)
    assert sorted(folder.iterdir()) == sorted(written)
    assert {path.suffix for path in written} == {".md", ".png", ".json"}
    assert json.loads((folder / FIGURES).read_text("utf-8")) == json.loads(json.dumps(document(made)))
    text = (folder / REPORT).read_text("utf-8")
    for horizon in (1, 5):
        assert f"the best baseline is {best_baseline(made, horizon)}" in text
    assert text.count("\n| ewma |") == 2
    for path in written:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
            assert f"({path.name})" in text
    assert "SIMULATED" not in text
    assert "SIMULATED" in markdown(replace(made, simulated=True))


def test_a_report_that_cannot_be_written(
    store: Store, request_of: Callable[..., Request], tmp_path: Path
) -> None:
    made = evaluate(store, request_of(paths=3, stride=9))
    (tmp_path / "file").write_text("")
    with pytest.raises(StockllmError, match="name another folder"):
        write(made, tmp_path / "file")


# Candles that cannot trade


@pytest.mark.parametrize(
    ("candle", "bad"),
    [
        ((10000, 10100, 9900, 10050), 0),
        ((10000, 9950, 9900, 9950), 1),  # opens above its high
        ((10000, 10100, 10050, 10050), 1),  # opens below its low
        ((10000, 10103, 9900, 10050), 1),  # off its tick
        ((10000, 11050, 9900, 10050), 1),  # past its limit
        ((0, 0, 0, 0), 1),
    ],
)
def test_failures(candle: tuple[int, ...], bad: int) -> None:
    good = (10000, 10000, 10000, 10000)
    assert failures(np.array([[good, candle], [good, good]]), 10000) == bad
