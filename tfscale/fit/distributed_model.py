"""Keras 3's `fit`, `evaluate` and `predict` on any number of workers and replicas.

A model keeps its class and its methods; what is replaced are the functions that run steps (here)
and what they touch inside Keras (`keras/`).

Training enters Python about once a second: a loop on the device takes many steps, in which nothing
but gradients crosses workers. At its end, the `boundary`, one all-reduce carries metric totals,
batch statistics and each worker's figures. `evaluation` has the other two.
"""

import keras

from tfscale.fit.callbacks.chief_callbacks import Chief
from tfscale.fit.evaluate.evaluation import STEPS_PER_CALL, evaluations
from tfscale.fit.evaluate.prediction import Prediction
from tfscale.fit.keras.install import install
from tfscale.fit.keras.keras_data import GivenData, install_batch_methods
from tfscale.fit.keras.loops import Call, StepFunctions
from tfscale.fit.loop.events import Boundary
from tfscale.fit.loop.loop_ends import LoopEnds
from tfscale.fit.loop.loop_length import LoopLength
from tfscale.fit.parts import Parts
from tfscale.fit.state.byte_broadcast import Carrier
from tfscale.fit.state.training_state import TrainingState, own_variables
from tfscale.fit.training_loop import TrainingLoop
from tfscale.startup.job import Job
from tfscale.structures import Json


class DistributedModel:
    """A compiled Keras model whose `fit`, `evaluate` and `predict` run on all replicas.

    Args:
        job: whose replicas train.
        model: compiled, and built by `make_parts`.
        parts: of its step.

    Attributes:
        model: the model.
        parts: of its step.
        step: steps since the start of training.
        last_logs: of the last on-device loop of training, which an earlier run may have taken.
        boundary: at which that loop has ended, once this run has taken one.
        ends: of loops, for who wants to know of them.
        length: of loops.
        carrier: of bytes, between workers.
        state: what training steps change.
        loop: on the device.
        chief: runs the callbacks that no other worker runs.
    """

    def __init__(self, job: Job, model: keras.Model, parts: Parts) -> None:
        self.model, self.parts = model, parts
        self.step, self.last_logs = 0, dict[str, Json]()
        self.boundary: Boundary | None = None
        self.ends = LoopEnds(job.config.checkpoint_every_steps)
        self.length = LoopLength(job.config.steps_per_execution, model.steps_per_execution)
        self.carrier = Carrier(job.strategy, job.cluster.index, job.cluster.num_workers)
        self.state = TrainingState(
            job.strategy,
            self.carrier,
            model,
            optimizers=parts.steps.optimizers,
            own=own_variables(
                parts.totals, parts.random, [one.residuals for one in parts.reducers]
            ),
        )
        self.loop = TrainingLoop(job, model, parts, self.state)
        self.chief = Chief(job, model)
        install(model, self._step_functions(job), job.strategy)
        install_batch_methods(model)

    def _step_functions(self, job: Job) -> StepFunctions:
        test = evaluations(
            self.model,
            job.strategy,
            self.parts.totals,
            self.parts.test_logs,
            num_workers=job.cluster.num_workers,
            numbers_are_sums=self.parts.findings.losses_are_sums,
        )
        return StepFunctions(
            train=self.chief.heard_by_all(self._train),
            test=test,
            predict=Prediction(self.model, job.strategy).call,
            steps_of_next_call=self._steps_of_next_call,
            last_logs=lambda: self.last_logs,
            step=lambda: self.step,
            ends=self.ends,
            fixed_steps=self.length.fixed,
            as_input=GivenData(job, self.chief),
        )

    def _steps_of_next_call(self, name: str) -> int:
        """How many steps the next call takes, the same on every worker."""
        fit = self.ends.most_steps(self.step, self.length.steps)
        return {"fit": fit, "evaluate": STEPS_PER_CALL}.get(name, 1)

    def _train(self, call: Call) -> dict[str, Json]:
        """What Keras's `fit` calls: takes steps, tells listeners, and gives the logs."""
        boundary = self.take(call)
        self.length.fit_to(boundary)
        self.ends.at_boundary(boundary)
        return dict(self.last_logs)

    def take(self, call: Call) -> Boundary:
        """Takes the steps of a call on all workers, and tells nobody."""
        self.boundary = boundary = self.loop.take(call, before=self.step)
        self.step, self.last_logs = boundary.step, dict(boundary.logs)
        return boundary
