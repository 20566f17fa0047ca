"""The model card of an export, in English with a summary in Traditional Chinese, and how to serve it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stockllm.forecaster.encoding.prompts import COMPACT_SYSTEM, REFERENCE_SYSTEM
from stockllm.forecaster.models.registry import EMBEDDED

if TYPE_CHECKING:
    from stockllm.forecaster.exporting.facts import Facts

#: The address that the printed command lines serve at.
HOST, PORT = "127.0.0.1", 8000
#: Ranks that vLLM makes room for.
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def commands(facts: Facts, folder: Path, base: Path | str = "") -> dict[str, str]:
    """Command lines by what they start: ``vllm``, ``transformers`` and then ``stockllm``.

    Those that cannot serve this kind of export are left out. ``base`` is where the base of an adapter
    lies, where that is not as its card names it.
    """
    served: dict[str, str] = {}
    where = f"--host {HOST} --port {PORT}"
    if facts.kind == "merged":
        served["vllm"] = f"vllm serve {_quoted(folder)} --served-model-name {facts.name} {where}"
        served["transformers"] = f"transformers serve {_quoted(folder)} {where}"
    elif facts.rank is not None:
        below = _quoted(folder / "base") if facts.base == EMBEDDED else _quoted(base or facts.base)
        rank = next((n for n in _VLLM_RANKS if n >= facts.rank), facts.rank)
        served["vllm"] = (
            f"vllm serve {below} --enable-lora --max-lora-rank {rank} "
            f"--lora-modules {facts.name}={_quoted(folder)} {where}"
        )
    if served:
        name = facts.name if "transformers" not in served else f"{folder}"
        served["stockllm"] = (
            f"stockllm forecast 2330 --model {_quoted(f'openai:http://{HOST}:{PORT}/v1#{name}')}"
        )
    return served


def _quoted(value: Path | str) -> str:
    import shlex

    return shlex.quote(str(value))


def readme(facts: Facts) -> str:
    """The card as Markdown, with the header that model hubs read."""
    return (
        "\n\n".join(
            part.strip("\n")
            for part in (
                _header(facts),
                f"# {facts.name}",
                _warning(facts),
                _about(facts),
                _table(facts),
                _format(facts),
                _loading(facts),
                _serving(facts),
                _USE,
                _limits(facts),
                _licence(facts),
                _companies(facts),
            )
            if part
        )
        + "\n"
    )


def _header(facts: Facts) -> str:
    lines = ["---", "language: [en, zh]", f"license: {'mit' if facts.base == EMBEDDED else 'other'}"]
    if facts.base != EMBEDDED:
        lines += ["license_name: of-the-base-model"]
        if "/" in facts.base:
            lines += [f"base_model: {facts.base}"]
    lines += [
        f"library_name: {'peft' if facts.kind == 'adapter' else 'transformers'}",
        "pipeline_tag: text-generation",
        f"tags: [stockllm, stocks, time-series, {facts.method or 'llama'}]",
        "---",
    ]
    return "\n".join(lines)


def _warning(facts: Facts) -> str:
    if not facts.simulated:
        return ""
    return (
        "**SIMULATED 模擬資料**: tuned on generated prices, of no use on a real market. "
        "以產生的價格調校，不能用於真實市場。"
    )


def _about(facts: Facts) -> str:
    base = _base(facts)
    what = {
        "merged": f"{base}, with the adapter `{facts.adapter}` merged in" if facts.adapter else base,
        "adapter": f"The {facts.method} adapter `{facts.adapter}` for {base}",
    }[facts.kind]
    return (
        f"{what}. It reads past daily candles of a Taiwan stock and writes the coming ones. Sampled many "
        "times it gives a distribution, not a prediction. Made by stockllm, a tool for study; nothing it "
        "says is advice to trade.\n\n"
        "讀入台股過去的日 K 線，寫出未來數日；多次取樣得到的是分布，不是預言。由 stockllm 製作，"
        "供研究之用，不構成投資建議。"
    )


def _base(facts: Facts) -> str:
    if facts.base == EMBEDDED:
        return "stockllm's base model, a Llama of 2 million parameters"
    return f"the model `{facts.base}`"


def _table(facts: Facts) -> str:
    rows = [
        ("languages", "numbers; questions in English, companies' names in Traditional Chinese"),
        ("data cut-off", facts.data_end or "unknown: nothing says until when a part of it was trained"),
        ("tuned on", f"{len(facts.companies)} companies" if facts.companies else "not tuned"),
        ("kept out of training", f"{len(facts.held_out)} companies" if facts.held_out else "none named"),
        ("method", facts.method or "the base model alone"),
        ("prompt", facts.prompt),
        ("weights", facts.dtype),
        ("base weights", f"sha256 `{facts.model_hash}`"),
        *([("adapter weights", f"sha256 `{facts.adapter_hash}`")] if facts.adapter_hash else []),
    ]
    return "| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {value} |" for name, value in rows)


def _format(facts: Facts) -> str:
    if facts.prompt == "reference":
        return f"""## Format

Chat messages. System: `{REFERENCE_SYSTEM}` User: the past days as rows of `Date: 2025-01-03, Open: 141.5,
High: 143.5, Low: 138.0, Close: 139.0, Capacity: 1447003`, then `Predict the next 5 dates price:`. The answer
has the same rows."""
    return f"""## Format

Chat messages. System: `{COMPACT_SYSTEM}` User: `volatility 2.00%`, one line a day, then `Predict the next 5
days:`. A line is `open high low close volume`: four log moves from the day's reference price in eighths of
the daily volatility known the evening before, and a volume bucket, as in `+12 +45 -30 +20 3`."""


def _loading(facts: Facts) -> str:
    if facts.kind == "merged":
        return """## Load

    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("FOLDER")
    tokenizer = AutoTokenizer.from_pretrained("FOLDER")"""
    base = "FOLDER/base" if facts.base == EMBEDDED else facts.base
    return f"""## Load

    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    base = AutoModelForCausalLM.from_pretrained("{base}")
    model = PeftModel.from_pretrained(base, "FOLDER")
    tokenizer = AutoTokenizer.from_pretrained("FOLDER")"""


def _serving(facts: Facts) -> str:
    lines = commands(facts, Path("FOLDER"))
    if not lines:
        return ""
    shown = "\n".join(f"    {line}" for line in lines.values())
    return (
        f"## Serve\n\n{shown}\n\nSample at temperature 1 from the whole vocabulary (`generation_config.json` "
        "says so); anything colder is no honest distribution. stockllm reads the answers back, counts those "
        "that are no candles, and freezes forecasts in a ledger."
    )


_USE = """## Intended use

Study of forecasts and of how to judge them: bands over many sampled paths, scored against a naive random walk
on days after the cut-off. Not for trading, not for advice, and not for any text but candles."""


def _limits(facts: Facts) -> str:
    after = f" Judge it after {facts.data_end} only." if facts.data_end else ""
    return f"""## Limits

Markets are close to unforecastable: expect it to beat a random walk by little or not at all. It knows one
market and few years, nothing of news or of the market as a whole. Served without a grammar some answers are
no valid candles; the longer the horizon, the more. A period it was trained on is no test of it.{after}"""


def _licence(facts: Facts) -> str:
    if facts.base == EMBEDDED:
        return "## Licence\n\nMIT."
    return (
        f"## Licence\n\nThe base model's, `{facts.base}`, holds for these weights; see its own card. "
        "What stockllm adds is MIT."
    )


def _companies(facts: Facts) -> str:
    parts = []
    if facts.companies:
        parts.append(f"## Companies tuned on\n\n{', '.join(facts.companies)}")
    if facts.held_out:
        parts.append(f"## Companies kept out of training\n\n{', '.join(facts.held_out)}")
    return "\n\n".join(parts)
