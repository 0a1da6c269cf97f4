import json

import pytest

from tfscale.checkpoints.resume import differences
from tfscale.settings import SETTINGS, Config

AS_MADE = {**Config(run_dir="runs/first").as_dict(), "dataset": "data.py", "workers": []}
MUST_STAY = sorted(name for name, one in SETTINGS.items() if not one.may_differ_on_resume)


def _differences(folder, **changes):
    (folder / "config.json").write_text(json.dumps(AS_MADE))
    return differences(folder, {**AS_MADE, **changes}, may_train_longer=False)


@pytest.mark.parametrize("name", [*MUST_STAY, "dataset"])
def test_a_run_goes_on_with_the_value_that_it_had(tmp_path, name):
    (found,) = _differences(tmp_path, **{name: "another"})
    assert found == f"--{name} was {json.loads(json.dumps(AS_MADE[name]))} and is another"


@pytest.mark.parametrize("name", ["run_dir", "devices", "step_timeout", "on_nan", "workers"])
def test_what_changes_nothing_that_is_trained_may_be_another(tmp_path, name):
    assert _differences(tmp_path, **{name: "another"}) == []


def test_what_is_trained_hangs_on_what_has_to_stay():
    assert {"batch_size", "seed", "optimizer", "wire_dtype", "jit", "model_option"} < {*MUST_STAY}
