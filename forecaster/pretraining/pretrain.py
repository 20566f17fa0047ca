"""The recipe of the embedded base model: a small Llama trained from nothing on many stocks' days.

Reads top to bottom: an outlook of all stocks -> networks that say place and width -> words and integers ->
tokens -> next-token training -> a folder that plain ``transformers`` loads. Windows are cut afresh for
every batch; nothing after ``until`` and no held-out company is ever learnt from.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import TrainingStopped, UsageError
from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.prompts import COMPACT_SYSTEM, COMPACT_SYSTEM_2, NEWEST, REFERENCE_SYSTEM
from stockllm.forecaster.encoding.tokenizer import build_tokenizer
from stockllm.forecaster.models.engines import no_bars, prepare_imports, quiet_imports
from stockllm.forecaster.pretraining.batches import Batches, Reading
from stockllm.forecaster.pretraining.card import base_card
from stockllm.forecaster.pretraining.recipe import Recipe
from stockllm.forecaster.pretraining.teachers import Teachers, teach
from stockllm.forecaster.training.progress import StopRequest

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from stockllm.forecaster.outlook.outlook import Outlook


#: Steps between reports.
REPORT_EVERY = 20
#: Seconds between checkpoints.
SAVE_EVERY = 120


@dataclass(slots=True)
class Progress:
    """How far a training came; ``losses`` has one entry a step, in nats a token."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    losses: list[float] = field(default_factory=list)

    def add(self, loss: float, tokens: int, seconds: float) -> None:
        """One more step; ``seconds`` are those of the whole training."""
        self.step += 1
        self.losses.append(loss)
        self.tokens += tokens
        self.seconds = seconds

    def facts(self) -> dict[str, Any]:
        """The figures to report while it runs."""
        return {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "loss": round(float(np.mean(self.losses[-REPORT_EVERY:])), 4),
            "tokens_per_second": round(self.tokens / self.seconds),
        }


def split_companies(
    codes: Sequence[str], never: Sequence[str], recipe: Recipe
) -> tuple[list[str], list[str]]:
    """(companies to train on, companies held out); those in ``never`` are never held out."""
    rng = np.random.default_rng(recipe.seed)
    candidates = sorted(set(codes) - set(never))
    if not 0 <= recipe.hold_out <= len(candidates):
        raise UsageError(
            f"{recipe.hold_out} companies cannot be held out of {len(candidates)}; hold out fewer.",
            zh=f"{len(candidates)} 家公司中無法保留 {recipe.hold_out} 家：請減少保留的家數。",
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
        line = "volatility 1.85%\nweek k m month ? ?\nn k m ? +1 -2 3 0 m"
        yield f"{COMPACT_SYSTEM_2}\n{line}\nPredict the next {days} days:"
        yield f"{COMPACT_SYSTEM}\n{REFERENCE_SYSTEM}\nvolatility 1.85%\nPredict the next {days} days:"
        yield "user system assistant " + " ".join(rng.permutation(words))


def pretrain(
    outlook: Outlook,
    target: Path,
    recipe: Recipe,
    *,
    codes: Sequence[str],
    until: date,
    held_out: Sequence[str] = (),
    series: Sequence[BarSeries] = (),
    start_from: Path | None = None,
    report: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Path:
    """Train a base model and write it to ``target``; returns ``target``.

    It learns the days up to ``until`` of the stocks in ``codes``, with the words of networks that
    learn the same days. The last network is written beside the weights. What stood before the rate fell is
    kept beside ``target``, with the suffix ``.trunk``: a later training that reads on may start from it. A
    checkpoint with the suffix ``.checkpoint`` is taken up where it stopped and removed at the end.

    :param outlook: of all stocks, held-out ones too: they are part of the market and of nothing else.
    :param series: what the reference style is practised on.
    :param start_from: the trunk of an earlier training, whose companies held out must be these.
    :raises UsageError: a held-out company in ``codes``, a trunk of later days, a checkpoint of another
        training, or a folder that cannot be written.
    :raises NotEnoughHistory: no company has days enough.
    :raises TrainingStopped: on Ctrl-C; the checkpoint is kept.
    """
    if set(codes) & set(held_out):
        raise UsageError("The training data holds a held-out company.", zh="訓練資料含有應保留的公司。")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder {target} cannot be made ({error.strerror}): name another.",
            zh=f"無法建立資料夾 {target}（{error.strerror}）：請指定其他資料夾。",
        ) from error
    prepare_imports()
    with quiet_imports():
        import torch

        torch.manual_seed(recipe.seed)
        tokenizer = build_tokenizer(sample_prompts())
        model = new_model(recipe, tokenizer)
    trunk = Trunk(target.with_name(target.name + ".trunk"))
    before = None if start_from is None else Trunk(start_from).read(model, until, held_out)
    started = time.monotonic()
    columns = [outlook.panel.column(code) for code in codes]
    teachers = trunk.teachers(until) or teach(
        outlook, columns, until.toordinal(), networks=recipe.networks, before=before,
        report=lambda what: report({"network": what, "seconds": round(time.monotonic() - started, 1)}),
    )  # fmt: skip
    trunk.keep_teachers(teachers)
    reading = Reading.of(outlook, columns, until.toordinal(), teachers)
    report({"days": len(reading.days), "seconds": round(time.monotonic() - started, 1)})
    batches = Batches(reading, series, tokenizer, recipe)
    drop_residuals(model, recipe.dropout)
    optimizer = _optimizer(model, recipe)
    # What may not change between a start and its resumption.
    training = [json.dumps(asdict(recipe)), until.isoformat(), sorted(held_out), sorted(codes)]
    checkpoint = _Checkpoint(target.with_name(target.name + ".checkpoint"), training)
    progress = checkpoint.restore(model, optimizer, batches)
    _learn(model, optimizer, batches, recipe, progress, checkpoint, report=report,
           before_fall=lambda: trunk.keep(model, until, held_out), warm=start_from is None)  # fmt: skip
    _save_model(model, tokenizer, target, recipe, progress, until, reading, held_out)
    teachers.final.save(target)
    checkpoint.path.unlink(missing_ok=True)
    return target


def _learn(
    model: LlamaForCausalLM,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    recipe: Recipe,
    progress: Progress,
    checkpoint: _Checkpoint,
    *,
    report: Callable[[dict[str, Any]], None],
    before_fall: Callable[[], None],
    warm: bool,
) -> None:
    """Take the steps that are left; ``before_fall`` is called once the rate is about to fall."""
    import torch

    model.train()
    bfloat16 = has_fast_bfloat16()
    saved_at = time.monotonic()
    started = saved_at - progress.seconds
    falls = round(recipe.steps * (1 - recipe.decay_share))
    with StopRequest() as stop:
        stop.patient = True
        while progress.step < recipe.steps:
            if progress.step == falls:
                before_fall()
            rate = recipe.learning_rate * _share(progress.step, recipe, warm=warm)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss, tokens = _loss(model, *batches.batch())
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress.add(loss.item(), tokens, time.monotonic() - started)
            if progress.step % REPORT_EVERY == 0:
                report(progress.facts())
            if stop.wanted or time.monotonic() - saved_at > SAVE_EVERY:
                checkpoint.save(model, optimizer, batches, progress)
                saved_at = time.monotonic()
            if stop.wanted:
                raise TrainingStopped(
                    f"Pretraining stopped after {progress.step:,} of {recipe.steps:,} steps: "
                    f"run the same command again to resume from {checkpoint.path}.",
                    zh=f"預訓練在 {recipe.steps:,} 步中的第 {progress.step:,} 步後停止："
                    f"再執行同樣的指令即可從 {checkpoint.path} 接續。",
                )


def _share(step: int, recipe: Recipe, *, warm: bool) -> float:
    """The rate's share of its height: it rises, stands, and falls to nothing at the end."""
    rise = max(1, round(recipe.steps * (0.03 if warm else 0.01)))
    falls = recipe.steps * (1 - recipe.decay_share)
    if step >= falls:
        return max(0.005, (recipe.steps - step) / max(1.0, recipe.steps - falls))
    return min(1.0, (step + 1) / rise)


def _loss(
    model: LlamaForCausalLM, ids: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[torch.Tensor, int]:
    """(weighted mean loss of the tokens that weigh anything, tokens read)."""
    import torch

    tokens, weigh = torch.from_numpy(ids), torch.from_numpy(weights[:, 1:])
    # No attention mask: padding stands at the end, where a causal model never looks back from.
    hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
    counted = weigh > 0
    logits = model.lm_head(hidden[counted]).float()
    each = torch.nn.functional.cross_entropy(logits, tokens[:, 1:][counted], reduction="none")
    share = weigh[counted]
    return (each * share).sum() / share.sum(), ids.size


@dataclass(frozen=True, slots=True)
class Trunk:
    """The folder of what a later training starts from: weights, teachers and what they have read."""

    folder: Path

    def keep(self, model: LlamaForCausalLM, until: date, held_out: Sequence[str]) -> None:
        """Write the weights as they stand."""
        from safetensors.torch import save_file

        self.folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().clone() for name, value in model.named_parameters()}
        save_file(weights, self.folder / "trunk.safetensors.part")
        (self.folder / "trunk.safetensors.part").replace(self.folder / "trunk.safetensors")
        facts = {"until": until.isoformat(), "held_out": sorted(held_out)}
        (self.folder / "trunk.json").write_text(json.dumps(facts), "utf-8")

    def keep_teachers(self, teachers: Teachers) -> None:
        teachers.save(self.folder / "teachers")

    def teachers(self, until: date) -> Teachers | None:
        """Those that a stopped training has taught already."""
        try:
            found = Teachers.load(self.folder / "teachers")
        except (OSError, ValueError, KeyError):
            return None
        return found if found.until == until.toordinal() else None

    def read(self, model: LlamaForCausalLM, until: date, held_out: Sequence[str]) -> Teachers:
        """Put the weights into ``model``; its teachers.

        :raises UsageError: no trunk, one that has read later days, or other companies held out.
        """
        from safetensors.torch import load_file

        try:
            facts = json.loads((self.folder / "trunk.json").read_text("utf-8"))
            weights = load_file(self.folder / "trunk.safetensors")
            teachers = Teachers.load(self.folder / "teachers")
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(
                f"{self.folder} is no trunk of a training ({error}): name a folder that ends in .trunk.",
                zh=f"{self.folder} 不是訓練主幹（{error}）：請指定以 .trunk 結尾的資料夾。",
            ) from error
        if date.fromisoformat(facts["until"]) > until or sorted(held_out) != facts["held_out"]:
            raise UsageError(
                f"{self.folder} has read days up to {facts['until']} or held other companies out: "
                "start from one that fits.",
                zh=f"{self.folder} 讀過 {facts['until']} 為止的資料，或保留的公司不同：請從相符的主幹開始。",
            )
        # Tied weights stand once.
        model.load_state_dict(weights, strict=False)
        return teachers


def _optimizer(model: LlamaForCausalLM, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW that decays matrices alone, not norms."""
    import torch

    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
    )


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """The file a stopped training goes on from; ``training`` says which training it is of."""

    path: Path
    training: list[Any]

    def restore(
        self, model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, batches: Batches
    ) -> Progress:
        """Put everything where it stood; nothing where there is no file."""
        import torch

        if not self.path.exists():
            return Progress()
        try:
            saved = torch.load(self.path, weights_only=True)
        except Exception as error:  # pickle and zip have a tree of errors: here all say "no checkpoint"
            raise UsageError(
                f"{self.path} cannot be read as a checkpoint: remove it to start anew.",
                zh=f"{self.path} 無法當作檢查點讀取：請刪除它重新開始。",
            ) from error
        if saved["training"] != self.training:
            raise UsageError(
                f"{self.path} is of a training with another recipe or other data: "
                "go on with what it was started with, or remove it to start anew.",
                zh=f"{self.path} 屬於配方或資料不同的訓練：請用原來的設定接續，或刪除它重新開始。",
            )
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        batches.rng.bit_generator.state = json.loads(saved["rng"])
        torch.set_rng_state(saved["dropout_rng"])
        return Progress(**saved["progress"])

    def save(
        self,
        model: LlamaForCausalLM,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
        progress: Progress,
    ) -> None:
        """Write the file; it is whole at every moment."""
        import torch

        state = {
            "training": self.training,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rng": json.dumps(batches.rng.bit_generator.state),
            "dropout_rng": torch.get_rng_state(),
            "progress": asdict(progress),
        }
        part = self.path.with_name(self.path.name + ".part")
        torch.save(state, part)
        part.replace(self.path)


def has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; emulated it would be slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _save_model(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    target: Path,
    recipe: Recipe,
    progress: Progress,
    until: date,
    reading: Reading,
    held_out: Sequence[str],
) -> None:
    """Weights in bfloat16, tokenizer, the card and its facts."""
    import torch

    target.mkdir(parents=True, exist_ok=True)
    with no_bars():
        model.eval().to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    facts = {
        "recipe": asdict(recipe),
        "parameters": sum(p.numel() for p in model.parameters()),
        "data_end": until.isoformat(),
        "compact": NEWEST,
        "companies": len(reading.starts) - 1,
        "days": len(reading.days),
        "held_out": sorted(held_out),
        "steps": progress.step,
        "tokens": progress.tokens,
        "minutes": round(progress.seconds / 60, 1),
        "final_loss": round(float(np.mean(progress.losses[-100:])), 4),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (target / "training.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (target / "README.md").write_text(base_card(facts), "utf-8")
