"""Without a grammar: one reading of the question serves all answers, and changes none of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stockllm.forecaster.models.registry import LoadedModel, ModelRef, load_model
from stockllm.forecaster.sampling.free import answers, log_likelihoods, question_ids

MESSAGES = [
    {"role": "system", "content": "Daily candles of a stock."},
    {"role": "user", "content": "volatility 2.00%\n+1 +5 -3 +2 12\nPredict the next 1 day:"},
]


@pytest.fixture
def loaded(tiny_model: Path) -> LoadedModel:
    return load_model(ModelRef(str(tiny_model), tiny_model))


def test_log_likelihoods_are_those_of_a_plain_forward_pass(loaded: LoadedModel) -> None:
    import torch

    model, tokenizer = loaded.model, loaded.tokenizer
    texts = ["+1 +2 -3 +0 12", "no", "+1 +2 -3 +0 12\n+4 +4 +4 +4 3"]
    found, counts = log_likelihoods(model, tokenizer, MESSAGES, texts)
    asked = question_ids(tokenizer, MESSAGES)
    for text, total, count in zip(texts, found, counts, strict=True):
        said = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([asked + said])).logits[0, len(asked) - 1 : -1].double()
        plain = torch.log_softmax(logits, -1)[torch.arange(len(said)), torch.tensor(said)].sum()
        assert count == len(said)
        assert total == pytest.approx(float(plain), abs=1e-3)


def test_answers_repeat_with_their_seed_and_follow_the_model(loaded: LoadedModel) -> None:
    import torch

    model, tokenizer = loaded.model, loaded.tokenizer
    state = torch.random.get_rng_state()
    first, again, other = (answers(model, tokenizer, MESSAGES, 70, tokens=3, seed=s) for s in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert first == again != other
    assert len(set(first)) > 60  # a random model over a thousand tokens seldom repeats itself
    cold = answers(model, tokenizer, MESSAGES, 8, tokens=3, seed=1, temperature=1e-4)
    assert len(set(cold)) == 1
    with torch.inference_mode():
        ids = torch.tensor([question_ids(tokenizer, MESSAGES)])
        likeliest = int(model(input_ids=ids).logits[0, -1].argmax())
    assert tokenizer.decode([likeliest]) == cold[0][: len(tokenizer.decode([likeliest]))]
    assert np.mean([len(text) for text in first]) > 0
