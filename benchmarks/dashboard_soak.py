"""Ten hours of the dashboard in minutes: its timers, keys in every tab, a refresh landing now and then."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from stockllm.tui.memory import TIDY_S, resident

HOURS = 10
#: Keys in a minute of the simulated day, without a pause between them.
KEYS_A_MINUTE = 40
#: From one key to the next: time enough for it to be painted.
PAINTED_S = 0.02
#: Hours after which an evening lands.
LANDINGS = (2, 4, 6, 8)
SEED = 3407

#: What is done on each tab; one of them at a time, by chance. A text in brackets is typed.
HABITS: dict[str, tuple[str, ...]] = {
    "1": (
        "down down down down down down down down", "up up up", "pagedown", "home", "end", "left left right",
        "minus minus plus", "v", "v v", "w", "m", "d", "x left left right escape", "o", "O", "s", "b escape",
        "slash [23] enter escape", "n down escape", "p", "zero", "shift+left shift+right", "r",
    ),
    "2": ("down", "tab", "r"),
    "3": ("down down down", "pagedown", "home", "m", "a", "o", "O", "slash [2330] enter escape", "r"),
    "4": ("down", "tab", "s escape", "r"),
    "5": ("p", "P", "down", "pagedown", "tab", "r"),
    "": ("t", "l", "c", "question_mark escape", "colon [tsmc] escape"),
}  # fmt: skip


class Clock:
    """The dashboard's clock, put forward a minute at a time."""

    def __init__(self, start: datetime) -> None:
        self.time = start

    def __call__(self) -> datetime:
        return self.time

    def minute(self) -> None:
        self.time += timedelta(minutes=1)


async def soak(app: Any, pilot: Any, clock: Clock, say: Callable[[str], None]) -> dict[str, str]:
    """Memory after the first hour and after the last, and what was done in between."""
    chance = random.Random(SEED)
    keys = 0
    hourly = []
    for minute in range(HOURS * 60):
        clock.minute()
        for timer in timers(app):
            await ticked(timer, minutes=1)
        typed = 0
        while typed < KEYS_A_MINUTE:
            typed += await do(app, chance)
        assert app.is_running, "the dashboard broke: see logs/tui.log of its home"
        keys += typed
        hour, rest = divmod(minute + 1, 60)
        if not rest:
            await quiet(app)
            gc.collect()
            await asyncio.sleep(2 * TIDY_S)  # what the dashboard does about memory, it does when it rests
            hourly.append(resident())
            say(f"hour {hour}: {resident() / 1e6:.0f} MB")
            if hour in LANDINGS:
                folder = str(app.home.root)
                command = (sys.executable, "-m", "benchmarks.dashboard_market", folder)
                landing = await asyncio.create_subprocess_exec(*command)
                assert await landing.wait() == 0
                await pilot.press("1", "r")
    first, last = hourly[0], hourly[-1]
    return {
        f"soak of {HOURS} hours, {keys:,} keys, {len(LANDINGS)} evenings": f"{last / first - 1:+.1%}",
        "memory after its first and its last hour": f"{first / 1e6:.0f} MB, {last / 1e6:.0f} MB",
        "most at the end of an hour": f"{max(hourly) / 1e6:.0f} MB",
    }


async def do(app: Any, chance: random.Random) -> int:
    """One habit of one tab; how many keys that took."""
    tab = chance.choice(("1", "1", "1", "2", "3", "4", "5", ""))
    keys = [*([tab] if tab else []), *typing(chance.choice(HABITS[tab]))]
    for key in keys:
        app.simulate_key(key)
        await asyncio.sleep(PAINTED_S)
    if chance.random() < 0.1:
        await quiet(app)
    # Toasts go by the real clock, which stands still here.
    app.clear_notifications()
    return len(keys)


def typing(habit: str) -> list[str]:
    """The keys of a habit, a bracketed text letter by letter."""
    keys: list[str] = []
    for word in habit.split():
        keys += list(word[1:-1]) if word.startswith("[") else [word]
    return keys


def timers(app: Any) -> list[Any]:
    """Every running timer that repeats, of the app and of all its screens and widgets."""
    owners = [app, *(node for stack in app._screen_stacks.values() for screen in stack
                     for node in screen.walk_children(with_self=True))]  # fmt: skip
    return [
        timer
        for owner in owners
        for timer in owner._timers
        if timer._repeat is None and timer._active.is_set() and timer._callback is not None
        if timer.name != "auto_refresh" and timer._interval >= 0.25
    ]


async def ticked(timer: Any, minutes: int) -> None:
    """As many ticks as the timer has in so many minutes."""
    from textual._callback import invoke

    for _ in range(round(minutes * 60 / timer._interval)):
        await invoke(timer._callback)


async def quiet(app: Any) -> None:
    """Until no worker is at work."""
    while any(not worker.is_finished for worker in app.workers):
        await asyncio.sleep(0.01)
