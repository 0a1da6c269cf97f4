"""Which scenes the chosen tests need, and their performance: only those, each once for all tests.

A test says what it needs by its mark, and gets it as `played`, once for each scene and shape:

    @pytest.mark.plays("clipping", on=SEVERAL)
    def test_gradients_are_clipped_after_they_were_summed(played): ...

A shape is (workers, logical devices of each).
"""

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.conftest import say
from tests.jobs.scenes import SCENES
from tests.jobs.workers import stage_commands, start_all

ALONE = (1, 1)
TWO = (2, 1)
SEVERAL = (TWO, (1, 4), (2, 2))
# Most of a scene is tracing, which takes one core: two shapes share the two.
_SIDE_BY_SIDE = ((ALONE, (1, 4)), (TWO, (2, 2)))
_START_SECONDS, _SCENE_SECONDS = 60, 60  # on a busy machine; what takes longer hangs


@dataclass(frozen=True)
class Part:
    """A scene on a shape, as a test asks for it.

    Args:
        scene: its name.
        shape: that plays it.
        is_compared: whether the test compares it with one worker, which then plays it too.
    """

    scene: str
    shape: tuple[int, int]
    is_compared: bool

    def __str__(self):
        return f"{self.scene}-{self.shape[0]}x{self.shape[1]}"


def parts(*scenes, on, compared=True):
    """What the mark `plays` with these arguments asks for.

    Raises:
        LookupError: there is no such scene, or nobody starts such a shape.
    """
    known = {shape for together in _SIDE_BY_SIDE for shape in together}
    for what, asked, there in (("scene", scenes, SCENES), ("shape", on, known)):
        if not asked or not set(asked) <= set(there):
            shown = ", ".join(map(str, there))
            raise LookupError(f"plays: {what} {asked}; expected some of {shown}")
    return [Part(scene, shape, compared) for scene in scenes for shape in on]


def programme(asked: Iterable[Part]):
    """What each shape has to play, {shape: [scene]}, in the order of SCENES."""
    needed = {(part.shape, part.scene) for part in asked}
    needed |= {(ALONE, part.scene) for part in asked if part.is_compared}
    shapes = {shape for shape, _ in needed}
    return {
        shape: [scene for scene in SCENES if (shape, scene) in needed] for shape in sorted(shapes)
    }


def play(asked: Iterable[Part], folder: Path):
    """Plays what is asked for, all scenes of a shape in one set of processes."""
    scenes = programme(asked)
    for number, together in enumerate(_SIDE_BY_SIDE, 1):
        commands = []
        for shape in together:
            if shape in scenes:
                say(
                    f"part {number} of {len(_SIDE_BY_SIDE)}: {len(scenes[shape])} scenes on {shape}"
                )
                _folder(folder, shape).mkdir()
                commands += stage_commands(scenes[shape], _folder(folder, shape), shape)
        most = max((len(scenes.get(shape, ())) for shape in together), default=0)
        deadline = _START_SECONDS + _SCENE_SECONDS * most
        for worker in start_all(commands, deadline_seconds=deadline):
            how = f"had to be ended after {deadline} s" if worker.code is None else worker.code
            assert worker.code == 0, f"exit code {how}:\n{worker.err[-4000:]}"


def numbers_in(result, path=""):
    """Every number that a scene gave, by where it stands in the result; times aren't results."""
    if isinstance(result, dict):
        for name, value in result.items():
            yield from numbers_in(value["metrics"] if name == "report" else value, f"{path}/{name}")
    elif isinstance(result, list | tuple):
        for position, value in enumerate(result):
            yield from numbers_in(value, f"{path}/{position}")
    else:
        yield path, np.asarray(result, "float64")


class Played:
    """What a scene gave on the workers of a shape.

    Args:
        part: what the test asked for.
        folder: where `play` put everything.
    """

    def __init__(self, part: Part, folder: Path):
        self.scene, self.shape = part.scene, part.shape
        self._part, self._folder = part, folder

    @property
    def workers(self):
        """What it gave on each worker, in the order of their ranks."""
        return [self._result(self.shape, rank) for rank in range(self.shape[0])]

    @property
    def alone(self):
        """What it gave on one worker with one device."""
        if not self._part.is_compared and self.shape != ALONE:
            raise LookupError(
                f"One worker alone doesn't play {self.scene} for this test; expected "
                "plays(..., compared=True)."
            )
        return self._result(ALONE, 0)

    @property
    def run_dir(self):
        """The run directory of the shape's last training in the scene."""
        return _folder(self._folder, self.shape) / self.scene

    def _result(self, shape, rank):
        path = _folder(self._folder, shape) / f"{self.scene}-{rank}.pickle"
        return pickle.loads(path.read_bytes())  # noqa: S301  # our own


def _folder(folder, shape):
    return folder / f"{shape[0]}x{shape[1]}"
