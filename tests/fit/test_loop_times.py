import json
import sys

from tests.jobs.workers import ROOT, start_all

SECONDS = 0.02
MODEL = f"""
import time

import keras
import tensorflow as tf


def sleep(x):
    time.sleep({SECONDS})
    return x


class Model(keras.Model):
    def __init__(self, num_classes):
        super().__init__()
        self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(num_classes)

    def call(self, x):
        return self.dense(self.flat(x))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, self(x), True))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        tf.numpy_function(sleep, [tf.constant(0)], tf.int32)  # whose result nobody needs
        return {{"own": loss}}


def build(spec, num_classes):
    return Model(num_classes)
"""


def test_a_loop_of_a_model_without_metrics_lasts_as_long_as_its_steps(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    command = [sys.executable, str(ROOT / "launch" / "worker.py"), "--dataset=datasets/digits.py"]
    command += [f"--model={tmp_path / 'model.py'}", f"--run_dir={tmp_path / 'run'}"]
    command += ["--batch_size=64", "--steps_per_epoch=12", "--epochs=2"]
    (ended,) = start_all([command], deadline_seconds=120, is_warm=True)
    assert ended.code == 0, ended
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["step_seconds"]["median"] >= SECONDS
