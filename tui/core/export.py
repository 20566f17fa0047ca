"""What is shown, as a file: a PNG by mplfinance, or a CSV. Knows no screen; runs in a thread."""

from __future__ import annotations

import csv
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stockllm.data.errors import StoreError
from stockllm.data.private import private_folder
from stockllm.tui.core.record import record_of
from stockllm.tui.core.store import open_store

if TYPE_CHECKING:
    from datetime import date

    from stockllm.data.paths import Home
    from stockllm.data.records import BarSeries, PathForecast
    from stockllm.market.companies import Company
    from stockllm.tui.drawing.periods import Period
    from stockllm.tui.look.text import Language
    from stockllm.tui.look.theme import UpColour


def folder(home: Home) -> Path:
    """Where exports go, made if need be. StoreError where that cannot be done."""
    path = home.root / "exports"
    try:
        private_folder(path)
    except OSError as error:
        raise StoreError(
            f"The folder {path} for exports cannot be made ({error.strerror}): free the space it needs.",
            zh=f"無法建立匯出資料夾 {path}（{error.strerror}）：請騰出所需的空間。",
        ) from error
    return path


def write_csv(target: Path, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """A table as CSV that spreadsheets read as UTF-8. Whole or not at all; StoreError where it fails."""
    part = target.with_suffix(".part")
    try:
        with part.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(heading)
            writer.writerows(rows)
        os.replace(part, target)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise StoreError(
            f"{target} cannot be written ({error.strerror}): free the space it needs.",
            zh=f"{target} 無法寫入（{error.strerror}）：請騰出所需的空間。",
        ) from error
    return target


#: matplotlib's settings are the process's: one picture at a time.
_DRAWING = threading.Lock()

#: The columns of an exported chart. A row is a bar that came, or (``forecast``) one of the representative
#: path; the levels are the bands of the forecast close, empty where nothing was forecast.
COLUMNS = ("date", "kind", "open", "high", "low", "close", "volume", "q10", "q25", "q50", "q75", "q90")


@dataclass(frozen=True, slots=True)
class View:
    """What a chart shows: ``bars`` up to the last one in view, of which the newest ``shown`` are in it.

    ``bars`` and ``forecast`` are in bars of ``period``; the forecast's ``as_of`` is among those shown.
    ``name`` tells the files from others of the company.
    """

    bars: BarSeries
    forecast: PathForecast | None
    shown: int
    period: Period
    name: str


def chart(
    home: Home,
    company: Company,
    view: View,
    *,
    language: Language,
    up_colour: UpColour,
    simulated: bool,
) -> tuple[Path, Path]:
    """What is in view as a PNG and as a CSV. Imports mplfinance: a second, the first time.

    Under a forecast the picture says how its model has done, as the screen does.
    """
    from stockllm.forecaster.charts.chart import draw

    record = None
    if view.forecast is not None:
        with open_store(home) as store:
            record = record_of(store, view.forecast)
    place = folder(home)
    bars, forecast = view.bars, view.forecast
    name = f"{company.code}-{view.name}-{bars.dates[-1]}"
    past = view.shown
    if forecast is not None and forecast.as_of < bars.dates[-1]:
        name += f"-forecast-{forecast.as_of}"
        past -= sum(day > forecast.as_of for day in bars.dates[-view.shown :])
    if simulated:
        name += "-SIMULATED"
    with _DRAWING:
        picture = draw(
            bars, forecast, place / f"{name}.png", company=company, language=language,
            simulated=simulated, up_colour=up_colour, past=past, period=view.period, record=record,
        )  # fmt: skip
    return picture, write_csv(place / f"{name}.csv", COLUMNS, rows(view))


def rows(view: View) -> Iterator[tuple[object, ...]]:
    """The bars in view and the forecast's, oldest first, in ``COLUMNS``; prices in TWD."""
    part = view.bars[-view.shown :]
    bands: dict[date, tuple[object, ...]] = {}
    if view.forecast is not None:
        levels = view.forecast.quantiles("close")[1:6].T / 100
        bands = {
            day: tuple(round(level, 2) for level in row)
            for day, row in zip(view.forecast.dates, levels.tolist(), strict=True)
        }
    nothing = ("",) * 5
    columns = (c.tolist() for c in (part.open, part.high, part.low, part.close, part.volume))
    for day, opened, high, low, close, volume in zip(part.dates, *columns, strict=True):
        yield (day, "actual", opened, high, low, close, int(volume), *bands.get(day, nothing))
    for candle in () if view.forecast is None else view.forecast.candles():
        if candle.date > part.dates[-1]:
            prices = (candle.open / 100, candle.high / 100, candle.low / 100, candle.close / 100)
            yield (candle.date, "forecast", *prices, candle.volume, *bands[candle.date])
