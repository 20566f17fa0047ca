"""What is shown, as a file: a PNG by mplfinance, or a CSV. Knows no screen; runs in a thread."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stockllm.data.errors import StoreError

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.records import PathForecast, Series
    from stockllm.market.companies import Company
    from stockllm.tui.text import Language
    from stockllm.tui.theme import UpColour


def folder(home: Home) -> Path:
    """Where exports go, made if need be. StoreError where that cannot be done."""
    path = home.root / "exports"
    try:
        path.mkdir(parents=True, exist_ok=True)
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


def chart(
    home: Home,
    company: Company,
    series: Series,
    forecast: PathForecast | None,
    shown: int,
    *,
    name: str,
    language: Language,
    up_colour: UpColour,
    simulated: bool,
) -> tuple[Path, Path]:
    """The bars of ``series``, which ends with the last one in view: a PNG and a CSV of the ``shown``.

    ``name`` tells the files from others of the company. Imports mplfinance: a second, the first time.
    """
    from stockllm.forecaster.chart import draw

    place = folder(home)
    mark = "-SIMULATED" if simulated else ""
    stem = f"{company.code}-{name}-{series.dates[-1]}{mark}"
    picture = draw(
        series, forecast, place / f"{stem}.png", company=company, language=language,
        simulated=simulated, up_colour=up_colour, past=shown,
    )  # fmt: skip
    part = series[-shown:]
    columns = (part.dates, *(c.tolist() for c in (part.open, part.high, part.low, part.close, part.volume)))
    rows = [(day, o, h, low, c, int(v)) for day, o, h, low, c, v in zip(*columns, strict=True)]
    heading = ("date", "open", "high", "low", "close", "volume")
    return picture, write_csv(place / f"{stem}.csv", heading, rows)
