"""No error that the dashboard or a command can show lacks its Chinese sentence."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from stockllm.data.errors import OrderRefused, StockllmError
from stockllm.tui.look import strings

ROOT = Path(strings.__file__).parents[2]

#: The commands: the last sentence of those that the dashboard starts comes to its toasts.
COMMANDS = tuple((ROOT / "cli").rglob("[!_]*.py"))

#: Errors that are caught on their way: a refresh notes what sites did in words of its own, a server answers.
CAUGHT = {"NoData", "SiteFailure", "TooOften", "BadForm"}


def named(path: Path) -> str:
    """The module that lies at ``path``."""
    return ".".join(("stockllm", *path.relative_to(ROOT).with_suffix("").parts))


@cache
def tree(module: str) -> ast.Module | None:
    path = ROOT.joinpath(*module.split(".")[1:])
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    return ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else None


def imported(module: str) -> Iterator[str]:
    """Our modules that ``module`` imports, wherever in it."""
    for node in ast.walk(tree(module) or ast.Module([], [])):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stockllm."):
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)


def reached() -> set[str]:
    """What the dashboard and the commands can run."""
    wanted = [named(path) for path in (ROOT / "tui").rglob("*.py")]
    wanted += [named(path) for path in COMMANDS]
    found: set[str] = set()
    while wanted:
        module = wanted.pop()
        if module in found or tree(module) is None:
            continue
        found.add(module)
        wanted += imported(module)
    return found


def error_classes() -> dict[str, ast.ClassDef]:
    """Every error a user can act on, by name, but those that are caught."""
    classes = {
        node.name: node
        for path in ROOT.glob("[a-z]*/**/*.py")
        if path.relative_to(ROOT).parts[0] not in ("tests", "benchmarks")
        for node in (tree(named(path)) or ast.Module([], [])).body
        if isinstance(node, ast.ClassDef)
    }
    found = {"StockllmError": classes["StockllmError"]}
    while True:
        more = {
            name: node
            for name, node in classes.items()
            if name not in found
            and name not in CAUGHT
            and any(isinstance(base, ast.Name) and base.id in found for base in node.bases)
        }
        if not more:
            return found
        found |= more


def says_chinese(call: ast.Call) -> bool:
    return any(keyword.arg == "zh" for keyword in call.keywords)


def test_every_error_that_can_be_shown_has_a_chinese_sentence() -> None:
    classes = error_classes()
    own = {}
    for name, node in classes.items():
        made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        if made and name != "StockllmError":
            (own[name],) = (
                call
                for call in ast.walk(made[0])
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
            )
    assert {name for name, call in own.items() if not says_chinese(call)} == set()
    modules = reached()
    assert {
        "stockllm.forecaster.models.registry",
        "stockllm.trading.brokers.ncku",
        "stockllm.collectors.imports",
    } <= modules
    silent = [
        f"{module.removeprefix('stockllm.').replace('.', '/')}.py:{call.lineno}"
        for module in sorted(modules)
        for call in ast.walk(tree(module) or ast.Module([], []))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in classes.keys() - own.keys()
        and not says_chinese(call)
    ]
    assert silent == [], "give each of them zh=…, the sentence in Traditional Chinese"


def test_an_error_says_itself_in_the_language_asked_for() -> None:
    both = StockllmError("It is gone: find it.", zh="不見了：請找回來。")
    assert (both.sentence("en"), both.sentence("zh")) == ("It is gone: find it.", "不見了：請找回來。")
    assert StockllmError("Only this.").sentence("zh") == "Only this."
    assert OrderRefused("cash", "現金不足", "No cash.").sentence("zh") == "現金不足"
