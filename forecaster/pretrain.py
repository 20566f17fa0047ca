"""The recipe of the embedded base model: a small Llama trained from nothing on many stocks' days.

Reads top to bottom: series -> integers -> prompts -> tokens -> next-token training -> a folder that
plain ``transformers`` loads. Windows are cut afresh for every batch; nothing after ``until`` and no
held-out company is ever read.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stockllm.data.errors import StockllmError, UsageError
from stockllm.data.records import Series
from stockllm.forecaster.codec import Encoded, encode
from stockllm.forecaster.prompts import (
    COMPACT_SYSTEM,
    REFERENCE_SYSTEM,
    compact_answer,
    compact_question,
    training_messages,
)
from stockllm.forecaster.tokenizer import build_tokenizer
from stockllm.forecaster.windows import Window

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what comes out, besides the data."""

    hidden: int = 192
    layers: int = 4
    heads: int = 6
    feed_forward: int = 512
    minutes: float = 25.0
    batch_tokens: int = 8192
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    dropout: float = 0.1
    seed: int = 3407
    hold_out: int = 200
    #: Share of batches in the reference style, so that the model can speak it at all.
    reference_share: float = 0.05
    #: Share of windows mirrored (up becomes down): a year that rose must not teach that stocks rise.
    mirror_share: float = 0.5
    longest_past: int = 100
    longest_future: int = 20


@dataclass(slots=True)
class Progress:
    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    losses: list[float] = field(default_factory=list)


def split_companies(
    codes: Sequence[str], never: Sequence[str], recipe: Recipe
) -> tuple[list[str], list[str]]:
    """(companies to train on, companies held out); those in ``never`` are never held out."""
    rng = np.random.default_rng(recipe.seed)
    candidates = sorted(set(codes) - set(never))
    if recipe.hold_out >= len(candidates):
        raise UsageError(
            f"{recipe.hold_out} companies cannot be held out of {len(candidates)}; hold out fewer."
        )
    held = set(rng.choice(candidates, recipe.hold_out, replace=False).tolist()) if recipe.hold_out else set()
    return sorted(set(codes) - held), sorted(held)


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A random Llama of the recipe's shape, float32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            intermediate_size=recipe.feed_forward,
            max_position_embeddings=4096,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def drop_residuals(model: LlamaForCausalLM, share: float) -> None:
    """Dropout on what every attention and feed-forward block adds, while the model is training.

    A hook rather than Llama's own attention dropout, which keeps PyTorch off its fast attention
    kernels on a CPU (measured: a third of the speed). Nothing of it is saved with the model.
    """
    import torch

    def hook(module: torch.nn.Module, _: Any, output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        dropped = torch.nn.functional.dropout(first, share, training=module.training)
        return (dropped, *output[1:]) if isinstance(output, tuple) else dropped

    for layer in model.model.layers:
        layer.self_attn.register_forward_hook(hook)
        layer.mlp.register_forward_hook(hook)


def mirrored(days: Encoded) -> Encoded:
    """The same days upside down: every move negated, so high and low change places."""
    return Encoded(-days.steps[:, [0, 2, 1, 3]], days.buckets, days.sigma, days.usual_volume)


class Windows:
    """An endless supply of batches of token ids, drawn with one seeded generator."""

    def __init__(self, series: Sequence[Series], tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
        self.tokenizer, self.recipe = tokenizer, recipe
        self.rng = np.random.default_rng(recipe.seed)
        # The first days share a start value taken from themselves (codec.WARM_UP): leave them out.
        self.series = [s for s in series if len(s) >= 60]
        self.encoded = [encode(s)[20:] for s in self.series]
        if not self.encoded:
            raise StockllmError("No company has the 60 days that pretraining needs; import more history.")
        self.weights = np.array([len(e.buckets) for e in self.encoded], dtype=float)
        self.weights /= self.weights.sum()

    def batch(self) -> list[list[int]]:
        """Token ids of one batch's windows; all windows of a batch have the same shape."""
        recipe, rng = self.recipe, self.rng
        if rng.random() < recipe.reference_share:
            return self._ids([self._reference_messages() for _ in range(4)])
        future = int(rng.choice([1, 5, recipe.longest_future], p=[0.1, 0.2, 0.7]))
        past = int(rng.choice([5, 20, 60, recipe.longest_past], p=[0.1, 0.15, 0.35, 0.4]))
        rows = max(1, recipe.batch_tokens // ((past + future) * 5 + 50))
        return self._ids([self._compact_messages(past, future) for _ in range(rows)])

    def _ids(self, conversations: list[list[dict[str, str]]]) -> list[list[int]]:
        encoded = self.tokenizer.apply_chat_template(conversations, return_dict=True)
        return [list(ids) for ids in encoded["input_ids"]]

    def _compact_messages(self, past: int, future: int) -> list[dict[str, str]]:
        while True:
            days = self.encoded[int(self.rng.choice(len(self.encoded), p=self.weights))]
            if len(days.buckets) >= past + future:
                break
        start = int(self.rng.integers(0, len(days.buckets) - past - future + 1))
        days = days[start : start + past + future]
        if self.rng.random() < self.recipe.mirror_share:
            days = mirrored(days)
        return [
            {"role": "system", "content": COMPACT_SYSTEM},
            {"role": "user", "content": compact_question(days[:past], future)},
            {"role": "assistant", "content": compact_answer(days[past:])},
        ]

    def _reference_messages(self) -> list[dict[str, str]]:
        past, future = ((1, 1), (5, 5), (20, 5))[int(self.rng.integers(3))]
        series = self.series[int(self.rng.choice(len(self.series), p=self.weights))]
        start = int(self.rng.integers(20, len(series) - past - future + 1))
        window = Window(
            series.code, series.code, "TWSE", series[: start + past], past,
            series[start + past : start + past + future],
            series.dates[start + past : start + past + future],
        )  # fmt: skip
        example = training_messages(window, "reference")
        return [*example.prompt, *example.completion]


def sample_prompts() -> Iterator[str]:
    """Texts of both styles with made-up numbers, for the tokenizer to learn its words from."""
    rng = np.random.default_rng(0)
    words = ["buy", "sell", "stock", "price", "news", "volume", "company", "Taiwan"]
    for _ in range(200):
        prices = rng.uniform(10, 2000, 4)
        days = int(rng.integers(2, 90))
        row = "Open: {:.1f}, High: {:.1f}, Low: {:.2f}, Close: {:.1f}, Capacity: 1447003, ".format(*prices)
        yield (
            f"Here is past {days} days stock price of 台積電 company.\n\nDate: 2025-01-03, {row}"
            f"Change: -0.5, Turnover: 1, Transaction: 2\nPredict the next {days} dates price:\n"
            "Predict the next date price:\n"
        )
        yield f"The next {days} days price is: Date:\n 2025-01-06, {row}\nThe next 1 day price is: Date:\n"
        yield f"{COMPACT_SYSTEM}\n{REFERENCE_SYSTEM}\nvolatility 1.85%\nPredict the next {days} days:"
        yield "user system assistant " + " ".join(rng.permutation(words))


def pretrain(
    series: Sequence[Series],
    target: Path,
    recipe: Recipe,
    *,
    until: date,
    held_out: Sequence[str] = (),
    report: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Path:
    """Train a base model and write it to ``target``; returns ``target``.

    ``series`` must end by ``until`` and contain no held-out company; both go on the model's card.
    Runs for ``recipe.minutes`` of wall time. A checkpoint in ``target`` with the suffix
    ``.checkpoint`` is taken up where it stopped and removed at the end.
    """
    import torch

    if any(s.dates and s.dates[-1] > until for s in series) or {s.code for s in series} & set(held_out):
        raise UsageError(f"The training data holds days after {until} or a held-out company.")
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer(sample_prompts())
    windows = Windows(series, tokenizer, recipe)
    model = new_model(recipe, tokenizer)
    drop_residuals(model, recipe.dropout)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
    )
    checkpoint = target.with_name(target.name + ".checkpoint")
    progress = Progress()
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        progress, windows.rng = saved["progress"], saved["rng"]
    model.train()
    budget = recipe.minutes * 60
    saved_at = started = time.monotonic()
    spent_before = progress.seconds
    while progress.seconds < budget:
        done = progress.seconds / budget
        rate = recipe.learning_rate * min(1.0, done / 0.03 + 0.02) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = max(rate, recipe.learning_rate * 0.01)
        ids, labels = _tensors(windows.batch(), tokenizer.pad_token_id)
        # No attention mask: padding stands at the end, where a causal model never looks back from.
        with torch.autocast("cpu", torch.bfloat16, enabled=_has_fast_bfloat16()):
            loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        progress.tokens += int((labels != -100).sum())
        progress.losses.append(loss.item())
        progress.seconds = spent_before + time.monotonic() - started
        if progress.step % 20 == 0:
            report(
                {
                    "step": progress.step,
                    "seconds": round(progress.seconds, 1),
                    "loss": round(float(np.mean(progress.losses[-20:])), 4),
                    "tokens_per_second": round(progress.tokens / progress.seconds),
                }
            )
        if time.monotonic() - saved_at > 120:
            _save_checkpoint(checkpoint, model, optimizer, progress, windows.rng)
            saved_at = time.monotonic()
    _save_model(model, tokenizer, target, recipe, progress, until, windows, held_out)
    checkpoint.unlink(missing_ok=True)
    return target


def _has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; emulated it would be slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _tensors(rows: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and labels, both (rows, longest); padding is not learned from."""
    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    return ids, ids.masked_fill(ids == pad, -100)


def _save_checkpoint(
    path: Path, model: LlamaForCausalLM, optimizer: Any, progress: Progress, rng: np.random.Generator
) -> None:
    import torch

    part = path.with_name(path.name + ".part")
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": progress,
        "rng": rng,
    }
    torch.save(state, part)
    part.replace(path)


def _save_model(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    target: Path,
    recipe: Recipe,
    progress: Progress,
    until: date,
    windows: Windows,
    held_out: Sequence[str],
) -> None:
    """Weights in bfloat16, tokenizer and the card's facts."""
    import torch

    target.mkdir(parents=True, exist_ok=True)
    model.eval().to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    facts = {
        "recipe": asdict(recipe),
        "parameters": sum(p.numel() for p in model.parameters()),
        "data_end": until.isoformat(),
        "companies": len(windows.series),
        "days": sum(len(e.buckets) for e in windows.encoded),
        "held_out": sorted(held_out),
        "steps": progress.step,
        "tokens": progress.tokens,
        "minutes": round(progress.seconds / 60, 1),
        "final_loss": round(float(np.mean(progress.losses[-100:])), 4),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (target / "training.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
