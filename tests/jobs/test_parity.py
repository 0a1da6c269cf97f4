"""The result of a training doesn't depend on how many workers and devices took part in it.

Every scene of scenes/ is played on real workers of several shapes; K1 to K13 are the defects of
stock Keras 3 under tf.distribute that it would otherwise show. One scene and shape by themselves:
pytest tests/jobs/test_parity.py -k "clipping and 2x1"
"""

import sys

import numpy as np
import pytest

from tests.jobs.playing import ALONE, SEVERAL, TWO, numbers_in
from tests.jobs.scenes import examples
from tests.jobs.workers import start_all

# float32 wherever nothing else is said; the gradients of "overflow" are float16.
EPSILON = {"parity_float64": 1e-12, "overflow": 1e-5}
EPSILON_FLOAT32 = 1e-6
PREDICTION_EPSILON_FLOAT32 = 1e-5  # logits, sums of many terms, are larger than weights


def _assert_same(played):
    epsilon = EPSILON.get(played.scene, EPSILON_FLOAT32)
    expected = dict(numbers_in(played.alone))
    assert expected
    for worker, result in enumerate(played.workers):
        found = dict(numbers_in(result))
        assert found.keys() == expected.keys()
        for path, value in found.items():
            is_prediction = "/predicted" in path and epsilon == EPSILON_FLOAT32
            np.testing.assert_allclose(
                value,
                expected[path],
                rtol=0,
                atol=PREDICTION_EPSILON_FLOAT32 if is_prediction else epsilon,
                err_msg=f"{played.scene}{path} on worker {worker} of {played.shape}",
            )


@pytest.mark.promise("parity")
@pytest.mark.plays("parity_float32", "parity_float64", on=SEVERAL)
def test_weights_losses_metrics_and_predictions_are_those_of_one_worker(played):
    """K1, K6, K12; 50 steps with momentum and synchronised batch normalisation."""
    _assert_same(played)
    result = played.workers[0]
    assert len(result["batches"]) == 50
    assert result["batches"][-1]["loss"] < result["batches"][0]["loss"]


@pytest.mark.promise("evaluation")
@pytest.mark.promise("saving")
@pytest.mark.plays("parity_float32", "parity_float64", on=[ALONE])
def test_evaluate_and_predict_are_those_of_plain_keras(played, tmp_path):
    """K6: sizes that divide by nothing, and fewer examples than replicas."""
    images, labels = examples.images(examples.RAGGED, seed=2)
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    program = f"""
import keras, numpy as np, sys
keras.config.set_floatx({played.scene.removeprefix("parity_")!r})
model = keras.saving.load_model({str(played.run_dir / "model.keras")!r})
assert not any(name.startswith("tfscale") for name in sys.modules)
given = np.load("set.npz")
x, y = given["images"], given["labels"]
loss, accuracy = model.evaluate(x, y, verbose=0)
few = model.evaluate(x[:3], y[:3], verbose=0)
np.savez("out.npz", loss=loss, accuracy=accuracy, few=few, predicted=model.predict(x, verbose=0))
"""
    command = [sys.executable, "-c", program]
    ended = start_all([command], deadline_seconds=120, cwd=tmp_path, is_warm=True)
    assert ended[0].code == 0, ended[0].err[-2000:]
    plain = np.load(tmp_path / "out.npz")
    epsilon = EPSILON.get(played.scene, EPSILON_FLOAT32)
    # What several workers give is within another epsilon of this: the test above.
    ours, same = played.alone, {"rtol": 0, "atol": epsilon}
    np.testing.assert_allclose(ours["evaluated"]["loss"], plain["loss"], **same)
    np.testing.assert_allclose(ours["evaluated"]["accuracy"], plain["accuracy"], **same)
    few = [ours["evaluated_few"]["loss"], ours["evaluated_few"]["accuracy"]]
    np.testing.assert_allclose(few, plain["few"], **same)
    same["atol"] = PREDICTION_EPSILON_FLOAT32 if epsilon == EPSILON_FLOAT32 else epsilon
    np.testing.assert_allclose(ours["predicted"], plain["predicted"], **same)
    np.testing.assert_allclose(ours["predicted_few"], plain["predicted"][:3], **same)


@pytest.mark.promise("gradients")
@pytest.mark.plays("gradient_path", on=SEVERAL)
def test_gradients_arrive_whatever_way_they_take(played):
    expected = played.alone
    for result in played.workers:
        for name in ("pieces", "halves", "rows", "densified"):
            _assert_close(result[name]["weights"], expected[name]["weights"])
        sent = {name: run["report"]["communication"] for name, run in result.items()}
        # The largest kernel, 128 x 4 x 4 bytes, is in several buckets of 1 kB.
        assert sent["pieces"]["buckets"] > 2
        assert sent["rows"]["sparse_gradients"] == 1
        assert sent["densified"]["densified_gradients"] == 1
        share = result["pieces"]["report"]["share_of_step"]
        assert 0 < share["exposed_communication"] < 1
        assert sent["pieces"]["bus_bandwidth"] > 0


def _assert_close(found, expected, epsilon=EPSILON_FLOAT32):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=epsilon)


@pytest.mark.promise("update")
@pytest.mark.plays("clipping", on=SEVERAL)
def test_gradients_are_clipped_after_they_were_summed(played):
    """K3."""
    _assert_same(played)


@pytest.mark.plays("statistics", on=SEVERAL)
def test_batch_statistics_are_the_mean_over_replicas(played):
    """K5: each replica sees other examples; stock Keras would save those of the first."""
    means = {float(result["moving_mean"][0]) for result in played.workers}
    assert means == {float(played.alone["moving_mean"][0])}
    replicas = played.shape[0] * played.shape[1]
    (order,) = examples.training_order(examples.NUM_EXAMPLES)
    own = [0.5 * float(np.mean(part)) for part in np.split(order, replicas)]
    assert not means & set(own)  # none of them saw the mean


@pytest.mark.promise("update")
@pytest.mark.plays("overflow", on=SEVERAL)
def test_an_overflow_on_the_last_replica_alone_is_skipped_on_all(played):
    """K4."""
    _assert_same(played)
    for result in played.workers:
        assert result["overflow"]["scale"] == result["calm"]["scale"] / 2
        assert (result["overflow"]["iterations"], result["calm"]["iterations"]) == (0, 1)
        assert all(np.isfinite(weight).all() for weight in result["overflow"]["weights"])


@pytest.mark.plays("several_inputs", on=[TWO])
def test_dict_inputs_two_losses_weights_and_metrics_give_the_samenumbers_in(played):
    """K2, K13: integer and string inputs, AUC, precision, sample weights, class weights."""
    _assert_same(played)
    metrics = played.workers[0]["report"]["metrics"]
    assert {"val_likely_auc", "val_likely_precision", "val_sum_loss"} <= metrics.keys()


@pytest.mark.promise("gradients")
@pytest.mark.plays("accumulation", on=[TWO])
def test_micro_batches_give_what_one_batch_gives(played):
    """K7."""
    _assert_same(played)
    result = played.workers[0]
    _assert_close(result["halves"]["weights"], result["whole"]["weights"])


@pytest.mark.plays("compiled", on=[TWO])
def test_xla_compiles_forward_and_backward_and_changes_no_result(played):
    """K11."""
    _assert_same(played)
    result = played.workers[0]
    for name in ("flag", "halves"):
        _assert_close(result[name]["weights"], result["plain"]["weights"])


@pytest.mark.plays("not_compilable", on=[ALONE])
def test_what_xla_does_not_have_is_refused_with_its_name(played):
    """K11: it was asked to compile."""
    refusal = played.alone["compiled"]
    assert "XLA can't compile" in refusal and "AsString" in refusal and "--jit" in refusal


@pytest.mark.plays("decisions", on=[TWO])
def test_every_worker_decides_the_same_about_the_rate_and_the_end(played):
    """EarlyStopping and ReduceLROnPlateau, as on one worker."""
    alone = played.alone["rates"]
    assert len(alone) < 20, "EarlyStopping never stopped"
    assert min(alone) < max(alone), "ReduceLROnPlateau never reduced"
    for result in played.workers:
        assert result["rates"] == alone


@pytest.mark.plays("mixed_bfloat16", "mixed_float16", on=[TWO], compared=False)
def test_mixed_precision_trains(played):
    first, second = played.workers
    losses = [logs["loss"] for logs in first["batches"]]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    _assert_close(first["weights"], second["weights"], epsilon=1e-12)


@pytest.mark.plays("files_of_callbacks", on=[TWO])
def test_files_of_callbacks_are_written_by_the_chief_alone(played):
    """K8."""
    chief, other = (result["files"] for result in played.workers)
    assert chief == played.alone["files"]
    assert {"best-1.keras", "board", "log.csv"} == set(chief)
    assert not other


@pytest.mark.plays("own_train_step", on=[TWO])
def test_a_train_step_of_the_users_own_trains_the_same(played):
    _assert_same(played)


@pytest.mark.plays("loops", on=[TWO])
def test_the_length_of_an_on_device_loop_changes_no_result(played):
    """K10: Python is entered once a loop, and the loop lengthens by itself."""
    for result in (played.alone, played.workers[0]):
        assert len(result["single"]["batches"]) == 50
        assert len(result["chosen"]["batches"]) < 25
        assert len(result["seven"]["batches"]) == 2 * 4  # 7, 7, 7 and 4 of 25 steps
        for name in ("chosen", "seven"):
            _assert_close(result[name]["weights"], result["single"]["weights"], epsilon=0)
    _assert_close(played.workers[0]["single"]["weights"], played.alone["single"]["weights"])


@pytest.mark.plays("optimizers", on=[TWO])
def test_every_optimizer_takes_the_steps_that_it_takes_on_one_worker(played):
    _assert_same(played)


@pytest.mark.plays("dropout", on=[TWO, (2, 2)])
def test_replicas_drop_different_units(played):
    alone = played.alone["kept"]
    assert set(alone) == {0.0, 2.0}
    # The mean over replicas: neither kept nor dropped by all where their masks differ.
    assert not set(played.workers[0]["kept"]) <= {0.0, 2.0}
