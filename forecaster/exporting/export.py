"""A model as a folder that needs no stockllm: plain transformers loads it merged, PEFT as an adapter.

The folder carries its weights, tokenizer, chat template and a card (`card.py`), and says to
whoever serves it to sample plainly, at temperature 1 from the whole vocabulary. It is written beside its
place and renamed: it is whole or not there.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stockllm.data.errors import StoreError, UsageError
from stockllm.forecaster.exporting.facts import Facts, Kind
from stockllm.forecaster.models import methods
from stockllm.forecaster.models.cards import CARD_FILE, Card, read_card
from stockllm.forecaster.models.engines import no_bars
from stockllm.forecaster.models.files import NO_CODE, check_inside
from stockllm.forecaster.models.registry import (
    EMBEDDED,
    TRAINING_FILE,
    ModelRef,
    _card_for,
    _snapshot,
    load_model,
    refuse_peer,
    weights_hash,
)
from stockllm.forecaster.sampling.cutoffs import cutoff, held_out

#: Says what a folder of ours is, so that it can be pushed later without being made again.
EXPORT_FILE = "stockllm.json"
#: What of a model's folder is the model; cards and calibrations are not.
_MODEL_FILES = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("tokenizer*", "*.jinja", "*.model"),
)
_ADAPTER_FILES = ("adapter_*", "tokenizer*", "*.jinja", "*.model")
#: Greedy decoding is transformers' default and top_k 50 that of others: neither is a forecast.
_SAMPLING = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
#: The embedded base goes along with its adapter: nobody could fetch it elsewhere.
BASE_FOLDER = "base"


@dataclass(frozen=True, slots=True)
class Exported:
    """A folder that was written, its files with their sizes in bytes, and what it holds."""

    folder: Path
    facts: Facts
    files: tuple[tuple[str, int], ...]


def export(ref: ModelRef, target: Path, kind: Kind) -> Exported:
    """Write a model to the folder ``target``, which must not exist or be empty.

    An export of the very same model that stands there already is left as it is.

    :raises UsageError: for what cannot be exported so, or a folder that holds something else.
    :raises ModelUnavailable: where the model cannot be had.
    :raises StoreError: where the folder cannot be written.
    """
    facts = describe(ref, kind)
    target = target.expanduser().absolute()
    if _stands(target, facts):
        return Exported(target, facts, _listed(target))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            f"{target} is there already and holds something else: name a folder that is new or empty.",
            zh=f"{target} 已經存在且有其他內容：請指定新的或空的資料夾。",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
            made = Path(beside) / "made"
            made.mkdir()
            _fill(made, ref, facts)
            if target.is_dir():
                target.rmdir()
            os.replace(made, target)
    except OSError as error:
        raise StoreError(
            f"The export cannot be written to {target} ({error.strerror or error}): name a folder with room "
            "that can be written.",
            zh=f"無法匯出到 {target}（{error.strerror or error}）：請指定有空間且可寫入的資料夾。",
        ) from error
    return Exported(target, facts, _listed(target))


def describe(ref: ModelRef, kind: Kind) -> Facts:
    """What an export of a model would be; refuses what none can be made of."""
    refuse_peer(ref)
    if ref.base is None:
        raise UsageError(
            f"{ref.name} is a formula and no model: export llama, llama+ADAPTER, a folder or a hub id.",
            zh=f"{ref.name} 是公式，不是模型：請匯出 llama、llama+轉接器、資料夾或 hub 名稱。",
        )
    model_hash = weights_hash(ref.base)  # of a server it says that they cannot be had
    card = _card_for(ref, ref.adapter_dir, model_hash) if ref.adapter_dir is not None else None
    method = card.method if card is not None else None
    if kind == "adapter" and (card is None or method == methods.FULL):
        raise UsageError(
            f"{_called(ref)} is a whole model and no adapter: export it with --merged.",
            zh=f"{_called(ref)} 是完整的模型，不是轉接器：請用 --merged 匯出。",
        )
    if kind == "merged" and method in methods.VIRTUAL:
        raise UsageError(
            f"{_called(ref)} was tuned by {method}, which stands before the prompt and cannot be merged into "
            "weights: export it with --adapter.",
            zh=f"{_called(ref)} 以 {method} 調校，它放在提示之前，無法併入權重：請用 --adapter 匯出。",
        )
    return _facts(ref, card, kind, model_hash)


def _facts(ref: ModelRef, card: Card | None, kind: Kind, model_hash: str) -> Facts:
    # Of both worlds: what was pretrained on real days and tuned on simulated ones has read both.
    real, made_up = (cutoff(ref, simulated=simulated, calibrated=False) for simulated in (False, True))
    limit = real.joined(made_up)
    companies = tuple(card.companies) if card is not None else ()
    copied = kind == "adapter" or card is None or card.method == methods.FULL
    return Facts(
        kind=kind,
        base=Path(ref.name).name if isinstance(ref.base, Path) else ref.name,
        model_hash=model_hash,
        adapter=ref.adapter,
        adapter_hash=card.hash if card is not None else None,
        method=card.method if card is not None else None,
        rank=int(card.flags["rank"]) if card is not None and card.method in methods.LOW_RANK else None,
        prompt=card.prompt if card is not None else "compact",
        data_end=limit.day.isoformat() if limit.known and limit.day is not None else None,
        held_out=tuple(code for code in held_out(ref) if code not in companies),
        companies=companies,
        simulated=card is not None and card.simulated,
        dtype="as trained" if copied else _dtype(),
    )


def _dtype() -> str:
    """What `load_model` merges in, so that the export is what was sampled here."""
    import torch

    return "bfloat16" if torch.cuda.is_available() else "float32"


def _called(ref: ModelRef) -> str:
    return ref.name if ref.adapter is None else f"{ref.name}+{ref.adapter}"


def _fill(folder: Path, ref: ModelRef, facts: Facts) -> None:
    from stockllm.forecaster.exporting.card import readme

    whole = ref.adapter_dir if facts.method == methods.FULL else None
    if facts.kind == "adapter":
        assert ref.adapter_dir is not None
        _copy(ref.adapter_dir, folder, _ADAPTER_FILES)
        _point_at_base(folder, ref)
        if ref.name == EMBEDDED:
            (folder / BASE_FOLDER).mkdir()
            _copy(_folder(ref), folder / BASE_FOLDER, _MODEL_FILES)
            _write_sampling(folder / BASE_FOLDER)
    elif ref.adapter_dir is None or whole is not None:
        # File by file: the same weights to the bit, and nothing of this size in memory.
        _copy(whole or _folder(ref), folder, _MODEL_FILES)
        _write_sampling(folder)
    else:
        loaded = load_model(ref)
        with no_bars():
            loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        _write_sampling(folder)
    _forget_where(folder)
    _ensure_template(folder, ref)
    _write_training(folder, ref, facts)
    if ref.adapter_dir is not None:
        _write_json(folder / CARD_FILE, _public(read_card(ref.adapter_dir)))
    _write_json(folder / EXPORT_FILE, asdict(facts))
    (folder / "README.md").write_text(readme(facts), encoding="utf-8")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # weights come out of training for the owner alone


def _folder(ref: ModelRef) -> Path:
    return ref.base if isinstance(ref.base, Path) else _snapshot(str(ref.base))


def _copy(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    for path in sorted({path for pattern in patterns for path in source.glob(pattern) if path.is_file()}):
        check_inside(path, source)
        shutil.copyfile(path, target / path.name)


def _point_at_base(folder: Path, ref: ModelRef) -> None:
    """Name the base as others find it: by its hub id, or the folder beside; never a path of this machine."""
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if ref.name == EMBEDDED:
        config["base_model_name_or_path"] = BASE_FOLDER
    else:
        config["base_model_name_or_path"] = ref.base.name if isinstance(ref.base, Path) else ref.name
    _write_json(path, config)


def _write_sampling(folder: Path) -> None:
    """Have every server that reads generation_config.json sample plainly; the end tokens stay."""
    own = folder / "generation_config.json"
    source = own if own.is_file() else folder / "config.json"
    config = json.loads(source.read_text(encoding="utf-8"))
    tokens = {name: config[name] for name in _TOKENS if config.get(name) is not None}
    _write_json(own, tokens | _SAMPLING)


def _forget_where(folder: Path) -> None:
    """Take out what transformers notes of how a tokenizer was loaded here, which is no property of it."""
    path = folder / "tokenizer_config.json"
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        _write_json(path, {k: v for k, v in config.items() if k not in ("is_local", "local_files_only")})


def _ensure_template(folder: Path, ref: ModelRef) -> None:
    """A Llama-3 tokenizer without a chat template gets the one that prompts were made with here."""
    inside = folder / "tokenizer_config.json"
    if (folder / "chat_template.jinja").is_file() or not inside.is_file():
        return
    if "chat_template" in json.loads(inside.read_text(encoding="utf-8")):
        return
    from stockllm.forecaster.models.engines import ensure_chat, prepare_imports

    prepare_imports()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, **NO_CODE)
    ensure_chat(tokenizer, ref.name)
    (folder / "chat_template.jinja").write_text(str(tokenizer.chat_template), encoding="utf-8")


def _write_training(folder: Path, ref: ModelRef, facts: Facts) -> None:
    """Until when the model was trained, in the words that `cutoffs` reads; nothing where nobody can say.

    A model of both real and simulated days is left without: no one date would be true of it.
    """
    if facts.kind == "adapter":
        return
    at_base = _folder(ref) / TRAINING_FILE
    known: dict[str, Any] = json.loads(at_base.read_text(encoding="utf-8")) if at_base.is_file() else {}
    if ref.adapter is None:
        if known:
            _write_json(folder / TRAINING_FILE, known)
        return
    if not known or bool(known.get("simulated", False)) != facts.simulated or facts.data_end is None:
        return
    _write_json(
        folder / TRAINING_FILE,
        {
            "data_end": facts.data_end,
            "held_out": list(facts.held_out),
            "simulated": facts.simulated,
            "base": {"name": ref.name, "hash": facts.model_hash},
            "adapter": {"name": facts.adapter, "hash": facts.adapter_hash},
        },
    )


def _public(card: Card) -> dict[str, Any]:
    """A card without the paths of the machine it was made on."""

    def plain(value: Any) -> Any:
        return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value

    return asdict(
        replace(card, run="", base=plain(card.base), flags={k: plain(v) for k, v in card.flags.items()})
    )


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _stands(target: Path, facts: Facts) -> bool:
    try:
        there = json.loads((target / EXPORT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(there == json.loads(json.dumps(asdict(facts))))


def _listed(folder: Path) -> tuple[tuple[str, int], ...]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((path.relative_to(folder).as_posix(), path.stat().st_size) for path in files)
