"""The ``stockllm`` command: the list of command groups, and the one place that handles errors.

Nothing imported here may load torch, pandas, SQLAlchemy or numpy: ``stockllm --help`` has to answer
at once. Command bodies import what they need.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from stockllm.cli import doctor, settings
from stockllm.cli.market import (
    companies,
    demo,
    forecast,
    health,
    import_,
    imports,
    ledger,
    prices,
    refresh,
    schedule,
    signals,
)
from stockllm.cli.models import (
    adapters,
    align,
    calibrate,
    closes,
    dataset,
    evaluate,
    export,
    pretrain,
    quality,
    train,
)
from stockllm.cli.output import say, text
from stockllm.cli.trading import backtest, exchange, trade
from stockllm.data.errors import StockllmError

#: Every command group, in the order ``--help`` lists them. Each has ``register(app)``.
GROUPS = (
    import_,
    imports,
    prices,
    demo,
    companies,
    refresh,
    schedule,
    train,
    adapters,
    forecast,
    signals,
    ledger,
    trade,
    exchange,
    backtest,
    evaluate,
    quality,
    export,
    health,
    doctor,
    settings,
    pretrain,
    calibrate,
    closes,
    dataset,
    align,
)


class _Interrupted(StockllmError):
    """Ctrl-C outside training, which has its own sentence."""


class _OneSentence(TyperGroup):
    """The top command: whatever goes wrong below it ends in one sentence and an exit code.

    0 done, 1 failed or interrupted, 2 wrong usage. Tests that run the app in their own process
    pass through here as well.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Interrupted(
                "Stopped by Ctrl-C; nothing is half-written, run it again to finish.",
                zh="已由 Ctrl-C 停止；沒有寫到一半的內容，再執行一次即可完成。",
            ) from None

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        def run() -> Any:
            return super(_OneSentence, self).main(
                args, prog_name, complete_var, False, windows_expand_args, **extra
            )

        if not standalone_mode:
            return run()
        try:
            code = run()
            sys.stdout.flush()
        except BrokenPipeError:
            sys.exit(_quiet_pipe())
        except typer.Abort:
            from stockllm.data.settings import spoken

            sentence = text(
                "還沒回答問題，輸入就結束了；請再執行一次並回答。",
                "The input ended before the question was answered; run it again and answer it.",
                spoken(),
            )
            _fail(sentence, 1)
        except StockllmError as error:
            from stockllm.data.settings import spoken

            _fail(error.sentence(spoken()), error.exit_code)
        except Exception as error:
            # Newer releases of typer carry a copy of click, older ones use click itself: both
            # families of usage errors have format_message and exit_code.
            if hasattr(error, "format_message"):
                _fail(_usage_sentence(error), getattr(error, "exit_code", 2))
            _fail(_unexpected_sentence(error), 1)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    name="stockllm",
    cls=_OneSentence,
    help="Forecasts of Taiwan stocks you can question.",
    epilog=(
        "STOCKLLM_HOME moves all state; STOCKLLM_LANGUAGE=zh|en chooses the language. "
        "Exit codes: 0 done, 1 failed, 2 wrong usage."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stockllm {version('stockllm')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
    ),
) -> None:
    from stockllm.data.waiting import be_patient

    be_patient(_waits)


def _waits() -> None:
    from stockllm.data.settings import spoken

    say(
        text(
            "另一個 stockllm 正在寫入資料庫，等它結束後繼續……",
            "Another stockllm is writing the store; this one goes on when that has ended ...",
            spoken(),
        )
    )


for group in GROUPS:
    group.register(app)


def main() -> None:
    """The console script."""
    # What another program left in the environment chooses no window system for charts.
    os.environ["MPLBACKEND"] = "Agg"
    _write_chinese()
    app(prog_name="stockllm")


def _write_chinese() -> None:
    """Write UTF-8 where the locale's encoding knows no Chinese, unless somebody asked for that encoding."""
    if os.environ.get("PYTHONIOENCODING"):
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            "行".encode(getattr(stream, "encoding", None) or "utf-8")
        except (UnicodeEncodeError, LookupError):
            stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]


def _fail(sentence: str, code: int) -> None:
    try:
        say(sentence if code == 2 and "\n" in sentence else f"stockllm: {sentence}")
    except BrokenPipeError:
        code = _quiet_pipe()
    sys.exit(code)


def _usage_sentence(error: Any) -> str:
    """One sentence for a command line that cannot be parsed; the whole help where it was empty."""
    message = " ".join(str(error.format_message()).split())
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    return f"{message.rstrip('.?')}; see `{context.command_path} --help`."


def _unexpected_sentence(error: Exception) -> str:
    """Write the traceback to a log file and name the file, the error's kind and its first line."""
    from stockllm.data.settings import spoken

    kind, detail = type(error).__name__, str(error).strip().splitlines()
    cause = f"{kind}: {detail[0]}" if detail else kind
    stamp = datetime.now().astimezone()
    name = f"error-{stamp:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    report = f"{stamp.isoformat()}\n{sys.argv}\n\n" + "".join(traceback.format_exception(error))
    from stockllm.data.private import opener, private_folder

    for folder in _log_folders():
        try:
            private_folder(folder)
            with open(folder / name, "x", encoding="utf-8", opener=opener) as file:
                file.write(report)
        except OSError:
            continue
        return text(
            f"發生未預期的錯誤而停止（{cause}）；詳情在 {folder / name}。",
            f"An unexpected error stopped it ({cause}); the details are in {folder / name}.",
            spoken(),
        )
    return text(
        f"發生未預期的錯誤而停止（{cause}），而且沒有可寫入詳情的資料夾。",
        f"An unexpected error stopped it ({cause}), and no folder for its details is writable.",
        spoken(),
    )


def _log_folders() -> list[Path]:
    from stockllm.data.paths import Home

    try:
        return [Home.locate().logs, Path(tempfile.gettempdir())]
    except StockllmError:
        return [Path(tempfile.gettempdir())]


def _quiet_pipe() -> int:
    """The reader has gone: give the interpreter's last flush a place to write to, and say nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


if __name__ == "__main__":
    main()
