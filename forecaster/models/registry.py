"""Model names, and what lies behind them.

| name | means |
| --- | --- |
| ``auto`` | the adapter of the embedded model that beat it on validation by most, else ``llama`` |
| ``llama`` | the embedded model alone |
| ``llama+NAME`` | the embedded model with an adapter of the home |
| ``ewma`` | the naive baseline: a random walk with EWMA volatility |
| ``last`` ``drift`` ``bootstrap`` ``ets`` ``arima`` ``lstm`` ``cnn`` | the other baselines |
| a folder or a hub id | that Llama model |
| a folder or a hub id, then ``+NAME`` | that Llama model with an adapter |
| ``openai:BASE_URL#NAME`` | a model behind an OpenAI-compatible server |
| ``chronos:`` or ``timesfm:``, then a folder or a hub id | a peer: ``forecaster.sampling.peers`` |
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockllm.data.errors import ModelUnavailable, UsageError
from stockllm.data.paths import Home
from stockllm.data.sentences import Sentence
from stockllm.forecaster.encoding.prompts import NEWEST, CompactVersion
from stockllm.forecaster.models import methods
from stockllm.forecaster.models.cards import CARD_FILE, Card, read_card
from stockllm.forecaster.models.endpoint import PREFIX, Endpoint
from stockllm.forecaster.models.engines import (
    ensure_chat,
    no_bars,
    prepare_imports,
    quiet_imports,
    reach,
)
from stockllm.forecaster.models.files import NO_CODE, SAFE, check_whole, is_name, weight_files

if TYPE_CHECKING:
    from stockllm.forecaster.outlook.network import Network

EMBEDDED = "llama"
NAIVE = "ewma"
#: What a Llama is measured against; ``forecaster.sampling.samplers`` says what each is.
BASELINES = ("last", "drift", NAIVE, "bootstrap", "ets", "arima", "lstm", "cnn", "ewma+world", "network")
#: Forecasters of the field, by what their names begin with; ``forecaster.sampling.peers`` says what they are.
PEERS = ("chronos", "timesfm")
AUTO = "auto"
#: What a base model that we trained says of itself.
TRAINING_FILE = "training.json"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A resolved model name. ``base`` is a folder, a hub id, a ``server``'s name, or None for a baseline.

    ``name`` (of the base) and ``adapter`` are what documents and the ledger carry.
    """

    name: str
    base: Path | str | None
    adapter: str | None = None
    adapter_dir: Path | None = None
    server: Endpoint | None = None
    #: Which of PEERS loads the base; None for a Llama.
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """A finished adapter of the home. ``aligned`` ones are used where they are named, never by ``auto``."""

    name: str
    path: Path
    base: str
    base_hash: str
    made_at: datetime
    companies: tuple[str, ...]
    data_end: str
    simulated: bool
    aligned: bool = False
    crps_base: float | None = None
    crps_adapter: float | None = None

    @property
    def model(self) -> str:
        """As ``--model`` takes it."""
        return f"{self.base}+{self.name}"

    @property
    def gain(self) -> float | None:
        """By which part its CRPS on validation lies below its base's; None where nobody measured."""
        if self.crps_adapter is None or not self.crps_base:
            return None
        return 1 - self.crps_adapter / self.crps_base


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to sample from, and the hashes that the ledger freezes.

    ``model`` is transformers' own, or PEFT's around it where something stands before each prompt
    (`methods.VIRTUAL`); its forward pass is the model's either way.
    """

    ref: ModelRef
    model: Any
    tokenizer: Any
    model_hash: str
    adapter_hash: str | None
    card: Card | None
    #: Which version of the compact style it speaks.
    compact: CompactVersion = NEWEST
    #: What says place and width in that style's second version.
    network: Network | None = None


def base_model_dir() -> Path:
    """The folder of the embedded base model, as it is installed with the package."""
    from stockllm import data

    folder = Path(next(iter(data.__path__))) / "assets" / "base_model"
    if not (folder / "model.safetensors").is_file():
        raise ModelUnavailable(
            f"The embedded base model is missing from {folder}: install stockllm again, or train one "
            "with 'stockllm pretrain'.",
            zh=(f"{folder} 裡沒有內建的基礎模型：請重新安裝 stockllm，或用 'stockllm pretrain' 訓練一個。"),
        )
    return folder


def list_adapters(home: Home) -> list[AdapterInfo]:
    """The home's finished adapters, newest first; folders without a readable card are passed over."""
    found = []
    for path in home.adapters.iterdir() if home.adapters.is_dir() else ():
        try:
            card = read_card(path)
            made_at = datetime.fromisoformat(card.made_at).astimezone()
        except (OSError, ValueError, TypeError):
            continue
        found.append(
            AdapterInfo(
                path.name, path, card.base, card.base_hash, made_at,
                tuple(card.companies), card.data_end, card.simulated, "align" in card.flags,
                card.crps_base, card.crps_adapter,
            )
        )  # fmt: skip
    return sorted(found, key=lambda info: info.made_at, reverse=True)


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that was chosen where none was named, and why."""

    name: str
    why: Sentence


def automatic(home: Home) -> Choice:
    """What ``auto`` stands for: an adapter only where its card says that it beat its base on validation."""
    embedded = weights_hash(base_model_dir())
    fitting = [
        a for a in list_adapters(home) if a.base == EMBEDDED and a.base_hash == embedded and not a.aligned
    ]
    better = [a for a in fitting if a.gain is not None and a.gain > 0]
    if better:
        best = max(better, key=lambda a: a.gain or 0.0)
        return Choice(
            best.model,
            Sentence(
                f"on validation its CRPS lies {best.gain:.1%} below the base's",
                zh=f"驗證期間的 CRPS 比基礎模型低 {best.gain:.1%}",
            ),
        )
    if fitting:
        return Choice(
            EMBEDDED,
            Sentence(
                f"no adapter's card says that it beat the base on validation ({len(fitting)} here)",
                zh=f"沒有轉接器的卡片記載驗證時勝過基礎模型（共 {len(fitting)} 個）",
            ),
        )
    return Choice(EMBEDDED, Sentence("no adapter of it is here", zh="沒有它的轉接器"))


def default_model(home: Home, setting: str) -> Choice:
    """What forecasts where no model is named; ``setting`` is the setting ``model``, which pins one."""
    if setting.strip() in ("", AUTO):
        return automatic(home)
    return Choice(
        setting,
        Sentence(
            "the setting 'model' pins it; 'stockllm adapters use auto' lets go",
            zh="由設定 model 指定；'stockllm adapters use auto' 可取消",
        ),
    )


def _parted(name: str) -> tuple[str, str]:
    """(base, adapter) of a name. A baseline may have a + in its own name."""
    for baseline in BASELINES:
        if "+" in baseline and name.startswith(f"{baseline}+"):
            return baseline, name.removeprefix(f"{baseline}+")
    base, _, adapter = name.partition("+")
    return base, adapter


def resolve_model(name: str, home: Home) -> ModelRef:
    """The model a name means; ModelUnavailable with what to do where it means none."""
    name = name.strip()
    if name.startswith(PREFIX):
        server = Endpoint.parse(name, home)
        return ModelRef(server.name, server.name, server=server)
    if name.partition(":")[0] in PEERS and ":" in name:
        return _peer(name)
    if name in ("", AUTO):
        name = automatic(home).name
    whole = name in BASELINES or Path(name).expanduser().is_dir()
    base_name, adapter = (name, "") if whole else _parted(name)
    if base_name in BASELINES:
        if adapter:
            raise ModelUnavailable(
                f"The baseline {base_name} takes no adapter: use {base_name} alone.",
                zh=f"基準模型 {base_name} 不用轉接器：請單獨使用 {base_name}。",
            )
        return ModelRef(base_name, None)
    base: Path | str
    if base_name == EMBEDDED:
        base = base_model_dir()
    elif Path(base_name).expanduser().is_dir():
        base = Path(base_name).expanduser().absolute()
    elif "/" in base_name and not base_name.startswith(("/", ".", "~")):
        base = base_name
    else:
        known = ", ".join([AUTO, EMBEDDED, *BASELINES, *(f"{a.base}+{a.name}" for a in list_adapters(home))])
        raise ModelUnavailable(
            f"There is no model '{base_name}': name one of {known}, a folder, a hub id (owner/model), or "
            "openai:BASE_URL#MODEL.",
            zh=(f"沒有名為 '{base_name}' 的模型：請指定 {known}、資料夾，或模型庫代號（owner/model）。"),
        )
    if not adapter:
        return ModelRef(base_name, base)
    folder = home.adapters / adapter
    if not is_name(adapter) or not (folder / CARD_FILE).is_file():
        names = ", ".join(a.name for a in list_adapters(home)) or "none yet"
        raise ModelUnavailable(
            f"There is no adapter '{adapter}' in {home.adapters} (there: {names}): "
            "train one with 'stockllm train'.",
            zh=(
                f"{home.adapters} 裡沒有轉接器 '{adapter}'（現有：{names}）：請用 'stockllm train' 訓練一個。"
            ),
        )
    return ModelRef(base_name, base, adapter, folder)


def _peer(name: str) -> ModelRef:
    """The peer that ``KIND:FOLDER_OR_HUB_ID`` names."""
    kind, _, place = name.partition(":")
    place = place.strip()
    folder = Path(place).expanduser()
    if place and folder.is_dir():
        return ModelRef(f"{kind}:{place}", folder.absolute(), peer=kind)
    if place.count("/") == 1 and not place.startswith(("/", ".", "~")) and not place.endswith("/"):
        return ModelRef(f"{kind}:{place}", place, peer=kind)
    raise ModelUnavailable(
        f"'{name}' names neither a folder nor a hub id: write {kind}:FOLDER or {kind}:OWNER/MODEL.",
        zh=f"「{name}」不是資料夾，也不是模型庫代號：請寫成 {kind}:資料夾 或 {kind}:OWNER/MODEL。",
    )


def refuse_peer(ref: ModelRef) -> None:
    """UsageError where a model is a peer, which forecasts and does nothing else here."""
    if ref.peer is not None:
        raise UsageError(
            f"{ref.name} can only forecast: use it with forecast or evaluate, and name a Llama here.",
            zh=f"{ref.name} 只能用來預測：請用於 forecast 或 evaluate，並在此指定 Llama 模型。",
        )


def load_model(ref: ModelRef) -> LoadedModel:
    """Load a model for sampling, its adapter merged in where that can be; kept in memory for the next call.

    float32 on a CPU, bfloat16 on CUDA. Raises ModelUnavailable where the files cannot be had or the
    adapter was trained on another base.
    """
    if ref.base is None:
        raise ValueError("a baseline has nothing to load")
    refuse_peer(ref)
    adapter_hash = weights_hash(ref.adapter_dir) if ref.adapter_dir else None
    return _load(ref, weights_hash(ref.base), adapter_hash)


def forget() -> None:
    """Let go of the models that `load_model` keeps in memory."""
    _load.cache_clear()


@lru_cache(maxsize=2)
def _load(ref: ModelRef, model_hash: str, adapter_hash: str | None) -> LoadedModel:
    card = _card_for(ref, ref.adapter_dir, model_hash) if ref.adapter_dir else None
    prepare_imports()
    from safetensors import SafetensorError

    try:
        with quiet_imports(), no_bars():
            model, tokenizer = _read(ref, card.method if card is not None else None)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelUnavailable(
            f"The model {ref.name} cannot be loaded ({cause}): pass the folder of one that transformers can "
            f"load as --model, or use --model {EMBEDDED}, which is always here.",
            zh=(
                f"模型 {ref.name} 無法載入（{cause}）：請用 --model 指定 transformers 能載入的資"
                f"料夾，或用一直都在的 --model {EMBEDDED}。"
            ),
        ) from error
    ensure_chat(tokenizer, ref.name)
    version = compact_version(ref, card)
    network = network_of(ref.base) if version == 2 else None
    return LoadedModel(ref, model, tokenizer, model_hash, adapter_hash, card, version, network)


def compact_version(ref: ModelRef, card: Card | None) -> CompactVersion:
    """The version of the compact style that a model speaks: its adapter's, else its own, else the newest."""
    if card is not None:
        return 2 if card.flags.get("compact") == 2 else 1
    facts = training_facts(ref.base)
    return NEWEST if facts is None or facts.get("compact") == 2 else 1


def training_facts(base: Path | str | None) -> dict[str, Any] | None:
    """The ``training.json`` of a base model that we trained; None for any other."""
    if not isinstance(base, Path):
        return None
    try:
        found = json.loads((base / TRAINING_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def network_of(base: Path | str | None) -> Network | None:
    """The network beside a base model's weights; the embedded model's for one that has none."""
    from stockllm.forecaster.outlook.network import WEIGHTS_FILE, Network

    own = isinstance(base, Path) and (base / WEIGHTS_FILE).is_file()
    folder = base if own and isinstance(base, Path) else base_model_dir()
    if not (folder / WEIGHTS_FILE).is_file():
        return None
    try:
        return Network.load(folder)
    except Exception as error:  # safetensors has errors of its own
        raise ModelUnavailable(
            f"{folder / WEIGHTS_FILE} cannot be read ({error}): install stockllm again, or train anew.",
            zh=f"{folder / WEIGHTS_FILE} 無法讀取（{error}）：請重新安裝 stockllm，或重新訓練。",
        ) from error


def _card_for(ref: ModelRef, adapter_dir: Path, model_hash: str) -> Card:
    """The card of an adapter; ModelUnavailable where there is none or it names another base."""
    try:
        card = read_card(adapter_dir)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"The adapter {ref.adapter} has no card that can be read ({error}): train it again.",
            zh=f"轉接器 {ref.adapter} 沒有可讀取的卡片（{error}）：請重新訓練。",
        ) from error
    if card.base_hash != model_hash:
        raise ModelUnavailable(
            f"The adapter {ref.adapter} was trained on other weights of {card.base} than {ref.name} has: "
            "train it again on this base, or name the base it was made for.",
            zh=(
                f"轉接器 {ref.adapter} 訓練時的 {card.base} 權重與 {ref.name} 不同：請用這個基礎"
                "模型重新訓練，或指定它原本的基礎模型。"
            ),
        )
    return card


def _read(ref: ModelRef, method: str | None) -> tuple[Any, Any]:
    """The model and its tokenizer; ``method`` is that of its adapter, None where it has none."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = ref.base if isinstance(ref.base, Path) else _snapshot(str(ref.base))
    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
    # What was tuned in full is a model of its own; its base only says whose it is.
    weights = ref.adapter_dir if method == methods.FULL and ref.adapter_dir is not None else base
    check_whole(weights)
    device = {"": 0 if cuda else "cpu"}
    model = AutoModelForCausalLM.from_pretrained(weights, dtype=dtype, device_map=device, **SAFE)
    tokenizer = AutoTokenizer.from_pretrained(ref.adapter_dir or base, **NO_CODE)
    if method is not None and method != methods.FULL:
        from peft import PeftModel

        with warnings.catch_warnings():
            # PEFT 0.21 looks for AdaLoRA's ranks among LoRA's, says so, and then takes them as it should.
            warnings.filterwarnings("ignore", "The following rank_pattern keys", RuntimeWarning)
            model = PeftModel.from_pretrained(model, ref.adapter_dir)
        if method in methods.MERGED:
            model = model.merge_and_unload()
    return model.eval(), tokenizer


def weights_hash(base: Path | str) -> str:
    """SHA-256 over the files that a model's or an adapter's weights are loaded from, in order of name.

    A hub id means the files in the local hub cache, downloaded if they are not yet there.
    """
    if isinstance(base, str) and base.startswith(PREFIX):
        raise ModelUnavailable(
            f"{base} is a server, which keeps its weights to itself: name a folder or a hub id here.",
            zh=f"{base} 是伺服器，權重不在這裡：請在此指定資料夾或 hub 名稱。",
        )
    from stockllm.forecaster.outlook.network import WEIGHTS_FILE

    folder = model_folder(base)
    files = weight_files(folder)
    # The network says words that the model reads: other words are another forecast.
    files += [folder / WEIGHTS_FILE] if (folder / WEIGHTS_FILE).is_file() else []
    return _hash_files(tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files))


@lru_cache(maxsize=16)
def _hash_files(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in files:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def model_folder(base: Path | str) -> Path:
    """The folder of a model: its own, or that of a hub id in the local cache, downloaded if not yet there."""
    return base if isinstance(base, Path) else _snapshot(base)


def _snapshot(hub_id: str) -> Path:
    """The folder of a hub model as the local cache has it, downloaded if it is not yet here."""
    prepare_imports()
    from huggingface_hub import snapshot_download

    wanted = ["*.safetensors", "*.json", "*.model", "*.jinja"]
    with contextlib.suppress(Exception):  # the hub's client has a tree of errors: here all say "not yet"
        here = Path(snapshot_download(hub_id, allow_patterns=wanted, local_files_only=True))
        if any(here.glob("*.safetensors")):
            return here
    try:
        reach(hub_id)
        return Path(snapshot_download(hub_id, allow_patterns=wanted))
    except Exception as error:
        raise ModelUnavailable(
            f"The model {hub_id} cannot be reached: connect to the hub once, or download it to a folder and "
            f"pass that folder as --model; --model {EMBEDDED} is always here.",
            zh=(
                f"連不到模型 {hub_id}：請連線到模型庫一次，或下載到資料夾並用 --model 指定；"
                f"--model {EMBEDDED} 一直都在。"
            ),
        ) from error
