from pathlib import Path

import keras
import pytest

from tfscale.fit.keras import seams

ROOT = Path(__file__).resolve().parents[3]


def test_what_is_missing_is_named_with_the_version_that_has_it():
    names = ["keras.Model.fit", "keras.src.moved.loss", "keras.Model.gone", "keras.src.losses.gone"]
    with pytest.raises(ImportError) as caught:
        seams.found(names)
    assert str(caught.value) == (
        f"Keras {keras.__version__} has no keras.src.moved.loss, no keras.Model.gone, no "
        f"keras.src.losses.gone; expected Keras {seams.WRITTEN_FOR}, for which tfscale/fit/keras/ "
        "is written. Install that one: pip install -r requirements.txt"
    )
    assert seams.found(["keras.Model.fit"]) == [keras.Model.fit]


def test_the_version_is_the_pinned_one():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert f"keras=={seams.WRITTEN_FOR}" in [line.split()[0] for line in lines if line]
