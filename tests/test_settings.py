import dataclasses
import getpass
import json
from pathlib import Path

import pytest

from launch import worker_flags
from tfscale.errors import ConfigError
from tfscale.settings import SETTINGS, Config

CHOSEN = sorted(name for name, one in SETTINGS.items() if one.choices and not one.is_path)
COUNTS = sorted(name for name, one in SETTINGS.items() if one.kind is int)


def _message(**changes):
    with pytest.raises(ConfigError) as caught:
        Config(**{"run_dir": "runs/first", **changes})
    message = str(caught.value)
    assert "\n" not in message
    assert "expected" in message
    return message


def test_a_folder_is_all_that_a_first_run_needs():
    assert Config(run_dir="runs/first").batch_size == 64


def test_a_config_cannot_be_changed_once_it_is_made():
    made = Config(run_dir="runs/first")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.batch_size = 1


def test_settings_are_given_by_name_only():
    with pytest.raises(TypeError):
        Config("runs/first", 64)


def test_an_empty_folder_is_refused_with_one_that_works():
    assert "--run_dir=runs/first" in _message(run_dir="")


@pytest.mark.parametrize("folder", ["runs/a", "my run", "it's", "/gcs/box/a", "./~/a", "a:b", "Ä"])
def test_a_folder_of_this_machine_is_meant_from_the_current_one(folder):
    assert Config(run_dir=folder).run_dir == str(Path.cwd() / folder)


def test_a_folder_may_be_a_path():
    assert Config(run_dir=Path("/runs/a")).as_dict()["run_dir"] == "/runs/a"


def test_a_folder_is_the_same_after_a_change_of_the_current_one(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to("/tmp")
    monkeypatch.chdir(tmp_path)
    made = Config(run_dir="link/../runs", data_dir="data", cache="kept")
    monkeypatch.chdir("/")
    assert made.run_dir == f"{tmp_path}/link/../runs"  # which isn't tmp_path/runs
    assert (made.data_dir, made.cache) == (f"{tmp_path}/data", f"{tmp_path}/kept")


def test_folders_are_shown_and_compared_as_they_were_given(tmp_path, monkeypatch):
    made = []
    for name in ("node-0", "node-1"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        made.append(Config(run_dir=Path("runs/a"), data_dir="~/data", cache="memory"))
    assert made[0].run_dir != made[1].run_dir
    assert made[0].as_flags() == made[1].as_flags()
    flags = made[0].as_flags()
    assert [flags[name] for name in ("--run_dir", "--data_dir", "--cache")] == [
        *("runs/a", "~/data", "memory")
    ]


def test_a_folder_below_one_that_is_gone_is_refused(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "--run_dir=runs/a is relative to the current folder" in _message(run_dir="runs/a")
    assert Config(run_dir="/runs/a").run_dir == "/runs/a"


def test_the_users_home_is_meant_by_its_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Config(run_dir="~/runs/a").run_dir == "/home/somebody/runs/a"
    name = getpass.getuser()
    assert Config(run_dir=f"~{name}/runs").run_dir == str(Path(f"~{name}").expanduser() / "runs")


@pytest.mark.parametrize("scheme", ["gs", "s3", "hdfs", "abfss", "s3a", "https", "file", "GS"])
def test_a_remote_store_is_refused_by_its_name_with_what_to_do(scheme):
    message = _message(run_dir=f"{scheme}://box/run")
    assert f"--run_dir={scheme}://box/run is in a remote store ({scheme}://)" in message
    assert "--run_dir=runs/first, and copy it" in message


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("  ", "is empty"),
        (None, "is None"),
        (b"runs", "is b'runs'"),
        ("a\nb", r"'a\nb' has a character"),
        ("a\0b", r"'a\x00b' has a character"),
        ("a\x1b[2Jb", "has a character"),
        ("a\udcffb", "has a character"),
        ("~no-such-user/a", "Use --run_dir=./~no-such-user/a"),
    ],
)
def test_what_no_folder_can_be_is_refused(folder, says):
    assert says in _message(run_dir=folder)


@pytest.mark.parametrize("name", CHOSEN)
def test_every_listed_choice_is_taken(name):
    for choice in SETTINGS[name].choices:
        assert getattr(Config(run_dir="runs/first", **{name: choice}), name) == choice


@pytest.mark.parametrize("name", CHOSEN)
def test_an_unknown_choice_is_refused_with_all_the_known_ones(name):
    message = _message(**{name: "fastest"})
    assert f"--{name}=fastest is unknown" in message
    for choice in SETTINGS[name].choices:
        assert choice in message


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_a_whole_number_from_its_least_value(name):
    least = SETTINGS[name].least
    assert getattr(Config(run_dir="runs/first", **{name: least}), name) == least
    assert f"--{name}={least - 1} is out of range" in _message(**{name: least - 1})
    assert "whole number" in _message(**{name: least + 0.5})


@pytest.mark.parametrize("name", COUNTS)
def test_the_count_that_an_error_proposes_works(name):
    command = _message(**{name: -1}).rpartition("--")[2].rstrip(".")
    proposed_name, _, value = command.partition("=")
    assert proposed_name == name
    Config(run_dir="runs/first", **{name: int(value)})


@pytest.mark.parametrize("name", ["start_timeout", "learning_rate"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_a_size_or_a_rate_is_above_zero(name, value):
    assert f"--{name}={value} is out of range; expected more than 0" in _message(**{name: value})


@pytest.mark.parametrize("name", ["warmup_fraction", "momentum", "weight_decay"])
def test_a_share_lies_between_0_and_1(name):
    for good in (0, 0.5, 1):
        Config(run_dir="runs/first", **{name: good})
    for bad in (-0.1, 1.1, float("nan")):
        assert f"--{name}={bad} is out of range; expected 0 to 1" in _message(**{name: bad})


def test_the_silence_of_a_worker_lasts_between_two_seconds_and_an_hour():
    for good in (2, 10.0, 3600):
        Config(run_dir="runs/first", heartbeat_timeout=good)
    for bad in (0, 1.9, 3601, float("nan"), float("inf")):
        assert "is out of range; expected 2 to 3600" in _message(heartbeat_timeout=bad)


def test_every_setting_is_a_flag_below_its_title_with_its_default():
    assert set(SETTINGS) < set().union(*worker_flags.GROUPS.values())
    for name, setting in SETTINGS.items():
        assert name in worker_flags.GROUPS[setting.group]
        assert (worker_flags.FLAGS[name].default or None) == (setting.default or None)


def test_workers_are_compared_by_all_that_must_not_differ_between_them():
    one, other = (Config(run_dir="run", overwrite=value) for value in (True, False))
    assert one.as_flags() != other.as_flags()
    assert one.as_flags(same_on_workers=True) == other.as_flags(same_on_workers=True)
    assert "--seed" in one.as_flags(same_on_workers=True)


def test_an_error_of_the_config_is_a_value_error():
    assert issubclass(ConfigError, ValueError)


def test_a_seed_that_the_random_generators_do_not_take_is_refused():
    # NumPy's takes less than 2^32, and the seed of an example starts as an int32.
    Config(run_dir="runs/first", seed=2**31 - 1)
    assert "--seed=2147483648" in _message(seed=2**31)


@pytest.mark.parametrize("size", [float("inf"), float("nan"), -1.0])
def test_a_bucket_without_a_size_is_refused(size):
    assert f"--bucket_mb={size} is out of range; expected 0 to choose" in _message(bucket_mb=size)


def test_a_bucket_of_0_is_chosen_when_the_run_starts():
    assert Config(run_dir="runs/first").bucket_bytes == 0


def test_gradients_are_compressed_or_cast_and_not_both():
    Config(run_dir="runs/first", compress="int8")
    message = _message(compress="topk", wire_dtype="bfloat16")
    assert "--compress=topk and --wire_dtype=bfloat16 both say how" in message


def test_mebibytes_of_a_bucket_are_2_to_the_20_bytes():
    assert Config(run_dir="runs/first", bucket_mb=1.5).bucket_bytes == 1_572_864


def test_every_setting_can_be_written_as_json():
    made = Config(run_dir="runs/first", model_option=("depth=18",))
    written = json.loads(json.dumps(made.as_dict()))
    names = {field.name for field in dataclasses.fields(Config)}
    assert set(written) == names - {"given", "typed"}
    assert written["model_option"] == ["depth=18"]
    assert written["learning_rate"] is None


def test_what_was_asked_for_by_hand_makes_no_other_run():
    given = Config(run_dir="runs/first", given=("optimizer",))
    assert given == Config(run_dir="runs/first")
    assert "--given" not in given.as_flags()


def test_going_back_needs_something_to_go_back_to():
    with pytest.raises(ConfigError, match="--on_nan=rollback"):
        Config(run_dir="run", on_nan="rollback", keep_checkpoints=0)
    assert Config(run_dir="run", on_nan="rollback").on_nan == "rollback"
