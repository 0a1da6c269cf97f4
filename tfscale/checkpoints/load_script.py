"""The text of `load_model.py`: how to get a run's model back where plain Keras alone can't.

It needs Keras and the user's own files, not this library, and works from any folder. Plain Python:
nothing here looks at a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tfscale.process.shell import in_shell

NAME = "load_model.py"

_HEAD = '''\
"""Gives back the model of this run: `{command}`, from any folder.

In a program: `model = runpy.run_path({script})["model"]`.
It runs {what} again, where the classes and functions of the model are.
Written and tried when the run ended.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

import keras
{imports}
FOLDER = Path(__file__).resolve().parent
sys.path += {paths}


def module_of(path, name, /, **options):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(options)
    return module


'''
_LOADED = """\
model = keras.saving.load_model(
    FOLDER / {file!r},
    custom_objects={{{objects}}},
    safe_mode={safe_mode},
)
"""
_BUILT = """\
keras.config.set_floatx({floatx!r})
keras.config.set_dtype_policy({policy!r})
features = {features}
model = own.build({arguments})
if not all(layer.built for layer in model.layers):
    model(tf.nest.map_structure(lambda one: tf.zeros((1, *one.shape), one.dtype), features))
"""
_WEIGHTS = "model.load_weights(FOLDER / {file!r})\n"
_ARRAYS = """\
with numpy.load(FOLDER / {file!r}, allow_pickle=False) as arrays:
    model.set_weights([arrays[str(number)] for number in range(len(arrays.files))])
"""
_TAIL = """
if __name__ == "__main__":
    model.summary()
"""


@dataclass(frozen=True)
class Brought:
    """Where the user's own code is.

    Args:
        script: where the text is going to be.
        path: of the model file; empty where no file was given.
        options: its constants that were set.
        modules: dotted names of other modules that are needed.
        search: folders in which modules are looked for.
    """

    script: str
    path: str
    options: Mapping[str, object] = field(default_factory=dict)
    modules: Sequence[str] = ()
    search: Sequence[str] = ()


def with_objects(
    brought: Brought, file: str, objects: Mapping[str, str], *, safe_mode: bool
) -> str:
    """Loads `file`, and tells Keras what its own names mean.

    Args:
        brought: the user's code.
        file: name in the run directory.
        objects: where each is, by Keras's name for it: "own.Scaled", or "helper.Scaled" of a
            module.
        safe_mode: False where a lambda has to be run.
    """
    written = ", ".join(f"{key!r}: {_place(brought, place)}" for key, place in objects.items())
    loaded = _LOADED.format(file=file, objects=written, safe_mode=safe_mode)
    return _opened(brought) + loaded + _TAIL


def with_build(
    brought: Brought, file: str, *, features: str, arguments: str, policy: str, floatx: str
) -> str:
    """Builds the model anew and gives it the weights in `file`.

    Args:
        brought: the user's code, with a path.
        file: name in the run directory.
        features: what `build` got as its spec, as Python.
        arguments: of `build`, as Python; "features" stands for the spec.
        policy: Keras's dtype policy of the run.
        floatx: Keras's dtype of the run.
    """
    built = _BUILT.format(features=features, arguments=arguments, policy=policy, floatx=floatx)
    is_arrays = file.endswith(".npz")
    weights = (_ARRAYS if is_arrays else _WEIGHTS).format(file=file)
    imports = "import numpy\n" if is_arrays else ""
    imports += "import tensorflow as tf\nfrom tensorflow import TensorSpec\n"
    return _opened(brought, imports) + built + weights + _TAIL


def _opened(brought: Brought, imports: str = "") -> str:
    text = _HEAD.format(
        command=_in_docstring(f"python {in_shell(brought.script)}"),
        script=_in_docstring(repr(brought.script)),
        what=_in_docstring(brought.path or "the modules"),
        paths=list(brought.search),
        imports=imports,
    )
    if brought.path:
        options = "".join(f", {name}={value!r}" for name, value in brought.options.items())
        text += f"own = module_of({brought.path!r}, 'model_file_of_the_run'{options})\n"
    names = {name: f"module_{number}" for number, name in enumerate(brought.modules)}
    for name, variable in names.items():
        text += f"{variable} = importlib.import_module({name!r})\n"
    return text


def _in_docstring(text: str) -> str:
    """The text as it has to be written so that no name of a folder ends the docstring."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _place(brought: Brought, place: str) -> str:
    module, _, name = place.rpartition(".")
    return place if module == "own" else f"module_{list(brought.modules).index(module)}.{name}"
