import pytest

from tfscale.errors import ConfigError
from tools.bench.reading import study
from tools.bench.reading.formats import FORMATS
from tools.bench.reading.study import SYSTEMS, ReadingStudy
from tools.bench.reading.table import Results


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"data_sets": ("tfrecord", "webdataset")}, "--formats=tfrecord,webdataset has none or"),
        ({"data_sets": ()}, "expected some of tfrecord, array_record"),
        ({"data_sets": ("tfrecord",), "examples": 100}, "--examples=100.*at least 128"),
        ({"examples": 300}, "--examples=300.*at least 400"),
    ],
)
def test_what_cannot_be_measured_is_refused(asked, reason):
    with pytest.raises(ConfigError, match=reason):
        ReadingStudy(**asked)


class _System:
    """Answers each order as its processes would."""

    def __init__(self, name, orders, rates):
        self._name, self._orders, self._rates = name, orders, rates

    def order(self, text):
        self._orders.append((self._name, text))

    def answers(self, timeout_seconds):
        both = [{"examples_per_second": rate, "processor_seconds": 0.5} for rate in self._rates]
        return [{**each, "utilisation": 0.9} for each in both]


@pytest.fixture
def systems():
    orders = []
    made = {name: _System(name, orders, [10.0] * count) for name, (_, count) in SYSTEMS.items()}
    return made, orders


def test_systems_take_turns_that_change_and_processes_of_one_add_up(systems):
    made, orders = systems
    asked = ReadingStudy(data_sets=("tfrecord",), blocks=2)
    rates = study._rates(made, "tfrecord", asked, lambda line: None)
    names = list(SYSTEMS)
    assert [name for name, _ in orders] == [*names, *names, *reversed(names)]
    of_two = {"examples_per_second": 20.0, "processor_seconds": 0.5}
    assert rates["tfscale, 2 workers"] == [of_two] * 2
    assert rates["tfscale"] == [{"examples_per_second": 10.0, "processor_seconds": 0.5}] * 2


@pytest.mark.parametrize(("rate", "step"), [(4000.0, 0.224), (1000.0, 1.05 * 0.4)])
def test_a_machine_that_reads_too_slowly_gets_a_slower_accelerator(systems, rate, step):
    made, _ = systems
    blocks = [{"examples_per_second": rate, "processor_seconds": 0.1}]
    results = Results(cores=2, examples=2048, rates={"resnet": {"tfscale": blocks}})
    study._feed_accelerator(made, ReadingStudy(blocks=1), results, lambda line: None)
    assert results.step_seconds == pytest.approx(step)
    for by_system in results.utilisation.values():
        assert by_system == {name: [0.9] for name, (_, count) in SYSTEMS.items() if count == 1}
    assert list(results.utilisation) == ["memory of the system", "disk"]


def test_every_data_set_says_what_it_is():
    assert all(made.what and made.batch for made in FORMATS.values())
