"""The model card of a base model, from the facts that pretraining wrote down."""

from __future__ import annotations

from typing import Any


def base_card(facts: dict[str, Any]) -> str:
    """Markdown with the header that model hubs read; ``facts`` is ``training.json``.

    ``record`` is the one entry that training cannot know and is added after an evaluation: ``of`` and
    ``period`` in words, ``rows`` of (companies and moment, days ahead, CRPS ratio, coverage of the 80% band,
    forecasts).
    """
    recipe = facts["recipe"]
    held_out = facts["held_out"]
    return f"""---
license: mit
library_name: transformers
pipeline_tag: text-generation
tags: [llama, stocks, stockllm]
---
# stockllm base model

A Llama of {facts["parameters"] / 1e6:.1f} million parameters that reads and writes daily candles of Taiwan
stocks. It was trained from nothing on prices, volumes and what was known before each day: it has read no
other text, names no company and answers nothing else. stockllm samples it under a grammar, so that every
reply is valid candles.

It is a tool for study. Its forecasts are no advice to trade, and markets are close to unforecastable:
see the record against the naive baseline that stockllm keeps.

| | |
| --- | --- |
| architecture | `LlamaForCausalLM`, hidden {recipe["hidden"]}, {recipe["layers"]} layers, \
{recipe["heads"]} heads, tied embeddings, bfloat16 weights |
| trained on | {facts["days"]:,} days of {facts["companies"]:,} series, to {facts["data_end"]} |
| companies kept out of training | {len(held_out)} |
| training | {facts["steps"]:,} steps, {facts["tokens"] / 1e6:.1f} million tokens, \
{facts["minutes"]:.0f} minutes on a CPU{_trunk(facts)} |
| final loss | {facts["final_loss"]:.3f} nats a token |
| made | {facts["made_at"][:10]} |

## Format

Llama-3's special tokens and chat format. A prompt in the second version of the compact style names the
stock's volatility and shows one line a day, `market world place width open close upper lower volume`: four
letters that were known before the day, two log moves from its reference price and two shadows in eighths of
the daily volatility known the evening before, and a letter for volume. Every number and letter is one token.
`outlook.safetensors` holds the small network that says place and width. The style named `reference` (dates
and prices as text) is understood too, with less practice.

    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("data/assets/base_model")
    tokenizer = AutoTokenizer.from_pretrained("data/assets/base_model")

## Limits

It has seen one market, of companies that survived. It knows nothing of news. What it gains in the morning is
in the opening price too: it improves forecasts and the choice of prices, not a trade at the open.
A period it was trained on is no test of it: judge it after {facts["data_end"]} only.
{_record(facts)}
## Companies kept out

{", ".join(held_out) if held_out else "None."}
"""


def _trunk(facts: dict[str, Any]) -> str:
    """What the training started from; empty where it started from nothing."""
    trunk = facts.get("trunk")
    if not trunk:
        return ""
    return f", from a trunk of {trunk['steps']:,} steps and {trunk['tokens'] / 1e6:.1f} million tokens"


def _record(facts: dict[str, Any]) -> str:
    """How it forecast days that it had not read; empty where nobody measured."""
    record = facts.get("record")
    if record is None:
        return ""
    rows = "".join(
        f"| {group}, {days} {'day' if days == 1 else 'days'} | {ratio:.3f} | {covered:.2f} | {count:,} |\n"
        for group, days, ratio, covered, count in record["rows"]
    )
    return f"""
## Record

Of {record["of"]}, {record["period"]}. CRPS ratio to the naive
forecast (a random walk with EWMA volatility): below 1 is better. {record["verdict"]}

| | CRPS ratio | 80% band covered | forecasts |
| --- | --- | --- | --- |
{rows}"""
