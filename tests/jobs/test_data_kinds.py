"""What users bring as data trains alike on one worker and on two, and as in plain Keras."""

import json

import keras
import numpy as np
import pytest

from tests.jobs.playing import TWO
from tests.jobs.scenes import data_kinds

pytestmark = [pytest.mark.long, pytest.mark.promise("kinds")]


def _are_alike(ours, theirs):
    assert ours["report"]["metrics"] == pytest.approx(theirs["report"]["metrics"], abs=2e-6)
    for found, expected in zip(ours["weights"], theirs["weights"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.plays("sizes", on=[TWO])
@pytest.mark.parametrize("kind", ["both", "buckets", "padded"])
def test_examples_of_different_size_train_as_on_one_worker(played, kind):
    for result in played.workers:
        _are_alike(result[kind], played.alone[kind])


@pytest.mark.plays("sizes", on=[TWO])
def test_what_only_fills_up_counts_neither_in_the_loss_nor_in_the_metric(played):
    """Keras, with a weight for each word, on the one batch that there is."""
    words, tags = data_kinds.sentences()
    report = played.alone["padded"]["report"]
    assert report["steps"] == 1
    keras.utils.set_random_seed(0)
    model = data_kinds._tagger(type("spec", (), {"shape": (data_kinds.MOST_WORDS,)}))
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
        weighted_metrics=["accuracy"],
    )
    history = model.fit(
        words,
        np.maximum(tags, 0),
        sample_weight=(words > 0).astype("float32"),
        verbose=0,
        batch_size=data_kinds.SENTENCES,
    ).history
    expected = (history["loss"][0], history["accuracy"][0])
    assert (report["metrics"]["loss"], report["metrics"]["accuracy"]) == pytest.approx(
        expected, abs=1e-6
    )


@pytest.mark.plays("brought", on=[TWO])
@pytest.mark.parametrize(
    "kind", ["stream", "files", "folders", "numbers", "kept", "kept on disk", "mixed", "bad"]
)
def test_every_kind_of_data_trains_as_on_one_worker(played, kind):
    for result in played.workers:
        _are_alike(result[kind], played.alone[kind])


@pytest.mark.plays("brought", on=[TWO])
def test_an_epoch_of_files_is_that_of_the_same_records_by_number(played):
    for result in played.workers:
        _are_alike(result["files"], result["numbers"])


@pytest.mark.plays("brought", on=[TWO])
@pytest.mark.parametrize("kind", ["kept", "kept on disk"])
def test_examples_that_are_kept_are_those_that_are_made(played, kind):
    for result in played.workers:
        _are_alike(result[kind], result["numbers"])


@pytest.mark.plays("brought", on=[TWO])
def test_bad_records_are_in_the_report_the_same_on_all_workers(played):
    for result in [*played.workers, played.alone]:
        assert result["bad"]["report"]["bad_examples"] == {
            "train": {"count": 3, "records": ["record 7", "record 157", "record 307"]}
        }
        assert result["numbers"]["report"]["bad_examples"] == {}


@pytest.mark.plays("table", on=[TWO])
def test_a_table_of_pandas_trains_as_in_keras_without_the_counter_of_its_rows(played):
    """In one process, on the same columns; a step is an epoch, so that no order is compared."""
    x, names = data_kinds.flowers()
    y = np.array([sorted(data_kinds.FLOWERS).index(name) for name in names])
    keras.utils.set_random_seed(0)
    model = data_kinds.flower_model(type("spec", (), {"shape": (2,)}), len(data_kinds.FLOWERS))
    history = model.fit(
        x, y, batch_size=len(x), epochs=5, validation_data=(x, y), verbose=0
    ).history
    expected = {name: values[-1] for name, values in history.items()}
    for result in [played.alone, *played.workers]:
        metrics = result["report"]["metrics"]
        assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-6)
        for found, plain in zip(result["weights"], model.get_weights(), strict=True):
            np.testing.assert_allclose(found, plain, rtol=0, atol=1e-6)
    plan = json.loads((played.run_dir / "config.json").read_text())["plan"]
    assert plan["train data"].endswith(
        "; columns left out: 1 without a name; species: 0 setosa, 1 versicolor, 2 virginica"
    )
