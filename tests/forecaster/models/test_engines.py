"""The two engines: what each needs, and that either loads what the other made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stockllm.data.errors import ModelUnavailable, StockllmError, UsageError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.encoding.tokenizer import CHAT_TEMPLATE, PADDING
from stockllm.forecaster.encoding.windows import Task
from stockllm.forecaster.models import engines
from stockllm.forecaster.models.engines import choose_engine, ensure_chat, load, optimiser
from stockllm.forecaster.models.methods import LoraOptions
from stockllm.forecaster.training.examples import Row
from stockllm.forecaster.training.options import TrainOptions
from stockllm.forecaster.training.sft import trainer_class

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

LORA = LoraOptions(rank=4, alpha=8, dropout=0.0, seed=1, max_seq_length=256)
IDS = [[0, 5, 40, 90, 200, 300, 17, 33]]


def test_auto_is_unsloth_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: object())
    assert [choose_engine(name) for name in ("auto", "unsloth", "peft")] == ["unsloth", "unsloth", "peft"]
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    assert [choose_engine(name) for name in ("auto", "peft")] == ["peft", "peft"]
    with pytest.raises(UsageError, match=r"Unsloth is not installed.*--engine peft"):
        choose_engine("unsloth")
    with pytest.raises(UsageError, match="no engine 'gpu'; choose one of auto, unsloth, peft"):
        choose_engine("gpu")


def test_eight_bit_optimisers_fall_back_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_cuda", lambda: False)
    for name in ("adamw_8bit", "paged_adamw_32bit"):
        assert optimiser(name) == (
            "adamw_torch",
            f"{name} needs CUDA and bitsandbytes; training with adamw_torch instead.",
        )
    assert optimiser("adafactor") == ("adafactor", None)
    monkeypatch.setattr(engines, "_cuda", lambda: True)
    monkeypatch.setattr(engines, "find_spec", lambda _: object())
    assert optimiser("adamw_8bit") == ("adamw_8bit", None)


def test_what_libraries_log_while_training_goes_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.utils import logging as chatter

    root = chatter.get_logger("transformers")
    (shown,) = root.handlers
    heard: list[str] = []
    monkeypatch.setattr(shown, "emit", lambda record: heard.append(record.getMessage()))
    talker = chatter.get_logger("transformers.trainer_utils")
    with engines.chatter_in(tmp_path / "engine.log"):
        talker.warning("mtime may not be reliable")
    talker.warning("afterwards")
    assert (tmp_path / "engine.log").read_text("utf-8") == "mtime may not be reliable\n"
    assert heard == ["afterwards"]
    assert root.handlers == [shown]


def test_quantised_loading_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    engines.refuse_quantised(False, False)
    monkeypatch.setattr(engines, "_cuda", lambda: True)
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="--load-in-8bit needs bitsandbytes"):
        engines.refuse_quantised(False, True)
    monkeypatch.setattr(engines, "find_spec", lambda _: object())
    engines.refuse_quantised(True, False)


def test_a_folder_that_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=f"The model in {tmp_path} cannot be loaded"):
        load("peft", tmp_path, LORA)


def test_weights_that_are_cut_short_are_said(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(tiny_model, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ModelUnavailable, match=f"The model in {folder} cannot be loaded"):
        load("peft", folder, LORA)


def test_a_hub_model_that_cannot_be_reached_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def unreachable(self: object, name: str, timeout: float) -> None:
        raise OSError("Name or service not known.")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(ModelUnavailable, match=r"nobody/x cannot be loaded \(Name or service not known\)"):
        load("peft", "nobody/x", LORA)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(tmp_path))
    assert not engines.reach("nobody/x")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)
    assert engines.reach("nobody/x")


def test_only_a_large_model_on_a_gpu_computes_its_activations_twice() -> None:
    def model(*sizes: int) -> Any:
        return SimpleNamespace(
            parameters=lambda: [SimpleNamespace(numel=lambda size=size: size) for size in sizes]
        )

    small, large = model(10**6, 10**6), model(10**9, 2 * 10**9)
    assert engines.recomputes(large, cuda=True)
    assert not engines.recomputes(small, cuda=True)
    assert not engines.recomputes(large, cuda=False)


def tokenizer(template: str | None, vocabulary: dict[str, int], pad: str | None = None) -> Any:
    return SimpleNamespace(
        chat_template=template,
        get_vocab=lambda: vocabulary,
        pad_token=pad,
        eos_token="<e>",
        padding_side="left",
    )


def test_a_llama_3_without_a_template_gets_its_own() -> None:
    known = {"<|start_header_id|>": 1, PADDING: 2, "<e>": 3}
    llama = tokenizer(None, known)
    ensure_chat(llama, "base")
    assert (llama.chat_template, llama.pad_token, llama.padding_side) == (CHAT_TEMPLATE, PADDING, "right")
    other = tokenizer("theirs", {"<e>": 3}, "<p>")
    ensure_chat(other, "base")
    assert (other.chat_template, other.pad_token) == ("theirs", "<p>")
    with pytest.raises(ModelUnavailable, match="gpt has no chat template"):
        ensure_chat(tokenizer(None, {"<e>": 3}), "gpt")


def rows(tiny_model: Path, answers: tuple[int, ...] = (1, 2, 3)) -> list[Row]:
    """Three examples whose answers differ in length, measured as the trainer will."""
    from transformers import AutoTokenizer

    reader = AutoTokenizer.from_pretrained(tiny_model)
    made = []
    for days in answers:
        answer = "\n".join(["+1 +2 -3 +4 5"] * days)
        prompt = [{"role": "user", "content": "volatility 2.00%\n+0 +1 -1 +1 12"}]
        completion = [{"role": "assistant", "content": answer}]
        ids = reader.apply_chat_template(prompt + completion, tokenize=True, return_dict=True)["input_ids"]
        made.append(Row("2330", f"1/{days}", "2025-01-02", len(ids), prompt, completion))
    return made


@pytest.fixture
def built(tiny_model: Path, tmp_path: Path) -> Any:
    from stockllm.forecaster.training import trainer

    loaded = load("peft", tiny_model, LORA)
    options = TrainOptions(codes=("2330",), batch_size=3, gradient_accumulation_steps=1, report_to="none")
    made, said = trainer.build(loaded, tmp_path, options, 2, rows(tiny_model), [])
    assert said == ["adamw_8bit needs CUDA and bitsandbytes; training with adamw_torch instead."]
    return made


def test_the_loss_is_on_the_whole_answer_and_on_nothing_else(built: Any, tiny_model: Path) -> None:
    reader = built.processing_class
    assert len(built.train_dataset) == 3
    for example in built.train_dataset:
        ids, labels = example["input_ids"], example["labels"]
        asked = labels.index(next(label for label in labels if label != -100))
        assert all(label == -100 for label in labels[:asked])
        assert labels[asked:] == ids[asked:]
        assert reader.decode(ids[:asked]).endswith("assistant<|end_header_id|>\n\n")
        answer = reader.decode(ids[asked:])
        assert answer.startswith("+1 +2 -3 +4 5")
        assert answer.endswith("<|eot_id|>")
    # Each step is one shuffled epoch here, its longest example first.
    lengths = [len(example["input_ids"]) for example in built.train_dataset]
    read = [batch["attention_mask"].sum(dim=1).tolist() for batch in built.get_train_dataloader()]
    assert read == [sorted(lengths, reverse=True)] * 2


def test_how_a_step_is_cut_into_batches_changes_nothing_that_is_learned(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from stockllm.forecaster.training import trainer

    # In float32, where two ways to add the same numbers hardly differ.
    monkeypatch.setattr(trainer, "_half", lambda _: (False, ""))
    learned, losses, sizes = [], [], []
    for plain in (False, True):
        loaded = load("peft", tiny_model, LORA)
        options = TrainOptions(
            codes=("2330",),
            batch_size=3,
            gradient_accumulation_steps=2,
            learning_rate=1.0,
            optim="sgd",
            report_to="none",
        )
        made, _ = trainer.build(loaded, tmp_path / str(plain), options, 4, rows(tiny_model, (1, 2, 9)), [])
        made.args.save_strategy = "no"
        if plain:
            read = [index for batch in made.batches for index in batch]
            made.batches = [read[at : at + 3] for at in range(0, len(read), 3)]
        sizes.append([len(batch) for batch in made.batches])
        trainer.fit(made, None)
        losses.append([entry["loss"] for entry in made.state.log_history if "loss" in entry])
        learned.append({name: p.detach() for name, p in loaded.model.named_parameters() if "lora_B" in name})
    assert sizes[0] != sizes[1]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    for name, one in learned[0].items():
        assert one.abs().max() > 1e-5
        assert torch.allclose(one, learned[1][name], rtol=1e-3, atol=1e-7)


def test_speed_counts_what_was_read_and_leaves_validation_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from stockllm.forecaster.training import trainer
    from stockllm.forecaster.training.progress import StopRequest, TrainEvent

    now = [100.0]
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: now[0]))
    kept: list[Any] = []
    running = SimpleNamespace(
        train_dataset={"input_ids": [[1] * 10, [1] * 4, [1] * 6]},
        batches=[[0], [2, 1], [0], [2, 2]],
        args=SimpleNamespace(gradient_accumulation_steps=2),
        add_callback=kept.append,
    )
    events: list[TrainEvent] = []
    speed = trainer.follow(running, events.append, StopRequest())
    (callback,) = kept
    state = SimpleNamespace(global_step=0, max_steps=2)
    control = SimpleNamespace(should_log=False)
    assert speed() == {}
    callback.on_train_begin(None, state, control)
    for seconds in (2.0, 3.0):
        now[0] += seconds
        state.global_step += 1
        callback.on_step_end(None, state, control)
        now[0] += 50
        callback.on_evaluate(None, state, control, {"eval_loss": 1.0, "eval_runtime": 50.0})
    # Six windows of 10 + 6 + 4 and 10 + 6 + 6 tokens in five seconds; one batch was padded by two.
    assert speed() == {
        "windows_per_second": 1.2,
        "tokens_per_second": 8.4,
        "padding": round(1 - 42 / 44, 4),
        "steps": 2,
        "seconds": 5.0,
    }
    live = [event for event in events if event.state == "training"]
    assert [event.windows_per_second for event in live] == [1.5, 1.2]
    assert [event.tokens_per_second for event in live] == [10.0, 8.4]


@pytest.mark.parametrize("able", [True, False])
def test_a_cpu_computes_in_bfloat16_only_where_it_multiplies_in_it(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, able: bool
) -> None:
    import torch

    from stockllm.forecaster.training import trainer

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    loaded = load("peft", tiny_model, LORA)
    options = TrainOptions(codes=("2330",), batch_size=1, gradient_accumulation_steps=1, report_to="none")
    made, _ = trainer.build(loaded, tmp_path, options, 1, rows(tiny_model), [])
    made.args.save_strategy = "no"
    seen = []
    loaded.model.get_base_model().lm_head.register_forward_hook(lambda *given: seen.append(given[2].dtype))
    trainer.fit(made, None)
    assert seen == [torch.bfloat16 if able else torch.float32]
    # Weights and optimiser stay whole, and what is measured is measured in float32.
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    loaded.model.eval()
    made.compute_loss(loaded.model, made.data_collator([made.train_dataset[0]]))
    assert seen[1:] == [torch.float32]


def test_padding_at_the_right_is_not_seen_by_any_answer(built: Any) -> None:
    import torch

    batch = dict(built.data_collator([built.train_dataset[i] for i in range(3)]))
    padding = batch["attention_mask"] == 0
    assert padding.any()
    with torch.no_grad():
        before = built.compute_loss(built.model, batch)
        batch["input_ids"] = batch["input_ids"].masked_fill(padding, 9)
        after = built.compute_loss(built.model, batch)
    assert after.item() == before.item()


def test_the_loss_on_a_cpu_is_the_models_own(built: Any) -> None:
    import torch

    batch = built.data_collator([built.train_dataset[i] for i in range(3)])
    built.model.eval()
    with torch.no_grad():
        ours = built.compute_loss(built.model, dict(batch))
        theirs = built.model(**batch).loss
        summed = built.compute_loss(built.model, dict(batch), num_items_in_batch=torch.tensor(10))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    answers = (batch["labels"] != -100).sum().item()
    assert summed.item() == pytest.approx(ours.item() * answers / 10, rel=1e-5)


def test_an_example_that_was_lost_or_cut_is_said(tiny_model: Path) -> None:
    from stockllm.forecaster.training.trainer import check

    (row, *_) = rows(tiny_model)
    whole = list(range(row.tokens))
    labels = [-100] * 5 + whole[5:]

    class Prepared(dict[str, list[list[int]]]):
        def __len__(self) -> int:
            return len(self["input_ids"])

    check(Prepared(input_ids=[whole], labels=[labels]), [row])
    with pytest.raises(StockllmError, match="Of 2 examples 1 were left"):
        check(Prepared(input_ids=[whole], labels=[labels]), [row, row])
    for ids, marked in (
        (whole[:-1], labels[:-1]),
        (whole, [-100] * len(whole)),
        (whole, whole),
        (whole, [*labels[:-1], -100]),
    ):
        with pytest.raises(StockllmError, match="was not tokenised as measured"):
            check(Prepared(input_ids=[ids], labels=[marked]), [row])


def test_nobody_is_told_who_trains() -> None:
    from trl import SFTTrainer

    for cuda in (True, False):
        kind = trainer_class(engines.Loaded(None, None, "peft", cuda=cuda))
        assert kind._send_telemetry is not SFTTrainer._send_telemetry


UNSLOTH = """
import json, sys
from pathlib import Path
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.training.train import TrainOptions, train

home, options, other, ids = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
with Store.open(Home(Path(home))) as store:
    info = train(store, TrainOptions.from_document(options, name="by-unsloth"))
import torch
from unsloth import FastLanguageModel
answer = {}
for adapter in (str(info.path), other):
    model, _ = FastLanguageModel.from_pretrained(
        adapter, max_seq_length=256, dtype=torch.float32, load_in_4bit=False
    )
    FastLanguageModel.for_inference(model)
    with torch.no_grad():
        answer[adapter] = model(input_ids=torch.tensor(ids)).logits.flatten().tolist()
    del model
print("ANSWER" + json.dumps(answer), file=sys.stderr)
"""


def test_each_engine_loads_what_the_other_made(filled_home: Home, tiny_model: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from stockllm.forecaster.training.train import train

    options = TrainOptions(
        codes=("2330",),
        model_dir=tiny_model,
        engine="peft",
        tasks=(Task(1, 1),),
        batch_size=2,
        gradient_accumulation_steps=1,
        max_steps=2,
        validation_windows=2,
        learning_rate=1e-2,
        report_to="none",
    )
    with Store.open(filled_home) as store:
        by_peft = train(store, TrainOptions.from_document(options.document(), name="by-peft")).path
    document = options.document() | {"engine": "unsloth"}
    command = [sys.executable, "-c", UNSLOTH, str(filled_home.root), json.dumps(document)]
    # In a process of its own: Unsloth changes transformers, TRL and PEFT for good.
    done = subprocess.run(
        [*command, str(by_peft), json.dumps(IDS)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "no GPU found" not in done.stdout
    answers = json.loads(done.stderr.split("ANSWER")[1])
    by_unsloth = filled_home.adapters / "by-unsloth"
    assert set(answers) == {str(by_unsloth), str(by_peft)}
    for adapter, logits in answers.items():
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), adapter).eval()
        with torch.no_grad():
            ours = model(input_ids=torch.tensor(IDS)).logits.flatten()
            with model.disable_adapter():
                base = model(input_ids=torch.tensor(IDS)).logits.flatten()
        assert torch.allclose(ours, torch.tensor(logits), atol=1e-4)
        assert not torch.allclose(ours, base, atol=1e-4)
