"""Keeping score: what a day is worth, once, and the words that a record may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stockllm.data.paths import Home
from stockllm.data.records import Bar, BarSeries, PathForecast
from stockllm.data.store import Store
from stockllm.data.stores.scores import Score
from stockllm.forecaster.encoding.windows import open_window
from stockllm.forecaster.evaluation import metrics, scoring
from stockllm.forecaster.evaluation.scoring import (
    NAIVE_PATHS,
    NAIVE_SEED,
    model_cutoff,
    record,
    records_by_moment,
    score_due,
)
from stockllm.forecaster.sampling.baselines import ewma_walk
from stockllm.forecaster.sampling.cutoffs import Cutoff
from stockllm.market.moments import Moment

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
Walk = Callable[..., BarSeries]


def bars(series: BarSeries) -> list[Bar]:
    table = np.stack([series.open, series.high, series.low, series.close, series.reference], axis=1)
    rows = zip(series.dates, np.rint(table * 100).astype(int).tolist(), strict=True)
    return [Bar(series.code, day, *row[:4], 1_000_000, "test", reference=row[4]) for day, row in rows]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Home(tmp_path / "home")) as opened:
        yield opened


def freeze(
    store: Store, series: BarSeries, origin: int, closes: Any, made_at: datetime = LONG_AGO, **more: Any
) -> int:
    """A forecast from day number ``origin``; ``closes`` (paths, horizon) in TWD."""
    cents = np.rint(np.asarray(closes, dtype=float) * 100).astype(np.int32)
    given = {
        "code": series.code, "name": series.code, "market": "TWSE", "as_of": series.dates[origin],
        "last_close": round(series.close[origin] * 100),
        "dates": series.dates[origin + 1 : origin + 1 + cents.shape[1]],
        "prices": np.repeat(cents[:, :, None], 4, axis=2), "volumes": np.ones(cents.shape, dtype=np.int64),
        "made_at": made_at, "model": "llama", "model_hash": "m", "adapter": None, "adapter_hash": None,
        "prompt": "compact", "seed": 1, "simulated": False,
    }  # fmt: skip
    return store.ledger.freeze(PathForecast(**(given | more)), "data")


def around(series: BarSeries, origin: int, horizon: int, spread: float, seed: int = 0) -> Any:
    """99 paths about what came, so good a forecast as ``spread`` is small."""
    rng = np.random.default_rng(seed + origin)
    came = series.close[origin + 1 : origin + 1 + horizon]
    return came * np.exp(rng.normal(0, spread, (99, horizon)))


def test_a_day_is_scored_when_its_bar_has_come_and_once(store: Store, walk: Walk) -> None:
    series = walk(1, 60)
    store.bars.put(bars(series[:50]))
    closes = series.close[49] * np.exp(np.random.default_rng(1).normal(0, 0.03, (19, 5)))
    id = freeze(store, series, 49, closes)
    assert score_due(store) == scoring.ScoreReport(0, 0, 1)
    store.bars.put(bars(series[50:52]))
    assert score_due(store) == scoring.ScoreReport(1, 2, 1)
    assert score_due(store) == scoring.ScoreReport(0, 0, 1)
    store.bars.put(bars(series[52:]))
    assert score_due(store) == scoring.ScoreReport(1, 3, 0)
    assert score_due(store) == scoring.ScoreReport(0, 0, 0)
    found = [each.score for each in store.scores.list()]
    assert [(s.forecast, s.day, s.date) for s in found] == [
        (id, k, series.dates[49 + k]) for k in range(1, 6)
    ]
    window = open_window(series[:50], store.company("2330"), 20, series.dates[50:55])
    (naive,) = ewma_walk([window], paths=NAIVE_PATHS, seed=NAIVE_SEED)
    for k, got in enumerate(found):
        actual = np.array([np.log(series.close / series.reference)[50 : 51 + k].sum()])
        samples = np.log(np.rint(closes[:, k] * 100) / round(series.close[49] * 100))[None]
        walked = np.log(naive.prices[:, k, 3] / round(series.close[49] * 100))[None]
        assert got.actual == pytest.approx(actual[0])
        assert got.crps == pytest.approx(metrics.fair_crps(samples, actual)[0])
        assert got.naive_crps == pytest.approx(metrics.fair_crps(walked, actual)[0])
        assert [got.inside50, got.inside80, got.inside95] == metrics.inside(samples, actual)[:, 0].tolist()
        assert got.error == pytest.approx(np.median(samples) - actual[0])
        balance = metrics.tendency(samples)[0]
        assert got.direction == (None if balance * actual[0] == 0 else balance * actual[0] > 0)


def test_a_corrected_bar_does_not_change_a_score(store: Store, walk: Walk) -> None:
    series = walk(2, 40)
    store.bars.put(bars(series))
    freeze(store, series, 35, around(series, 35, 2, 0.02))
    score_due(store)
    before = store.scores.list()
    store.bars.put([replace(bar, high=bar.high + 100, close=bar.high + 100) for bar in bars(series)[36:]])
    assert score_due(store).days == 0
    assert store.scores.list() == before


def test_a_day_without_a_trade_is_left_out(store: Store, walk: Walk) -> None:
    series = walk(3, 40)
    store.bars.put(bar for k, bar in enumerate(bars(series)) if k != 37)
    freeze(store, series, 35, around(series, 35, 4, 0.02))
    score_due(store)
    found = [each.score for each in store.scores.list()]
    assert [s.day for s in found] == [1, 3, 4]
    moves = np.log(series.close / series.reference)
    assert found[1].actual == pytest.approx(moves[36] + moves[38])


def test_one_path_is_a_point(store: Store, walk: Walk) -> None:
    series = walk(4, 40)
    store.bars.put(bars(series))
    freeze(store, series, 35, series.close[None, 35:36] * 1.05)
    score_due(store)
    (found,) = store.scores.list()
    assert found.score.crps == pytest.approx(abs(found.score.error))


def test_whether_the_day_was_there_already(store: Store, walk: Walk) -> None:
    series = walk(5, 40)
    store.bars.put(bars(series[:38]))
    now = datetime.now(UTC)
    freeze(store, series, 35, around(series, 35, 4, 0.02), made_at=now + timedelta(seconds=5))
    freeze(store, series, 35, around(series, 35, 4, 0.02), made_at=now - timedelta(seconds=5), seed=2)
    store.bars.put(bars(series[38:]))
    score_due(store)
    ahead = [(each.score.forecast, each.score.ahead) for each in store.scores.list()]
    assert ahead == [(1, False)] * 4 + [(2, True)] * 4


def test_a_forecast_whose_evening_is_gone_is_left_alone(store: Store, walk: Walk) -> None:
    series = walk(6, 40)
    store.bars.put(bar for k, bar in enumerate(bars(series)) if k != 35)
    freeze(store, series, 35, around(series, 35, 2, 0.02))
    assert score_due(store) == scoring.ScoreReport(0, 0, 1)


def test_the_cut_off_is_that_of_the_very_weights(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "training.json").write_text('{"data_end": "2025-12-31"}')
    digest = scoring.weights_hash(folder)
    known = model_cutoff(store.home, str(folder), digest, None, None, False)
    assert known == Cutoff(date(2025, 12, 31))
    assert model_cutoff(store.home, str(folder), "other", None, None, False) == Cutoff(known=False)
    assert model_cutoff(store.home, str(folder), digest, "gone", "a", False) == Cutoff(known=False)
    assert model_cutoff(store.home, "owner/model", digest, None, None, False) == Cutoff(known=False)
    assert model_cutoff(store.home, "gone", digest, None, None, False) == Cutoff(known=False)
    assert model_cutoff(store.home, "ewma", "any", None, None, False) == Cutoff()


# Records


def many(store: Store, series: BarSeries, spread: float | None, count: int = 30, **more: Any) -> None:
    """A forecast of two days on each of ``count`` evenings; good where ``spread`` is small."""
    for origin in range(30, 30 + count):
        if spread is None:
            window = open_window(
                series[: origin + 1], store.company("2330"), 20, series.dates[origin + 1 : origin + 3]
            )
            closes = ewma_walk([window], paths=99, seed=77)[0].prices[:, :, 3] / 100
        else:
            closes = around(series, origin, 2, spread)
        freeze(store, series, origin, closes, **more)
    score_due(store)


@pytest.fixture
def filled(store: Store, walk: Walk) -> tuple[Store, BarSeries]:
    series = walk(7, 80, wild=False)
    store.bars.put(bars(series))
    return store, series


def test_nothing_scored(store: Store) -> None:
    found = record(store)
    assert (found.forecasts, found.ratio, found.dm_p, found.edge) == (0, None, None, False)
    assert found.sentence_en == "Record: no forecast has been scored yet."
    assert "還沒有" in found.sentence_zh


def test_an_edge_is_claimed_where_there_is_one(filled: tuple[Store, BarSeries]) -> None:
    many(*filled, 0.005)
    found = record(filled[0])
    assert found.edge
    assert found.proves
    assert (found.forecasts, found.days, found.uncounted) == (30, 60, 0)
    assert found.ratio is not None
    assert found.ratio < 0.6
    assert found.dm_p is not None
    assert found.dm_p < 0.01
    assert f"an error {1 - found.ratio:.1%} below the naive forecast's in 30 forecasts" in found.sentence_en
    assert "小" in found.sentence_zh
    assert found.document()["edge"] is True


def test_none_is_claimed_where_there_is_none(filled: tuple[Store, BarSeries]) -> None:
    many(*filled, None)
    found = record(filled[0])
    assert not found.edge
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert found.sentence_en == "Record: no demonstrated edge over the naive forecast in 30 forecasts."
    assert found.sentence_zh == "紀錄：30 次預測，未證實優於單純預測。"
    assert found.coverage80 == pytest.approx(0.8, abs=0.15)


def test_worse_is_called_worse(filled: tuple[Store, BarSeries]) -> None:
    store, series = filled
    for origin in range(30, 60):
        freeze(store, series, origin, np.full((99, 2), series.close[origin] * 1.15))
    score_due(store)
    found = record(store)
    assert "worse than the naive forecast" in found.sentence_en
    assert "大" in found.sentence_zh
    assert not found.edge


@pytest.mark.parametrize("count", [1, 3])
def test_a_few_good_forecasts_prove_nothing(filled: tuple[Store, BarSeries], count: int) -> None:
    many(*filled, 0.001, count)
    found = record(filled[0])
    assert found.ratio is not None
    assert found.ratio < 0.5
    assert not found.edge
    noun = "1 forecast." if count == 1 else "3 forecasts."
    assert found.sentence_en == f"Record: no demonstrated edge over the naive forecast in {noun}"


def test_forecasts_of_days_already_known_count_for_nothing(filled: tuple[Store, BarSeries]) -> None:
    store, series = filled
    many(store, series, 0.001, made_at=datetime.now(UTC) + timedelta(days=1))
    found = record(store)
    assert (found.forecasts, found.uncounted, found.proves, found.edge) == (0, 30, False, False)
    assert found.ratio is not None
    assert found.reasons == {"late": 30}
    assert "no demonstrated edge over the naive forecast in 30 forecasts" in found.sentence_en
    assert "none counts, so it proves nothing (30 made after their first session opened)" in found.sentence_en
    many(store, series, None, 5, seed=2)
    mixed = record(store)
    assert (mixed.forecasts, mixed.uncounted, mixed.proves) == (5, 30, True)
    assert "in 5 forecasts. 30 more are not counted: 30 made after" in mixed.sentence_en
    assert "30" in mixed.sentence_zh


def test_days_the_model_was_trained_on_count_for_nothing(
    filled: tuple[Store, BarSeries], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, series = filled
    monkeypatch.setattr(scoring, "model_cutoff", lambda *_: Cutoff(series.dates[40]))
    many(store, series, 0.001)
    found = record(store)
    # Those whose first day is past the cut-off count: from the evening of day 40 on.
    assert (found.forecasts, found.uncounted, found.reasons) == (20, 10, {"trained": 10})


def test_the_naive_forecast_is_not_held_against_itself(filled: tuple[Store, BarSeries]) -> None:
    store, series = filled
    many(store, series, None, model="ewma")
    alone = record(store)
    assert "the naive forecast itself" in alone.sentence_en
    assert not alone.edge
    many(store, series, 0.005, 8)
    assert record(store).forecasts == 8
    assert record(store, model="ewma").forecasts == 30
    assert record(store, code="2317").forecasts == 0


def test_scores_of_one_evening_are_one_observation(filled: tuple[Store, BarSeries]) -> None:
    store, series = filled
    for seed in range(40):
        freeze(store, series, 30, around(series, 30, 2, 0.001, seed), seed=seed, model=f"llama-{seed}")
    score_due(store)
    found = record(store)
    assert found.forecasts == 40
    assert found.dm_p is None
    assert not found.edge


def test_the_first_forecast_of_an_evening_counts_and_no_other(filled: tuple[Store, BarSeries]) -> None:
    store, series = filled
    few = around(series, 30, 2, 0.0001)[:9]
    first = freeze(store, series, 30, few)
    for seed in range(2, 6):
        freeze(store, series, 30, around(series, 30, 2, 0.001, seed), seed=seed)
    morning = freeze(store, series, 30, around(series, 30, 2, 0.001), moment="morning")
    longer = freeze(store, series, 30, around(series, 30, 3, 0.001))
    score_due(store)
    counted = [id for id, reason in store.ledger.standings().items() if reason is None]
    assert counted == [first + 1, morning, longer]
    found = record(store)
    assert (found.forecasts, found.uncounted, found.reasons) == (3, 4, {"paths": 1, "again": 3})
    assert (
        "4 more are not counted: 1 an experiment with fewer than 99 paths, "
        "3 experiments after the first forecast of their evening." in found.sentence_en
    )
    apart = records_by_moment(store)
    assert {moment: each.forecasts for moment, each in apart.items()} == {"evening": 2, "morning": 1}
    assert apart["evening"].document()["moment"] == "evening"
    assert apart["morning"].reasons == {}


def test_what_waits_is_counted_whole(store: Store, walk: Walk) -> None:
    series, other = walk(8, 60), replace(walk(9, 60), code="2317")
    store.bars.put(bars(series[:50]) + bars(other[:45]))
    for seed in range(54):  # all of the last evening: none of their days has come
        freeze(store, series, 49, around(series, 49, 2, 0.02), seed=seed)
    freeze(store, other, 43, around(other, 43, 1, 0.02))
    freeze(store, other, 43, around(other, 43, 3, 0.02))
    assert score_due(store) == scoring.ScoreReport(2, 2, 55)
    store.bars.put(bars(series[51:]))  # no trade on day 50, which nobody waits for then
    assert score_due(store) == scoring.ScoreReport(54, 54, 1)


@pytest.mark.parametrize(
    ("moment", "made", "counts"),
    [
        ("evening", "2026-03-31T19:00+08:00", True),
        ("evening", "2026-04-01T08:59:59+08:00", True),
        ("evening", "2026-04-01T09:00+08:00", False),
        ("evening", "2026-04-01T01:00+00:00", False),
        ("morning", "2026-04-01T08:59:59+08:00", True),
        ("morning", "2026-04-01T09:00+08:00", False),
        ("open", "2026-04-01T09:00:59+08:00", True),
        ("open", "2026-04-01T09:01+08:00", False),
        ("evening", "2026-04-02T19:00+08:00", False),
    ],
)
def test_a_forecast_made_after_its_session_opened_does_not_count(
    store: Store, walk: Walk, moment: Moment, made: str, counts: bool
) -> None:
    series = walk(10, 40)
    days = (date(2026, 3, 31), date(2026, 4, 1))
    series = replace(series, dates=(*series.dates[:-2], *days))
    store.bars.put(bars(series[:-1]))
    freeze(store, series, 38, around(series, 38, 1, 0.01), datetime.fromisoformat(made), moment=moment)
    store.bars.put(bars(series[-1:]))  # its bar reaches the store later, which proves nothing
    score_due(store)
    assert [each.score.ahead for each in store.scores.list()] == [True]
    found = record(store)
    assert (found.forecasts, dict(found.reasons)) == ((1, {}) if counts else (0, {"late": 1}))


def test_progress_is_told(filled: tuple[Store, BarSeries]) -> None:
    store, series = filled
    for origin in (30, 31):
        freeze(store, series, origin, around(series, origin, 2, 0.01))
    told: list[tuple[int, int]] = []
    score_due(store, lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    assert isinstance(store.scores.list()[0].score, Score)
