"""Whatever a model chooses is valid candles, and the truth can always be chosen."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockllm.data.errors import ModelUnavailable
from stockllm.data.records import BarSeries, PromptStyle
from stockllm.forecaster.encoding.answers import Reader
from stockllm.forecaster.encoding.codec import PathState, encode, origin_state
from stockllm.forecaster.encoding.grammar import (
    Compact2Grammar,
    Compact2Tokens,
    CompactGrammar,
    CompactTokens,
    Grammar,
    TextGrammar,
    compact2_text_grammar,
    compact_text_grammar,
)
from stockllm.forecaster.encoding.prompts import (
    ALL_FIELDS,
    NEWEST,
    REFERENCE_FIELDS,
    CompactVersion,
    Field,
    training_messages,
)
from stockllm.forecaster.encoding.reference import Origin, reference_grammar
from stockllm.forecaster.encoding.windows import Task, Window, window_at
from stockllm.forecaster.encoding.words import letter
from stockllm.forecaster.sampling.sample import grammar_for, prompt_ids
from stockllm.market.companies import resolve
from stockllm.market.ticks import limits, round_to_tick, tick

Walk = Callable[..., BarSeries]
SUBSETS: list[tuple[Field, ...]] = [
    REFERENCE_FIELDS,
    ("Close",),
    ("Open", "Close"),
    ("High", "Close"),
    ("Low", "Close", "Capacity"),
    ("High", "Low", "Close"),
    ("Open", "High", "Low", "Close", "Capacity", "Change"),
    ALL_FIELDS,
]
ROWS = 6
#: Ways to choose among what is offered: at random, and always an end, which is where bounds break.
picks = st.sampled_from(["random", "first", "last", "ends"])
seeds = st.integers(0, 2**32 - 1)
starts = st.sampled_from([1.5, 9.7, 45.0, 98.0, 490.0, 990.0, 5000.0])


def play(grammar: Grammar, seed: int, pick: str) -> list[list[int]]:
    """Choose until the grammar is done; the tokens of every path, the last ones included."""
    rng = np.random.default_rng(seed)
    rows: list[list[int]] = [[] for _ in range(len(grammar.prices))]
    while not grammar.done:
        feed = grammar.feed()
        if feed is not None:
            for row, tokens, count in zip(feed.rows, feed.tokens, feed.counts, strict=True):
                rows[row] += tokens[:count].tolist()
        offer = grammar.offer()
        assert offer.mask.shape == (len(offer.rows), len(offer.columns))
        assert offer.mask.any(axis=1).all()
        chosen = []
        for allowed in offer.mask:
            options = np.flatnonzero(allowed)
            ways = {"first": options[:1], "last": options[-1:], "ends": options[[0, -1]]}
            chosen.append(int(rng.choice(ways.get(pick, options))))
        grammar.take(np.array(chosen))
    rows = [row + tail for row, tail in zip(rows, unread(grammar), strict=True)]
    assert max(map(len, rows)) <= grammar.longest
    return rows


def unread(grammar: Grammar) -> list[list[int]]:
    """What every path said last, which nobody has to read any more."""
    if isinstance(grammar, TextGrammar):
        return grammar._pending
    assert isinstance(grammar, CompactGrammar | Compact2Grammar)
    last = grammar._next if isinstance(grammar, Compact2Grammar) else grammar._chosen[:, None]
    return last.tolist()


def follow(grammar: Grammar, truth: Sequence[int]) -> None:
    """Walk the one path of a grammar along ``truth``; every token must be forced or on offer."""
    said = 0

    def expect(tokens: Sequence[int]) -> None:
        nonlocal said
        assert list(tokens) == list(truth[said : said + len(tokens)])
        said += len(tokens)

    while not grammar.done:
        feed = grammar.feed()
        if feed is not None:
            # The first of the fed tokens is the choice that was made last, which ``said`` counts.
            expect(feed.tokens[0, : feed.counts[0]])
        offer = grammar.offer()
        place = offer.columns.tolist().index(truth[said])
        assert offer.mask[0, place]
        grammar.take(np.array([place]))
    expect(unread(grammar)[0])
    assert said == len(truth)


def assert_candles(prices: np.ndarray, volumes: np.ndarray, close: int) -> None:
    """Every path holds candles that could have traded, from ``close`` (hundredths of a TWD) on."""
    for path in prices.tolist():
        before = close
        for day in path:
            opened, high, low, last = day
            down, up = limits(before)
            assert down <= low <= min(opened, last) <= max(opened, last) <= high <= up
            assert all(price % tick(price) == 0 for price in day)
            before = last
    assert (volumes >= 1).all()


def open_window(series: BarSeries, horizon: int) -> Window:
    dates = tuple(series.dates[-1] + timedelta(days=i + 1) for i in range(horizon))
    return Window("2330", "台積電", "TWSE", series, 20, series[len(series) :], dates)


def compact_grammar(tokenizer: Any, series: BarSeries, horizon: int) -> Grammar:
    state = origin_state(series, ROWS)
    tokens = CompactTokens.of(tokenizer)
    return (
        CompactGrammar(tokens, state, horizon) if tokens else compact_text_grammar(tokenizer, state, horizon)
    )


def read_compact(text: str, state: PathState) -> tuple[list[list[int]], list[int]]:
    """What a compact answer says, read by other means: prices (hundredths) and volumes of its days."""
    prices, volumes = [], []
    for line in text.split("\n"):
        match = re.fullmatch(r"([+-]\d+) ([+-]\d+) ([+-]\d+) ([+-]\d+) (\d+)", line)
        assert match, line
        *steps, bucket = map(int, match.groups())
        prices.append(state.prices(np.array([steps]))[0].tolist())
        volumes.append(int(state.volumes(np.array([bucket]))[0]))
        state = state.after(np.array(prices[-1][3:]), np.array([bucket]))
    return prices, volumes


def read_reference(text: str, dates: Sequence[date], fields: Sequence[Field]) -> list[dict[str, float]]:
    """What a reference answer says, read by other means: its days, by field."""
    number = {"Change": r"-?\d+\.\d{1,2}", "Capacity": r"[1-9]\d*", "Turnover": r"[1-9]\d*"}
    number["Transaction"] = number["Capacity"]
    days = []
    assert text.endswith("<|eot_id|>")
    lines = text.removesuffix("<|eot_id|>").split("\n")
    assert len(lines) == len(dates)
    for line, day in zip(lines, dates, strict=True):
        pattern = ", ".join(f"{name}: ({number.get(name, r'[1-9]?[0-9]*[.][0-9]{1,2}')})" for name in fields)
        match = re.fullmatch(f" {day.isoformat()}, {pattern}", line)
        assert match, line
        days.append(dict(zip(fields, map(float, match.groups()), strict=True)))
    return days


@settings(max_examples=40)
@given(
    seed=seeds,
    start=starts,
    sigma=st.sampled_from([0.001, 0.02, 0.08]),
    pick=picks,
    horizon=st.integers(1, 6),
)
def test_compact_paths_are_candles_and_parse_back(
    embedded_tokenizer: Any, walk: Walk, seed: int, start: float, sigma: float, pick: str, horizon: int
) -> None:
    series = walk(seed, start=start, sigma=sigma)
    grammar = compact_grammar(embedded_tokenizer, series, horizon)
    assert isinstance(grammar, CompactGrammar)
    rows = play(grammar, seed, pick)
    assert_candles(grammar.prices, grammar.volumes, round(series.close[-1] * 100))
    for row, tokens in enumerate(rows):
        assert len(tokens) == 5 * horizon
        read = read_compact(embedded_tokenizer.decode(tokens), origin_state(series, 1))
        assert read == (grammar.prices[row].tolist(), grammar.volumes[row].tolist())


@settings(max_examples=15)
@given(seed=seeds, start=starts, pick=picks)
def test_compact_paths_in_llama_3_tokens(
    request: pytest.FixtureRequest, walk: Walk, seed: int, start: float, pick: str
) -> None:
    tokenizer = request.getfixturevalue("llama3_tokenizer")
    series = walk(seed, start=start)
    grammar = compact_grammar(tokenizer, series, 3)
    assert isinstance(grammar, TextGrammar)
    rows = play(grammar, seed, pick)
    assert_candles(grammar.prices, grammar.volumes, round(series.close[-1] * 100))
    for row, tokens in enumerate(rows):
        text = tokenizer.decode(tokens)
        assert tokens == tokenizer.encode(text, add_special_tokens=False)
        read = read_compact(text, origin_state(series, 1))
        assert read == (grammar.prices[row].tolist(), grammar.volumes[row].tolist())


@settings(max_examples=12)
@given(seed=seeds, start=starts, pick=picks, data=st.data())
def test_reference_paths_are_candles_and_parse_back(
    tokenizer: Any, walk: Walk, seed: int, start: float, pick: str, data: st.DataObject
) -> None:
    fields = data.draw(st.sampled_from(SUBSETS))
    horizon = data.draw(st.integers(1, 3))
    series = walk(seed, start=start)
    close = round(series.close[-1] * 100)
    dates = open_window(series, horizon).future_dates
    usual = 1 + seed % 10**7
    grammar = reference_grammar(tokenizer, [Origin(close, usual, dates)], fields, ROWS)
    rows = play(grammar, seed, pick)
    assert_candles(grammar.prices, grammar.volumes, close)
    assert grammar.volumes.max() <= 64 * usual
    for row, tokens in enumerate(rows):
        text = tokenizer.decode(tokens)
        assert tokens == tokenizer.encode(text, add_special_tokens=False)
        before = close
        for day, said in enumerate(read_reference(text, dates, fields)):
            candle = dict(
                zip(("Open", "High", "Low", "Close"), grammar.prices[row, day].tolist(), strict=True)
            )
            for name in {"Open", "High", "Low", "Close"} & said.keys():
                assert round(said[name] * 100) == candle[name]
            assert said.get("Capacity", usual) == grammar.volumes[row, day]
            assert (
                round(said.get("Change", (candle["Close"] - before) / 100) * 100) == candle["Close"] - before
            )
            before = candle["Close"]


# --- the second version of the compact style ----------------------------------------------------


class SecondState:
    """What the second version's grammars are asked about: words, and opens of some paths."""

    def __init__(self, series: BarSeries, seed: int, opened: bool) -> None:
        rng = np.random.default_rng(seed)
        self.state = origin_state(series, ROWS)
        self.words = rng.integers(-1, 25, (ROWS, 4))
        down, up = int(self.state.limit_down[0]), int(self.state.limit_up[0])
        prices = np.unique(round_to_tick(np.rint(np.linspace(down, up, 50)).astype(np.int64)))
        # The ends of the day's range, what lies between, and paths that know no open.
        opens = np.concatenate(([down, up, 0], rng.choice(prices, ROWS - 3)))
        self.opened = opens if opened else np.zeros(ROWS, dtype=np.int64)

    def of(self, tokenizer: Any, horizon: int) -> Grammar:
        tokens = Compact2Tokens.of(tokenizer)
        if tokens is None:
            return compact2_text_grammar(tokenizer, self.state, horizon, self.words, self.opened)
        return Compact2Grammar(tokens, self.state, horizon, self.words, self.opened)


def assert_second(
    asked: SecondState, grammar: Grammar, rows: list[list[int]], tokenizer: Any, window: Window
) -> None:
    """Every path is candles, keeps the open that it was given, and says in words what it is in prices."""
    assert_candles(grammar.prices, grammar.volumes, round(window.history.close[-1] * 100))
    known = asked.opened > 0
    assert (grammar.prices[known, 0, 0] == asked.opened[known]).all()
    reader = Reader(window, "compact")
    for row, tokens in enumerate(rows):
        text = tokenizer.decode(tokens)
        assert tokens == tokenizer.encode(text, add_special_tokens=False)
        assert text.split()[:4] == [letter(word) for word in asked.words[row].tolist()]
        answer = reader.read(text)
        assert answer.exact
        assert (answer.volumes == grammar.volumes[row]).all()
        # An open that is given is exact; words say it in eighths of the volatility.
        first = 1 if known[row] else 0
        assert (answer.prices[first:] == grammar.prices[row, first:]).all()
        assert answer.prices[0, 3] == grammar.prices[row, 0, 3]


@settings(max_examples=30)
@given(
    seed=seeds,
    start=starts,
    sigma=st.sampled_from([0.001, 0.02, 0.08]),
    pick=picks,
    horizon=st.integers(1, 4),
    opened=st.booleans(),
)
def test_paths_of_the_second_version_are_candles_and_read_back(
    embedded_tokenizer: Any,
    walk: Walk,
    seed: int,
    start: float,
    sigma: float,
    pick: str,
    horizon: int,
    opened: bool,
) -> None:
    series = walk(seed, start=start, sigma=sigma)
    asked = SecondState(series, seed, opened)
    grammar = asked.of(embedded_tokenizer, horizon)
    assert isinstance(grammar, Compact2Grammar)
    rows = play(grammar, seed, pick)
    assert {len(row) for row in rows} == {grammar.longest - 1} == {3 + 6 * horizon}
    assert_second(asked, grammar, rows, embedded_tokenizer, open_window(series, horizon))


@settings(max_examples=10)
@given(seed=seeds, start=starts, pick=picks, opened=st.booleans())
def test_paths_of_the_second_version_in_llama_3_tokens(
    request: pytest.FixtureRequest, walk: Walk, seed: int, start: float, pick: str, opened: bool
) -> None:
    tokenizer = request.getfixturevalue("llama3_tokenizer")
    series = walk(seed, start=start)
    asked = SecondState(series, seed, opened)
    grammar = asked.of(tokenizer, 2)
    assert isinstance(grammar, TextGrammar)
    rows = play(grammar, seed, pick)
    assert_second(asked, grammar, rows, tokenizer, open_window(series, 2))


@settings(max_examples=15)
@given(seed=seeds, start=starts, sigma=st.sampled_from([0.001, 0.02, 0.08]), opened=st.booleans())
def test_both_grammars_of_the_second_version_agree(
    request: pytest.FixtureRequest, walk: Walk, seed: int, start: float, sigma: float, opened: bool
) -> None:
    """What one grammar made can be said under the other, in other tokens, and means the same."""
    ours, theirs = (request.getfixturevalue(f"{name}_tokenizer") for name in ("embedded", "llama3"))
    series = walk(seed, start=start, sigma=sigma)
    asked = SecondState(series, seed, opened)
    fast = asked.of(ours, 2)
    said = play(fast, seed, "random")
    for row, tokens in enumerate(said):
        one = slice(row, row + 1)
        slow = compact2_text_grammar(theirs, asked.state.row(row), 2, asked.words[one], asked.opened[one])
        follow(slow, theirs.encode(ours.decode(tokens), add_special_tokens=False))
        assert (slow.prices[0] == fast.prices[row]).all()
        assert (slow.volumes[0] == fast.volumes[row]).all()


# --- the truth can be chosen ---------------------------------------------------------------------


def answer_ids(
    tokenizer: Any,
    window: Window,
    style: PromptStyle,
    fields: Sequence[Field],
    version: CompactVersion = NEWEST,
) -> list[int]:
    """The tokens of the true answer as training sees them, from where the model's own words begin."""
    example = training_messages(window, style, fields=fields, version=version)
    whole = tokenizer.apply_chat_template(example.prompt + example.completion, return_dict=True)["input_ids"]
    prompt = prompt_ids(tokenizer, window, style, fields, version)
    assert whole[: len(prompt)] == prompt
    ids: list[int] = whole[len(prompt) :]
    if style == "compact":
        # Its last number is followed by nothing the forecast needs.
        assert ids[-1] == tokenizer.eos_token_id
        return ids[:-1]
    return ids


def known_window(series: BarSeries, task: Task) -> Window:
    return window_at(series, resolve("2330"), task, len(series) - task.future - 1)


@pytest.mark.parametrize("task", [Task(1, 1), Task(5, 5), Task(20, 20)], ids=str)
@pytest.mark.parametrize("start", [1.2, 9.95, 49.0, 99.5, 499.0, 998.0])
@pytest.mark.parametrize("version", [1, 2])
def test_the_true_compact_answer_is_on_offer(
    tokenizer: Any, walk: Walk, start: float, task: Task, version: CompactVersion
) -> None:
    window = known_window(walk(int(start * 100), start=start, wild=False), task)
    grammar = grammar_for(tokenizer, [window], 1, "compact", version=version)
    follow(grammar, answer_ids(tokenizer, window, "compact", (), version))
    steps = encode(window.history.then(window.future)).steps[-task.future :]
    true = np.rint(np.stack([window.future.open, window.future.close]) * 100).astype(int)
    # Decoded as they came, from the same reference prices, days are off by a step and a tick at most.
    if task.future == 1:
        state = origin_state(window.history, 1)
        assert (grammar.prices[0] == state.prices(steps)).all()
        assert np.abs(grammar.prices[0, 0, [0, 3]] - true[:, 0]).max() <= true.max() * 0.01 + tick(
            int(true.max())
        )


@pytest.mark.parametrize("fields", SUBSETS, ids=",".join)
@pytest.mark.parametrize("start", [1.2, 9.95, 49.0, 99.5, 499.0, 998.0])
def test_the_true_reference_answer_is_on_offer(
    tokenizer: Any, walk: Walk, start: float, fields: tuple[Field, ...]
) -> None:
    series = walk(int(start * 100), start=start, sigma=0.04, wild=False)
    rng = np.random.default_rng(0)
    series = replace(series, value=rng.integers(1, 10**11, 60) * 1.0, trades=rng.integers(1, 10**5, 60) * 1.0)
    for task in (Task(1, 1), Task(5, 5)):
        window = known_window(series, task)
        grammar = grammar_for(tokenizer, [window], 1, "reference", fields)
        follow(grammar, answer_ids(tokenizer, window, "reference", fields))
        for name, told in zip(("Open", "High", "Low", "Close"), grammar.prices[0].T, strict=True):
            if name in fields:
                assert told.tolist() == np.rint(getattr(window.future, name.lower()) * 100).tolist()
        if "Capacity" in fields:
            assert grammar.volumes[0].tolist() == window.future.volume.tolist()


@pytest.mark.parametrize("style", ["compact", "reference"])
def test_the_true_answers_of_the_real_market_are_on_offer(
    tokenizer: Any, shared_dir: Path, tmp_path: Path, style: PromptStyle
) -> None:
    from stockllm.collectors.imports import import_path
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

    tried = 0
    with Store.open(Home(tmp_path)) as store:
        import_path(store, shared_dir / "market" / "official" / "2330.csv")
        series = store.bars.series("2330")
    for origin in range(100, len(series) - 5, 97):
        window = window_at(series, resolve("2330"), Task(20, 5), origin)
        before = series.close[origin : origin + 5]
        down, up = limits(np.rint(before * 100).astype(np.int64))
        inside = (down <= window.future.low * 100 + 0.5) & (window.future.high * 100 - 0.5 <= up)
        # The ex-dates of the answer are not known at its origin.
        if not inside.all() or (np.abs(window.future.reference - before) > 1e-6).any():
            continue
        follow(
            grammar_for(tokenizer, [window], 1, style), answer_ids(tokenizer, window, style, REFERENCE_FIELDS)
        )
        tried += 1
    assert tried > 15


# --- several windows, several kinds of trouble ---------------------------------------------------


def test_windows_of_one_batch_keep_their_own_prices_and_dates(tokenizer: Any) -> None:
    origins = [
        Origin(4500, 2_000_000, (date(2026, 1, 5), date(2026, 1, 6))),
        Origin(107500, 30_000, (date(2026, 2, 23), date(2026, 2, 24))),
    ]
    grammar = reference_grammar(tokenizer, origins, REFERENCE_FIELDS, 3)
    rows = play(grammar, 1, "random")
    for row, tokens in enumerate(rows):
        origin = origins[row // 3]
        read_reference(tokenizer.decode(tokens), origin.dates, REFERENCE_FIELDS)
        assert_candles(grammar.prices[row : row + 1], grammar.volumes[row : row + 1], origin.close)
        assert grammar.volumes[row].max() <= 64 * origin.usual_volume


def test_what_is_the_same_for_all_is_read_at_once(embedded_tokenizer: Any) -> None:
    """Far fewer feeds than tokens, though prices and volumes are of different lengths."""
    days = tuple(date(2026, 1, 5) + timedelta(days=i) for i in range(3))
    grammar = reference_grammar(embedded_tokenizer, [Origin(9900, 10**6, days)], REFERENCE_FIELDS, 8)
    rng = np.random.default_rng(0)
    feeds = tokens = 0
    while not grammar.done:
        feed = grammar.feed()
        if feed is not None:
            feeds += 1
            tokens += int(feed.counts.max())
        offer = grammar.offer()
        grammar.take(np.array([rng.choice(np.flatnonzero(m)) for m in offer.mask]))
    assert feeds < 0.6 * max(grammar.longest, tokens)
    assert feeds < 45 * len(days)


def test_an_off_tick_close_starts_a_valid_path(tokenizer: Any) -> None:
    """Prices adjusted for a split lie between the ticks; what follows lies on them."""
    grammar = reference_grammar(
        tokenizer, [Origin(12337, 10**6, (date(2026, 1, 5),))], ("Close", "Change"), 4
    )
    for tokens, prices in zip(play(grammar, 3, "random"), grammar.prices, strict=True):
        (said,) = read_reference(tokenizer.decode(tokens), (date(2026, 1, 5),), ("Close", "Change"))
        assert round(said["Change"] * 100) == round(said["Close"] * 100) - 12337
        assert (prices % tick(prices) == 0).all()
    assert_candles(grammar.prices, grammar.volumes, 12337)


def test_fields_without_a_close_are_refused(embedded_tokenizer: Any) -> None:
    with pytest.raises(ModelUnavailable, match="lack Close"):
        reference_grammar(embedded_tokenizer, [Origin(100, 1, (date(2026, 1, 5),))], ("Open", "High"), 1)


def test_a_tokenizer_without_whole_numbers_is_refused(walk: Walk) -> None:
    from stockllm.forecaster.encoding.tokenizer import build_tokenizer

    whole = build_tokenizer(iter(["+1 +2 -3 +4 5\n"]), merges=0)
    assert CompactTokens.of(whole) is not None
    state = origin_state(walk(1), 1)

    class ByDigits:
        def convert_tokens_to_ids(self, tokens: list[str]) -> list[None]:
            return [None for _ in tokens]

        def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
            return {"input_ids": [[ord(c) for c in text] for text in texts]}

    assert CompactTokens.of(ByDigits()) is None
    assert Compact2Tokens.of(ByDigits()) is None
    with pytest.raises(ModelUnavailable, match="digit by digit"):
        compact_text_grammar(ByDigits(), state, 1)
    with pytest.raises(ModelUnavailable, match="digit by digit"):
        compact2_text_grammar(ByDigits(), state, 1, np.zeros((1, 4), dtype=np.int64))
