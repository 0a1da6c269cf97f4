"""A command that gives the saved model back, tried before it is printed.

Plain Keras loads what consists of its own classes. What a user's file defines has to be there when
the model is loaded: then `load_model.py` is written beside the model, which runs that file again.
"""

import contextlib
import json
import runpy
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import keras
import psutil
import tensorflow as tf

from tfscale.checkpoints import load_script
from tfscale.checkpoints.custom_objects import Needed, needed_by, places_of
from tfscale.checkpoints.export import weights_sha256
from tfscale.checkpoints.load_script import Brought
from tfscale.errors import ConfigError, one_line
from tfscale.files import atomic
from tfscale.fit.keras.model_without_weights import unallocated_model
from tfscale.fit.prepare_job import Prepared
from tfscale.model.model_file import build_arguments
from tfscale.process.shell import load_command, run_command
from tfscale.settings import Config
from tfscale.startup.source_hashes import own_modules
from tfscale.structures import Json, Structure

_LIBRARY = __name__.partition(".")[0]
_ROOM = 4  # times the file's size: what trying needs of memory at most


@dataclass(frozen=True)
class Loading:
    """How a saved model is loaded.

    Args:
        command: for a shell, from any folder; a sentence where there is none.
        is_tried: whether it gave the weights that were saved.
    """

    command: str
    is_tried: bool


@dataclass(frozen=True)
class _Attempt:
    command: str
    script: str  # text of load_model.py; empty for a command that needs none
    load: Callable[[], keras.Model]


def how_to_load(file: Path, sha256: str, prepared: Prepared, config: Config) -> Loading:
    """Finds a command that gives the model back, by loading it once more beside the first.

    That needs as much memory as the model and its optimizer, of the host and not of a GPU, and
    about the time of saving. A model of Keras's own classes alone is made from its configuration
    without weights, which needs neither: that such a file loads is Keras's promise.

    Args:
        file: that was saved, in the run directory; the chief's.
        sha256: of the weights that it is to give back.
        prepared: the job, with the model file.
        config: of the run.
    """
    try:
        return _found(file.resolve(), sha256, prepared, config)
    except Exception as error:  # a command is not worth the report, which comes after it
        return Loading(_told(file, "", [one_line(error)]), is_tried=False)


def _found(file: Path, sha256: str, prepared: Prepared, config: Config) -> Loading:
    content = _content(file)
    needed = needed_by(content, prepared.model_file.module) if content else None
    if needed is not None and needed.is_plain and _is_made_from(content, prepared.model):
        return Loading(load_command(file), is_tried=True)
    if psutil.virtual_memory().available < _ROOM * file.stat().st_size:
        return Loading(f"{load_command(file)} (not tried: too little memory)", is_tried=False)
    reasons = []
    for attempt in _attempts(file, needed, prepared, config):
        script = file.with_name(load_script.NAME)
        try:
            if attempt.script:
                atomic.write_text(script, attempt.script)
            with _as_in_a_new_process():
                loaded = attempt.load()
                if needed is not None and needed.has_lambda:
                    # Its code comes back without the names that it uses, which only shows now.
                    loaded(_zeros(prepared))
                found = weights_sha256(loaded)
        except Exception as error:  # whatever the user's code raises outside of a training
            reasons.append(one_line(error))
        else:
            if found == sha256:
                return Loading(attempt.command, is_tried=True)
            reasons.append("it gives other weights")
        script.unlink(missing_ok=True)
    wanted = ", ".join(needed.names) if needed else ""
    return Loading(_told(file, wanted, reasons), is_tried=False)


def _attempts(
    file: Path, needed: Needed | None, prepared: Prepared, config: Config
) -> Iterator[_Attempt]:
    """From the one that gives most back to the one that asks least."""
    brought = _brought(file, prepared)
    run = run_command(brought.script)
    if needed is not None:
        safe = not needed.has_lambda
        if not needed.names:
            yield _keras_attempt(file, safe_mode=safe)
        places = places_of(needed, prepared.model_file.module)
        if places is not None and needed.names:
            modules = {place.rpartition(".")[0] for place in places.values()} - {"own"}
            brought = _brought(file, prepared, tuple(sorted(modules)))
            text = load_script.with_objects(brought, file.name, places, safe_mode=safe)
            yield _Attempt(run, text, lambda: _run(brought.script, text))
        if needed.names and not needed.in_layers:
            yield _keras_attempt(file, safe_mode=safe, compile=False)
    if prepared.model_file.module is not None:
        built = _build_text(file, prepared, config)
        yield _Attempt(run, built, lambda: _run(brought.script, built))


def _keras_attempt(file: Path, *, safe_mode: bool, compile: bool = True) -> _Attempt:
    return _Attempt(
        load_command(file, safe_mode=safe_mode, compile=compile),
        "",
        lambda: keras.saving.load_model(file, safe_mode=safe_mode, compile=compile),
    )


def _zeros(prepared: Prepared) -> Structure:
    """One example's features, as the model gets them."""
    return tf.nest.map_structure(
        lambda leaf: tf.zeros((1, *leaf.shape[1:]), leaf.dtype), prepared.data.training.spec[0]
    )


def load_saved(place: Path) -> keras.Model:
    """The model of a file, or of a run: as the run has found that it can be loaded.

    Args:
        place: the file, or the folder of the run.

    Raises:
        ConfigError: there is none, or it can't be loaded.
    """
    script = place / load_script.NAME
    file = place / "model.keras" if place.is_dir() else place
    try:
        if place.is_dir() and script.is_file():
            model: keras.Model = runpy.run_path(str(script))["model"]
        else:
            model = keras.saving.load_model(file)
    except Exception as error:
        raise ConfigError(
            f"{file} can't be loaded: {one_line(error)}; expected a model that Keras has saved, on "
            "every worker. Check the path; a model with classes of your own is loaded by the "
            f"{load_script.NAME} of its run: give the run's folder."
        ) from error
    return model


def _build_text(file: Path, prepared: Prepared, config: Config) -> str:
    data = prepared.data
    given, named = build_arguments(prepared.model_file, data.file, data.training.spec)
    features = given[0] if given else None
    texts = [f"{name}={value!r}" for name, value in named.items()]
    return load_script.with_build(
        _brought(file, prepared),
        file.name,
        features=repr(features),
        arguments=", ".join([*(["features"] if given else []), *texts]),
        policy=config.precision,
        floatx=keras.config.floatx(),
    )


def _brought(file: Path, prepared: Prepared, modules: tuple[str, ...] = ()) -> Brought:
    module, options = prepared.model_file.module, prepared.model_file.options
    files = [str(path) for path in own_modules().values()]
    if _uses_library(module):
        files.append(__file__)
    folders = [str(Path(folder).resolve()) for folder in sys.path]
    return Brought(
        script=str(file.with_name(load_script.NAME)),
        path=str(module.__file__) if module else "",
        options=options,
        modules=modules,
        search=[one for one in folders if any(path.startswith(f"{one}/") for path in files)],
    )


def _uses_library(module: ModuleType | None) -> bool:
    """Whether the user's file has something of this library, which lies wherever it lies."""
    for value in vars(module).values() if module else ():
        is_module = isinstance(value, ModuleType)
        name = value.__name__ if is_module else getattr(value, "__module__", None)
        if str(name).partition(".")[0] == _LIBRARY:
            return True
    return False


def _told(file: Path, wanted: str, reasons: list[str]) -> str:
    given = f", custom_objects={{{wanted}: ...}}" if wanted else ""
    return (
        f"in Python, where its classes are: keras.saving.load_model({str(file)!r}{given}) "
        f"(no command was found; the last one said: {reasons[-1] if reasons else 'nothing'})"
    )


def _content(file: Path) -> dict[str, Json]:
    """What a `.keras` file says about its model; nothing for a file of weights."""
    if file.suffix != ".keras":
        return {}
    with zipfile.ZipFile(file) as archive:
        content: dict[str, Json] = json.loads(archive.read("config.json"))
    return content


def _is_made_from(content: dict[str, Json], model: keras.Model) -> bool:
    """Whether Keras makes a model of the same variables from a configuration alone."""
    layers = {name: part for name, part in content.items() if name != "compile_config"}
    try:
        with _as_in_a_new_process():
            made = unallocated_model(layers)
            keras.saving.deserialize_keras_object(content.get("compile_config"))
    except Exception:  # some layers make variables that need values: then it is loaded in full
        return False
    return [one.shape for one in made.weights] == [one.shape for one in model.weights]


def _run(script: str, text: str) -> keras.Model:
    """Runs the text of `load_model.py` as a new process would, but for its name.

    What was written, and not what the file holds by now: others may be able to write there.
    """
    namespace = {"__name__": "load_model_of_the_run", "__file__": script}
    exec(compile(text, script, "exec"), namespace)  # noqa: S102 - written above, to be run
    return namespace["model"]


@contextlib.contextmanager
def _as_in_a_new_process() -> Iterator[None]:
    """Hides what this process knows beside Keras, and the devices that training needs."""
    known, path, modules = keras.saving.get_custom_objects(), list(sys.path), set(sys.modules)
    before = dict(known)
    importable = own_modules()
    for name, value in before.items():
        # A module that can be imported is imported already: it doesn't register a second time.
        if getattr(value, "__module__", None) not in importable:
            del known[name]
    try:
        with warnings.catch_warnings(), tf.device("CPU:0"):
            warnings.simplefilter("ignore")
            yield
    finally:
        known.clear()
        known.update(before)
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if name == "model_file_of_the_run":
                del sys.modules[name]
