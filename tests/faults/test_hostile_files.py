"""S3: files that somebody hostile has made, loaded by a user's model file or dataset file.

They are refused in a line, and nothing in them is run, unpacked elsewhere or believed.
"""

import io
import json
import os
import pickle
import re
import shutil
import sys
import textwrap
import zipfile

import h5py
import keras
import numpy as np
import pytest

from tests.jobs.workers import ROOT, start_all

pytestmark = pytest.mark.promise("hostile_files")

DEADLINE_SECONDS = 90
MODEL = """
    import keras

    def build(spec, num_classes):
        model = keras.Sequential(
            [keras.Input(spec.shape), keras.layers.Flatten(), keras.layers.Dense(num_classes)]
        )
        {load}
        return model
"""
DATASET = """
    import numpy as np
    from datasets.digits import *
    from datasets import digits

    def load(split):
        {load}
        return digits.load(split)
"""
LOADS = {
    "model.keras": "model = keras.saving.load_model({file!r})",
    "model.h5": "model = keras.saving.load_model({file!r})",
    "w.weights.h5": "model.load_weights({file!r})",
    "data.npy": "np.load({file!r})",
    "data.npz": "np.load({file!r})['x']",
}


class _Touching:
    """What a pickle runs."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return (os.system, (f"touch {self.canary}",))


def _model():
    """The one that the model file builds for digits."""
    return keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )


def _touching_lambda(path, canary):
    """A Lambda layer whose code is in the file."""
    code = f"lambda x: __import__('os').system('touch {canary}') or x"
    layer = keras.layers.Lambda(eval(code), output_shape=(10,))  # noqa: S307 - the attack itself
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(10))
    model.add(layer)
    canary.unlink(missing_ok=True)  # adding it has run it
    model.save(path)


def _rewritten(path, change):
    """The `.keras` file of a fine model, with other members."""
    _model().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _named(module, name, config):
    """A configuration that names something of any module in the place of a layer."""

    def change(members):
        content = json.loads(members["config.json"])
        content["config"]["layers"][1] = {
            "module": module,
            "class_name": name,
            "config": config,
            "registered_name": name,
        }
        members["config.json"] = json.dumps(content).encode()

    return change


def _unpacked_elsewhere(canary):
    def change(members):
        members[f"../../../../../../../../..{canary}"] = b"unpacked"
        members[f"assets/../../../../../../../..{canary}"] = b"unpacked"
        members[str(canary)] = b"unpacked"

    return change


def _declared_huge(members):
    """Weights of a shape that no memory has, in a few bytes."""
    store = io.BytesIO(members["model.weights.h5"])
    with h5py.File(store, "r+") as file:
        names = []
        file.visititems(lambda name, one: names.append(name) if hasattr(one, "shape") else None)
        kernel = next(name for name in names if file[name].shape == (64, 10))
        del file[kernel]
        file.create_dataset(kernel, shape=(2**40, 10), dtype="f4", chunks=(1024, 10))
    members["model.weights.h5"] = store.getvalue()


def _linked_outside(path, canary):
    """Weights that are links to a file of somebody else's."""
    _model().save_weights(path)
    other = path.with_name("other.h5")
    shutil.copy(path, other)
    names = []
    with h5py.File(path, "r+") as file:
        file.visititems(lambda name, one: names.append(name) if hasattr(one, "shape") else None)
        for name in names:
            del file[name]
            file[name] = h5py.ExternalLink(str(other), name)


def _huge_npy(path, canary):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,), }"
    header += b" " * (117 - len(header)) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


def _huge_npz(path, canary):
    _huge_npy(path.with_name("x.npy"), canary)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_name("x.npy"), "x.npy")
    path.with_name("x.npy").unlink()


def _pickled_npz(path, canary):
    np.savez(path, x=np.array([_Touching(canary)], object))


# By what they do: file, how it is made, what is said of it.
FILES = {
    "a lambda": ("model.keras", _touching_lambda, "unsafe|[Ll]ambda"),
    "os.system": (
        "model.keras",
        lambda path, canary: _rewritten(path, _named("os", "system", {"command": "true"})),
        "system|deserializ",
    ),
    "a function of another module": (
        "model.keras",
        lambda path, canary: _rewritten(path, _named("builtins", "function", "exec")),
        "exec|deserializ|layer",
    ),
    "weights that no memory has": (
        "model.keras",
        lambda path, canary: _rewritten(path, _declared_huge),
        "model.keras|shape|[Mm]emory|layer",
    ),
    "a pickle for a model": (
        "model.keras",
        lambda path, canary: path.write_bytes(pickle.dumps(_Touching(canary))),
        "model.keras",
    ),
    "a pickle for an old model": (
        "model.h5",
        lambda path, canary: path.write_bytes(pickle.dumps(_Touching(canary))),
        "model.h5|OSError|file",
    ),
    "links to another file": ("w.weights.h5", _linked_outside, "[Ee]xternal|link"),
    "a pickle for an array": (
        "data.npy",
        lambda path, canary: np.save(path, np.array([_Touching(canary)], object)),
        "allow_pickle",
    ),
    "a pickle among arrays": ("data.npz", _pickled_npz, "allow_pickle"),
    "2**60 numbers": ("data.npy", _huge_npy, "allocate|[Mm]emory|array"),
    "2**60 numbers in a zip": ("data.npz", _huge_npz, "allocate|[Mm]emory|array"),
}
HARMLESS = {
    "members of elsewhere": lambda path, canary: _rewritten(path, _unpacked_elsewhere(canary)),
}


def _commands(folder, name, make):
    """What rehearses a run whose model file or dataset file loads the file."""
    folder.mkdir()
    canary = folder / "canary"
    make(folder / name, canary)
    load = LOADS[name].format(file=str(folder / name))
    is_data = name.startswith("data")
    (folder / "model_file.py").write_text(
        textwrap.dedent(MODEL).format(load="" if is_data else load)
    )
    (folder / "data_file.py").write_text(
        textwrap.dedent(DATASET).format(load=load if is_data else "")
    )
    return [
        *(sys.executable, str(ROOT / "launch" / "worker.py"), "--dry_run"),
        *(f"--dataset={folder}/data_file.py", f"--model={folder}/model_file.py"),
        f"--run_dir={folder}/run",
    ]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """How each ended, and whether its canary is there."""
    folder = tmp_path_factory.mktemp("hostile")
    every = {what: (name, make) for what, (name, make, _) in FILES.items()}
    every |= {what: ("model.keras", make) for what, make in HARMLESS.items()}
    whats, found = list(every), {}
    for first in range(0, len(whats), 3):
        some = whats[first : first + 3]
        commands = [_commands(folder / what.replace("*", "x"), *every[what]) for what in some]
        ended = start_all(
            commands,
            deadline_seconds=DEADLINE_SECONDS,
            is_warm=True,
            environ={"PYTHONPATH": str(ROOT)},
        )
        for what, worker in zip(some, ended, strict=True):
            found[what] = worker, (folder / what.replace("*", "x") / "canary").exists()
    return found


@pytest.mark.parametrize("what", FILES)
def test_a_hostile_file_is_refused_in_a_line_and_nothing_of_it_is_run(loaded, what):
    ended, was_run = loaded[what]
    assert not was_run
    assert ended.code in (1, 2), ended
    (line,) = ended.err.splitlines()
    assert re.search(FILES[what][2], line), line


@pytest.mark.parametrize("what", HARMLESS)
def test_members_that_lead_elsewhere_are_not_unpacked(loaded, what):
    ended, was_run = loaded[what]
    assert not was_run
    assert ended.code in (0, 1, 2), ended
