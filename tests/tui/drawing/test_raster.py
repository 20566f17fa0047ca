"""What the chart draws, read back from its cells."""

from __future__ import annotations

from datetime import date
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from stockllm.data.records import BarSeries, PathForecast
from stockllm.tui.drawing import candles
from stockllm.tui.drawing.axis import date_labels
from stockllm.tui.drawing.canvas import Canvas, Dots
from stockllm.tui.drawing.plot import SPACINGS, Columns, Halves
from stockllm.tui.drawing.raster import arrange, draw


def whole(canvas: Canvas) -> None:
    """Every row is exactly as wide as the canvas."""
    for row in range(canvas.height):
        assert sum(cell_len(text) for text, _, _ in canvas.runs(row)) == canvas.width


def drawn(shape: Halves, cells: int, rows: int = 4) -> list[str]:
    canvas = Canvas(cells, rows)
    candles.solid(canvas, 0, 0, cells, shape, "up")
    return canvas.plain().split("\n")


@pytest.mark.parametrize(
    ("shape", "picture"),
    [
        (Halves(0, 2, 5, 7), ["│", "┃", "┃", "│"]),
        (Halves(1, 3, 4, 6), ["╷", "╽", "╿", "╵"]),
        (Halves(2, 2, 2, 2), ["", "╹", "", ""]),
        (Halves(3, 3, 3, 3), ["", "╻", "", ""]),
    ],
)
def test_a_narrow_candle_shows_halves_of_rows(shape: Halves, picture: list[str]) -> None:
    assert drawn(shape, 1) == picture


def test_a_wide_candle_ends_in_the_middle_of_cells_to_leave_a_gap() -> None:
    assert drawn(Halves(2, 2, 5, 5), 3) == ["", "▐█▌", "▐█▌", ""]
    assert drawn(Halves(2, 2, 5, 5), 4) == ["", "███", "███", ""]
    assert drawn(Halves(3, 3, 4, 4), 3) == ["", "▗▄▖", "▝▀▘", ""]


def test_a_wide_body_gives_way_to_the_wick_that_goes_on_from_it() -> None:
    assert drawn(Halves(0, 3, 6, 7), 3) == [" │", " │", "▐█▌", " │"]


def test_a_day_that_ended_where_it_began_is_a_bar() -> None:
    assert drawn(Halves(0, 3, 3, 7), 3) == [" │", "╺┿╸", " │", " │"]
    assert drawn(Halves(0, 3, 3, 3), 3) == [" │", "╺┷╸", "", ""]
    assert drawn(Halves(2, 2, 2, 5), 3) == ["", "╺┯╸", " │", ""]
    assert drawn(Halves(2, 2, 2, 2), 3) == ["", "╺━╸", "", ""]


def test_forecast_candles_are_hollow() -> None:
    canvas = Canvas(3, 4)
    candles.hollow(canvas, 0, 0, 3, Halves(0, 2, 5, 7), "up")
    assert canvas.plain().split("\n") == [" │", "┌┴┐", "└┬┘", " │"]
    canvas = Canvas(1, 4)
    candles.hollow(canvas, 0, 0, 1, Halves(0, 2, 5, 7), "up")
    assert canvas.plain().split("\n") == ["│", "║", "║", "│"]


@given(st.lists(st.integers(0, 15), min_size=4, max_size=4), st.sampled_from(SPACINGS))
def test_no_candle_leaves_its_wick_or_its_cells(halves: list[int], cells: int) -> None:
    top, body_top, body_bottom, bottom = sorted(halves)
    for function in (candles.solid, candles.hollow):
        canvas = Canvas(cells + 2, 8)
        function(canvas, 0, 1, cells, Halves(top, body_top, body_bottom, bottom), "up")
        for row, x in product(range(8), range(cells + 2)):
            if canvas.glyphs[row][x] != " ":
                assert top // 2 <= row <= bottom // 2
                assert 1 <= x <= cells
        assert all(set(canvas.glyphs[row]) != {" "} for row in range(top // 2, bottom // 2 + 1))


@given(writes=st.lists(st.tuples(st.integers(0, 7), st.text("台積a│", min_size=1, max_size=3)), max_size=8))
def test_writing_over_half_a_wide_character_keeps_the_width(writes: list[tuple[int, str]]) -> None:
    canvas = Canvas(8, 1)
    for x, words in writes:
        canvas.text(0, x, words, "text")
        whole(canvas)


@example(width=12, height=18, spacing=None, language="zh", days=1, kind="week", simulated=False)
@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    spacing=st.sampled_from([None, *SPACINGS]),
    language=st.sampled_from(["zh", "en"]),
    days=st.integers(0, 150),
    kind=st.sampled_from(["none", "week", "month"]),
    simulated=st.booleans(),
)
def test_any_size_is_drawn_whole(
    series: BarSeries,
    forecast: PathForecast,
    long_forecast: PathForecast,
    width: int,
    height: int,
    spacing: int | None,
    language: str,
    days: int,
    kind: str,
    simulated: bool,
) -> None:
    shown = {"none": None, "week": forecast, "month": long_forecast}[kind]
    part = series[len(series) - days :]
    whole(draw(part, shown, width, height, language, spacing, simulated))  # type: ignore[arg-type]


def test_the_forecast_stands_right_of_the_divider(series: BarSeries, forecast: PathForecast) -> None:
    canvas = draw(series, forecast, 120, 30, "zh")
    dividers = {row.index("┊") for row in canvas.glyphs if "┊" in row}
    assert len(dividers) == 1
    x = dividers.pop()
    shaded = [c for row in canvas.grounds for c, ground in enumerate(row) if ground in ("cone80", "cone50")]
    assert min(shaded) > x
    hollow = [c for row in canvas.glyphs for c, glyph in enumerate(row) if glyph and glyph in "┌┐└┘╶╴"]
    assert hollow
    assert min(hollow) > x
    assert "預測" in canvas.plain().split("\n")[0]


def test_both_bands_are_shaded_the_narrow_one_inside(series: BarSeries, forecast: PathForecast) -> None:
    canvas = draw(series, forecast, 160, 45, "zh")
    for x in range(120, 150):
        column = [canvas.grounds[row][x] for row in range(canvas.height)]
        outer = [r for r, ground in enumerate(column) if ground in ("cone80", "cone50")]
        inner = [r for r, ground in enumerate(column) if ground == "cone50"]
        if inner:
            assert outer[0] <= inner[0] <= inner[-1] <= outer[-1]
    assert {"cone80", "cone50"} <= {ground for row in canvas.grounds for ground in row}


def test_simulated_is_stamped_on_the_chart(series: BarSeries, forecast: PathForecast) -> None:
    for width in (40, 53, 80, 160):
        assert "SIMULATED" in draw(series, forecast, width, 20, "zh", None, True).plain()
        assert "SIMULATED" not in draw(series, forecast, width, 20, "zh", None, False).plain()


def test_the_last_price_is_tagged_at_the_axis(series: BarSeries) -> None:
    canvas = draw(series, None, 100, 30, "en")
    tags = [
        row
        for row in range(canvas.height)
        if "tag-up" in canvas.grounds[row] or "tag-down" in canvas.grounds[row]
    ]
    assert len(tags) == 1
    assert f"{series.close[-1]:,.0f}" in "".join(canvas.glyphs[tags[0]])


def test_nearer_shows_fewer_days(series: BarSeries) -> None:
    texts = [draw(series, None, 100, 30, "en", spacing).plain() for spacing in (1, 3, 9)]
    counts = [int(text.split(" days")[0].split()[-1]) for text in texts]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 3
    found = arrange(series, None, 100, 30)
    assert found is not None
    assert found.columns.spacing in SPACINGS


def test_volume_appears_once_there_is_room(series: BarSeries) -> None:
    def ground_inks(height: int) -> set[str]:
        canvas = draw(series, None, 80, height, "zh")
        return {ink for row in canvas.inks for ink in row}

    assert not {"volume-up", "volume-down"} & ground_inks(10)
    assert {"volume-up", "volume-down"} <= ground_inks(20)


def test_a_company_with_a_single_day_is_drawn() -> None:
    one = np.array([100.0])
    canvas = draw(BarSeries("1", (date(2026, 3, 31),), one, one, one, one, one, one), None, 60, 20)
    whole(canvas)
    assert "╺━╸" in canvas.plain() or "━" in canvas.plain()


def test_text_keeps_its_width_and_never_sticks_out() -> None:
    canvas = Canvas(5, 1)
    assert canvas.text(0, 0, "台積電", "text") == 4
    whole(canvas)
    assert canvas.plain() == "台積"


def test_dots_join_points_and_keep_off_what_is_drawn() -> None:
    canvas = Canvas(4, 1)
    canvas.put(0, 1, "┃", "up")
    dots = Dots(4, 1)
    dots.line([(0.0, 0.0), (3.9, 0.9)], "ma5")
    dots.line([(0.0, 9.0), (3.9, 9.0)], "ma20")
    dots.draw(canvas)
    assert canvas.glyphs[0][1] == "┃"
    assert all(0x2800 < ord(canvas.glyphs[0][x]) <= 0x28FF for x in (0, 2, 3))


@given(st.integers(1, 400), st.integers(0, 20), st.sampled_from(SPACINGS), st.sampled_from(["zh", "en"]))
def test_date_labels_never_touch(history: int, future: int, spacing: int, language: str) -> None:
    days = [date.fromordinal(date(2025, 1, 2).toordinal() + n) for n in range(history + future)]
    columns = Columns(history, future, spacing, 2, 3)
    width = columns.start(history + future - 1) + columns.cells(history + future - 1)
    labels = date_labels(days, columns, width, language)  # type: ignore[arg-type]
    end = -1
    for label in labels:
        assert label.x > end
        end = label.x + cell_len(label.text)
    assert end <= width
