"""launch/local.py whose workers have the faults that the environment orders."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from launch import local, program

if __name__ == "__main__":
    local.FOLDER = Path(__file__).resolve().parent
    program.run(local.main, is_launcher=lambda: True)
