"""Values of several tokens, offered token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.errors import ModelUnavailable
from stockllm.forecaster.encoding.tries import Choice, Digits, Program, Trie, Walker


class Letters:
    """A tokenizer whose tokens are single characters."""

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        assert not add_special_tokens
        return {"input_ids": [[ord(c) for c in text] for text in texts]}

    def get_vocab(self) -> dict[str, int]:
        return {chr(i): i for i in range(32, 127)}


def walk(choice: Choice, rng: np.random.Generator) -> tuple[int, str]:
    """The value and the characters of one random way through a choice."""
    values = []

    def program() -> Program:
        values.append((yield choice))

    walker = Walker(program())
    text = "".join(map(chr, walker.forced()))
    while not walker.done:
        assert len(walker.options) > 1
        token = int(rng.choice(walker.options))
        walker.take(token)
        text += chr(token) + "".join(map(chr, walker.forced()))
    assert walker.options == []
    return values[0], text


@given(
    values=st.sets(st.integers(0, 99_999), min_size=1),
    bounds=st.tuples(st.integers(0, 99_999), st.integers(0, 99_999)).map(sorted),
    seed=st.integers(0, 1000),
)
def test_a_trie_offers_the_values_within_bounds_and_no_other(
    values: set[int], bounds: list[int], seed: int
) -> None:
    low, high = bounds
    trie = Trie.of(Letters(), {v: str(v) for v in values}, [ord(";")])
    assert trie.depth == max(len(str(v)) for v in values) + 1
    assert trie.root.children
    inside = {v for v in values if low <= v <= high}
    if inside:
        value, text = walk((trie, low, high), np.random.default_rng(seed))
        assert value in inside
        assert text == f"{value};"


def test_a_value_alone_is_forced() -> None:
    trie = Trie.of(Letters(), {1: "one", 2: "two"}, [ord(".")])
    assert walk((trie, 2, 2), np.random.default_rng(0)) == (2, "two.")


def test_a_choice_stops_the_forced_run() -> None:
    trie = Trie.of(Letters(), {1: "abc", 2: "abd"})

    def program() -> Program:
        yield trie, 1, 2

    walker = Walker(program())
    assert walker.forced() == [ord("a"), ord("b")]
    assert walker.options == [ord("c"), ord("d")]


@pytest.mark.parametrize("texts", [{1: "1", 2: "12"}, {2: "12", 1: "1"}, {1: "+1", 2: "+12", 3: "+2"}])
def test_numbers_spelled_digit_by_digit_are_refused(texts: dict[int, str]) -> None:
    with pytest.raises(ModelUnavailable, match="choose --prompt reference or a Llama-3 model"):
        Trie.of(Letters(), texts)
    assert Trie.of(Letters(), texts, [ord(";")]).depth > 1


@given(most=st.integers(1, 10**8), seed=st.integers(0, 1000))
def test_a_count_is_digits_without_a_leading_zero_up_to_its_bound(most: int, seed: int) -> None:
    digits = Digits.of(Letters(), ord("\n"), most)
    value, text = walk(digits, np.random.default_rng(seed))
    assert 1 <= value <= most
    assert text == f"{value}\n"
    assert len(text) <= digits.depth


def test_a_count_is_grouped_as_the_tokenizer_groups_it(llama3_tokenizer: Any) -> None:
    (end,) = llama3_tokenizer.encode("\n", add_special_tokens=False)
    digits = Digits.of(llama3_tokenizer, end, 10**9)
    assert digits.group == 3
    rng = np.random.default_rng(0)
    for _ in range(50):
        text, tokens = "", []
        while not tokens or tokens[-1] != end:
            allowed = digits.after(text)
            tokens.append(int(rng.choice(allowed)))
            text += digits.digits.get(tokens[-1], "")
        assert tokens == llama3_tokenizer.encode(text + "\n", add_special_tokens=False)
        assert len(tokens) <= digits.depth


def test_values_are_sent_back_to_the_program() -> None:
    trie = Trie.of(Letters(), {n: str(n) for n in range(10)})
    seen = []

    def program() -> Program:
        first = yield trie, 3, 3
        second = yield trie, first, 9
        seen.append((first, second))

    walker = Walker(program())
    assert walker.forced() == [ord("3")]
    walker.take(ord("7"))
    assert walker.forced() == []
    assert walker.done
    assert seen == [(3, 7)]
