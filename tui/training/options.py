"""The training form's fields, and how what is typed into them becomes a command line.

Knows no screen. ``stockllm train`` itself checks the same; here the sentence comes while typing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stockllm.data.errors import UsageError
from stockllm.tui.core.store import open_store

if TYPE_CHECKING:
    from stockllm.data.paths import Home

Kind = Literal["text", "int", "float", "flag"]


@dataclass(frozen=True, slots=True)
class Field:
    """One flag of ``stockllm train``. ``hint`` is its default, shown while nothing is typed."""

    group: str
    flag: str
    hint: str = ""
    kind: Kind = "text"

    @property
    def name(self) -> str:
        """The flag as an option of the form."""
        return self.flag.replace("-", "_")


#: In the order of the form. ``companies`` is the form's own; the others are flags by name.
FIELDS = (
    Field("data", "companies", "2330, 台積電, TSMC …"),
    Field("data", "choose-stock", kind="int"),
    Field("data", "data-dir"),
    Field("data", "year", kind="int"),
    Field("data", "month", kind="int"),
    Field("data", "validation-from"),
    Field("data", "tasks", "1/1,5/5,20/5,60/20"),
    Field("data", "prompt", "compact"),
    Field("data", "fields", "Open,High,Low,Close,Capacity"),
    Field("data", "with-news", kind="flag"),
    Field("model", "preset"),
    Field("model", "method", "lora"),
    Field("model", "model-name", "llama"),
    Field("model", "model-dir"),
    Field("model", "engine", "auto"),
    Field("model", "max-seq-length", "2048", "int"),
    Field("model", "load-in-4bit", kind="flag"),
    Field("model", "load-in-8bit", kind="flag"),
    Field("lora", "rank", "16", "int"),
    Field("lora", "lora-alpha", "8", "int"),
    Field("lora", "lora-dropout", "0.0", "float"),
    Field("lora", "virtual-tokens", "", "int"),
    Field("steps", "max-steps", "60", "int"),
    Field("steps", "num-epochs", "", "float"),
    Field("steps", "batch-size", "8", "int"),
    Field("steps", "gradient-accumulation-steps", "4", "int"),
    Field("steps", "learning-rate", "1e-3", "float"),
    Field("steps", "weight-decay", "0.05", "float"),
    Field("steps", "lr-scheduler-type", "cosine"),
    Field("steps", "optim", "adamw_8bit"),
    Field("steps", "early-stopping", "", "int"),
    Field("steps", "random-state", "3407", "int"),
    Field("output", "name"),
    Field("output", "output-dir"),
    Field("output", "logging-steps", "1", "int"),
    Field("output", "save-steps", "", "int"),
    Field("output", "report-to", "tensorboard"),
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A form without fault: the companies by code, and the other flags as arguments."""

    codes: tuple[str, ...]
    arguments: tuple[str, ...]


def check(home: Home, values: Mapping[str, str]) -> Checked:
    """The form as it stands. UsageError or UnknownCompany with the sentence to show where it is wrong."""
    from stockllm.forecaster.encoding.prompts import parse_fields
    from stockllm.forecaster.encoding.windows import parse_tasks
    from stockllm.forecaster.training.options import TrainOptions

    typed = {field: values.get(field.name, "").strip() for field in FIELDS}
    given: dict[str, Any] = {field.name: _value(field, text) for field, text in typed.items() if text}
    codes = _codes(home, given.pop("companies", ""))
    chosen = given.pop("choose_stock", None)
    if not codes and chosen is None:
        raise UsageError(
            "No company to train on: name some, or say how many to choose.",
            zh="沒有指定要訓練的公司：請填入公司，或填入要挑選幾檔。",
        )
    if chosen is not None and chosen < 1:
        raise UsageError(
            f"--choose-stock is {chosen} and must be at least 1.",
            zh=f"--choose-stock 是 {chosen}，至少要 1。",
        )
    since = _since(given.pop("year", None), given.pop("month", None))
    if since is not None:
        given["since"] = since
    if "validation_from" in given:
        given["validation_from"] = _date(given["validation_from"], "--validation-from")
    for name in {"data_dir", "model_dir", "output_dir"} & given.keys():
        given[name] = _folder(name, given[name])
    given.pop("data_dir", None)
    if "tasks" in given:
        given["tasks"] = parse_tasks(given["tasks"])
    if "fields" in given:
        given["fields"] = parse_fields(given["fields"])
    TrainOptions(codes=codes or ("to be chosen",), **given)
    arguments: list[str] = []
    for field, text in typed.items():
        if field.name == "companies" or not text:
            continue
        arguments += [f"--{field.flag}"] if field.kind == "flag" else [f"--{field.flag}", text]
    return Checked(codes, tuple(arguments))


def command_line(home: Home, checked: Checked) -> list[str]:
    """The arguments of ``stockllm``; the companies go into a list that ``--company-list-file`` reads."""
    if not checked.codes:
        return ["train", *checked.arguments]
    home.ensure()
    path = home.logs / "train-companies.json"
    path.write_text(json.dumps([{"code": code} for code in checked.codes]), encoding="utf-8")
    return ["train", "--company-list-file", str(path), *checked.arguments]


def _value(field: Field, text: str) -> Any:
    if field.kind == "flag":
        return True
    try:
        return int(text) if field.kind == "int" else float(text) if field.kind == "float" else text
    except ValueError:
        wanted, zh = ("a whole number", "整數") if field.kind == "int" else ("a number", "數字")
        raise UsageError(
            f"--{field.flag} is {text!r} and must be {wanted}.", zh=f"--{field.flag} 是 {text!r}，須為{zh}。"
        ) from None


def _since(year: int | None, month: int | None) -> date | None:
    if year is None:
        if month is not None:
            raise UsageError(
                "--month needs --year: together they name the first month of data to use.",
                zh="--month 需要搭配 --year：兩者指定資料的第一個月。",
            )
        return None
    return _date(f"{year:04d}-{month or 1:02d}-01", "--year and --month")


def _folder(name: str, text: str) -> Path:
    """A folder that is named; all but the one to be written must be there."""
    path = Path(text).expanduser().absolute()
    if name != "output_dir" and not path.is_dir():
        raise UsageError(
            f"There is no folder {path}: correct --{name.replace('_', '-')}.",
            zh=f"沒有資料夾 {path}：請修正 --{name.replace('_', '-')}。",
        )
    return path


def _date(text: str, flag: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{flag}: {text!r} is not a date: write it as 2026-03-31.",
            zh=f"{flag}：{text!r} 不是日期：請寫成 2026-03-31。",
        ) from None


def _codes(home: Home, text: str) -> tuple[str, ...]:
    """Codes of what is named between commas, each once, in their order."""
    names = [name for part in text.replace("，", ",").replace("、", ",").split(",") if (name := part.strip())]
    if not names:
        return ()
    with open_store(home) as store:
        return tuple(dict.fromkeys(store.resolve(name).code for name in names))
