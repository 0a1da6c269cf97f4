"""The result of a training doesn't depend on how many workers and devices took part in it.

Every scene of scenes.py is played on real workers of several shapes; K1 to K13 are the defects of
stock Keras 3 under tf.distribute that it would otherwise show.
"""

import pickle
import sys

import numpy as np
import pytest

from tests.jobs import scenes
from tests.jobs.workers import stage_commands, start_all

EVERYWHERE = (
    *("parity_float32", "parity_float64", "gradient_path", "clipping", "statistics"),
    "overflow",
)
ON_TWO_WORKERS = (
    *EVERYWHERE,
    *("accumulation", "compiled", "several_inputs", "decisions", "mixed_bfloat16"),
    *("mixed_float16", "files_of_callbacks", "own_train_step", "loops", "optimizers", "dropout"),
)
# (workers, devices of each): the first is what all others are compared with.
SHAPES = {
    (1, 1): (*ON_TWO_WORKERS, "not_compilable"),
    (2, 1): (*ON_TWO_WORKERS, "compressed"),
    (1, 4): EVERYWHERE,
    (2, 2): (*EVERYWHERE, "dropout"),
}
SEVERAL = [shape for shape in SHAPES if shape != (1, 1)]
# float32 wherever nothing else is said; the gradients of "overflow" are float16.
EPSILON = {"parity_float64": 1e-12, "overflow": 1e-5}
EPSILON_FLOAT32 = 1e-6
PREDICTION_EPSILON_FLOAT32 = 1e-5  # logits, sums of many terms, are larger than weights


@pytest.fixture(scope="session")
def played(tmp_path_factory):
    """What every scene gave on every worker: played[shape][scene][worker]."""
    folder = tmp_path_factory.mktemp("scenes")
    for together in (((1, 1), (1, 4)), ((2, 1), (2, 2))):
        # Most of a scene is tracing, which takes one core: two shapes share the two.
        commands = [
            command
            for shape in together
            for command in stage_commands(SHAPES[shape], _folder(folder, shape), shape)
        ]
        ended = start_all(commands, deadline_seconds=400)
        failed = [worker for worker in ended if worker.code != 0]
        assert not failed, f"exit code {failed[0].code}:\n{failed[0].err[-4000:]}"
    return Played(folder)


class Played:
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, shape, scene):
        """What the scene gave on each worker of the shape."""
        paths = [_folder(self.folder, shape) / f"{scene}-{k}.pickle" for k in range(shape[0])]
        return [pickle.loads(path.read_bytes()) for path in paths]  # noqa: S301  # our own


def _folder(folder, shape):
    path = folder / f"{shape[0]}x{shape[1]}"
    path.mkdir(exist_ok=True)
    return path


def _numbers(result, path=""):
    """Every number that a scene gave, by where it stands in the result; times aren't results."""
    if isinstance(result, dict):
        for name, value in result.items():
            yield from _numbers(value["metrics"] if name == "report" else value, f"{path}/{name}")
    elif isinstance(result, list | tuple):
        for position, value in enumerate(result):
            yield from _numbers(value, f"{path}/{position}")
    else:
        yield path, np.asarray(result, "float64")


def _assert_same(played, shape, scene, epsilon=None):
    epsilon = epsilon or EPSILON.get(scene, EPSILON_FLOAT32)
    expected = dict(_numbers(played((1, 1), scene)[0]))
    assert expected
    for worker, result in enumerate(played(shape, scene)):
        found = dict(_numbers(result))
        assert found.keys() == expected.keys()
        for path, value in found.items():
            is_prediction = "/predicted" in path and epsilon == EPSILON_FLOAT32
            np.testing.assert_allclose(
                value,
                expected[path],
                rtol=0,
                atol=PREDICTION_EPSILON_FLOAT32 if is_prediction else epsilon,
                err_msg=f"{scene}{path} on worker {worker} of {shape}",
            )


@pytest.mark.parametrize("shape", SEVERAL)
@pytest.mark.parametrize("scene", ["parity_float32", "parity_float64"])
def test_weights_losses_metrics_and_predictions_are_those_of_one_worker(played, shape, scene):
    """K1, K6, K12; 50 steps with momentum and synchronised batch normalisation."""
    _assert_same(played, shape, scene)
    result = played(shape, scene)[0]
    assert len(result["batches"]) == 50
    assert result["batches"][-1]["loss"] < result["batches"][0]["loss"]


@pytest.mark.parametrize("shape", SEVERAL)
def test_gradients_arrive_whatever_way_they_take(played, shape):
    expected = played((1, 1), "gradient_path")[0]
    for result in played(shape, "gradient_path"):
        for name, epsilon in [
            *(("pieces", 1e-6), ("halves", 1e-6), ("rows", 1e-6), ("densified", 1e-6)),
            *(("bfloat16", 1e-2), ("float16", 3e-4), ("int8", 3e-2), ("topk", 0.3)),
        ]:
            for found, alone in zip(
                result[name]["weights"], expected[name]["weights"], strict=True
            ):
                np.testing.assert_allclose(found, alone, rtol=0, atol=epsilon, err_msg=name)
        sent = {name: run["report"]["communication"] for name, run in result.items()}
        # The largest kernel, 128 x 4 x 4 bytes, is in several buckets of 1 kB.
        assert sent["pieces"]["buckets"] > 2
        assert sent["rows"]["sparse_gradients"] == 1
        assert sent["densified"]["densified_gradients"] == 1
        assert sent["pieces"]["sent_bytes_per_step"] == pytest.approx(
            2 * sent["bfloat16"]["sent_bytes_per_step"]
        )
        share = result["pieces"]["report"]["share_of_step"]
        assert 0 < share["exposed_communication"] < 1
        assert sent["pieces"]["bus_bandwidth"] > 0


@pytest.mark.parametrize("network", ["digits", "resnet"])
@pytest.mark.parametrize("compress", ["int8", "topk"])
def test_compressed_gradients_reach_the_accuracy_of_whole_ones(played, compress, network):
    found = played((2, 1), "compressed")[0]

    def accuracy(way):
        return found[way][network]["report"]["metrics"]["val_accuracy"]

    def sent(way):
        return found[way][network]["report"]["communication"]["sent_bytes_per_step"]

    assert accuracy("none") > 0.9
    assert accuracy(compress) > accuracy("none") - 0.03
    assert sent(compress) < sent("none") / 3.5


@pytest.mark.parametrize("scene", ["parity_float32", "parity_float64"])
def test_evaluate_and_predict_are_those_of_plain_keras(played, scene, tmp_path):
    """K6: sizes that divide by nothing, and fewer examples than replicas."""
    images, labels = scenes._images(scenes.RAGGED, seed=2)
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    model = _folder(played.folder, (1, 1)) / scene / "model.keras"
    program = f"""
import keras, numpy as np, sys
keras.config.set_floatx({scene.removeprefix("parity_")!r})
model = keras.saving.load_model({str(model)!r})
assert not any(name.startswith("tfscale") for name in sys.modules)
given = np.load("set.npz")
x, y = given["images"], given["labels"]
loss, accuracy = model.evaluate(x, y, verbose=0)
few = model.evaluate(x[:3], y[:3], verbose=0)
np.savez("out.npz", loss=loss, accuracy=accuracy, few=few, predicted=model.predict(x, verbose=0))
"""
    ended = start_all([[sys.executable, "-c", program]], deadline_seconds=120, cwd=tmp_path)
    assert ended[0].code == 0, ended[0].err[-2000:]
    plain = np.load(tmp_path / "out.npz")
    epsilon = EPSILON.get(scene, EPSILON_FLOAT32)
    for shape in SHAPES:
        for ours in played(shape, scene):
            same = {"rtol": 0, "atol": epsilon, "err_msg": f"{shape}"}
            np.testing.assert_allclose(ours["evaluated"]["loss"], plain["loss"], **same)
            np.testing.assert_allclose(ours["evaluated"]["accuracy"], plain["accuracy"], **same)
            few = [ours["evaluated_few"]["loss"], ours["evaluated_few"]["accuracy"]]
            np.testing.assert_allclose(few, plain["few"], **same)
            same["atol"] = PREDICTION_EPSILON_FLOAT32 if epsilon == EPSILON_FLOAT32 else epsilon
            np.testing.assert_allclose(ours["predicted"], plain["predicted"], **same)
            np.testing.assert_allclose(ours["predicted_few"], plain["predicted"][:3], **same)


@pytest.mark.parametrize("shape", SEVERAL)
def test_gradients_are_clipped_after_they_were_summed(played, shape):
    """K3."""
    _assert_same(played, shape, "clipping")


@pytest.mark.parametrize("shape", SEVERAL)
def test_batch_statistics_are_the_mean_over_replicas(played, shape):
    """K5: each replica sees other examples; stock Keras would save those of the first."""
    means = {float(result["moving_mean"][0]) for result in played(shape, "statistics")}
    assert means == {float(played((1, 1), "statistics")[0]["moving_mean"][0])}
    one_replica_alone = [
        float(mean) for mean in _moving_means_by_replica(shape[0] * shape[1]) if mean not in means
    ]
    assert len(one_replica_alone) == shape[0] * shape[1]  # none of them saw the mean


def _moving_means_by_replica(count):
    order = scenes.first_batch(scenes.NUM_EXAMPLES)
    return [0.5 * np.mean(part) for part in np.split(order, count)]


@pytest.mark.parametrize("shape", SEVERAL)
def test_an_overflow_on_the_last_replica_alone_is_skipped_on_all(played, shape):
    """K4."""
    _assert_same(played, shape, "overflow")
    for result in played(shape, "overflow"):
        assert result["overflow"]["scale"] == result["calm"]["scale"] / 2
        assert (result["overflow"]["iterations"], result["calm"]["iterations"]) == (0, 1)
        assert all(np.isfinite(weight).all() for weight in result["overflow"]["weights"])


def test_dict_inputs_two_losses_weights_and_metrics_give_the_same_numbers(played):
    """K2, K13: integer and string inputs, AUC, precision, sample weights, class weights."""
    _assert_same(played, (2, 1), "several_inputs")
    metrics = played((2, 1), "several_inputs")[0]["report"]["metrics"]
    assert {"val_likely_auc", "val_likely_precision", "val_sum_loss"} <= metrics.keys()


def test_micro_batches_give_what_one_batch_gives(played):
    """K7."""
    _assert_same(played, (2, 1), "accumulation")
    result = played((2, 1), "accumulation")[0]
    _assert_close(result["halves"]["weights"], result["whole"]["weights"])


def test_xla_compiles_forward_and_backward_and_changes_no_result(played):
    """K11."""
    _assert_same(played, (2, 1), "compiled")
    result = played((2, 1), "compiled")[0]
    for name in ("flag", "halves"):
        _assert_close(result[name]["weights"], result["plain"]["weights"])
    refusal = played((1, 1), "not_compilable")[0]["compiled"]
    assert "XLA" in refusal and "AsString" in refusal


def _assert_close(found, expected, epsilon=EPSILON_FLOAT32):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=epsilon)


def test_every_worker_decides_the_same_about_the_rate_and_the_end(played):
    """EarlyStopping and ReduceLROnPlateau, as on one worker."""
    alone = played((1, 1), "decisions")[0]["rates"]
    assert len(alone) < 20, "EarlyStopping never stopped"
    assert min(alone) < max(alone), "ReduceLROnPlateau never reduced"
    for result in played((2, 1), "decisions"):
        assert result["rates"] == alone


@pytest.mark.parametrize("scene", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(played, scene):
    first, second = played((2, 1), scene)
    losses = [logs["loss"] for logs in first["batches"]]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    _assert_close(first["weights"], second["weights"], epsilon=1e-12)


def test_files_of_callbacks_are_written_by_the_chief_alone(played):
    """K8."""
    chief, other = (result["files"] for result in played((2, 1), "files_of_callbacks"))
    assert chief == played((1, 1), "files_of_callbacks")[0]["files"]
    assert {"best-1.keras", "board", "log.csv"} == set(chief)
    assert not other


def test_a_train_step_of_the_users_own_trains_the_same(played):
    _assert_same(played, (2, 1), "own_train_step")


def test_the_length_of_an_on_device_loop_changes_no_result(played):
    """K10: Python is entered once a loop, and the loop lengthens by itself."""
    for shape in ((1, 1), (2, 1)):
        result = played(shape, "loops")[0]
        assert len(result["single"]["batches"]) == 50
        assert len(result["chosen"]["batches"]) < 25
        assert len(result["seven"]["batches"]) == 2 * 4  # 7, 7, 7 and 4 of 25 steps
        for name in ("chosen", "seven"):
            _assert_close(result[name]["weights"], result["single"]["weights"], epsilon=0)
    _assert_close(
        played((2, 1), "loops")[0]["single"]["weights"],
        played((1, 1), "loops")[0]["single"]["weights"],
    )


def test_every_optimizer_takes_the_steps_that_it_takes_on_one_worker(played):
    _assert_same(played, (2, 1), "optimizers")


@pytest.mark.parametrize("shape", [(2, 1), (2, 2)])
def test_replicas_drop_different_units(played, shape):
    alone = played((1, 1), "dropout")[0]["kept"]
    assert set(alone) == {0.0, 2.0}
    # The mean over replicas: neither kept nor dropped by all where their masks differ.
    assert not set(played(shape, "dropout")[0]["kept"]) <= {0.0, 2.0}
