"""The picture of one company: its last candles, then the forecast as a cone and hollow candles.

Drawn with mplfinance on axes of our own and saved through the Agg canvas, so no window system is
needed, pyplot keeps no figure, and matplotlib's settings are as before afterwards. The x axis counts
trading sessions; days without one take no room.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stockllm.data.errors import NotEnoughHistory, StockllmError, UsageError
from stockllm.data.records import BAND_LEVELS
from stockllm.forecaster.charts.lettering import Lettering, Period, lettering_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import numpy as np
    from numpy.typing import NDArray

    from stockllm.data.records import BarSeries, Candle, PathForecast
    from stockllm.market.companies import Company

#: What a chart's file name may end in.
SUFFIXES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp")

#: Past candles shown.
PAST_BARS = 60

#: Inches and dots an inch: a PNG is 1440 by 840 dots.
FIGURE_SIZE = (12.0, 7.0)
DOTS_PER_INCH = 120

#: Moving averages: length in sessions and colour.
AVERAGES = ((5, "#e6a100"), (20, "#1f77b4"), (60, "#8a4fbf"))

RED, GREEN, GREY = "#d7263d", "#128a4a", "#777777"
PALE_RED, PALE_GREEN = "#ea8f9b", "#83bf9f"
CONE, REGION, WARNING = "#4a6fa5", "#eef2f8", "#c2410c"


def check_target(target: Path) -> None:
    """See that a chart could be written to ``target``, before any work goes into it.

    Raises UsageError for an ending that is no picture's, a folder that does not exist, or a folder
    in the file's place; StockllmError for a folder that cannot be written to.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"A chart cannot be written as {target.name!r}; "
            f"end the file's name in one of {', '.join(SUFFIXES)}.",
            zh=f"無法把圖寫成 {target.name!r}：檔名請以 {', '.join(SUFFIXES)} 之一結尾。",
        )
    folder = target.parent
    if not folder.is_dir():
        raise UsageError(
            f"The folder {folder} for the chart does not exist; create it or name another.",
            zh=f"放圖的資料夾 {folder} 不存在：請建立它，或指定其他資料夾。",
        )
    if target.is_dir():
        raise UsageError(
            f"{target} is a folder, not a file to draw the chart to; name a file in it.",
            zh=f"{target} 是資料夾，不是可以畫圖的檔案：請指定其中的檔名。",
        )
    if not os.access(folder, os.W_OK):
        raise StockllmError(
            f"The chart cannot be written to {folder}; name a folder you may write to.",
            zh=f"圖無法寫入 {folder}：請指定可寫入的資料夾。",
        )


def draw(
    series: BarSeries,
    forecast: PathForecast | None,
    target: Path,
    *,
    company: Company,
    language: Literal["zh", "en"] = "zh",
    simulated: bool,
    up_colour: Literal["red", "green"] = "red",
    past: int = PAST_BARS,
    period: Period = "day",
    record: tuple[str, str] | None = None,
) -> Path:
    """Draw ``series`` and, where given, ``forecast`` to ``target``; the format is its ending's.

    ``period`` is what each bar of both stands for; the words follow it. ``record`` says in Chinese and
    English how the forecast's model has done so far, and stands under the picture.

    Shown are the last ``past`` candles up to the forecast's ``as_of`` (the whole series without a
    forecast), MA5, MA20 and MA60 over all of the series, volume, and from the as-of line on the 80%
    and 50% bands of the close as a cone from the last close, the median close, and the medoid
    path's candles, hollow. Bars of the series that lie after ``as_of`` appear as the actual closes
    of the days forecast. Chinese needs a font; where matplotlib finds none the chart is English.
    The file appears whole or not at all. Not for several threads at once: matplotlib's settings are
    the process's.

    Returns ``target``. Raises what ``check_target`` raises, NotEnoughHistory for a series without a
    bar up to ``as_of``, StockllmError when the file cannot be written.
    """
    check_target(target)
    shown = series if forecast is None else series.until(forecast.as_of)
    if not len(shown):
        until = f" up to {forecast.as_of}" if forecast is not None else ""
        raise NotEnoughHistory(
            f"{company.code} has no prices{until}, so there is no chart to draw; "
            "bring some in with 'stockllm import PATH'.",
            zh=f"{company.code} 沒有股價，無圖可畫：請用 'stockllm import PATH' 匯入。",
        )
    lettering = lettering_for(language, company, *(record or ()))
    scene = _scene(series, shown, forecast, past, period)
    said = "" if record is None else record[lettering.language == "en"]
    picture = _render(scene, company, lettering, simulated, up_colour, target, said)
    _write_whole(target, picture)
    return target


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is drawn, in TWD and session by session, before anything is said of how.

    ``past`` are the bars shown, ``before`` the close of the day before them (NaN if none), ``means``
    the moving averages of those bars by length, shape (n,). Of a forecast: ``candles`` the medoid,
    ``bands`` the quantiles of the close by name, shape (horizon + 1,) from the last close on, and
    ``actual`` the closes that came, NaN where none did, shape (horizon,).
    """

    past: BarSeries
    before: float
    means: dict[int, NDArray[np.float64]]
    forecast: PathForecast | None
    candles: tuple[Candle, ...]
    bands: dict[str, NDArray[np.float64]]
    actual: NDArray[np.float64]
    period: Period = "day"

    @property
    def dates(self) -> tuple[date, ...]:
        return self.past.dates + tuple(c.date for c in self.candles)

    def span(self) -> tuple[float, float]:
        """The lowest and the highest price that must be seen."""
        import numpy as np

        seen = [self.past.low, self.past.high, self.actual]
        seen += [self.bands[q] for q in ("q10", "q90") if q in self.bands]
        seen.append(np.array([p / 100 for c in self.candles for p in (c.low, c.high)]))
        values = np.concatenate(seen)
        values = values[np.isfinite(values)]
        return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def _scene(
    series: BarSeries, shown: BarSeries, forecast: PathForecast | None, past: int, period: Period = "day"
) -> _Scene:
    """``shown`` is the part of ``series`` up to the forecast's as-of day."""
    import numpy as np

    recent = shown[-max(past, 1) :]
    first = len(shown) - len(recent)
    means = {
        length: np.convolve(shown.close, np.full(length, 1 / length), mode="valid")[-len(recent) :]
        for length, _ in AVERAGES
        if len(shown) >= length
    }
    before = float(shown.close[first - 1]) if first else float("nan")
    if forecast is None:
        return _Scene(recent, before, means, None, (), {}, np.empty(0), period)
    levels = forecast.quantiles("close") / 100
    bands = {
        name: np.concatenate([[forecast.last_close / 100], row])
        for name, row in zip(BAND_LEVELS, levels, strict=True)
    }
    came = dict(zip(series.dates[len(shown) :], series.close[len(shown) :], strict=True))
    actual = np.array([came.get(day, np.nan) for day in forecast.dates])
    return _Scene(recent, before, means, forecast, forecast.candles(), bands, actual, period)


def _render(
    scene: _Scene, company: Company, lettering: Lettering, simulated: bool, up_colour: str, target: Path,
    record: str,
) -> bytes:  # fmt: skip
    """The picture's bytes, in the format of ``target``'s ending."""
    os.environ["MPLBACKEND"] = "Agg"  # an inherited one may be of a program that is not here
    import matplotlib
    from matplotlib.figure import Figure

    settings = {
        "font.family": list(lettering.families),
        "text.parse_math": False,
        "axes.unicode_minus": False,
    }
    with matplotlib.rc_context(settings):
        # A Figure of one's own is unknown to pyplot: nothing to close, nothing left behind.
        figure = Figure(figsize=FIGURE_SIZE, dpi=DOTS_PER_INCH, facecolor="white")
        top, bottom = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": (4, 1), "hspace": 0.04}
        )
        figure.subplots_adjust(left=0.03, right=0.93, top=0.87, bottom=0.125)
        _candles(top, bottom, scene, up_colour)
        for length, colour in AVERAGES:
            if length in scene.means:
                n, mean = len(scene.past), scene.means[length]
                top.plot(range(n - len(mean), n), mean, color=colour, lw=1.1, label=f"MA{length}", zorder=2.5)
        if scene.forecast is not None:
            _cone(top, bottom, scene, lettering)
        _axes(top, bottom, scene, lettering)
        figure.align_ylabels([top, bottom])
        _words(figure, top, scene, company, simulated, lettering, record)
        picture = BytesIO()
        figure.savefig(picture, format=target.suffix[1:].lower(), dpi=DOTS_PER_INCH)
    return picture.getvalue()


def _candles(top: Any, bottom: Any, scene: _Scene, up_colour: str) -> None:
    """Past candles filled, forecast candles hollow and pale, volume below; mplfinance's own shapes."""
    import mplfinance as mpf
    import numpy as np
    import pandas as pd

    past, n = scene.past, len(scene.past)
    rows = [[c.open / 100, c.high / 100, c.low / 100, c.close / 100, float(c.volume)] for c in scene.candles]
    table = np.vstack(
        [
            np.column_stack([past.open, past.high, past.low, past.close, past.volume]),
            np.array(rows).reshape(-1, 5),
        ]
    ).astype(np.float64)
    # A missing price hides its day: mplfinance wants all four or none.
    table[~np.isfinite(table[:, :4]).all(axis=1), :4] = np.nan
    table[:, 4] = np.nan_to_num(table[:, 4])
    frame = pd.DataFrame(
        table, columns=["Open", "High", "Low", "Close", "Volume"], index=pd.DatetimeIndex(scene.dates)
    )

    up, down = (RED, GREEN) if up_colour == "red" else (GREEN, RED)
    pale = {RED: PALE_RED, GREEN: PALE_GREEN, GREY: GREY}
    colours = [{1: up, -1: down, 0: GREY}[way] for way in _ways(table[:, 0], table[:, 3], scene.before)]

    def paint(i: int) -> Any:
        colour, ahead = colours[i], i >= n
        wick = pale[colour] if ahead else colour
        body = "white" if ahead else colour
        return mpf.make_marketcolors(up=body, down=body, edge=colour, wick=wick, volume=colour)

    mpf.plot(
        frame,
        type="candle",
        ax=top,
        volume=bottom,
        style=mpf.make_mpf_style(base_mpf_style="default", y_on_right=True),
        marketcolor_overrides=[paint(i) for i in range(len(frame))],
        volume_ylim=(0, max(float(table[:, 4].max()) * 1.15, 1.0)),
        volume_exponent=0,
        xrotation=0,
        update_width_config={"candle_width": 0.64, "volume_width": 0.72},
        warn_too_much_data=len(frame) + 1,
    )
    for i, bar in enumerate(bottom.patches):
        bar.set_edgecolor(colours[i])
        bar.set_facecolor(colours[i] if i < n else "white")


def _ways(opens: NDArray[np.float64], closes: NDArray[np.float64], before: float) -> list[int]:
    """1 for a rise, -1 for a fall, 0 for neither, day by day.

    mplfinance paints a day that closes where it opened as a fall. Taiwan reads such a day off the
    close before it: one locked at limit-up is red.
    """
    import numpy as np

    earlier = np.concatenate([[before], closes[:-1]])
    moves = np.where(opens == closes, closes - earlier, closes - opens)
    return [int(way) for way in np.sign(np.nan_to_num(moves))]


def _cone(top: Any, bottom: Any, scene: _Scene, lettering: Lettering) -> None:
    """The shaded region, the bands of the close from the last close on, and what really came."""
    import numpy as np

    start = len(scene.past) - 1
    x = np.arange(start, start + len(scene.candles) + 1)
    for axes in (top, bottom):
        axes.axvspan(start, x[-1] + 0.7, color=REGION, lw=0, zorder=0)
        axes.axvline(start, color=GREY, lw=1, ls="--", zorder=1)
    for low, high, percent, alpha in (("q10", "q90", 80, 0.16), ("q25", "q75", 50, 0.24)):
        label = lettering.words("band").format(percent)
        low_edge, high_edge = scene.bands[low], scene.bands[high]
        top.fill_between(x, low_edge, high_edge, color=CONE, alpha=alpha, lw=0, label=label, zorder=0.5)
    middle = lettering.words("median")
    top.plot(x, scene.bands["q50"], color=CONE, lw=1.3, ls="--", label=middle, zorder=2.2)
    if np.isfinite(scene.actual).any():
        actual = lettering.words("actual")
        top.plot(x[1:], scene.actual, color="black", marker="o", ms=3, lw=1, label=actual, zorder=3)


def _axes(top: Any, bottom: Any, scene: _Scene, lettering: Lettering) -> None:
    """Limits, dates under the sessions, prices and volumes in the words people use."""
    import numpy as np
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    low, high = scene.span()
    room = max((high - low) * 0.06, high * 0.002)
    top.set_ylim(low - room, high + room)
    top.set_xlim(-1, len(scene.dates) - 0.3)
    bottom.set_xticks(*_day_ticks(scene.dates, len(scene.past) - 1))
    top.tick_params(axis="x", labelbottom=False, length=0)

    in_lots = bool(np.nanmax(scene.past.volume, initial=0) >= 10_000)
    unit = 1000 if in_lots else 1
    bottom.yaxis.set_major_formatter(FuncFormatter(lambda shares, _: f"{shares / unit:,.0f}"))
    bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    top.yaxis.set_major_formatter(FuncFormatter(lambda price, _: f"{price:,.2f}".rstrip("0").rstrip(".")))
    top.set_ylabel(lettering.words("price"))
    bottom.set_ylabel(lettering.words("lots" if in_lots else "shares"))
    for axes in (top, bottom):
        axes.grid(visible=True, color="#dddddd", linewidth=0.5)
        axes.yaxis.tick_right()
        axes.yaxis.set_label_position("right")
        axes.tick_params(labelsize=9)
        for side in axes.spines.values():
            side.set_color("#bbbbbb")


def _day_ticks(days: Sequence[date], anchor: int) -> tuple[list[int], list[str]]:
    """Where dates stand under the sessions, and their text.

    The as-of day at ``anchor`` always, others evenly spaced from it, the last one where it has room;
    the year on a second line where it changes.
    """
    every = max(1, round(len(days) / 9))
    ticks = list(range(anchor % every, len(days), every))
    last = len(days) - 1
    if last - ticks[-1] > len(days) // 20:
        ticks.append(last)
    labels, year = [], 0
    for day in (days[i] for i in ticks):
        labels.append(f"{day:%m-%d}" if day.year == year else f"{day:%m-%d}\n{day:%Y}")
        year = day.year
    return ticks, labels


def _words(
    figure: Any, top: Any, scene: _Scene, company: Company, simulated: bool, lettering: Lettering, record: str
) -> None:
    """Title, dates, legend, record, footer, and the mark of a simulated market across the picture."""
    name = company.name_zh if lettering.language == "zh" else company.name_en
    if name == company.code or lettering.drawable(name) != name:
        name = ""
    figure.text(0.03, 0.953, f"{company.code} {name}".strip(), fontsize=15, weight="bold")
    dates = lettering.bars(scene.past.dates, scene.period)
    forecast = scene.forecast
    if forecast is not None:
        dates += f"    {lettering.ahead(forecast.dates, scene.period)}"
        foot = lettering.words("foot").format(
            model=forecast.model_name, paths=forecast.paths, seed=forecast.seed
        )
        figure.text(0.03, 0.015, lettering.drawable(foot), fontsize=8.5, color=GREY)
    if record:
        figure.text(0.03, 0.043, lettering.drawable(record), fontsize=9.5, color="#222222")
    figure.text(0.03, 0.921, dates, fontsize=10, color="#444444")
    if simulated:
        badge = {"facecolor": WARNING, "edgecolor": "none", "pad": 5}
        mark = {"color": WARNING, "alpha": 0.16, "ha": "center", "va": "center", "rotation": 20, "zorder": 4}
        words = lettering.words("simulated")
        figure.text(0.926, 0.945, words, fontsize=14, weight="bold", color="white", ha="right", bbox=badge)
        top.text(0.5, 0.5, "SIMULATED", transform=top.transAxes, fontsize=84, weight="bold", **mark)
    if top.get_legend_handles_labels()[0]:
        # Above the axes: wherever it stood within them, some line would run through it sooner or later.
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2, "borderpad": 0.1}
        top.legend(ncols=7, fontsize=9, frameon=False, **place)


def _write_whole(target: Path, picture: bytes) -> None:
    """Write beside the target, then rename: nobody ever sees half a picture."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(picture)
        os.replace(draft, target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StockllmError(
            f"The chart cannot be written to {target} ({error.strerror}); "
            "free some space or name another place.",
            zh=f"圖無法寫入 {target}（{error.strerror}）：請騰出空間，或指定其他地方。",
        ) from error
