"""Windows in words: the reference's text to the letter, and the compact style within its budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.errors import UsageError
from stockllm.data.records import BarSeries, PromptStyle
from stockllm.forecaster.encoding.codec import BOUND, VOLUME_BUCKETS, encode
from stockllm.forecaster.encoding.prompts import (
    ALL_FIELDS,
    COMPACT_SYSTEM,
    COMPACT_SYSTEM_2,
    REFERENCE_FIELDS,
    REFERENCE_SYSTEM,
    CompactVersion,
    Field,
    compact_line,
    line_2,
    parse_fields,
    price_text,
    prompt_messages,
    reference_opening,
    training_messages,
    volatility_label,
)
from stockllm.forecaster.encoding.windows import DEFAULT_TASKS, Task, Window, window_at
from stockllm.forecaster.encoding.words import LETTERS, MIDDLE, WORDS, Words, letter, signed, widths
from stockllm.market.companies import resolve

Walk = Callable[..., BarSeries]
GIANT = resolve("9921")
MONTH = Task(20, 5)
STYLES: list[tuple[PromptStyle, CompactVersion]] = [("compact", 1), ("compact", 2), ("reference", 2)]

# The reference's own documentation.
QUESTION = (
    "Here is past 1 day stock price of 巨大 company.\n\n"
    "Date: 2025-01-03, Open: 141.5, High: 143.5, Low: 138.0, Close: 139.0, Capacity: 1447003\n"
    "Predict the next date price:\n"
)
ANSWER = (
    "The next 1 day price is: Date:\n"
    " 2025-01-06, Open: 139.5, High: 144.5, Low: 137.5, Close: 143.0, Capacity: 1208884\n"
)


def documented(**columns: Any) -> Window:
    """The window of the reference's documentation."""
    rows = np.array([[141.5, 143.5, 138.0, 139.0, 1447003], [139.5, 144.5, 137.5, 143.0, 1208884]])
    reference = np.array([140.5, 139.0])
    series = BarSeries("9921", (date(2025, 1, 3), date(2025, 1, 6)), *rows.T, reference, **columns)
    return window_at(series, GIANT, Task(1, 1), 0)


def window(series: BarSeries, task: Task = MONTH) -> Window:
    """The last window of a series."""
    return window_at(series, GIANT, task, len(series) - task.future - 1)


def contents(window: Window, *fields: Field, context: str = "") -> tuple[str, str, str]:
    """System, user and assistant text in the reference style."""
    example = training_messages(window, "reference", fields=fields or REFERENCE_FIELDS, context=context)
    (system, user), (assistant,) = example.prompt, example.completion
    assert [m["role"] for m in (system, user, assistant)] == ["system", "user", "assistant"]
    return system["content"], user["content"], assistant["content"]


def test_the_reference_style_to_the_letter() -> None:
    assert contents(documented()) == (REFERENCE_SYSTEM, QUESTION, ANSWER)


def test_through_the_chat_template_with_the_real_tokenizer(llama3_tokenizer: Any) -> None:
    example = training_messages(documented(), "reference")
    ids = llama3_tokenizer.apply_chat_template(example.prompt + example.completion, return_dict=True)[
        "input_ids"
    ]
    assert llama3_tokenizer.decode(ids) == (
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{REFERENCE_SYSTEM}<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{QUESTION.strip()}<|eot_id|>"
        f"<|start_header_id|>assistant<|end_header_id|>\n\n{ANSWER.strip()}<|eot_id|>"
    )


def test_several_days(walk: Walk) -> None:
    _, question, answer = contents(window(walk(1), Task(5, 3)))
    assert question.startswith("Here is past 5 days stock price of 巨大 company.\n\nDate: ")
    assert question.count("Date: ") == 5
    assert question.endswith("\nPredict the next 3 dates price:\n")
    assert answer.startswith(reference_opening(3))
    assert answer.count("\n ") == 3
    assert answer.count("Date:") == 1


@pytest.mark.parametrize("size", range(1, len(ALL_FIELDS) + 1))
def test_any_subset_of_the_fields(size: int) -> None:
    filled = documented(value=np.array([2e8, 1.7e8]), trades=np.array([1500.0, 1200.0]))
    values = {
        "Open": "139.5",
        "High": "144.5",
        "Low": "137.5",
        "Close": "143.0",
        "Capacity": "1208884",
        "Change": "4.0",
        "Turnover": "170000000",
        "Transaction": "1200",
    }
    for fields in combinations(ALL_FIELDS, size):
        _, question, answer = contents(filled, *fields)
        told = ", ".join(f"{name}: {values[name]}" for name in fields)
        assert answer == f"The next 1 day price is: Date:\n 2025-01-06, {told}\n"
        assert [name for name in ALL_FIELDS if f", {name}: " in question] == list(fields)


def test_a_field_that_the_data_lacks_is_said() -> None:
    for columns in ({}, {"value": np.array([np.nan, 5.0])}):
        with pytest.raises(UsageError, match="Turnover of 9921 is not known for 2025-01-03"):
            contents(documented(**columns), "Close", "Turnover")


def test_fields_are_named_in_any_order_and_told_in_one() -> None:
    assert parse_fields("close, OPEN,close") == ("Open", "Close")
    assert parse_fields(",".join(reversed(ALL_FIELDS))) == ALL_FIELDS
    for text in ("", " , ", "Open,Volume"):
        with pytest.raises(UsageError, match="choose some of Open, High, Low, Close, Capacity, Change"):
            parse_fields(text)


def test_news_join_the_system_message_of_the_reference_style() -> None:
    system, question, _ = contents(documented(), context="News:\n- 2025-01-03: 巨大訂單回溫")
    assert system == f"{REFERENCE_SYSTEM}\n\nNews:\n- 2025-01-03: 巨大訂單回溫"
    assert question == QUESTION


@pytest.mark.parametrize(
    ("price", "text"),
    [(138.0, "138.0"), (37.45, "37.45"), (37.4, "37.4"), (1075.0, "1075.0"), (-2.15, "-2.15"), (9.01, "9.01"),
     (35.5 - 37.65, "-2.15"), (-1e-14, "0.0"), (0.0, "0.0"), (100.10, "100.1"), (1e5, "100000.0")],
)  # fmt: skip
def test_prices_are_written_as_the_reference_writes_them(price: float, text: str) -> None:
    assert price_text(price) == text


# --- compact ---------------------------------------------------------------------------------


def test_the_compact_style_says_neither_company_nor_date(walk: Walk) -> None:
    series = walk(3)
    example = training_messages(
        window(series, Task(20, 5)), "compact", context="news are not for it", version=1
    )
    system, user = example.prompt
    assert system == {"role": "system", "content": COMPACT_SYSTEM}
    first, *rows, last = user["content"].split("\n")
    encoded = encode(series)
    assert first == f"volatility {volatility_label(encoded.sigma[35])}"
    assert last == "Predict the next 5 days:"
    told = rows + example.completion[0]["content"].split("\n")
    assert told == [compact_line(s, b) for s, b in zip(encoded.steps[35:], encoded.buckets[35:], strict=True)]
    assert len(rows) == 20


def informed(known: Window, seed: int) -> Window:
    """The window with words drawn at random, unknown ones among them."""
    rng = np.random.default_rng(seed)
    lines, heads = (rng.integers(-1, len(LETTERS), shape) for shape in ((known.past + 1, WORDS), 4))
    return replace(known, words=Words(lines, heads))


def test_the_second_version_line_by_line(walk: Walk) -> None:
    series = walk(3)
    asked = informed(window(series, Task(20, 5)), 1)
    assert asked.words is not None
    example = training_messages(asked, "compact")
    system, user = example.prompt
    assert system == {"role": "system", "content": COMPACT_SYSTEM_2}
    volatility, heads, *rows, last = user["content"].split("\n")
    encoded = encode(series)
    assert volatility == f"volatility {volatility_label(encoded.sigma[35])}"
    assert heads == "week {} {} month {} {}".format(*(letter(n) for n in asked.words.heads.tolist()))
    assert last == "Predict the next 5 days:"
    told = rows + example.completion[0]["content"].split("\n")
    assert len(told) == 25
    for i, (line, steps, bucket) in enumerate(
        zip(told, encoded.steps[35:].tolist(), encoded.buckets[35:].tolist(), strict=True)
    ):
        *words, opened, close, upper, lower, volume = line.split()
        wanted = [letter(n) for n in asked.words.lines[i].tolist()] if i <= 20 else ["?"]
        assert words == wanted
        assert LETTERS.index(volume) == bucket
        body = int(opened), int(close)
        candle = [body[0], max(body) + int(upper), min(body) - int(lower), body[1]]
        assert candle == steps
    assert "2330" not in user["content"]
    assert "2025" not in user["content"]


def test_nothing_known_is_said_as_unknown(walk: Walk) -> None:
    user = prompt_messages(window(walk(3)), "compact")[1]["content"]
    assert user.split("\n")[1] == "week ? ? month ? ?"
    assert all(line.startswith("? ? ? ? ") for line in user.split("\n")[2:-1])


@given(
    values=st.lists(st.floats(-9, 9) | st.just(float("nan")), min_size=2, max_size=20),
)
def test_letters_keep_the_order_and_the_sign(values: list[float]) -> None:
    moves = np.array(values)
    for letters, sizes in ((signed(moves), moves), (widths(np.abs(moves)), np.abs(moves))):
        assert ((letters == -1) == np.isnan(moves)).all()
        assert letters.max() < len(LETTERS)
        order = np.argsort(sizes[~np.isnan(moves)])
        assert (np.diff(letters[~np.isnan(moves)][order]) >= 0).all()
    there = ~np.isnan(moves)
    assert (signed(moves)[there] + signed(-moves)[there] == 2 * MIDDLE).all()
    assert widths(np.ones(1)).tolist() == [MIDDLE]


def test_one_day() -> None:
    assert compact_line([12, 45, -30, 0], 3) == "+12 +45 -30 +0 3"


def test_the_question_does_not_depend_on_the_answer(walk: Walk) -> None:
    series = walk(3)
    known = window(series)
    other = replace(known, future=walk(9)[-5:])
    for style, version in STYLES:
        question = prompt_messages(known, style, version=version)
        assert question == prompt_messages(other, style, version=version)
        assert training_messages(known, style, version=version).prompt == question


@given(sigma=st.floats(0.001, 0.2))
def test_the_nearest_volatility_is_named(sigma: float) -> None:
    told = float(volatility_label(sigma).rstrip("%")) / 100
    assert abs(np.log(told / np.clip(sigma, 0.005, 0.1))) < 0.03


# --- both, through both tokenizers --------------------------------------------------------------


@pytest.mark.parametrize(("style", "version"), STYLES)
def test_the_prompt_is_a_strict_prefix_of_the_example(
    tokenizer: Any, walk: Walk, style: PromptStyle, version: CompactVersion
) -> None:
    for seed, task in enumerate(DEFAULT_TASKS):
        asked = informed(window(walk(seed, days=90, start=9.7 * 10**seed), task), seed)
        example = training_messages(asked, style, version=version)
        prompt = tokenizer.apply_chat_template(example.prompt, add_generation_prompt=True, return_dict=True)
        whole = tokenizer.apply_chat_template(example.prompt + example.completion, return_dict=True)
        n = len(prompt["input_ids"])
        assert whole["input_ids"][:n] == prompt["input_ids"]
        assert len(whole["input_ids"]) > n
        answer = tokenizer.decode(whole["input_ids"][n:])
        assert answer == example.completion[0]["content"].strip() + "<|eot_id|>"


def test_a_compact_day_is_at_most_eleven_llama_3_tokens(llama3_tokenizer: Any) -> None:
    rng = np.random.default_rng(0)
    days = [*rng.integers(-BOUND, BOUND + 1, (500, 4)).tolist(), [-BOUND] * 4, [BOUND] * 4, [0] * 4]
    lines = [compact_line(day, bucket % VOLUME_BUCKETS) + "\n" for bucket, day in enumerate(days)]
    counts = [len(ids) for ids in llama3_tokenizer(lines, add_special_tokens=False)["input_ids"]]
    assert max(counts) <= 11
    assert len(llama3_tokenizer.encode("".join(lines), add_special_tokens=False)) == sum(counts)


def test_a_day_of_the_second_version_is_at_most_fourteen_llama_3_tokens(llama3_tokenizer: Any) -> None:
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(500):
        words = rng.integers(-1, len(LETTERS), WORDS).tolist()
        day = [*rng.integers(-BOUND, BOUND + 1, 2).tolist(), *rng.integers(0, BOUND + 1, 2).tolist()]
        lines.append(line_2(words, day, int(rng.integers(VOLUME_BUCKETS))) + "\n")
    lines += [line_2([word] * WORDS, [BOUND] * 4, word) + "\n" for word in range(len(LETTERS))]
    lines += [line_2(None, [-BOUND, -BOUND, BOUND, BOUND], 24) + "\n"]
    counts = [len(ids) for ids in llama3_tokenizer(lines, add_special_tokens=False)["input_ids"]]
    assert max(counts) <= 14
    assert len(llama3_tokenizer.encode("".join(lines), add_special_tokens=False)) == sum(counts)


@pytest.mark.parametrize("task", DEFAULT_TASKS, ids=str)
@pytest.mark.parametrize(("version", "day"), [(1, 11), (2, 14)])
def test_the_default_windows_fit_in_2048_llama_3_tokens(
    llama3_tokenizer: Any, walk: Walk, task: Task, version: CompactVersion, day: int
) -> None:
    asked = informed(window(walk(1, days=90, sigma=0.05), task), 1)
    example = training_messages(asked, "compact", version=version)
    ids = llama3_tokenizer.apply_chat_template(example.prompt + example.completion, return_dict=True)[
        "input_ids"
    ]
    assert len(ids) <= min(110 + day * task.days, 2048)
