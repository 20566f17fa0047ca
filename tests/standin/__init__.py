"""A stand-in for both exchanges, their open data, the holiday page and NewsAPI.

A real HTTP server on loopback that serves the documented shapes from a generated market, and every
fault the sites have shown, on demand. ``market`` is the truth, ``pages`` are the sites' answers about
it, ``faults`` what can go wrong with them, ``server`` the server.
"""

from pathlib import Path

from standin.clock import FakeClock
from standin.faults import FAULTS, MORE_FAULTS, OUTCOMES, Fault
from standin.market import GeneratedMarket
from standin.server import StandIn

#: A folder in memory where there is one: thousands of commits, each to be safe on a disk, would take
#: most of a test's time.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

__all__ = ["FAULTS", "MEMORY", "MORE_FAULTS", "OUTCOMES", "FakeClock", "Fault", "GeneratedMarket", "StandIn"]
