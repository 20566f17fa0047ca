"""The chart: a whole PNG every time, no warning, no box for a missing character, nothing left behind."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockllm.data.errors import NotEnoughHistory, StockllmError, UsageError
from stockllm.data.records import BarSeries, PathForecast
from stockllm.forecaster.charts import chart, lettering
from stockllm.forecaster.charts.chart import check_target, draw
from stockllm.market.companies import COMPANIES, Company

TSMC = next(c for c in COMPANIES if c.code == "2330")
WIDTH, HEIGHT = 1440, 840


def days(n: int, after: date) -> tuple[date, ...]:
    found: list[date] = []
    while len(found) < n:
        after += timedelta(days=1)
        if after.weekday() < 5:
            found.append(after)
    return tuple(found)


def walk(n: int, seed: int = 1, price: float = 100.0, volume: float = 5e6) -> BarSeries:
    """``n`` bars of a random walk on hundredths."""
    rng = np.random.default_rng(seed)
    close = np.round(price * np.exp(np.cumsum(rng.normal(0, 0.02, n))), 2)
    open_ = np.round(close * np.exp(rng.normal(0, 0.01, n)), 2)
    high = np.round(np.maximum(open_, close) * 1.01, 2)
    low = np.round(np.minimum(open_, close) * 0.99, 2)
    shares = np.round(volume * np.exp(rng.normal(0, 0.5, n)))
    reference = np.concatenate([open_[:1], close[:-1]])
    return BarSeries("2330", days(n, date(2025, 6, 1)), open_, high, low, close, shares, reference)


def forecast_of(series: BarSeries, horizon: int = 5, paths: int = 19, seed: int = 1) -> PathForecast:
    rng = np.random.default_rng(seed)
    last = float(series.close[-1])
    close = last * np.exp(np.cumsum(rng.normal(0, 0.02, (paths, horizon)), axis=1))
    open_ = close * np.exp(rng.normal(0, 0.01, close.shape))
    prices = np.stack(
        [open_, np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99, close], axis=-1
    )
    return PathForecast(
        code=series.code,
        name="台積電",
        market="TWSE",
        as_of=series.dates[-1],
        last_close=round(last * 100),
        dates=days(horizon, series.dates[-1]),
        prices=np.maximum(np.round(prices * 100), 1).astype(np.int32),
        volumes=np.full(close.shape, 4_000_000, dtype=np.int64),
        made_at=datetime(2026, 4, 1, tzinfo=UTC),
        model="llama+demo",
        model_hash="0",
        adapter="demo",
        adapter_hash="0",
        prompt="compact",
        seed=seed,
        simulated=False,
    )


def size(path: Path) -> tuple[int, int]:
    """Width and height from a PNG's header."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return np.asarray(imread(path))[:, :, :3]


def share_near(path: Path, colour: str, within: float = 0.02) -> float:
    """The share of the picture's dots that have this colour."""
    from matplotlib.colors import to_rgb

    return float((np.abs(pixels(path) - np.array(to_rgb(colour))).max(axis=2) < within).mean())


@pytest.fixture
def no_cjk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a Chinese font."""
    monkeypatch.setattr(lettering, "CJK_FAMILIES", ())


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("simulated", [False, True])
def test_a_whole_png(tmp_path: Path, language: str, simulated: bool) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    series = walk(120)
    target = tmp_path / "chart.png"
    drawn = draw(series, forecast_of(series), target, company=TSMC, language=language, simulated=simulated)  # type: ignore[arg-type]
    assert drawn == target
    assert size(target) == (WIDTH, HEIGHT)
    assert list(tmp_path.iterdir()) == [target]
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


@given(
    n=st.integers(1, 70),
    horizon=st.integers(1, 20),
    paths=st.sampled_from([1, 2, 19]),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([0.05, 30.0, 1800.0]),
    with_forecast=st.booleans(),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_draws_any_length(
    tmp_path: Path, n: int, horizon: int, paths: int, seed: int, scale: float, with_forecast: bool
) -> None:
    series = walk(n, seed, price=scale)
    forecast = forecast_of(series, horizon, paths, seed) if with_forecast else None
    assert size(draw(series, forecast, tmp_path / "c.png", company=TSMC, simulated=True)) == (WIDTH, HEIGHT)


def test_one_price_and_no_volume(tmp_path: Path) -> None:
    series = walk(8)
    for column in (series.open, series.high, series.low, series.close):
        column[:] = 50.0
    series.volume[:] = 0.0
    assert size(draw(series, None, tmp_path / "c.png", company=TSMC, simulated=False)) == (WIDTH, HEIGHT)


def test_missing_prices_leave_a_gap(tmp_path: Path) -> None:
    series = walk(8)
    series.close[3] = np.nan
    series.volume[4] = np.nan
    assert (
        size(draw(series, forecast_of(series), tmp_path / "c.png", company=TSMC, simulated=False))[0] == WIDTH
    )


def test_simulated_is_marked_and_real_is_not(tmp_path: Path) -> None:
    series = walk(80)
    forecast = forecast_of(series)
    real = draw(series, forecast, tmp_path / "real.png", company=TSMC, simulated=False)
    marked = draw(series, forecast, tmp_path / "marked.png", company=TSMC, simulated=True)
    assert share_near(real, chart.WARNING) == 0
    assert share_near(marked, chart.WARNING) > 0.003  # the badge
    assert (np.abs(pixels(real) - pixels(marked)).max(axis=2) > 0.05).mean() > 0.03  # the watermark


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("period", ["day", "week"])
def test_no_words_lie_over_each_other_or_over_the_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str, period: str
) -> None:
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *arguments: object, **options: object) -> None:
        figures.append(self)
        save(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", keep)
    series = walk(200, seed=3)
    past = series[:196]
    forecast = replace(forecast_of(past, 9), dates=series.dates[196:] + days(5, series.dates[-1]))
    zh = "紀錄：1,234 次預測，誤差比單純預測大 12.3%（p = 0.001）。另有 1,234 次不列入。"
    en = (
        "Record: worse than the naive forecast, with an error 12.3% larger in 1,234 forecasts (p = 0.001). "
        "1,234 more of days already known are not counted."
    )
    draw(
        series, forecast, tmp_path / "c.png", company=TSMC, language=language, simulated=True,  # type: ignore[arg-type]
        period=period, record=(zh, en),  # type: ignore[arg-type]
    )  # fmt: skip
    (figure,) = figures
    drawn = lettering.lettering_for(language, TSMC).language  # type: ignore[arg-type]
    texts = {text.get_text(): text.get_window_extent() for text in figure.texts}
    assert (zh, en)[drawn == "en"] in texts
    top, bottom = figure.axes
    legend = top.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 7  # three averages, two bands, the median, the closes that came
    labels = {label.get_text(): label.get_window_extent() for label in bottom.get_xticklabels()}
    boxes = {**texts, "legend": legend.get_window_extent(), **labels}
    boxes |= {"prices": top.get_window_extent(), "volumes": bottom.get_window_extent()}
    for name, box in boxes.items():
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, name
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, name
        for other, its in boxes.items():
            if name != other and not {name, other} <= set(labels):
                assert not box.overlaps(its), (name, other)


def test_up_is_red_or_green_as_asked(tmp_path: Path) -> None:
    series = walk(40)
    series.close[:] = series.open * 1.02  # every day a rise
    series.high[:] = series.close
    red = draw(series, None, tmp_path / "red.png", company=TSMC, simulated=False)
    green = draw(series, None, tmp_path / "green.png", company=TSMC, simulated=False, up_colour="green")
    assert share_near(red, chart.RED) > 0.02
    assert share_near(red, chart.GREEN) == 0
    assert share_near(green, chart.GREEN) > 0.02
    assert share_near(green, chart.RED) == 0


def test_a_day_locked_at_its_limit_takes_the_colour_of_its_move() -> None:
    opens = np.array([100.0, 110.0, 99.0, 99.0, 98.0, np.nan])
    closes = np.array([100.0, 110.0, 99.0, 99.0, 99.0, np.nan])
    assert chart._ways(opens, closes, 100.0) == [0, 1, -1, 0, 1, 0]
    assert chart._ways(opens[:1], closes[:1], float("nan")) == [0]


def test_averages_come_from_the_whole_series() -> None:
    series = walk(200)
    scene = chart._scene(series, series, None, 60)
    for length in (5, 20, 60):
        means = scene.means[length]
        assert len(means) == 60
        assert means[0] == pytest.approx(series.close[140 - length + 1 : 141].mean())
        assert means[-1] == pytest.approx(series.close[-length:].mean())
    assert set(chart._scene(series[:19], series[:19], None, 60).means) == {5}


def test_the_cone_starts_at_the_last_close_and_later_bars_are_the_actual_closes() -> None:
    series = walk(100)
    past = series[:95]
    forecast = replace(forecast_of(past, horizon=7), dates=series.dates[95:] + days(2, series.dates[-1]))
    scene = chart._scene(series, series.until(forecast.as_of), forecast, 60)
    assert scene.past.dates == past.dates[-60:]
    for name, k in (("q10", 1), ("q25", 2), ("q75", 4), ("q90", 5)):
        assert scene.bands[name][0] == pytest.approx(past.close[-1])
        assert scene.bands[name][1:] == pytest.approx(forecast.quantiles("close")[k] / 100)
    assert scene.actual[:5] == pytest.approx(series.close[95:])
    assert np.isnan(scene.actual[5:]).all()
    assert scene.dates == past.dates[-60:] + forecast.dates


@pytest.mark.parametrize("total", [1, 2, 7, 30, 65, 80, 200])
def test_dates_stand_under_their_sessions(total: int) -> None:
    sessions = days(total, date(2025, 11, 3))
    anchor = max(0, total - 6)
    ticks, labels = chart._day_ticks(sessions, anchor)
    assert anchor in ticks
    assert ticks == sorted(set(ticks))
    assert len(ticks) == len(labels) <= 16
    assert labels[0].endswith("2025")
    assert all(label.startswith(f"{sessions[i]:%m-%d}") for i, label in zip(ticks, labels, strict=True))


def test_without_a_chinese_font_the_chart_is_english(tmp_path: Path, no_cjk: None) -> None:
    series = walk(30)
    forecast = replace(forecast_of(series), model="llama+示範")
    assert lettering.lettering_for("zh", TSMC).language == "en"
    zh = draw(series, forecast, tmp_path / "zh.png", company=TSMC, language="zh", simulated=True)
    en = draw(series, forecast, tmp_path / "en.png", company=TSMC, language="en", simulated=True)
    assert zh.read_bytes() == en.read_bytes()
    draw(series, forecast, tmp_path / "c.png", company=Company.bare("2412", "中華電"), simulated=False)


def test_with_a_chinese_font_every_name_is_drawable() -> None:
    if not lettering._cjk_families():
        pytest.skip("no font with Chinese is installed")
    for company in (*COMPANIES, Company.bare("2412", "中華電")):
        for language in ("zh", "en"):
            found = lettering.lettering_for(language, company)  # type: ignore[arg-type]
            assert found.language == language
            assert found.drawable(company.name_zh if language == "zh" else company.name_en).count("?") == 0


def test_the_words_say_what_a_bar_stands_for() -> None:
    sessions = (date(2026, 4, 2), date(2026, 4, 10), date(2026, 4, 15))
    zh, en = (lettering.Lettering(language, (), frozenset()) for language in ("zh", "en"))  # type: ignore[arg-type]
    assert zh.ahead(sessions, "day") == "預測 3 日：2026-04-02 至 2026-04-15"
    assert zh.ahead(sessions, "week") == "預測至 2026-04-15（週線 3 根）"
    assert en.ahead(sessions, "quarter") == "forecast to 2026-04-15 (quarterly bars: 3)"
    assert zh.bars(sessions, "day") == "2026-04-02 至 2026-04-15"
    assert zh.bars(sessions, "month").startswith("月線，各以該月最後交易日標示：")
    assert en.bars(sessions, "week").startswith("Weekly bars, each dated by its last session: 2026-04-02 to")


def test_letters_no_font_has_become_question_marks(no_cjk: None) -> None:
    found = lettering.lettering_for("en", TSMC)
    assert found.drawable("TSMC \U0010fffe台") == "TSMC ??"


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".JPG", ".webp"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    series = walk(30)
    target = draw(series, forecast_of(series), tmp_path / f"c{suffix}", company=TSMC, simulated=True)
    assert target.stat().st_size > 10_000


@pytest.mark.parametrize("name", ["chart", "chart.txt", ".png"])
def test_an_ending_that_is_no_picture(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"end the file's name in one of \.png"):
        draw(walk(5), None, tmp_path / name, company=TSMC, simulated=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        draw(walk(5), None, tmp_path / "nowhere" / "c.png", company=TSMC, simulated=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="does not exist"):
        check_target(tmp_path / "file" / "c.png")
    (tmp_path / "c.png").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        check_target(tmp_path / "c.png")


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(StockllmError, match="cannot be written"):
        check_target(tmp_path / "c.png")


def test_a_full_disk_leaves_the_old_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "c.png"
    target.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StockllmError, match="No space left"):
        draw(walk(5), None, target, company=TSMC, simulated=False)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_no_bars(tmp_path: Path) -> None:
    series = walk(10)
    with pytest.raises(NotEnoughHistory, match="2330 has no prices, so"):
        draw(series[:0], None, tmp_path / "c.png", company=TSMC, simulated=False)
    early = replace(forecast_of(series), as_of=date(2020, 1, 2))
    with pytest.raises(NotEnoughHistory, match="up to 2020-01-02"):
        draw(series, early, tmp_path / "c.png", company=TSMC, simulated=False)
