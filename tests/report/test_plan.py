"""The plan says what is going to happen, in the units that its reader thinks in."""

from types import SimpleNamespace

import keras
import pytest

from tfscale.cluster.cluster import Cluster
from tfscale.data.sharding import Sharding
from tfscale.gradients.bucket_size import BucketSize
from tfscale.report.plan import plan_of, settings_of
from tfscale.settings import Config
from tfscale.startup.devices import Devices

TWO = Cluster(("node0:2222", "node1:2222"), 1)
MEASURED = BucketSize(3 * 2**20, "measured", {"workers": 2})


def _model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="small")
    model.compile("adam", "mse")
    return model


def _plan(  # noqa: PLR0913
    cluster=TWO,
    count=2,
    rate="0.1",
    buckets=MEASURED,
    size=100,
    evaluated=None,
    model=None,
    **settings,
):
    config = Config(run_dir="runs/first", batch_size=32, epochs=3, **settings)
    devices = Devices("GPU", count, ("V100",) * count)
    job = SimpleNamespace(config=config, cluster=cluster, devices=devices, collectives="nccl")
    training = SimpleNamespace(
        steps=config.steps_per_epoch or 3, num_examples=size, description="100 records, in order"
    )
    data = SimpleNamespace(
        sharding=Sharding(32, cluster.num_workers, cluster.index, count),
        training=training,
        evaluated=evaluated or {},
        file=SimpleNamespace(learned={"mean": 0.5}),
    )
    prepared = SimpleNamespace(
        data=data,
        model=model or _model(),
        sources={"dataset": "1f", "model": ""},
        distributed=SimpleNamespace(
            parts=SimpleNamespace(steps=SimpleNamespace(asks=0), findings=SimpleNamespace(rows={})),
            length=SimpleNamespace(fixed=0),
        ),
        rate=rate,
        loss="L2",
        buckets=buckets,
    )
    return plan_of(job, prepared), job, prepared


def test_the_batch_is_told_from_the_global_one_down_to_a_micro_batch():
    assert _plan()[0]["batch"] == "32 global -> 16 per worker -> 8 per replica"
    assert _plan(accumulate_steps=4)[0]["batch"].endswith("8 per replica, in 4 micro-batches")


def test_workers_devices_and_collectives_are_named():
    plan = _plan()[0]
    assert plan["workers"] == "2 (node0:2222, node1:2222)"
    assert plan["devices"] == "2 x V100 each, 4 replicas"
    assert plan["collectives"] == "nccl"
    assert _plan(cluster=Cluster())[0]["workers"] == "1 (this machine)"


def test_what_is_not_trained_and_what_a_replica_normalizes_alone_is_said():
    layers = keras.layers
    body = keras.Sequential([layers.Dense(4), layers.BatchNormalization()])
    model = keras.Sequential([keras.Input((3,)), body, layers.Dense(2)])
    model.compile("sgd", "mse")
    plan = _plan(model=model)[0]
    assert plan["model"].endswith(", 42 parameters")
    assert plan["batch normalization"] == (
        "1 layers normalize by the 8 examples of each replica alone; with synchronized=True by "
        "those of all"
    )
    assert "batch normalization" not in _plan(model=model, cluster=Cluster(), count=1)[0]
    body.trainable = False
    plan = _plan(model=model)[0]
    assert plan["model"].endswith(", 42 parameters, of which 10 are trained")
    assert "batch normalization" not in plan


@pytest.mark.parametrize(
    ("size", "settings", "steps"),
    [
        (100, {}, "3 an epoch, 3 epochs; 4 examples are left over, others in each epoch"),
        (96, {}, "3 an epoch, 3 epochs"),
        (None, {"steps_per_epoch": 7}, "7 an epoch, 3 epochs"),
        (100, {"steps_per_epoch": 7}, "7 an epoch, 3 epochs"),
    ],
)
def test_what_an_epoch_leaves_over_is_said(size, settings, steps):
    assert _plan(size=size, **settings)[0]["steps"] == steps


@pytest.mark.parametrize(
    ("settings", "buckets", "gradients"),
    [
        ({}, MEASURED, "travel as float32, 3 MiB at a time (measured)"),
        ({"wire_dtype": "bfloat16"}, MEASURED, "travel as bfloat16, 3 MiB at a time (measured)"),
        ({"compress": "int8"}, MEASURED, "travel as int8, 3 MiB at a time (measured)"),
        ({}, BucketSize(0, "measured later"), "travel as float32, in buckets measured later"),
    ],
)
def test_how_gradients_travel_is_said(settings, buckets, gradients):
    assert _plan(buckets=buckets, **settings)[0]["gradients"] == gradients


def test_gradients_of_one_replica_do_not_travel():
    assert _plan(cluster=Cluster(), count=1)[0]["gradients"] == "stay on the one device"


def test_model_and_optimizer_are_those_that_train():
    plan = _plan(rate=None)[0]
    assert plan["model"] == "small, 8 parameters"
    assert plan["optimizer"] == "Adam"
    assert plan["learning rate"] == "the model's own"


def test_a_loss_that_asks_all_replicas_says_so():
    plan, job, prepared = _plan()
    assert plan["loss"] == "L2"
    prepared.distributed.parts.steps.asks = 2
    loss = plan_of(job, prepared)["loss"]
    assert loss.startswith("L2; asks all replicas for 2 counts in each step, ")


def test_every_split_has_a_row():
    evaluated = {
        "validation": SimpleNamespace(num_examples=9),
        "test": SimpleNamespace(num_examples=None),
    }
    plan = _plan(evaluated=evaluated)[0]
    assert plan["train data"] == "100 records, in order"
    assert plan["validation data"] == "9 records, each exactly once"
    assert plan["test data"] == "a stream, each exactly once"


def test_the_settings_hold_all_that_changes_a_result():
    plan, job, prepared = _plan(seed=7)
    settings = settings_of(job, prepared, plan, dataset="datasets/a.py", model="models/b.py")
    assert settings["seed"] == 7
    assert (settings["dataset"], settings["model"]) == ("datasets/a.py", "models/b.py")
    assert settings["workers"] == ["node0:2222", "node1:2222"]
    assert settings["buckets"] == {
        "size_bytes": 3 * 2**20,
        "source": "measured",
        "conditions": {"workers": 2},
    }
    assert settings["plan"] == plan
    assert settings["learned"] == {"mean": 0.5}
    assert settings["sources"] == {"dataset": "1f", "model": ""}
    assert "tensorflow" in settings["versions"]
