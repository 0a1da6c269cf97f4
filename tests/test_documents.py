"""The documents are true: their examples run, their tables are complete, their names exist."""

import ast
import dataclasses
import os
import re
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfscale
from launch import worker_flags
from tfscale.checkpoints.writer import Costs
from tfscale.cluster.cluster import Cluster
from tfscale.data.examples.length_buckets import bucketed
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import DatasetFile, read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.splits import read_splits
from tfscale.data.training_batches import training_input
from tfscale.errors import describe_failure
from tfscale.fit.compiled_model import OwnRate
from tfscale.fit.prepare_job import prepare
from tfscale.fit.user_callbacks.monitored_figures import figures_of, watched
from tfscale.gradients.reducer import Traffic
from tfscale.health.non_finite import SkippedSteps
from tfscale.health.records_read import RecordsRead
from tfscale.health.stragglers import StragglerLines
from tfscale.model.model_file import ModelFile
from tfscale.model.task import compile_model
from tfscale.model.user_callbacks import own_callbacks
from tfscale.process.terminal import Terminal
from tfscale.report.report import Finished, report_of
from tfscale.report.run_times import Pace
from tfscale.report.step_times import Block, StepTimes
from tfscale.settings import SETTINGS, Config
from tfscale.startup import job as startup_job
from tfscale.startup.board import Board
from tfscale.startup.devices import Devices
from tfscale.user_files import load_module
from tools.doctor.findings import Reason

pytestmark = pytest.mark.promise("documents")

ROOT = Path(__file__).resolve().parent.parent
YOUR_FILES = "docs/your-files.md"
# All but CHANGELOG.md, which names what is gone, and docs/reliability.md, whose flags are of tests.
DOCUMENTS = (
    *("README.md", "BUILD.md", "CONTRIBUTING.md"),
    *sorted(
        f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md") if path.stem != "reliability"
    ),
)
SPLITS = ("train", "validation")
ONE_CPU = Devices("CPU", 1, ("CPU",))
# Programs of others whose flags the documents show.
FOREIGN_FLAGS = {
    *("logdir", "requeue", "array", "bind", "hostfile", "kill", "ntasks"),
    *("build", "gpus", "rm", "shm", "cpus"),
}
# Files that a reader is told to write.
TO_BE_WRITTEN = {"datasets/flowers.py", "models/vit.py", "launch/NAME.py"}


def _text(document):
    return (ROOT / document).read_text()


def _section(document, heading):
    """What stands between a heading and the next one of any level."""
    _, found, rest = _text(document).partition(f"\n{heading}\n")
    assert found, f"{document} has no {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def _table(document, heading):
    """The rows of the first table under a heading, each a list of cells, without its head."""
    lines = _section(document, heading).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| --- "))
    rows = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def _codes(cell):
    return re.findall(r"`([^`]+)`", cell)


def _name(cell):
    """`load` of "`load(split)`, for a split that isn't there"."""
    return re.match(r"\w+", _codes(cell)[0])[0]


def _ids(rows):
    return [row[0] for row in rows]


DATASET_ROWS = _table(YOUR_FILES, "## What a dataset file may define")
MODEL_ROWS = _table(YOUR_FILES, "## What a model file may define")
TASK_ROWS = _table(YOUR_FILES, "### What each task brings")
OPTION_ROWS = _table(YOUR_FILES, "## Constants as options")
REFUSAL_ROWS = _table(YOUR_FILES, "## What is refused")
REPORT_ROWS = _table("docs/report.md", "## The keys of report.json")
PACKAGE_ROWS = _table("docs/architecture.md", "## The packages")


# Your files.


def _python_blocks(document, heading):
    return re.findall(r"```python\n(.*?)```", _section(document, heading), re.DOTALL)


def _job(folder, **settings):
    config = Config(run_dir=str(folder / "run"), batch_size=4, **settings)
    strategy, board = tf.distribute.get_strategy(), Board(Cluster(), print)
    return startup_job.Job(
        config, Cluster(), ONE_CPU, strategy, "none", board, Terminal(), lambda: None
    )


class _Run:
    """The smallest pair, changed by the code of an example, with the flags beside it."""

    def __init__(self, codes, folder):
        self.job = _job(folder, **_settings(codes))
        dataset, model = _python_blocks(YOUR_FILES, "## The smallest pair")
        lines = [f"    {code}\n" for code in codes if code.startswith("model")]
        model = model.replace("    return model", "".join(lines) + "    return model")
        functions = [code for code in codes if re.match(r"def (build|callbacks)\b", code)]
        rest = [code for code in codes if not code.startswith(("--", "model", *functions))]
        self.dataset = _file(folder / "data.py", "import numpy as np", dataset, *rest)
        self.model = _file(folder / "network.py", model, *functions)

    def splits(self):
        return read_splits(self.job, self.dataset)

    def prepared(self):
        prepared = prepare(self.job, self.dataset, self.model)
        figures = figures_of(prepared, [], has_all_callbacks=True)
        watched(own_callbacks(prepared.model_file), figures, prepared.model, "model.py")
        return prepared


def _settings(codes):
    """What the flags among the codes set."""
    settings = {}
    for code in codes:
        name, _, value = code.removeprefix("--").partition("=")
        if code.startswith("--") and name.endswith("_option"):
            settings[name] = (*settings.get(name, ()), value)
        elif code.startswith("--"):
            settings[name] = ast.literal_eval(value)
    return settings


def _file(path, *parts):
    path.write_text("\n".join(parts) + "\n")
    return str(path)


def _first_batch(data):
    return next(iter(data.make(0)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where an example finds what it reads."""
    monkeypatch.chdir(tmp_path)
    with tf.io.TFRecordWriter("a.tfrecord") as file:
        for number in range(8):
            file.write(bytes([number, number]))
    return tmp_path


def _write_class_folders(data_dir):
    for number in range(8):
        path = data_dir / SPLITS[number // 4] / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png())


def _write_arrays(data_dir):
    for split in SPLITS:
        x = np.zeros([4, 16, 16, 3], np.uint8)
        np.savez(data_dir / f"{split}.npz", x=x, y=np.arange(4) % 2)


def _write_tfrecords(data_dir):
    for number in range(4):
        features = {
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[_png()])),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number % 2])),
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        for split in SPLITS:
            path = str(data_dir / f"{split}-{number}.tfrecord")
            with tf.io.TFRecordWriter(path) as file:
                file.write(example.SerializeToString())


def _png():
    return tf.io.encode_png(tf.zeros([80, 70, 3], tf.uint8)).numpy()


@pytest.mark.parametrize(
    ("heading", "write"),
    [
        ("## Images in class folders", _write_class_folders),
        ("## Arrays in memory", _write_arrays),
        ("## TFRecord", _write_tfrecords),
    ],
)
def test_the_files_that_most_people_write_train_as_they_are(tmp_path, heading, write):
    write(tmp_path)
    (source,) = _python_blocks(YOUR_FILES, heading)
    job = _job(tmp_path, data_dir=str(tmp_path))
    path = _file(tmp_path / "flowers.py", source)
    prepared = prepare(job, path, str(ROOT / "models" / "small_cnn.py"))
    assert list(prepared.data.evaluated) == ["validation"]
    x, y = _first_batch(prepared.data.training)
    assert (x.dtype, sorted(y.numpy())) == (tf.float32, [0, 0, 1, 1])
    assert "loss" in prepared.model.train_step((x, y))


def test_every_name_of_a_dataset_file_is_in_its_table():
    fields = {field.name for field in dataclasses.fields(DatasetFile)}
    fields -= {"name", "data_dir", "options", "max_bad_examples", "cache", "caches"}  # of flags
    fields -= {"learned", "constants"}
    assert {_name(row[0]) for row in DATASET_ROWS} == fields


def test_every_name_of_a_model_file_is_in_its_table():
    fields = {field.name for field in dataclasses.fields(ModelFile)}
    fields -= {"name", "module", "options"}
    assert {_name(row[0]) for row in MODEL_ROWS} == fields


@pytest.mark.parametrize("row", DATASET_ROWS, ids=_ids(DATASET_ROWS))
def test_the_examples_of_a_dataset_file_give_batches(folder, row):
    run = _Run(_codes(row[2]), folder)
    name = _name(row[0])
    file = read_dataset_file(run.dataset)
    assert getattr(file, name) is not None
    assert source_of(file, "train") is not None
    splits = run.splits()
    batch = _first_batch(splits.training)
    assert tf.nest.flatten(batch)[0].shape[0] == 4
    assert len(batch) == (3 if name == "class_weight" else 2)
    assert file.preprocess_takes_seed == (name == "preprocess" and "seed" in row[0])
    if "isn't there" in row[0]:
        assert splits.evaluated == {}
    else:
        assert list(splits.evaluated) == list(file.splits[1:])


@pytest.mark.parametrize("name", ["splits", "num_classes", "task", "class_weight"])
def test_what_is_left_out_of_a_dataset_file_is_what_the_table_says(name):
    said = next(row[3] for row in DATASET_ROWS if _name(row[0]) == name)
    file = read_dataset_file(SimpleNamespace(load=lambda split: None))
    assert getattr(file, name) == ast.literal_eval(_codes(said)[0])


@pytest.mark.parametrize("row", MODEL_ROWS, ids=_ids(MODEL_ROWS))
def test_the_examples_of_a_model_file_train(folder, row):
    prepared = _Run(_codes(row[2]), folder).prepared()
    assert isinstance(prepared.rate, OwnRate) == ("compiled" in row[0])
    logs = prepared.model.train_step(_first_batch(prepared.data.training))
    assert "loss" in logs
    assert len(prepared.model_file.callbacks()) == ("callbacks" in row[0])


@pytest.mark.parametrize("row", TASK_ROWS, ids=[f"{row[0]} {row[1]}" for row in TASK_ROWS])
def test_each_task_brings_the_loss_and_the_metric_of_the_table(row):
    task, example, outputs = (ast.literal_eval(_codes(cell)[-1]) for cell in row[:3])
    labels = tf.nest.map_structure(
        lambda leaf: tf.TensorSpec([4, *leaf.shape], leaf.dtype),
        tf.constant(example)
        if not isinstance(example, dict)
        else {name: tf.constant(value) for name, value in example.items()},
    )
    dataset = DatasetFile("mine", lambda split: None, task=task, num_classes=max(outputs, 2))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(outputs)])
    first = tf.ones([2, 3]), tf.zeros([2], tf.int64)
    if row[3] == "none":
        with pytest.raises(tfscale.ConfigError, match="there is no default loss"):
            compile_model(model, dataset, labels, keras.optimizers.SGD(), first)
        return
    compile_model(model, dataset, labels, keras.optimizers.SGD(), first)
    assert type(model.loss).__name__ == _codes(row[3])[0]
    (metric,) = model._compile_metrics._user_metrics
    assert type(metric).__name__ == _codes(row[4])[0]
    assert metric.name == ("mae" if task == "regression" else "accuracy")


@pytest.mark.parametrize("row", OPTION_ROWS, ids=_ids(OPTION_ROWS))
def test_an_option_becomes_what_the_table_says(tmp_path, row):
    constant, flag, becomes = (_codes(cell)[0] for cell in row)
    name = constant.partition(" ")[0]
    path = _file(tmp_path / "mine.py", constant)
    module = load_module(path, [re.fullmatch(r"--\w+_option=(.*)", flag)[1]])
    found, expected = getattr(module, name), ast.literal_eval(becomes)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("row", REFUSAL_ROWS, ids=_ids(REFUSAL_ROWS))
def test_what_is_refused_is_refused_with_the_words_of_the_table(folder, row):
    _, where, example, words = row
    codes = _codes(example)
    run = _Run([] if where == "fit" else codes, folder)
    with pytest.raises(Exception) as caught:  # its words are what is asserted
        prepared = run.prepared()
        data = prepared.data.training
        if where == "fit":
            exec(codes[0], {"model": prepared.model, "data": data})  # noqa: S102
        for _ in range(2):
            _first_batch(data)
    reason, code = describe_failure(caught.value)
    missing = [word for word in _codes(words) if word not in reason]
    assert not missing, reason
    assert code == tfscale.CONFIG_CODE


# From Python.


def test_the_lines_of_the_readme_show_a_plan(monkeypatch, tmp_path, capsys):
    (lines,) = re.findall(r"```python\n(import tfscale\n.*?)```", _text("README.md"), re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) <= 6
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    # This process has tensors already, after which a run of its own can't claim devices.
    monkeypatch.setattr(startup_job, "claim_devices", lambda *args, **kwargs: ONE_CPU)
    monkeypatch.setattr(tfscale, "train", partial(tfscale.train, dry_run=True))
    found = {}
    exec(lines, found)  # noqa: S102  # the README's own
    assert found["report"] == {}
    assert "learning rate" in capsys.readouterr().out


# report.json.


def _flat(value, name=""):
    """`step_seconds.median` for each number that has a meaning of its own."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else key)
    else:
        yield name


def _told_by_listeners(distributed):
    """What the listeners of every run add."""
    job = SimpleNamespace(
        board=SimpleNamespace(all_gather=lambda channel, text: [text]), config=SimpleNamespace()
    )
    read = RecordsRead()
    read.begin(job, SimpleNamespace(data=SimpleNamespace(inputs={}), distributed=distributed))
    listeners = [SkippedSteps(), Pace(), StragglerLines((), print), read]
    told = {"checkpoints": asdict(Costs())}
    for listener in listeners:
        told |= listener.report()
    return told


def test_every_key_of_the_report_has_its_definition():
    times = StepTimes()
    times.add(Block(1, 1.0, 0.5))
    finished = Finished(
        times=times,
        epochs=1,
        seconds={**Pace().seconds_until(0.0), "boundaries": 1.0},
        metrics={"NAME": 0.5},
        weights_sha256="abc",
        model_file="model.keras",
        load_command="python load_model.py",
    )
    distributed = SimpleNamespace(
        step=1,
        parts=SimpleNamespace(traffic=Traffic()),
        loop=SimpleNamespace(exchange=SimpleNamespace(sent_bytes=0.0)),
    )
    prepared = SimpleNamespace(distributed=distributed, buckets=SimpleNamespace(size_bytes=0))
    job = SimpleNamespace(cluster=Cluster(), devices=ONE_CPU, config=Config(run_dir="run"))
    report = report_of(job, prepared, finished) | _told_by_listeners(distributed)
    assert sorted(_codes(row[0])[0] for row in REPORT_ROWS) == sorted(_flat(report))


# The map.


def _packages(parent):
    library = ROOT / parent
    folders = {f"{parent}/{path.parent.name}/" for path in library.glob("*/__init__.py")}
    files = {f"{parent}/{path.name}" for path in library.glob("*.py") if path.stem != "__init__"}
    return folders | files


def test_every_package_of_the_library_and_of_the_tools_is_on_the_map():
    on_map = [code for row in PACKAGE_ROWS for code in _codes(row[0])]
    assert sorted(on_map) == sorted(_packages("tfscale") | _packages("tools"))


def test_packages_import_from_those_below_them_on_the_map():
    rooms = [re.split(r"/$|[.]", _codes(row[0])[0])[0].replace("/", ".") for row in PACKAGE_ROWS]
    for number, row in enumerate(PACKAGE_ROWS):
        place = ROOT / _codes(row[0])[0]
        for path in [place] if place.is_file() else place.rglob("*.py"):
            imported = set(
                re.findall(r"^\s*(?:from|import) ((?:tfscale|tools)\.\w+)", path.read_text(), re.M)
            )
            assert imported <= set(rooms[number:]), path


@pytest.mark.parametrize("row", PACKAGE_ROWS, ids=_ids(PACKAGE_ROWS))
def test_where_to_look_first_is_there(row):
    folders = [ROOT / code for code in _codes(row[0])]
    for name in _codes(row[2]):
        assert any((folder / name).exists() for folder in folders), name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_is_there(document):
    pattern = r"\b(?:tfscale|tools|tests|launch|datasets|models|docs)/[\w./-]*\w/?"
    named = set(re.findall(pattern, _text(document)))
    assert not {path for path in named - TO_BE_WRITTEN if not (ROOT / path).exists()}


def _anchors(path):
    """What a link may name in a page: its headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md", "docs/reliability.md"])
def test_every_link_of_a_document_leads_somewhere(document):
    here = ROOT / document
    for path, anchor in re.findall(r"\]\(([\w./-]*)#?([\w-]*)\)", _text(document)):
        page = here.parent / path if path else here
        assert page.exists(), path
        assert not anchor or anchor in _anchors(page), f"{path}#{anchor}"


# Flags.


def _flags_of_programs():
    """Names of all flags, read off the programs: two of them define the same names."""
    names = set().union(*worker_flags.GROUPS.values())
    for path in (ROOT / "launch").glob("*.py"):
        names |= set(re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", path.read_text()))
    return names | {f"no{name}" for name in names} | {"help"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_flag_that_a_document_names_is_there(document):
    named = set(re.findall(r"(?<![\w-])--(\w+)", _text(document)))
    assert not named - _flags_of_programs() - FOREIGN_FLAGS


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_value_that_a_document_gives_a_setting_is_taken(document):
    for name, value in re.findall(r"(?<![\w-])--(\w+)=([\w./-]*\w)", _text(document)):
        if name in SETTINGS and value not in ("N", "T"):  # which stand for one
            Config(**{"run_dir": "run", name: worker_flags.FLAGS[name].parser.parse(value)})


def test_defaults_that_documents_name_are_those_of_the_settings():
    named = [
        found
        for document in DOCUMENTS
        for found in re.findall(r"`--(\w+)` \(([\d.]+)(?: \w+)?\)", _text(document))
    ]
    assert {name: float(value) for name, value in named} == {
        name: SETTINGS[name].default for name, _ in named
    }
    assert named


@pytest.mark.parametrize("name", ["wire_dtype", "compress", "on_nan"])
def test_a_table_has_a_row_for_each_choice_of_a_setting(name):
    pattern = rf"^\| `--{name}=(\w+)` \|"
    rows = [row for page in DOCUMENTS for row in re.findall(pattern, _text(page), re.MULTILINE)]
    assert {*rows, SETTINGS[name].default} == set(SETTINGS[name].choices)


def test_the_reasons_of_the_doctor_are_listed_whole():
    rows = _table("docs/when-it-fails.md", "## What the doctor finds")
    assert [_codes(row[0])[0] for row in rows] == [reason.value for reason in Reason]


def test_the_flags_that_a_compiled_model_overrides_are_listed_whole():
    (said,) = (row[1] for row in MODEL_ROWS if "compiled" in row[0])
    listed = {code.removeprefix("--") for code in _codes(said)}
    assert listed == {name for name, one in SETTINGS.items() if one.belongs_to_optimizer}


def test_the_gallery_of_models_is_listed_whole():
    from tests.jobs.gallery import own_steps, stock_models  # noqa: F401  # they fill it
    from tests.jobs.gallery.entry import ENTRIES

    listed = [_name(row[0]) for row in _table("docs/your-model.md", "## The gallery")]
    assert sorted(listed) == sorted(ENTRIES)


# Your data.


def _data_blocks():
    return re.findall(
        r"```python\n(.*?)```", Path(ROOT, "docs/your-data.md").read_text(), re.DOTALL
    )


def _first_of(**names):
    names = {"__name__": "mine", "num_classes": 2, **names}
    file = read_dataset_file(SimpleNamespace(**names))
    source = source_of(file, "train")
    if file.bucket_boundaries:
        source = bucketed(file, source)
    strategy = tf.distribute.get_strategy()
    made = training_input(file, source, Sharding(2, 1, 0, 1), strategy, seed=0)
    return _first_batch(made)


def test_the_examples_of_the_page_about_data_give_batches():
    padded, bucketed_by_length, augmented, usual = (_run(block) for block in _data_blocks())

    def load(split):
        return tf.data.Dataset.from_tensor_slices({"text": ["abc", "x" * 30, "ab", "y" * 31]})

    def codes(record, training):
        return tf.io.decode_raw(record["text"], tf.uint8), 1

    assert _first_of(load=load, preprocess=codes, **padded)[0].shape == (2, 128)
    assert _first_of(load=load, preprocess=codes, **bucketed_by_length)[0].shape == (2, 32)

    def pictures(split):
        jpeg = tf.io.encode_jpeg(tf.zeros([300, 260, 3], tf.uint8))
        return tf.data.Dataset.from_tensor_slices(([jpeg] * 4, [0, 1, 0, 1]))

    for file in (augmented, usual):
        x, y = _first_of(load=pictures, **file)
        assert (x.shape, x.dtype, y.shape) == ((2, 224, 224, 3), tf.float32, (2,))


def _run(block):
    known = {"tf": tf, "keras": keras}
    names = dict(known)
    exec(block, names)  # noqa: S102 - of our own page
    return {name: value for name, value in names.items() if name not in (*known, "__builtins__")}
