"""Key e: the picture and the table of what is shown."""

from __future__ import annotations

import csv
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from looking import WIDE, long_and_old, market, toasts
from textual.pilot import Pilot

from stockllm.data.paths import Home
from stockllm.data.records import Bar, PathForecast
from stockllm.data.store import Store
from stockllm.forecaster.charts import lettering
from stockllm.tui.app import StockApp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


async def test_e_writes_what_is_shown_as_picture_and_table(
    home: Home, make_app: MakeApp, settle: Settle, bars: list[Bar]
) -> None:
    app = make_app(home)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press(*["down"] * 5, "left")
        await settle(pilot)
        found = market(app).chart.arranged()
        assert found is not None
        await pilot.press("e")
        await settle(pilot)
        last = found.picture.dates[-1]
        picture, table = (home.root / "exports" / f"2330-day-{last}.{kind}" for kind in ("png", "csv"))
        assert picture.read_bytes().startswith(b"\x89PNG")
        with table.open(encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        assert [row["date"] for row in rows] == [str(day) for day in found.picture.dates]
        closes = {bar.date: bar.close / 100 for bar in bars}
        assert all(float(row["close"]) == closes[date.fromisoformat(row["date"])] for row in rows)
        assert str(picture) in toasts(app)[-1]
        assert {row["kind"] for row in rows} == {"actual"}  # the view was moved away from the forecast
        table.unlink()
        (home.root / "exports" / f"2330-day-{last}.part").mkdir()
        await pilot.press("e")
        await settle(pilot)
        assert "無法寫入" in toasts(app)[-1]
        assert app.troubles[-1].error.sentence("zh") == toasts(app)[-1]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The pictures that were drawn, with their artists."""
    from matplotlib.figure import Figure as Drawn

    drawn: list[Figure] = []
    save = Drawn.savefig

    def keep(self: Figure, *arguments: object, **options: object) -> None:
        drawn.append(self)
        save(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Drawn, "savefig", keep)
    return drawn


def cone_of(figure: Figure) -> tuple[list[int], list[float], list[float]]:
    """Places, lower and upper edges of the 80% band, as drawn."""
    from matplotlib.collections import PolyCollection

    top = figure.axes[0]
    (band,) = (c for c in top.collections if isinstance(c, PolyCollection) and "80%" in str(c.get_label()))
    corners = np.asarray(band.get_paths()[0].vertices)
    places = sorted({int(x) for x in corners[:, 0]})
    edges = [corners[corners[:, 0] == x, 1] for x in places]
    return places, [float(e.min()) for e in edges], [float(e.max()) for e in edges]


@pytest.mark.parametrize(
    ("key", "language", "words"),
    [
        ("d", "zh", "預測 20 日：{first} 至 {last}"),
        ("w", "zh", "預測至 {last}（週線 {count} 根）"),
        ("m", "en", "forecast to {last} (monthly bars: {count})"),
    ],
)
async def test_the_exported_picture_shows_the_cone_and_the_bars_of_the_screen(
    home: Home,
    make_app: MakeApp,
    settle: Settle,
    long_forecast: PathForecast,
    bars: list[Bar],
    figures: list[Figure],
    key: str,
    language: str,
    words: str,
) -> None:
    if language == "zh" and not lettering._cjk_families():
        pytest.skip("no font with Chinese is installed")
    old = long_and_old(long_forecast, bars, 12)
    with Store.open(home) as store:
        store.ledger.freeze(replace(long_forecast, made_at=long_forecast.made_at + timedelta(hours=1)), "new")
        store.ledger.freeze(old, "past")
    app = make_app(home, language=language)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press(*["down"] * 5, key)
        await settle(pilot)
        await pilot.press("e", "b", key)
        await settle(pilot)
        await pilot.press("e")
        await settle(pilot)
        compared = market(app).chart.forecast
        await pilot.press("escape", key)
        await settle(pilot)
        found, drawn = market(app).chart.arranged(), market(app).chart.forecast
    assert found is not None
    assert drawn is not None
    assert compared is not None
    newest, older = figures
    # Both say how the model has done, as the screen does.
    detail = market(app).detail
    assert detail is not None
    assert detail.record is not None
    for figure in figures:
        assert detail.record[language == "en"] in [text.get_text() for text in figure.texts]
    # The newest forecast: the same days, candles and band as in the terminal.
    shown, cone = found.picture, found.picture.cone
    assert len(newest.axes[1].patches) - 1 == len(shown.dates)  # one bar of volume each; the shaded region
    assert [round(bar.get_height()) for bar in newest.axes[1].patches[: len(shown.bars)]] == [
        round(bar.volume) for bar in shown.bars
    ]
    places, low, high = cone_of(newest)
    assert places == [point.slot for point in cone]
    assert low == pytest.approx([point.q10 for point in cone])
    assert high == pytest.approx([point.q90 for point in cone])
    said = words.format(first=drawn.dates[0], last=drawn.dates[-1], count=len(drawn.dates))
    assert said in " ".join(text.get_text() for text in newest.texts)
    labels = {tick.get_text().split("\n")[0] for tick in newest.axes[1].get_xticklabels()}
    assert {f"{day:%m-%d}" for day in (drawn.as_of,)} <= labels <= {f"{day:%m-%d}" for day in shown.dates}
    # The older one: its own days, and the closes that came of them.
    said = words.format(first=compared.dates[0], last=compared.dates[-1], count=len(compared.dates))
    assert said in " ".join(text.get_text() for text in older.texts)
    closes = {bar.date: bar.close / 100 for bar in bars}
    wanted = [closes.get(day) for day in compared.dates]
    (line,) = (x for x in older.axes[0].lines if x.get_label() in ("實際收盤", "actual close"))
    came = [None if np.isnan(y) else y for y in np.asarray(line.get_ydata(), dtype=float)]
    assert came == wanted
    assert cone_of(older)[1][1:] == pytest.approx(compared.quantiles("close")[1] / 100)
    # And the table: every bar of the view, then the representative path, with the bands.
    (table,) = (home.root / "exports").glob(f"2330-*-{bars[-1].date}.csv")
    with table.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["date"] for row in rows] == [str(day) for day in shown.dates]
    assert [row["kind"] for row in rows] == ["actual"] * len(shown.bars) + ["forecast"] * len(drawn.dates)
    last = rows[-1]
    assert float(last["q10"]) == pytest.approx(cone[-1].q10, abs=0.01)
    assert float(last["close"]) == shown.candles[-1][1].close
    assert rows[0]["q50"] == ""
    (table,) = (home.root / "exports").glob(f"*-forecast-{old.as_of}.csv")
    assert f"{old.as_of},actual" in table.read_text(encoding="utf-8-sig")
