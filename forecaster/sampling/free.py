"""A model asked without a grammar: its own words, and how likely it holds others' to be.

Forecasts are sampled under a grammar (`sample.py`). What a model would write by itself is what a
server elsewhere gives, and what its text is judged by (`quality.py`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import UsageError
from stockllm.forecaster.encoding.prompts import Message

#: Answers written side by side.
ROWS = 64


def question_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids up to where the model's own words begin: behind a last message that is the assistant's."""
    begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
    encoded = tokenizer.apply_chat_template(
        list(messages[:-1] if begun else messages),
        add_generation_prompt=True,
        return_dict=True,
        tokenizer_kwargs={"verbose": False},  # `fits` counts by the model, which may read further
    )
    ids = list(encoded["input_ids"])
    return ids + tokenizer.encode(begun, add_special_tokens=False) if begun else ids


def fits(model: Any, tokenizer: Any, messages: Sequence[Message], tokens: int) -> None:
    """UsageError where a question and an answer of so many tokens pass what the model reads."""
    asked, known = len(question_ids(tokenizer, messages)), model.config.max_position_embeddings
    if asked + tokens > known:
        raise UsageError(
            f"A question of {asked:,} tokens and an answer of {tokens:,} are more than the {known:,} that "
            "this model reads: choose other --tasks, such as prices.",
            zh=f"問題 {asked:,} 個與回答 {tokens:,} 個 token 超過這個模型能讀的 {known:,} 個：請改選 "
            "--tasks，例如 prices。",
        )


def answers(
    model: Any,
    tokenizer: Any,
    messages: Sequence[Message],
    count: int,
    *,
    tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> list[str]:
    """``count`` answers to one question, drawn from the whole vocabulary; at most ``tokens`` long.

    The same seed gives the same answers. torch's own random state is left as it was.
    """
    import torch

    ids = torch.tensor([question_ids(tokenizer, messages)], device=model.device)
    read = _read(model, ids)
    devices = [model.device] if model.device.type == "cuda" else []
    found: list[str] = []
    with torch.random.fork_rng(devices), torch.inference_mode():
        torch.manual_seed(seed)
        for first in range(0, count, ROWS):
            rows = ids.expand(min(ROWS, count - first), -1)
            shared = {} if read is None else {"past_key_values": _for_rows(read, len(rows))}
            drawn = model.generate(
                input_ids=rows,
                attention_mask=torch.ones_like(rows),
                **shared,
                do_sample=True,
                temperature=temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=tokens,
                pad_token_id=tokenizer.pad_token_id,
            )
            found += tokenizer.batch_decode(drawn[:, ids.shape[1] :], skip_special_tokens=True)
    return found


def log_likelihoods(
    model: Any, tokenizer: Any, messages: Sequence[Message], texts: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Of each text as the whole answer: its log probability in nats, and its tokens, the end included.

    Both of shape (texts,). The end of the turn is counted: a model has to know when to stop.
    """
    import torch

    asked = torch.tensor([question_ids(tokenizer, messages)], device=model.device)
    read = _read(model, asked)
    spelled = [
        [*tokenizer.encode(text, add_special_tokens=False, verbose=False), tokenizer.eos_token_id]
        for text in texts
    ]
    total, counts = np.zeros(len(texts)), np.array([len(ids) for ids in spelled], dtype=np.int64)
    with torch.inference_mode():
        for first in range(0, len(texts), ROWS):
            part = spelled[first : first + ROWS]
            width = max(map(len, part))
            # Padding stands at the right, where a causal model does not look from any answer.
            rows = [ids + [tokenizer.eos_token_id] * (width - len(ids)) for ids in part]
            batch = torch.tensor(rows, device=model.device)
            # The last of the question says the answer's first token, and so on.
            fed = torch.cat([asked.expand(len(part), -1), batch[:, :-1]], dim=1)
            if read is None:
                logits = model(input_ids=fed).logits[:, -width:].float()
            else:
                kept = _for_rows(read, len(part))
                logits = model(input_ids=fed[:, -width:], past_key_values=kept).logits.float()
            found = torch.log_softmax(logits, dim=-1).gather(2, batch[..., None])[..., 0]
            said = torch.arange(width)[None] < torch.tensor([len(ids) for ids in part])[:, None]
            total[first : first + ROWS] = (found.cpu().double() * said).sum(dim=1).numpy()
    return total, counts


def _read(model: Any, ids: Any) -> Any:
    """The model's cache of a question (1, n) but for its last token, computed once for all answers.

    None for what PEFT puts before a prompt: it makes a cache of its own for every call.
    """
    import torch

    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        return None

    with torch.inference_mode():
        return model(input_ids=ids[:, :-1], use_cache=True, logits_to_keep=1).past_key_values


def _for_rows(read: Any, rows: int) -> Any:
    cache = copy.deepcopy(read)
    cache.batch_repeat_interleave(rows)
    return cache
