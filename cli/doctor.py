"""``stockllm doctor``: what this machine can do, and what to do where it cannot."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

import typer

from stockllm.cli.output import banner, emit_json, show, text

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

_SIGNS = {"ok": "✓", "absent": "–", "bad": "✗"}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    "absent" is something optional that is not there, "bad" something stockllm cannot do its work
    without; ``advice`` says what to do about either.
    """

    key: str
    mark: Literal["ok", "absent", "bad"]
    detail: str
    advice: str = ""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor")(doctor)


def doctor(as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout.")) -> None:
    """Examine Python, torch, the terminal, the store and the models; exit 1 if something is broken."""
    from stockllm.data.errors import StockllmError
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings, spoken

    home = Home.locate()
    broken: list[Finding] = []
    language = "zh"
    try:
        language = Settings.load(home).language
    except StockllmError as error:  # the very thing a doctor is asked about
        broken.append(Finding("settings", "bad", error.sentence(spoken())))
    findings = broken + _examine(home, language)
    simulated = _is_simulated(home)
    if as_json:
        emit_json({"simulated": simulated, "findings": [asdict(finding) for finding in findings]})
    else:
        banner(simulated, language)
        _print(findings, language)
    if any(finding.mark == "bad" for finding in findings):
        raise typer.Exit(1)


def _examine(home: Home, language: str) -> list[Finding]:
    def word(zh: str, en: str) -> str:
        return text(zh, en, language)

    checks: dict[str, Callable[[], Finding]] = {
        "python": lambda: _python(word),
        "torch": lambda: _torch(word),
        "unsloth": lambda: _unsloth(word),
        "bitsandbytes": lambda: _bitsandbytes(word),
        "colours": lambda: _colours(word),
        "cjk-width": lambda: _width("cjk-width", word),
        "glyph-width": lambda: _width("glyph-width", word),
        "chart-font": lambda: _font(word),
        "home": lambda: _home(home, word),
        "privacy": lambda: _privacy(home, word),
        "store": lambda: _store(home, word),
        "base-model": lambda: _base_model(word),
        "adapters": lambda: _adapters(home, word),
    }
    findings = []
    for key, check in checks.items():
        try:
            findings.append(check())
        except Exception as error:
            # A broken library raises whatever it likes on import; the other checks still count.
            first = (str(error).strip().splitlines() or [""])[0]
            findings.append(Finding(key, "bad", f"{type(error).__name__}: {first}"))
    return findings


Word = Callable[[str, str], str]


def _python(word: Word) -> Finding:
    del word
    return Finding("python", "ok", f"{platform.python_version()} · stockllm {version('stockllm')}")


def _torch(word: Word) -> Finding:
    try:
        import torch
    except ImportError as error:
        advice = word("請重新安裝 stockllm", "install stockllm again")
        return Finding("torch", "bad", str(error).splitlines()[0], advice)
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        bf16 = word("有", "yes") if torch.cuda.is_bf16_supported() else word("無", "no")
        return Finding("torch", "ok", f"{torch.__version__} · CUDA {name} · bf16 {bf16}")
    cpu = f"CPU {torch.backends.cpu.get_cpu_capability()} · {torch.get_num_threads()} " + word(
        "條執行緒", "threads"
    )
    return Finding(
        "torch",
        "ok",
        f"{torch.__version__} · {cpu} · " + word("沒有 CUDA", "no CUDA device"),
        word("內建模型在 CPU 上就能訓練與預測", "the embedded model trains and forecasts on the CPU"),
    )


def _installed(package: str) -> str | None:
    """The version of a package that could be imported, without importing it."""
    if importlib.util.find_spec(package) is None:
        return None
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _unsloth(word: Word) -> Finding:
    found = _installed("unsloth")
    if found:
        return Finding("unsloth", "ok", found)
    return Finding(
        "unsloth",
        "absent",
        word(
            "未安裝，訓練改用 transformers 與 PEFT",
            "not installed; training uses plain transformers and PEFT",
        ),
        "pip install 'stockllm[unsloth]'",
    )


def _bitsandbytes(word: Word) -> Finding:
    found = _installed("bitsandbytes")
    if found:
        return Finding("bitsandbytes", "ok", found)
    return Finding(
        "bitsandbytes",
        "absent",
        word("未安裝", "not installed"),
        word("只有在 CUDA 上以 4 或 8 位元載入時需要", "needed only to load in 4 or 8 bits on CUDA"),
    )


def _colours(word: Word) -> Finding:
    if not sys.stdout.isatty():
        return Finding("colours", "absent", word("不是終端機", "not a terminal"))
    from rich.console import Console

    system = Console().color_system
    if system is None:
        advice = word("設定 TERM=xterm-256color", "set TERM=xterm-256color")
        return Finding("colours", "absent", word("沒有色彩", "no colours"), advice)
    known = {"standard": "16", "256": "256", "truecolor": word("全彩", "true colour"), "windows": "16"}
    advice = (
        ""
        if system == "truecolor"
        else word("全彩更好看：COLORTERM=truecolor", "better with COLORTERM=truecolor")
    )
    return Finding("colours", "ok", known[system], advice)


def _width(key: Literal["cjk-width", "glyph-width"], word: Word) -> Finding:
    from rich.cells import cell_len

    from stockllm.cli.terminal import BLOCK_SAMPLE, CJK_SAMPLE, measured_width, terminal

    sample = CJK_SAMPLE if key == "cjk-width" else BLOCK_SAMPLE
    expected = cell_len(sample)
    ends = terminal()
    if ends is None:
        detail = word(
            f"{sample} 應為 {expected} 格（不是終端機，未量測）",
            f"{sample} should take {expected} cells (not a terminal, not measured)",
        )
        return Finding(key, "absent", detail)
    measured = measured_width(sample, *ends)
    if measured is None:
        detail = word(
            f"{sample} 應為 {expected} 格（終端機沒有回答）",
            f"{sample} should take {expected} cells (the terminal does not answer)",
        )
        return Finding(
            key, "absent", detail, word("請看下方的尺是否對齊", "see whether the ruler below is flush")
        )
    detail = word(
        f"{sample} 量得 {measured} 格，應為 {expected} 格",
        f"{sample} takes {measured} cells, should take {expected}",
    )
    if measured == expected:
        return Finding(key, "ok", detail)
    advice = word(
        "將終端機的「東亞模糊寬度」設為窄（單格），並使用 UTF-8 與支援中文的字型",
        "set the terminal's ambiguous-width characters to narrow, UTF-8, and a font that has Chinese",
    )
    return Finding(key, "absent", detail, advice)


def _font(word: Word) -> Finding:
    from stockllm.forecaster.charts.lettering import lettering_for
    from stockllm.market.companies import COMPANIES

    lettering = lettering_for("zh", COMPANIES[0])
    if lettering.language == "zh":
        return Finding("chart-font", "ok", lettering.families[0])
    return Finding(
        "chart-font",
        "absent",
        word("找不到中文字型，圖表改用英文", "no Chinese font; charts are lettered in English"),
        word(
            "安裝 Noto Sans CJK TC（例如 apt install fonts-noto-cjk）",
            "install Noto Sans CJK TC (apt install fonts-noto-cjk)",
        ),
    )


def _home(home: Home, word: Word) -> Finding:
    nearest = next(p for p in (home.root, *home.root.parents) if p.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        state = "" if nearest == home.root else word("（尚未建立）", " (not made yet)")
        return Finding("home", "ok", f"{home.root}{state}")
    return Finding(
        "home",
        "bad",
        word(f"{home.root} 無法寫入", f"{home.root} cannot be written"),
        word("以 STOCKLLM_HOME 指定可寫入的資料夾", "set STOCKLLM_HOME to a folder that can be written"),
    )


_KEYS = ("newsapi_key", "ncku_password", "openai_key", "hf_token")


def _privacy(home: Home, word: Word) -> Finding:
    """Whether others of this machine may read the keys or the books."""
    from stockllm.data.private import others_can_read

    path = home.settings_file
    if others_can_read(path):
        given = path.read_text("utf-8", "replace")
        held = ", ".join(key for key in _KEYS if key in given)
        if held:
            return Finding(
                "privacy",
                "bad",
                word(f"{path} 含 {held}，其他人可以讀取", f"{path} holds {held} and others can read it"),
                f"chmod 600 '{path}'",
            )
    loose = next((one for one in (home.root, home.store, home.logs) if others_can_read(one)), None)
    if loose is None:
        return Finding("privacy", "ok", word("只有您能讀取", "for you alone"))
    return Finding(
        "privacy",
        "absent",
        word(f"其他人可以讀取 {loose}", f"others can read {loose}"),
        f"chmod -R go= '{home.root}'",
    )


def _open(home: Home) -> Store:
    from stockllm.data.store import Store

    return Store.open(home, create=False)


def _is_simulated(home: Home) -> bool:
    from stockllm.data.errors import StoreError

    try:
        with _open(home) as store:
            return store.simulated
    except StoreError:
        return False


def _store(home: Home, word: Word) -> Finding:
    from stockllm.data.errors import StoreError
    from stockllm.data.paths import Home as HomeAt

    if not home.store.exists():
        demo = HomeAt.locate(demo=True)
        also = (
            word("；示範資料庫在 ", "; the demo store is at ") + str(demo.root) if demo.store.exists() else ""
        )
        return Finding(
            "store",
            "absent",
            word(f"還沒有資料庫 {home.store}", f"no store yet at {home.store}") + also,
            word("stockllm import 檔案，或 stockllm demo", "stockllm import PATH, or stockllm demo"),
        )
    try:
        with _open(home) as store:
            bars, companies, last = store.bars.count(), len(store.bars.codes()), store.bars.last_date()
            kind = word("模擬", "SIMULATED") if store.simulated else word("真實", "real")
    except StoreError as error:
        return Finding("store", "bad", word(error.sentence("zh"), str(error)))
    size = f"{home.store.stat().st_size / 2**20:.1f} MB"
    counts = word(f"{companies} 家 {bars} 筆，至 {last}", f"{companies} companies, {bars} bars, up to {last}")
    advice = "" if bars else word("stockllm import 檔案", "stockllm import PATH")
    return Finding("store", "ok" if bars else "absent", f"{home.store} · {size} · {counts} · {kind}", advice)


def _base_model(word: Word) -> Finding:
    from stockllm.data.errors import ModelUnavailable
    from stockllm.forecaster.models.registry import base_model_dir, weights_hash

    try:
        folder = base_model_dir()
    except ModelUnavailable as error:
        detail = word(error.sentence("zh"), str(error))
        return Finding("base-model", "bad", detail, word("請重新安裝 stockllm", "install stockllm again"))
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return Finding("base-model", "ok", f"sha256 {weights_hash(folder)[:16]}… · {size / 2**20:.1f} MB")


def _adapters(home: Home, word: Word) -> Finding:
    from stockllm.data.settings import Settings
    from stockllm.forecaster.models.registry import default_model, list_adapters

    found = list_adapters(home)
    if found:
        chosen = default_model(home, Settings.load(home).model)
        names = ", ".join(info.name for info in found)
        why = word(f"{chosen.name} 預測：{chosen.why.zh}", f"{chosen.name} forecasts: {chosen.why}")
        return Finding("adapters", "ok", f"{len(found)}: {names} · {why}")
    return Finding(
        "adapters",
        "absent",
        word("還沒有微調過", "none trained yet"),
        "stockllm train --choose-stock 5",
    )


_NAMES = {
    "settings": ("設定", "Settings"),
    "python": ("Python", "Python"),
    "torch": ("torch", "torch"),
    "unsloth": ("Unsloth", "Unsloth"),
    "bitsandbytes": ("bitsandbytes", "bitsandbytes"),
    "colours": ("終端機色彩", "Terminal colours"),
    "cjk-width": ("中文字寬", "Chinese cell width"),
    "glyph-width": ("圖形字寬", "Glyph cell width"),
    "chart-font": ("圖表中文字型", "Chart font"),
    "home": ("資料夾", "Home"),
    "privacy": ("隱私", "Privacy"),
    "store": ("資料庫", "Store"),
    "base-model": ("內建模型", "Base model"),
    "adapters": ("微調", "Adapters"),
}


def _print(findings: list[Finding], language: str) -> None:
    from rich.cells import cell_len

    from stockllm.cli.terminal import ruler

    names = {key: text(*pair, language) for key, pair in _NAMES.items()}
    width = max(map(cell_len, names.values()))
    for finding in findings:
        name = names[finding.key]
        show(f"{_SIGNS[finding.mark]} {name}{' ' * (width - cell_len(name))}  {finding.detail}")
        if finding.advice:
            show(f"  {' ' * width}  → {finding.advice}")
    show()
    show(text("字寬尺：右緣應對齊", "Width ruler: the right edges should be flush", language))
    for line in ruler():
        show(f"  {line}")
