"""Files of models that others made: which of them are weights, and what is not done with the rest.

Nothing of a model's folder is run. Weights are safetensors alone, and exactly those files that are hashed
are the ones that transformers and PEFT load.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from stockllm.data.errors import ModelUnavailable

#: For whatever is loaded with ``from_pretrained``: no code of the folder, and no question whether to run it.
NO_CODE: dict[str, Any] = {"trust_remote_code": False}
#: For models: no pickles either.
SAFE: dict[str, Any] = NO_CODE | {"use_safetensors": True}

_MODEL, _INDEX = "model.safetensors", "model.safetensors.index.json"
_ADAPTER, _ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")

# An adapter is a folder of the home's and nothing beyond it: no slash, and no name that begins with a dot.
_NAME = re.compile(r"[^./\\\0][^/\\\0]*")


def is_name(text: str) -> bool:
    """Whether a name names a folder right within another.

    >>> is_name("five-lora"), is_name("../five"), is_name("..")
    (True, False, False)
    """
    return _NAME.fullmatch(text) is not None


def weight_files(folder: Path) -> list[Path]:
    """The files that loading the folder reads weights from, by name.

    Those of an adapter where it has an adapter's configuration, else of a model: one file, or what the index
    names. ModelUnavailable where there are none, or they are not the folder's own.
    """
    if (folder / _ADAPTER_CONFIG).is_file():
        return _there(folder, [_ADAPTER])
    if (folder / _MODEL).is_file() or not (folder / _INDEX).is_file():
        _check_config(folder)
        return _there(folder, [_MODEL])
    _check_config(folder)
    try:
        named = set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        good = bool(named) and all(isinstance(name, str) and _SHARD.fullmatch(name) for name in named)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        named, good = set(), False
    if not good:
        raise ModelUnavailable(
            f"{folder / _INDEX} does not name files of its own folder: download the model again.",
            zh=f"{folder / _INDEX} 所列的不是該資料夾裡的檔案：請重新下載模型。",
        )
    return _there(folder, sorted(named))


def check_whole(folder: Path) -> None:
    """ModelUnavailable where the folder is an adapter: transformers would load what it names as its base."""
    if (folder / _ADAPTER_CONFIG).is_file():
        raise ModelUnavailable(
            f"{folder} is an adapter and no model: name its base, a plus sign and its own name.",
            zh=f"{folder} 是轉接器，不是模型：請以「基礎模型+轉接器名稱」指定。",
        )


def _check_config(folder: Path) -> None:
    """ModelUnavailable where the configuration names other weights than those of the usual name."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # whoever loads it says what is wrong with it
    if isinstance(config, dict) and config.get("transformers_weights") is not None:
        raise ModelUnavailable(
            f"{folder / 'config.json'} names weights of its own under transformers_weights: take that out.",
            zh=f"{folder / 'config.json'} 以 transformers_weights 另行指定權重：請移除該項。",
        )


def _there(folder: Path, names: list[str]) -> list[Path]:
    files = [folder / name for name in names]
    if not all(file.is_file() for file in files):
        raise ModelUnavailable(
            f"There are no weights in {folder}: give a folder with {names[0]}.",
            zh=f"{folder} 裡沒有權重：請給有 {names[0]} 的資料夾。",
        )
    return files


def check_inside(path: Path, folder: Path) -> None:
    """ModelUnavailable where a file of ``folder`` is a link that leaves it.

    In a hub's cache every file is one, into the folder of blobs beside.
    """
    roots = [folder.resolve()]
    if folder.parent.name == "snapshots":
        roots.append(folder.parents[1].resolve() / "blobs")
    real = path.resolve()
    if not any(real.is_relative_to(root) for root in roots):
        raise ModelUnavailable(
            f"{path} is a link to {real}, outside its folder, and is not copied: put the file itself there.",
            zh=f"{path} 是指向資料夾外 {real} 的連結，不會複製：請放入檔案本身。",
        )
