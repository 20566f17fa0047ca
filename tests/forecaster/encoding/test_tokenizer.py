"""The embedded tokenizer: any text, one token a number, and Llama-3's chat format."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.forecaster.encoding.codec import BOUND, VOLUME_BUCKETS
from stockllm.forecaster.encoding.grammar import CompactTokens
from stockllm.forecaster.encoding.prompts import compact_line, line_2
from stockllm.forecaster.encoding.tokenizer import (
    END_OF_TURN,
    SPECIAL_TOKENS,
    compact_pieces,
    volatility_labels,
)

numbers = st.integers(-BOUND, BOUND)
lines = st.builds(compact_line, st.lists(numbers, min_size=4, max_size=4), st.integers(0, VOLUME_BUCKETS - 1))


def pieces(tokenizer: Any, text: str) -> list[str]:
    """The texts of the tokens of ``text``."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    return [tokenizer.decode([i]) for i in ids]


@given(text=st.text())
def test_any_text_comes_back(embedded_tokenizer: Any, text: str) -> None:
    ids = embedded_tokenizer.encode(text, add_special_tokens=False)
    assert None not in ids
    assert embedded_tokenizer.unk_token_id is None
    assert embedded_tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    "text", ["巨大 company", "漲停🚀", "a\tb\r\n c", "\x00", "e\u0301", "  \n\n  ", "+", "+5", "+1 "]
)
def test_odd_text_comes_back(embedded_tokenizer: Any, text: str) -> None:
    assert "".join(embedded_tokenizer.decode(embedded_tokenizer.encode(text))) == text


@given(days=st.lists(lines, min_size=1, max_size=5))
def test_a_compact_day_is_five_tokens(embedded_tokenizer: Any, days: list[str]) -> None:
    text = "\n".join(days)
    found = pieces(embedded_tokenizer, text)
    assert len(found) == 5 * len(days)
    assert "".join(found) == text
    assert found[4::5] == [f" {day.split()[-1]}\n" for day in days[:-1]] + [f" {days[-1].split()[-1]}"]


@given(
    day=st.lists(st.integers(0, BOUND), min_size=4, max_size=4),
    signs=st.tuples(st.sampled_from([-1, 1]), st.sampled_from([-1, 1])),
    words=st.none() | st.lists(st.integers(-1, 24), min_size=4, max_size=4),
    bucket=st.integers(0, VOLUME_BUCKETS - 1),
    more=st.booleans(),
)
def test_a_day_of_the_second_version_is_a_token_a_word(
    embedded_tokenizer: Any,
    day: list[int],
    signs: tuple[int, int],
    words: list[int] | None,
    bucket: int,
    more: bool,
) -> None:
    line = line_2(words, [day[0] * signs[0], day[1] * signs[1], *day[2:]], bucket)
    text = f"{line}\n? +1 -2 3 4 m" if more else line
    found = pieces(embedded_tokenizer, text)
    assert "".join(found) == text
    assert len(found) == len(text.split())


def test_values_in_order_have_ids_in_order(embedded_tokenizer: Any) -> None:
    tokens = CompactTokens.of(embedded_tokenizer)
    assert tokens is not None
    vocabulary = embedded_tokenizer.get_vocab()
    ids = [vocabulary[piece.replace(" ", "Ġ").replace("\n", "Ċ")] for piece in compact_pieces()]
    first = len(SPECIAL_TOKENS)
    assert ids == list(range(first, first + len(ids)))
    # The first version's last volume is the second's shadow: " 0" to " 24".
    assert tokens == CompactTokens(first, first + 339, first + 678 + BOUND + 1, first + 678)
    assert tokens.opening == embedded_tokenizer.convert_tokens_to_ids("-169")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2025-01-06, Open", ["2", "0", "2", "5", "-", "0", "1", "-", "0", "6", ",", " Open"]),
        (" Close: 139.0\n", [" Close", ":", " ", "1", "3", "9", ".", "0", "\n"]),
        (" 2025-01-06\n", [" ", "2", "0", "2", "5", "-", "0", "1", "-", "0", "6", "\n"]),
        (" Change: -0.5,", [" Change", ":", " -", "0", ".", "5", ","]),
        ("volatility 1.85%\n", ["volatility", " ", "1.85%", "\n"]),
    ],
)
def test_the_number_rule_eats_nothing_else(embedded_tokenizer: Any, text: str, parts: list[str]) -> None:
    assert pieces(embedded_tokenizer, text) == parts


def test_every_volatility_is_one_token(embedded_tokenizer: Any) -> None:
    labels = volatility_labels()
    assert len(set(labels)) == len(labels) == 64
    assert (labels[0], labels[-1]) == ("0.50%", "10.00%")
    assert all(len(embedded_tokenizer.encode(label, add_special_tokens=False)) == 1 for label in labels)


messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=40)}
    ),
    min_size=1,
    max_size=4,
)


def test_the_chat_template_is_llama_3s(llama3_tokenizer: Any) -> None:
    from llama_models.datatypes import RawMessage
    from llama_models.llama3.chat_format import ChatFormat
    from llama_models.llama3.tokenizer import Tokenizer

    @given(dialog=messages)
    def check(dialog: list[dict[str, str]]) -> None:
        # Meta's own code leaves the trimming to its callers; the published template trims.
        raw = [RawMessage(role=m["role"], content=m["content"].strip()) for m in dialog]
        wanted = ChatFormat(Tokenizer.get_instance()).encode_dialog_prompt(raw).tokens
        found = llama3_tokenizer.apply_chat_template(dialog, add_generation_prompt=True, return_dict=True)
        assert found["input_ids"] == wanted

    check()


def test_the_shipped_tokenizer_has_the_same_template(llama3_tokenizer: Any) -> None:
    from transformers import AutoTokenizer

    from stockllm.forecaster.models.registry import base_model_dir

    embedded_tokenizer = AutoTokenizer.from_pretrained(base_model_dir())
    assert embedded_tokenizer.chat_template == llama3_tokenizer.chat_template
    assert embedded_tokenizer.eos_token == END_OF_TURN
    assert embedded_tokenizer.all_special_tokens
    text = embedded_tokenizer.apply_chat_template([{"role": "user", "content": " a "}], tokenize=False)
    assert text == "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"


def test_the_answer_is_marked_for_the_loss(embedded_tokenizer: Any) -> None:
    dialog = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "+1 +2 +0 +1 9"}]
    encoded = embedded_tokenizer.apply_chat_template(
        dialog, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = [i for i, m in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if m]
    assert embedded_tokenizer.decode(marked) == "+1 +2 +0 +1 9<|eot_id|>"
