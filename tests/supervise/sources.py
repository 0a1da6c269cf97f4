"""Sources of short workers, none of which outlives its deadline whatever its owner does."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 10
ALARM = f"import os, signal, subprocess, sys, time; signal.alarm({DEADLINE_SECONDS})\n"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
FOREVER = f"time.sleep({DEADLINE_SECONDS})\n"


def command(source):
    return [sys.executable, "-S", "-c", ALARM + source]


def name_in(path):
    return f"open({str(path) + '~'!r}, 'w').write(str(os.getpid())); " + (
        f"os.rename({str(path) + '~'!r}, {str(path)!r})\n"
    )
