"""Plays entries of the gallery: OUT HOSTS RANK DEVICES NAME..., with "plain" for HOSTS in Keras."""

import os
import pickle
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import tfscale
from tests.jobs.one_by_one import one_by_one
from tfscale.startup.environment import set_environment

SEED = 3


def main(out, hosts, rank, devices, *names):
    cluster = tfscale.Cluster.from_hosts(hosts, int(rank)) if ":" in hosts else tfscale.Cluster()
    set_environment(cluster)
    for name in one_by_one(names):
        try:
            found = _plain(name) if hosts == "plain" else _ours(name, out, cluster, int(devices))
        except Exception as error:
            if ":" in hosts:
                raise
            found = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        path = Path(out) / f"{name}-{rank}.pickle"
        path.write_bytes(pickle.dumps(found))


def _splits(entry):
    import numpy as np

    from tests.jobs.gallery.entry import SIZE, VALIDATION

    generator = np.random.default_rng(0)
    return entry.data(SIZE, generator), entry.data(VALIDATION, generator)


def _entry(name):
    from tests.jobs.gallery import own_steps, stock_models  # noqa: F401  # they fill it
    from tests.jobs.gallery.entry import ENTRIES

    return ENTRIES[name]


def _plain(name):
    import keras
    import tensorflow as tf

    from tests.jobs.gallery.entry import BATCH, EPOCHS, SIZE
    from tfscale.data.sharding import pass_order

    entry = _entry(name)
    train, validation = _splits(entry)
    keras.utils.set_random_seed(SEED)
    model = entry.build()
    orders = [
        pass_order(tf.constant(epoch, tf.int64), num_examples=SIZE, seed=SEED)
        for epoch in range(EPOCHS)
    ]
    shuffled = tf.nest.map_structure(lambda leaf: tf.gather(leaf, tf.concat(orders, 0)), train)
    found = model.fit(
        tf.data.Dataset.from_tensor_slices(shuffled).batch(BATCH),
        epochs=EPOCHS,
        steps_per_epoch=SIZE // BATCH,
        validation_data=tf.data.Dataset.from_tensor_slices(validation).batch(BATCH),
        class_weight=entry.class_weight,
        verbose=0,
    )
    history = [
        {name: values[epoch] for name, values in found.history.items()} for epoch in range(EPOCHS)
    ]
    return {**_state_of(model), "history": history}


def _state_of(model):
    return {
        "weights": model.get_weights(),
        "statistics": [one.numpy() for one in model.non_trainable_variables if one.name == "seen"],
    }


def _ours(name, out, cluster, devices):
    import keras
    import tensorflow as tf

    from tests.jobs.gallery.entry import BATCH, EPOCHS

    entry = _entry(name)
    train, validation = _splits(entry)
    history, models = [], []

    def build():
        models.append(entry.build())
        return models[-1]

    def callbacks():
        keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: history.append(logs))
        keep.everywhere = True
        return [keep]

    by_split = {"train": train, "validation": validation}
    dataset = SimpleNamespace(
        __name__="data",
        load=lambda split: tf.data.Dataset.from_tensor_slices(by_split[split]),
        class_weight=entry.class_weight,
        task="regression",
    )
    config = tfscale.Config(
        run_dir=f"{out}/{name}",
        batch_size=BATCH,
        epochs=EPOCHS,
        seed=SEED,
        devices=devices,
        overwrite=True,
        **entry.settings,
    )
    model = SimpleNamespace(__name__="model", build=build, callbacks=callbacks)
    report = tfscale.train(config, cluster, dataset, model)
    return {
        **_state_of(models[0]),
        "history": [dict(logs) for logs in history],
        "report": report,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
