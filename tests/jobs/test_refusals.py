"""M13, M14, M23, M24: what can't be meant is refused before the first step, or told as it is."""

import json
import sys
import textwrap

import keras
import numpy as np
import pytest

from tests.jobs.test_bad_input import _contains, _shared_reason
from tests.jobs.workers import ROOT, start_all, worker_commands

pytestmark = pytest.mark.long

MODEL = """
    import keras
    from keras import layers, ops

    EPOCHS = 5

    def network(spec):
        return keras.Sequential(
            [keras.Input(spec.shape), layers.Flatten(), layers.Dense(6), layers.Dense(10)]
        )

    def build(spec, num_classes):
        return network(spec)
"""
COMPILED = """
    def build(spec, num_classes):
        model = network(spec)
        model.compile(keras.optimizers.SGD({rate}{more}), LOSS, metrics=["accuracy"])
        return model

    LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
"""
LOADED = """
    def build(spec, num_classes):
        model = keras.saving.load_model({path!r})
        {more}
        return model
"""
CALLBACKS = """
    def callbacks():
        return [{0}]
"""
PLATEAU = "keras.callbacks.ReduceLROnPlateau('val_loss', patience=1)"
SCHEDULER = "keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)"
OWN_RATE = """
    class Warm(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.01
"""
UNFREEZES = """
    class Unfreezes(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.layers[1].trainable = False
"""
# Later epochs make the weights worse on purpose: what is restored is the first epoch's.
RUINS = """
    class Ruins(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch:
                self.model.set_weights([10.0 * w for w in self.model.get_weights()])
"""
BEST = "keras.callbacks.EarlyStopping('val_loss', patience=9, restore_best_weights=True)"
AVERAGED = ", use_ema=True, ema_momentum=0.9"


def _saved(path, *, decay_steps, steps_taken, policy="float32"):
    """A compiled model whose optimizer has taken some steps of a cosine."""
    schedule = keras.optimizers.schedules.CosineDecay(0.1, decay_steps)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, dtype=policy),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(schedule), loss)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(steps_taken)
    model.save(path)
    return str(path)


def _jobs(folder):
    """Name of each training: what its model file has beside MODEL, and settings."""
    over = _saved(folder / "over.keras", decay_steps=38, steps_taken=38)
    half = _saved(folder / "half.keras", decay_steps=38, steps_taken=19)
    mixed = _saved(folder / "mixed.keras", decay_steps=99, steps_taken=0, policy="mixed_bfloat16")
    frozen = "model.layers[-1].trainable = True"
    fixed = {"schedule": "constant", "warmup_fraction": 0.0}
    rate = COMPILED.format(rate="0.1", more="")
    return {
        "rate of a loaded model": (LOADED.format(path=half, more=""), {"learning_rate": 0.5}),
        "given default": (rate, {"given": ["optimizer"]}),
        "schedule that is over": (LOADED.format(path=over, more=""), {}),
        "schedule half way": (LOADED.format(path=half, more=frozen), {}),
        "precision of a loaded model": (
            LOADED.format(path=half, more=""),
            {"precision": "mixed_bfloat16"},
        ),
        "policy of a loaded model": (LOADED.format(path=mixed, more=""), {}),
        "plateau": (CALLBACKS.format(PLATEAU), {}),
        "scheduler": (
            CALLBACKS.format(SCHEDULER),
            {"schedule": "constant", "warmup_fraction": 0.5},
        ),
        "plateau with a number": (CALLBACKS.format(PLATEAU), fixed),
        "plateau of a compiled model": (rate + CALLBACKS.format(PLATEAU), {}),
        "own callback sets the rate": (OWN_RATE + CALLBACKS.format("Warm()"), {"epochs": 2}),
        "unfreezes": (UNFREEZES + CALLBACKS.format("Unfreezes()"), {"epochs": 3}),
        "best weights": (rate + RUINS + CALLBACKS.format(f"Ruins(), {BEST}"), {"epochs": 3}),
        "averaged weights": (COMPILED.format(rate="0.5", more=AVERAGED), {"epochs": 3}),
        "swapped averages": (
            COMPILED.format(rate="0.5", more=AVERAGED)
            + CALLBACKS.format("keras.callbacks.SwapEMAWeights()"),
            {"epochs": 3},
        ),
    }


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The report of each training, or the reason for which it ended."""
    folder = tmp_path_factory.mktemp("trainings")
    jobs = []
    for name, (text, settings) in _jobs(folder).items():
        path = folder / f"{name.replace(' ', '_')}.py"
        path.write_text(textwrap.dedent(MODEL) + textwrap.dedent(text))
        jobs.append({"name": name, "model": str(path), "settings": settings})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "tests.jobs.trainings"]
    command += [str(folder / "jobs.json"), str(folder / "out.json")]
    (worker,) = start_all([command], deadline_seconds=400)
    assert worker.code == 0, worker.err[-3000:]
    return folder, json.loads((folder / "out.json").read_text())


REFUSED = {
    "rate of a loaded model": (
        "gives a compiled model, which keeps its own optimizer: --learning_rate=0.5 would do",
        "compile=False",
    ),
    "given default": ("--optimizer=sgd would do nothing",),
    "schedule that is over": (
        "whose learning rate is 0 in this run: its CosineDecay is over",
        "has taken 38 steps before",
        "compile=False",
    ),
    "precision of a loaded model": (
        "--precision=mixed_bfloat16 would do nothing",
        "were made with float32",
    ),
    "plateau": (
        "callbacks() has ReduceLROnPlateau, which sets the learning rate",
        "--schedule=cosine",
        "Add --schedule=constant --warmup_fraction=0",
    ),
    "scheduler": ("has LearningRateScheduler", "Add --schedule=constant --warmup_fraction=0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_before_anything_is_written(ended, name):
    folder, results = ended
    assert results[name]["code"] == 2
    _contains(results[name]["reason"], *REFUSED[name])
    assert not (folder / name).exists()


@pytest.mark.parametrize("name", ["plateau with a number", "plateau of a compiled model"])
def test_a_rate_that_may_be_set_trains_with_callbacks_that_set_it(ended, name):
    assert ended[1][name]["steps"] == 3


def test_what_a_loaded_model_keeps_is_in_the_plan(ended):
    shown = " ".join(ended[1]["schedule half way"]["shown"].split())
    assert "the model's own: 0.05, 0.04177 at the last step; its optimizer has taken 19" in shown
    assert "mixed_bfloat16 (the model's own)" in ended[1]["policy of a loaded model"]["shown"]


def _kept(folder, name):
    with np.load(folder / name / "model.weights.npz") as arrays:
        return [arrays[str(number)] for number in range(len(arrays.files))]


def test_a_callback_that_sets_a_schedules_rate_ends_the_run_with_the_flags_and_the_weights(ended):
    folder, results = ended
    reason = results["own callback sets the rate"]["reason"]
    _contains(reason, "A callback sets the learning rate", "--schedule=constant --warmup_fraction")
    _contains(reason, "The weights after step 3 are in", "model.set_weights")
    weights = _kept(folder, "own callback sets the rate")
    assert [weight.shape for weight in weights] == [(64, 6), (6,), (6, 10), (10,)]
    assert all(np.isfinite(weight).all() for weight in weights)


def test_other_trainable_weights_than_at_the_first_step_end_the_run(ended):
    folder, results = ended
    reason = results["unfreezes"]["reason"]
    _contains(reason, "has changed which weights are trained, from 460 to 70", "in two runs")
    _contains(reason, "The weights after step 3 are in")
    assert len(_kept(folder, "unfreezes")) == 4


PLAIN = """
import json, sys
import numpy as np
import keras
sys.path.insert(0, sys.argv[3])
from datasets import digits
for path in json.loads(sys.argv[1]):
    model = keras.saving.load_model(path)
    examples = digits.load("validation").take(32).map(lambda r: digits.preprocess(r, False))
    x, y = next(examples.batch(32).as_numpy_iterator())
    print(json.dumps(model.evaluate(x, y, verbose=0, return_dict=True)))
"""
RESTORED = ("best weights", "averaged weights", "swapped averages", "plateau of a compiled model")


def test_the_report_is_about_the_weights_in_the_file(ended):
    folder, results = ended
    paths = json.dumps([str(folder / name / "model.keras") for name in RESTORED])
    (worker,) = start_all(
        [[sys.executable, "-c", PLAIN, paths, "", str(ROOT)]], deadline_seconds=90, is_warm=True
    )
    assert worker.code == 0, worker.err[-2000:]
    for name, line in zip(RESTORED, worker.out.splitlines()[-len(RESTORED) :], strict=True):
        plain, metrics = json.loads(line), results[name]["metrics"]
        assert metrics["val_loss"] == pytest.approx(plain["loss"], abs=1e-5), name
        assert metrics["val_accuracy"] == pytest.approx(plain["accuracy"], abs=1e-6), name


def test_only_weights_that_changed_are_validated_again(ended):
    again = {name for name in RESTORED if "validation is repeated" in ended[1][name]["shown"]}
    # SwapEMAWeights has validated the averages already, which are what is saved.
    assert again == {"best weights", "averaged weights"}


# M13: nodes whose copies differ.

DATA = """
    import numpy as np
    import tensorflow as tf

    num_classes = 10

    def load(split):
        images = np.random.default_rng(0).random((64, 8, 8, 1), dtype=np.float32)
        labels = np.arange(64) % 10
        return tf.data.Dataset.from_tensor_slices((images, labels)) if split == "train" else None
"""
RANK = "RANK = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
HELPED = "import augment\n" + textwrap.dedent(DATA)
# By name: files of node 0 and of node 1 where they differ from its own, and what is said.
NODES = {
    "dataset": ({"data.py": "# an older copy\n"}, "the text of data.py (worker 0: "),
    "model": ({"model.py": "# an older copy\n"}, "the text of model.py (worker 0: "),
    "module": ({"augment.py": "strength = 2\n"}, "the text of the module augment (worker 0: "),
}


def _node(folder, files):
    folder.mkdir()
    texts = {
        "data.py": HELPED,
        "model.py": textwrap.dedent(MODEL),
        "augment.py": "strength = 1\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text + files.get(name, ""))
    return folder


def _on_nodes(folder, *files):
    """The commands of two nodes whose folders hold these files beside the usual ones."""
    flags = ["--dataset=data.py", "--model=model.py", f"--run_dir={folder / 'runs'}"]
    commands = worker_commands(flags)
    nodes = [_node(folder / f"node{rank}", each) for rank, each in enumerate(files)]
    return [
        ["env", "-C", str(node), f"PYTHONPATH={node}", *command]
        for node, command in zip(nodes, commands, strict=True)
    ]


@pytest.mark.promise("differences")
@pytest.mark.parametrize("name", NODES)
def test_nodes_whose_files_differ_are_refused_by_the_name_of_the_file(tmp_path, name):
    files, said = NODES[name]
    reason = _shared_reason(_on_nodes(tmp_path, {}, files), tmp_path)
    _contains(reason, "The workers differ in " + said, "Copy the same files to every node.")
    assert not (tmp_path / "runs").exists()


# Of the dataset file: what one node's environment, vocabulary or helper makes of the same text.
DATA_BY_RANK = {
    "order": ("shuffle = RANK == 0\n", "the settings of the dataset file (worker 0: shuffle "),
    "vocabulary": (
        "def preprocess(record, training):\n    return record[0], (record[1] + RANK) % 10\n",
        "what is made of the first records of 'train' (worker 0: int64 ",
    ),
    "scale": (
        "def preprocess(record, training):\n    return record[0] * (1 + RANK), record[1]\n",
        "what is made of the first records of 'train' (worker 0: float32 around ",
    ),
}


@pytest.mark.promise("differences")
@pytest.mark.parametrize("name", DATA_BY_RANK)
def test_workers_that_make_other_examples_of_the_same_records_are_refused(tmp_path, name):
    text, said = DATA_BY_RANK[name]
    own = {"data.py": f"import json, os\n{RANK}{text}"}
    reason = _shared_reason(_on_nodes(tmp_path, own, own), tmp_path, deadline_seconds=90)
    _contains(reason, said)
    assert not (tmp_path / "runs").exists()


# The same text on both nodes, which makes something else of it on one.
BY_RANK = {
    "loss": (
        COMPILED.format(rate="0.1", more="")
        + "    LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=RANK == 0)\n",
        "the loss of the model (worker 0: from_logits true, worker 1: from_logits false)",
    ),
    "weights": (
        "    def build(spec, num_classes):\n"
        "        model = network(spec)\n"
        "        model.layers[1].bias.assign([RANK] * 6)\n"
        "        return model\n",
        "the weights that the model starts with (worker 0: sequential/dense/bias ",
    ),
    "frozen": (
        "    def build(spec, num_classes):\n"
        "        model = network(spec)\n"
        "        model.layers[1].trainable = RANK == 0\n"
        "        return model\n",
        "the variables of the model (worker 0: sequential/dense/kernel float32 64x6, worker 1: ",
    ),
    "callbacks": (
        "    def callbacks():\n"
        "        return [keras.callbacks.EarlyStopping('loss', patience=1 + RANK)]\n",
        "the callbacks of the model file (worker 0: ",
    ),
}


@pytest.mark.promise("differences")
@pytest.mark.parametrize("name", BY_RANK)
def test_workers_that_build_other_things_are_refused_before_the_first_step(tmp_path, name):
    text, said = BY_RANK[name]
    own = f"import json, os\n{RANK}{textwrap.dedent(text)}"
    commands = _on_nodes(tmp_path, {"model.py": own}, {"model.py": own})
    reason = _shared_reason(commands, tmp_path, deadline_seconds=90)
    _contains(reason, said)
    assert not (tmp_path / "runs").exists()


# What other collectives would run for, or none: each was waited for, or ended with a number.
DENSE = (
    "        first = [keras.Input(spec.shape), layers.Flatten()]\n"
    "        return keras.Sequential([*first, {0}layers.Dense(10)])\n"
)
BUILD = "    def build(spec, num_classes):\n"
BUILT_BY_RANK = {
    "shapes": (
        BUILD + DENSE.format("layers.Dense(6 + RANK), "),
        ("the variables of the model (worker 0: sequential/dense/kernel float32 64x6, worker 1: ",),
    ),
    "another layer": (
        BUILD + DENSE.format("*[layers.Dense(10) for _ in range(RANK)], "),
        ("the variables of the model (worker 0: ", "sequential/dense/kernel float32 10x10"),
    ),
    "the order of layers": (
        BUILD + DENSE.format("layers.Dense(6 + RANK), layers.Dense(7 - RANK), "),
        ("the variables of the model (worker 0: sequential/dense/kernel float32 64x6",),
    ),
    "optimizer": (
        COMPILED.format(rate="0.1", more="").replace("SGD(0.1)", "get(['sgd', 'adam'][RANK])"),
        ('the optimizer of the model (worker 0: class "SGD", worker 1: class "Adam")',),
    ),
    "metrics": (
        COMPILED.format(rate="0.1", more="").replace(
            'metrics=["accuracy"]',
            'metrics=["accuracy", "sparse_top_k_categorical_accuracy"][:1 + RANK]',
        ),
        ("the metrics of the model ",),
    ),
    "compiled": (
        COMPILED.format(rate="0.1", more="").replace(
            "        return", "        return network(spec) if RANK else"
        ),
        ("the optimizer of the model ",),
    ),
    "a model beside it": (
        BUILD + "        beside = network(spec) if RANK else None\n        return network(spec)\n",
        ("the variables that are made ",),
    ),
}


@pytest.mark.promise("differences")
@pytest.mark.parametrize("name", BUILT_BY_RANK)
def test_workers_that_build_other_models_say_who_has_what_before_anything_is_sent(tmp_path, name):
    text, said = BUILT_BY_RANK[name]
    own = f"import json, os\n{RANK}{textwrap.dedent(text)}"
    commands = _on_nodes(tmp_path, {"model.py": own}, {"model.py": own})
    ended = start_all(commands, deadline_seconds=90, is_warm=True)
    assert [worker.code for worker in ended] == [2, 2], ended
    for worker in ended:
        _contains(
            worker.err, "The workers differ in ", "Let every node build the same model", *said
        )
    assert not (tmp_path / "runs").exists()


SLOW = """
    def build(spec, num_classes):
        import time
        time.sleep(22 * RANK)
        return network(spec)
"""


def test_a_worker_that_builds_for_long_is_named_within_the_start_timeout(tmp_path):
    own = f"import json, os\n{textwrap.dedent(MODEL)}{RANK}{textwrap.dedent(SLOW)}"
    commands = _on_nodes(tmp_path, {"model.py": own}, {"model.py": own})
    flags = ["--epochs=1", "--start_timeout=15"]
    ended = start_all([[*one, *flags] for one in commands], deadline_seconds=90, is_warm=True)
    assert [worker.code for worker in ended] == [0, 0], ended
    assert "has been starting (build, model.py:" in ended[0].err
    assert "worker 0 waits for it at its start." in ended[0].err


UNSEEDED = """
    import numpy as np

    def build(spec, num_classes):
        def draw(shape, dtype=None):
            return np.random.default_rng().normal(size=shape).astype(dtype)

        return keras.Sequential(
            [
                keras.Input(spec.shape),
                layers.Flatten(),
                layers.Dense(10, kernel_initializer=draw),
            ]
        )
"""


def test_first_values_that_each_worker_draws_for_itself_are_the_chiefs(tmp_path):
    own = f"{textwrap.dedent(MODEL)}{textwrap.dedent(UNSEEDED)}"
    commands = _on_nodes(tmp_path, {"model.py": own}, {"model.py": own})
    ended = start_all([[*one, "--epochs=1"] for one in commands], deadline_seconds=90, is_warm=True)
    # The checkpoint at the end compares the replicas: weights that had begun apart would be found.
    assert [worker.code for worker in ended] == [0, 0], ended


def test_a_callback_that_fails_on_every_worker_keeps_the_chiefs_weights(tmp_path):
    own = textwrap.dedent(OWN_RATE) + textwrap.dedent(CALLBACKS.format("Warm()"))
    commands = _on_nodes(tmp_path, {"model.py": own}, {"model.py": own})
    own_folder = {"TMPDIR": str(tmp_path)}
    ended = start_all(commands, deadline_seconds=90, environ=own_folder, is_warm=True)
    assert [worker.code for worker in ended] == [2, 2], ended
    assert "--schedule=constant --warmup_fraction=0" in ended[0].err
    assert len(_kept(tmp_path, "runs")) == 4
