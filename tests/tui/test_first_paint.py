"""The dashboard is on the screen before anything heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROBE = """
import asyncio, json, sys
from pathlib import Path
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.tui import app as module
from stockllm.tui.app import StockApp

# What the user does is written down a second later, with a library that the first paint can do without.
module._REMEMBER_AFTER_S = 3600.0

# The palette names the actions of tabs whose code nobody has asked for yet.
TABS = tuple(f"stockllm.tui.{tab}.screen" for tab in ("portfolio", "ledger", "training", "system"))
HEAVY = (*TABS, "torch", "pandas", "transformers", "mplfinance", "matplotlib", "alembic", "twstock",
         "pyarrow", "tomlkit", "textual_serve")

async def measure():
    home = Home(Path(sys.argv[1]))
    settings = Settings.load(home)
    app = StockApp(home, settings)
    async with app.run_test(size=(160, 50)) as pilot:
        while app.screen.detail is None or app.screen.state is None:
            await pilot.pause()
        await pilot.pause()
        await pilot.press("colon")
        while not getattr(app.screen, "found", ()):
            await pilot.pause()
        heavy = [name for name in HEAVY if name in sys.modules]
    print(json.dumps(heavy))

asyncio.run(measure())
"""


def test_the_first_paint_imports_nothing_heavy(filled: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROBE, str(filled)], capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(run.stdout.strip().splitlines()[-1]) == []


def test_help_imports_not_even_textuals_screen_drivers_or_the_store() -> None:
    code = (
        "import sys\n"
        "from stockllm.tui.app import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'sqlalchemy', 'numpy', 'pydantic') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout.strip().splitlines()[-1] == "[]"
