"""Widths and figures: alignment is counted in cells, never in characters."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from stockllm.tui.look import text

MIXED = st.text(alphabet="abc 台積電聯發科（），。1.5%－-ASUS", max_size=40)


@given(MIXED, st.integers(0, 30), st.sampled_from(["left", "right"]))
def test_pad_is_exact_in_cells(given_text: str, width: int, align: str) -> None:
    assert cell_len(text.pad(given_text, width, align)) == width  # type: ignore[arg-type]


@given(MIXED, st.integers(0, 30))
def test_clip_says_that_it_cut(given_text: str, width: int) -> None:
    shown = text.clip(given_text, width)
    assert cell_len(shown) <= width
    assert shown == given_text or not width or shown.endswith("…")


@given(MIXED, st.integers(1, 30))
def test_wrapping_loses_nothing_and_fits(given_text: str, width: int) -> None:
    lines = text.wrap(given_text, width)
    if width > 1:
        assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(given_text.split())


@given(st.lists(MIXED, max_size=5), st.integers(2, 30), st.integers(1, 12))
def test_paragraphs_share_the_room_and_each_keeps_a_line(texts: list[str], width: int, height: int) -> None:
    blocks = text.paragraphs(texts, width, height)
    assert len(blocks) == len(texts)
    assert all(blocks)
    assert sum(map(len, blocks)) <= max(height, len(texts))
    assert all(cell_len(line) <= width for block in blocks for line in block)


@given(st.lists(MIXED, max_size=6), st.integers(1, 60))
def test_what_does_not_fit_is_left_away(parts: list[str], width: int) -> None:
    assert cell_len(text.join_fitting(parts, width)) <= width


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1075.0, "1,075"),
        (998, "998"),
        (123.5, "123.5"),
        (98.7, "98.7"),
        (24.35, "24.35"),
        (1012.37, "1,012.37"),
        (9.6, "9.60"),
        (500, "500"),
        (100, "100.0"),
    ],
)
def test_prices_have_the_decimals_of_their_tick(value: float, shown: str) -> None:
    assert text.price(value) == shown


def test_percentages_have_a_sign_and_no_negative_zero() -> None:
    assert [text.percent(v) for v in (0.0142, -0.1, 0.0, -0.000001, None)] == [
        "+1.42%",
        "-10.00%",
        "0.00%",
        "0.00%",
        "–",
    ]


def test_volumes_are_in_lots_of_a_thousand() -> None:
    assert text.lots(24_512_345) == "24,512"
    assert text.short_lots(24_512_345, "zh") == "2.45萬"
    assert text.short_lots(24_512_345, "en") == "24.5K"
    assert text.short_lots(9_512_000, "zh") == "9,512"
    assert text.short_lots(2_450_000_000, "en") == "2.45M"


def test_ages_are_counted_from_now_and_become_a_date() -> None:
    now = datetime.fromisoformat("2026-04-01T18:30:00+08:00")
    ages = [
        text.age(now - timedelta(**back), now, "zh") for back in ({"minutes": 5}, {"hours": 3}, {"days": 12})
    ]
    assert ages == ["5分鐘前", "3小時前", "12天前"]
    assert text.age(now + timedelta(hours=1), now, "en") == "0m ago"
    assert text.age(now - timedelta(days=60), now, "en") == "2026-01-31"


def test_days_are_written_as_each_language_does() -> None:
    assert text.day(date(2026, 3, 31), "zh", weekday=True) == "2026-03-31（二）"
    assert text.day(date(2026, 3, 31), "en", weekday=True) == "Tue 2026-03-31"
    assert text.day(None, "zh") == "–"
