import keras
import pytest

from tfscale.errors import ConfigError
from tfscale.fit.compiled_model import (
    own_rate,
    precisions,
    require_known_variables,
    require_no_overridden_flags,
    require_precision,
)
from tfscale.settings import Config

COSINE = keras.optimizers.schedules.CosineDecay


def _config(**settings):
    return Config(run_dir="runs/first", **settings)


def _model(optimizer=None, dtype=None):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype=dtype)])
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse")
    return model


def test_defaults_are_no_flags_that_somebody_gave():
    require_no_overridden_flags(_config(), "mine.py")
    require_no_overridden_flags(_config(seed=3, wire_dtype="float16"), "mine.py")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"learning_rate": 0.5}, "--learning_rate=0.5 would do nothing"),
        ({"optimizer": "adamw"}, "--optimizer=adamw"),
        ({"momentum": 0.5}, "--momentum=0.5"),
        ({"weight_decay": 0.0}, "--weight_decay=0.0"),
        ({"schedule": "constant"}, "--schedule=constant"),
        ({"warmup_fraction": 0.0}, "--warmup_fraction=0.0"),
        ({"base_batch_size": 64}, "--base_batch_size=64"),
        ({"given": ("optimizer",)}, "--optimizer=sgd"),
        (
            {"learning_rate": 0.5, "momentum": 0.0},
            "--learning_rate=0.5 and --momentum=0.0 would do nothing; expected none of them. Leave "
            "them out",
        ),
    ],
)
def test_a_flag_that_a_compiled_model_overrides_is_refused_by_name(settings, named):
    with pytest.raises(ConfigError) as caught:
        require_no_overridden_flags(_config(**settings), "mine.py")
    assert named in str(caught.value)
    assert str(caught.value).startswith("mine.py gives a compiled model")


def test_a_rate_that_is_a_number_stays_one():
    rate = own_rate(_model(), "mine.py", total_steps=10)
    assert str(rate) == "the model's own: 0.1"


def test_a_schedule_is_told_from_the_first_to_the_last_step_of_this_run():
    model = _model(keras.optimizers.SGD(COSINE(0.1, 100)))
    assert str(own_rate(model, "mine.py", total_steps=51)) == (
        "the model's own: 0.1, 0.05 at the last step"
    )
    model.optimizer.iterations.assign(50)
    assert str(own_rate(model, "mine.py", total_steps=1)) == (
        "the model's own: 0.05; its optimizer has taken 50 steps before"
    )


def test_a_schedule_that_is_over_is_refused():
    model = _model(keras.optimizers.SGD(COSINE(0.1, 100)))
    model.optimizer.iterations.assign(100)
    with pytest.raises(ConfigError) as caught:
        own_rate(model, "mine.py", total_steps=50)
    assert "its CosineDecay is over, its optimizer has taken 100 steps before" in str(caught.value)
    assert "compile=False" in str(caught.value)


def test_a_warm_up_from_zero_and_a_schedule_that_never_ends_are_not_over():
    warm = COSINE(0.0, 90, warmup_target=0.1, warmup_steps=10)
    assert own_rate(_model(keras.optimizers.SGD(warm)), "mine.py", total_steps=100).first == 0.0
    floor = _model(keras.optimizers.SGD(COSINE(0.1, 100, alpha=0.01)))
    floor.optimizer.iterations.assign(500)
    assert own_rate(floor, "mine.py", total_steps=10).last == pytest.approx(0.001)


def test_a_schedule_that_cannot_describe_itself_is_left_to_the_step():
    class Own(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1

    rate = own_rate(_model(keras.optimizers.SGD(Own())), "mine.py", total_steps=10)
    assert str(rate) == "the model's own"


def test_a_precision_that_no_layer_has_is_refused():
    require_precision(_config(), _model(dtype="mixed_bfloat16"), "mine.py")
    require_precision(_config(precision="mixed_bfloat16"), _model(dtype="mixed_bfloat16"), "m.py")
    with pytest.raises(ConfigError, match="--precision=mixed_bfloat16 would do nothing"):
        require_precision(_config(precision="mixed_bfloat16"), _model(dtype="float32"), "mine.py")
    given = _config(given=("precision",))
    with pytest.raises(ConfigError, match="were made with mixed_bfloat16"):
        require_precision(given, _model(dtype="mixed_bfloat16"), "mine.py")


def test_the_most_frequent_policy_comes_first():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, dtype="mixed_bfloat16"),
            keras.layers.Dense(2, dtype="float32"),
            keras.layers.Dense(2, dtype="mixed_bfloat16"),
        ]
    )
    assert precisions(model) == ["mixed_bfloat16", "float32"]


def _small_model():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)], name="net"
    )
    model.compile("sgd", "mse")
    return model


def test_weights_that_were_unfrozen_after_the_optimizer_was_built_are_refused():
    model = _small_model()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    require_known_variables(model, "mine.py")
    model.layers[0].trainable = True
    with pytest.raises(ConfigError) as caught:
        require_known_variables(model, "mine.py")
    assert "kernel and 1 more weights are trainable but were not when" in str(caught.value)
    # Fewer than it was built for is what freezing makes of it.
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    model.layers[0].trainable = False
    require_known_variables(model, "mine.py")
