import json

import pytest

from tfscale.checkpoints.resume import differences
from tfscale.settings import SETTINGS, Config

OPTIONS = ("folder=/data/flowers", "size=32")
AS_MADE = {
    **Config(run_dir="runs/first", epochs=3, dataset_option=OPTIONS).as_dict(),
    **{"dataset": "data.py", "model": "model.py", "workers": []},
    "sources": {"dataset": "1f", "model": ""},
}
MUST_STAY = sorted(name for name, one in SETTINGS.items() if not one.may_differ_on_resume)


def _differences(folder, **changes):
    (folder / "config.json").write_text(json.dumps(AS_MADE))
    return differences(folder, {**AS_MADE, **changes})


MUST_STAY.remove("epochs")
MUST_STAY.remove("dataset_option")


@pytest.mark.parametrize("name", MUST_STAY)
def test_a_run_goes_on_with_the_value_that_it_had(tmp_path, name):
    (found,) = _differences(tmp_path, **{name: "another"})
    assert found == f"--{name} was {json.loads(json.dumps(AS_MADE[name]))} and is another"


@pytest.mark.parametrize("name", ["run_dir", "devices", "step_timeout", "on_nan", "workers"])
def test_what_changes_nothing_that_is_trained_may_be_another(tmp_path, name):
    assert _differences(tmp_path, **{name: "another"}) == []


def test_what_is_trained_hangs_on_what_has_to_stay():
    assert {"batch_size", "seed", "optimizer", "wire_dtype", "model_option"} < {*MUST_STAY}


def test_more_epochs_are_no_other_run_and_fewer_are(tmp_path):
    assert _differences(tmp_path, epochs=6) == []
    assert _differences(tmp_path, epochs=2) == ["--epochs was 3 and is 2"]


def test_a_file_may_lie_elsewhere_if_its_text_is_the_same(tmp_path):
    moved = {"dataset": "elsewhere/data.py"}
    assert _differences(tmp_path, **moved) == []
    others = {"sources": {"dataset": "2e", "model": ""}}
    told = ["--dataset was data.py and is elsewhere/data.py"]
    assert _differences(tmp_path, **moved, **others) == told
    assert _differences(tmp_path, **others) == []  # mended, and said in the plan
    # What has no text can't be compared.
    assert _differences(tmp_path, model="other") == ["--model was model.py and is other"]


@pytest.mark.parametrize(
    ("options", "is_same"),
    [
        (["folder=/mnt/flowers", "size=32"], True),
        (["size=32", "folder=/data/flowers"], True),
        (["folder=/data/flowers", "size=64"], False),
        (["size=32"], False),
    ],
)
def test_options_but_for_paths_are_the_same(tmp_path, options, is_same):
    assert bool(_differences(tmp_path, dataset_option=options)) is not is_same
