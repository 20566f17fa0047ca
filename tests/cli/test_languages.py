"""Whatever a command prints is there in Traditional Chinese: its own words, its progress and its refusals."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stockllm.cli import output
from stockllm.data.errors import NotEnoughHistory
from stockllm.data.paths import Home
from stockllm.data.sentences import Sentence

ROOT = Path(output.__file__).parent.parent

#: What prints; a name that ends so is one of ours.
PRINTS = {"say", "show", "print"}

#: What takes both wordings, the Chinese one first.
BOTH = {"text", "word"}

#: What is said the same in both languages: names of programs and places, and what is to be typed.
SAME = re.compile(
    r"stockllm|STOCKLLM|SIMULATED|SHA-?256|sha256|torch|CUDA|Krippendorff|/stock/api/v1|--?[a-z-]+|http\S*|\(s\)"
)


def own(call: ast.Call) -> str:
    """The bare name of what is called."""
    return call.func.id if isinstance(call.func, ast.Name) else ""


def english(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Words of English in what is printed, outside the calls that take both languages."""
    if isinstance(node, ast.Call) and own(node) in BOTH:
        return
    if isinstance(node, ast.FormattedValue):
        # Formats are no words; what is put in may be.
        yield from english(node.value)
        return
    if isinstance(node, ast.Subscript):
        return  # the key of a document
    if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
        for argument in node.args:
            yield from english(argument)
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if re.search(r"[A-Za-z]{2,}", SAME.sub("", node.value)):
            yield node.lineno, node.value
        return
    for child in ast.iter_child_nodes(node):
        yield from english(child)


def modules(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield f"{path.relative_to(ROOT)}", ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and own(node) in names:
            yield node


def test_commands_print_no_line_in_english_alone() -> None:
    found = [
        f"{name}:{line} {words!r}"
        for name, tree in modules("cli")
        for call in calls(tree, *PRINTS)
        for argument in call.args
        for line, words in english(argument)
    ]
    assert found == [], "say it with text(zh, en, language)"


def test_the_test_sees_what_it_looks_for() -> None:
    def look(code: str) -> list[str]:
        return [words for call in calls(ast.parse(code), *PRINTS) for _, words in english(call)]

    assert look('say("stockllm: scoring the model")') == ["stockllm: scoring the model"]
    assert look('say(f"stockllm: {name} was trained")') == [" was trained"]
    assert look('say(f"stockllm: {written[-1]} and {count:,} more")') == [" and ", " more"]
    assert look('show(text("完成", "Done", language))') == []
    assert look('show(f"  {text(zh, en, language)}")') == []


def test_every_event_and_remark_has_both_wordings() -> None:
    silent = []
    for name, tree in modules("forecaster", "cli", "nightly", "trading"):
        for call in calls(tree, "TrainEvent"):
            given = {keyword.arg for keyword in call.keywords}
            if "text" in given and "text_zh" not in given:
                silent.append(f"{name}:{call.lineno}")
        for call in calls(tree, "Sentence"):
            chinese = next((keyword.value for keyword in call.keywords if keyword.arg == "zh"), None)
            if chinese is None or not re.search(r"[一-鿿]", ast.unparse(chinese)):
                silent.append(f"{name}:{call.lineno}")
    assert silent == []


def test_a_remark_is_its_english_text_and_keeps_its_chinese() -> None:
    import copy
    import json
    import pickle

    remark = Sentence("It is late.", zh="已經晚了。")
    assert json.dumps([remark]) == '["It is late."]'
    assert remark in ["It is late."]
    assert (remark.sentence("en"), remark.sentence("zh")) == ("It is late.", "已經晚了。")
    for same in (copy.deepcopy(remark), pickle.loads(pickle.dumps(remark))):
        assert (same, same.zh) == (remark, remark.zh)
    error = NotEnoughHistory("There is no price.", zh="沒有股價。")
    assert Sentence.of(error).zh == "沒有股價。"


@pytest.fixture
def chinese(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``stockllm`` as it speaks where nobody chose a language."""
    monkeypatch.delenv("STOCKLLM_LANGUAGE")
    return run


def chinese_lines(told: str) -> list[str]:
    """The lines of stderr; each of them has to be Chinese."""
    lines = told.splitlines()
    assert [line for line in lines if not re.search(r"[一-鿿]", line)] == []
    return lines


def test_what_commands_say_while_they_work_is_chinese(
    chinese: Callable[..., Any], simulated_home: Home, tmp_path: Path
) -> None:
    made = chinese("evaluate", "2330", "--models", "last", "--start", "2026-03-20", "--end", "2026-03-31",
                   "--horizon", "1", "--paths", "2", "--report", tmp_path / "report")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    told = chinese_lines(made.stderr)
    assert any("個視窗" in line for line in told)
    assert any("報告在" in line for line in told)
    told = chinese_lines(
        chinese("dataset", "build", "--task", "closes", "--train", "2026-01-02:2026-03-31", "--codes", "2330",
                "--windows", "5/5", "--format", "alpaca", tmp_path / "closes").stderr
    )  # fmt: skip
    assert any("train：" in line for line in told)
    made = chinese("forecast", "2330", "--model", "last", "--paths", "2", "--chart", tmp_path / "2330.png")
    assert made.exit_code == 0, made.stderr
    assert any("圖在" in line for line in chinese_lines(made.stderr))
    refusals = (
        ("companies", "沒有這家"),
        ("pretrain", "--steps", "0"),
        ("calibrate", "--model", tmp_path / "no", "--start", "2026-01-01", "--end", "2026-01-02"),
        ("ledger", "show", "--model", "nobody"),
        ("backtest", "--start", "2026-01-01", "--end", "2026-01-02", "--cash", "lots"),
        ("exchange", "account", "add", "me", "--discount", "much"),
    )
    for refused in refusals:
        result = chinese(*refused)
        assert result.exit_code in (1, 2)
        (_,) = chinese_lines(result.stderr)
