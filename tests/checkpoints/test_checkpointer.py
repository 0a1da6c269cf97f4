"""A stop is never lost: workers pass the points of runs of every rhythm, without TensorFlow."""

import random
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tests.startup.test_meeting import Board, Store
from tfscale.checkpoints import commit
from tfscale.checkpoints.checkpointer import Keeper
from tfscale.checkpoints.snapshot import Snapshot
from tfscale.errors import PREEMPTED_CODE, SharedFailure
from tfscale.files.checkpoint_names import FOLDER
from tfscale.fit.loop.events import Point
from tfscale.health.preemption import Preemption

pytestmark = pytest.mark.promise("stops")

RUNS = 240


class Run:
    """One invented run: its lengths, who is stopped when, and what became of each worker."""

    def __init__(self, folder, seed):
        draw = random.Random(seed)
        self.folder, self.seed = folder, seed
        self.workers = draw.choice((1, 2, 2, 3))
        self.epochs, self.steps = draw.randrange(1, 4), draw.choice((1, 2, 3, 6))
        self.steps_per_loop = draw.randrange(1, self.steps + 1)
        self.validation_loops = draw.choice((0, 1, 2))
        self.final_loops = draw.choice((0, 1))
        self.every = draw.choice((0, 0, 2))  # --checkpoint_every_steps
        self.due = draw.choice((0.0, 0.5, 1.0))  # how often a checkpoint is due at a point
        loops = -(-self.steps // self.steps_per_loop)
        self.points = self.epochs * (1 + loops) + self.final_loops * 2
        self.points += self.epochs * (1 + self.validation_loops) * bool(self.validation_loops)
        everybody, one = range(self.workers), [draw.randrange(self.workers)]
        self.stopped = list(draw.choice((everybody, one)))  # by the launcher, or one of them
        self.moment = draw.randrange(self.points)
        self.store, self.ends = Store(), {}
        self.steps_taken = dict.fromkeys(range(self.workers), 0)
        self.barrier = threading.Barrier(self.workers)

    def keeper(self, rank):
        board = Board(self.store, rank, self.workers)
        board.broadcast = lambda topic, text: (
            (self.store.put(topic, text) if rank == 0 else None) or self.store.get(topic)
        )
        job = SimpleNamespace(
            board=board,
            cluster=SimpleNamespace(is_chief=rank == 0, index=rank),
            config=SimpleNamespace(
                keep_checkpoints=3, checkpoint_every_steps=self.every, epochs=self.epochs
            ),
            terminal=SimpleNamespace(show=print, complain=print),
        )
        parts = SimpleNamespace(finite=SimpleNamespace(first_bad_of=lambda arrays: ""))
        snapshots = SimpleNamespace(
            steps_per_epoch=self.steps,
            begin=lambda: None,
            tell_left_out=lambda: None,
            take=lambda done: Snapshot(
                {"weights.safetensors": {"step": np.array([self.steps_taken[rank]])}},
                {"step": self.steps_taken[rank], "batches_of_epoch": done},
            ),
            prepared=SimpleNamespace(distributed=SimpleNamespace(parts=parts)),
        )
        directory = SimpleNamespace(path=self.folder / str(rank), make_again=lambda: None)
        preemption = Preemption(job)
        preemption.begin(job, None)
        stopped_by = lambda: preemption.stopped_by  # noqa: E731
        keeper = Keeper(job, snapshots, directory, stopped_by=stopped_by)
        keeper.writer._schedule = SimpleNamespace(
            is_due=lambda now: random.random() < self.due, took=lambda *args, **kwargs: None
        )
        return preemption, keeper

    def work(self, rank):
        (preemption, keeper), own = self.keeper(rank), random.Random(f"{self.seed}/{rank}")
        passed, caller = 0, None

        def reach(loop, done, steps):
            nonlocal passed, caller
            if caller is not None:
                caller.join()  # a signal is heard at once, if not at one moment by all
            if done and self.workers > 1:
                self.barrier.wait(60)  # a loop's collectives
            time.sleep(own.random() * 0.002)
            passed += 1
            if passed == self.moment + 1 and rank in self.stopped:
                caller = threading.Thread(
                    target=preemption.ask, args=(f"Worker {rank} was stopped",)
                )
                caller.start()
                time.sleep(own.random() * 0.002)
            for listener in (preemption, keeper):
                listener.at_point(Point(loop, done, steps, self.steps_taken[rank]))

        try:
            self.train(rank, reach)
            keeper.finish()
            for done in range(2 * self.final_loops):
                reach("evaluate", done, None)
            preemption.close()
            self.ends[rank] = "done"
        except SharedFailure as failure:
            self.ends[rank] = failure

    def train(self, rank, reach):
        for _ in range(self.epochs):
            done = 0
            reach("fit", 0, self.steps)
            while done < self.steps:
                taken = min(self.steps_per_loop, self.steps - done)
                done += taken
                self.steps_taken[rank] += taken
                reach("fit", done, self.steps)
            for done in range((1 + self.validation_loops) * bool(self.validation_loops)):
                reach("validation", done, None)

    def play(self):
        threads = [threading.Thread(target=self.work, args=(rank,)) for rank in range(self.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a worker waits for ever"
        self.store.end()

    @property
    def came_too_late(self):
        """Whether a worker had passed its last point when it heard of the stop, or ended before."""
        said = self.store.said.items()
        if not self.store.said.get("meeting/stop/0/call"):
            return self.moment == self.points - 1
        return any(
            isinstance(key, tuple) and "stop/0/promise" in key[0] and int(text) > self.points
            for key, text in said
        )


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_stop_ends_all_workers_with_one_saved_step_whenever_it_comes(seed, tmp_path):
    run = Run(tmp_path, seed)
    run.play()
    ends = [run.ends[rank] for rank in range(run.workers)]
    if ends == ["done"] * run.workers:
        assert run.came_too_late
        return
    assert all(isinstance(end, SharedFailure) for end in ends), ends
    assert {str(end) for end in ends} == {str(ends[0])}
    assert ends[0].code == PREEMPTED_CODE
    step = run.steps_taken[0]
    assert set(run.steps_taken.values()) == {step}
    found, refused = commit.newest(tmp_path / "0" / FOLDER)
    assert not refused
    if not step:
        assert found is None
        assert "starts over" in str(ends[0])
        return
    assert found.step == step
    assert f"step {step} is saved" in str(ends[0])
