"""Hostile names, paths and flags through every door: python -m tests.faults.hostile --count=1000

Each value goes through every place that reads one: it has to be refused in one line, or be taken
literally. What is shown, logged, written or printed to be typed may not carry what a terminal, a
shell, Python or Markdown obeys. A canary file tells if anything was run.
"""

import argparse
import ast
import collections
import json
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tfscale
from launch import program, worker_flags
from tests.cluster.dialects.test_dialects import WITH_ADDRESSES, WITHOUT_ADDRESSES
from tests.faults.hostile_values import hostile_values
from tests.jobs.workers import ROOT
from tfscale.checkpoints import load_script
from tfscale.checkpoints.load_script import Brought
from tfscale.cluster.cluster import Cluster
from tfscale.cluster.discovery import Asked
from tfscale.files.run_directory import RunDirectory
from tfscale.process import shell
from tfscale.report import tables
from tfscale.supervise.commands import run_dir_of, worker_commands
from tfscale.user_files import forget_modules, load_module, options_of

OBEYED = re.compile(
    rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)
TEXT_FLAGS = ("run_dir", "data_dir", "cache", "dataset", "model", "dataset_option", "model_option")
OTHER_FLAGS = (
    *("hosts", "index", "batch_size", "learning_rate", "precision", "seed", "nothing"),
    *("cluster", "leader", "processes_per_node", "process_of_node"),
)
PROGRAMS = (
    *("worker", "local", "prepare", "inspect_data", "profile_model", "bench", "compare"),
    *("evaluate", "gpu_check", "ssh"),
)
OPTIONS_FILE = "text = 'a'\nnumber = 1\nreal = 0.5\nanything = None\nsizes = (1, 2)\nyes = True\n"
STARTED_FLAGS = ("dataset", "model", "hosts", "out", "run_dir", "profile", "dataset_option")
PROCESS_SECONDS = 120
# What launchers say, of which one variable is another.
LAUNCHERS = [told for told, *_ in (*WITH_ADDRESSES.values(), *WITHOUT_ADDRESSES.values())]
ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}")
FIGURES = (
    *("sent", "refused", "taken literally", "commands typed", "programs started", "executed"),
)


class Doors:
    """Sends values through the doors and counts what came of them.

    Args:
        folder: all files are made in it; the canary, which is not, lies beside it.
        canary: what would be there if anything was run.
    """

    def __init__(self, folder, canary):
        self.folder, self.canary = folder, canary
        self.counts = collections.Counter()
        self.findings = []
        self._commands = []
        self._options_file = folder / "options.py"
        self._options_file.write_text(OPTIONS_FILE)

    def send(self, value):
        """One value through all doors of this process."""
        for name in TEXT_FLAGS + OTHER_FLAGS:
            self._try(f"--{name}", value, lambda name=name: self._flag(name, value))
        self._try("a word", value, lambda: self._parsed([value]))
        self._try("TF_CONFIG", value, lambda: tfscale.resolve(None, None, {"TF_CONFIG": value}))
        for place in ("worker", "type", "role"):
            text = json.dumps(_tf_config(place, value))
            environ = {"TF_CONFIG": text}
            self._try("TF_CONFIG", value, lambda given=environ: tfscale.resolve(None, None, given))
        for told in LAUNCHERS:
            for name in told:
                environ = told | {name: value}
                self._try(name, value, lambda given=environ: self._found(given))
        for name in ("text", "number", "real", "anything", "sizes", "yes", value):
            self._try("an option", value, lambda name=name: self._option(name, value))
        self._try("the launcher", value, lambda: self._launched(value))
        self._try("options of a file", value, lambda: options_of(value))
        self._written(value)
        self._look(value)

    def type_commands(self):
        """Types every command that would have been printed into a shell, which has to read it."""
        text = "".join(f"printf '%s\\0' {command}\n" for command, _ in self._commands)
        done = subprocess.run(
            ["sh"], input=os.fsencode(text), capture_output=True, timeout=PROCESS_SECONDS
        )
        found = done.stdout.split(b"\0")[:-1]
        expected = [os.fsencode(word) for _, words in self._commands for word in words]
        if done.returncode or done.stderr or found != expected:
            self.findings.append(("a command", "sh reads other words", done.stderr[-200:]))
        self.counts["commands typed"] += len(self._commands)
        self._look("commands")

    def start(self, name, value, number):
        """One value as a flag of a real program, which has to end by itself."""
        flag = STARTED_FLAGS[number % len(STARTED_FLAGS)]
        # What can't be in an argument at all can't come that way.
        given = value.replace("\0", "").encode(errors="surrogateescape")[:100_000]
        words = [b"--%s=%s" % (flag.encode(), given)] if number % 2 else [given]
        done = subprocess.run(
            [sys.executable, str(ROOT / "launch" / f"{name}.py"), *words],
            cwd=self.folder,
            capture_output=True,
            timeout=PROCESS_SECONDS,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TMPDIR": str(self.folder)},
        )
        self.counts["programs started"] += 1
        self._require_clean(name, value, done.stderr)
        self._require_clean(name, value, done.stdout)
        # The launcher's workers say it, each with its number in front.
        least = int(name != "local")
        if done.returncode and not least <= len(done.stderr.splitlines()) <= 1:
            self.findings.append((name, "not one line", done.stderr[-300:]))
        self._look(value)

    def _try(self, door, value, use):
        self.counts["sent"] += 1
        try:
            use()
        except tfscale.ConfigError as error:
            self.counts["refused"] += 1
            reason, _ = tfscale.describe_failure(error)
            self._require_clean(door, value, self._complained(reason), lines=1)
        except Exception as error:
            self.findings.append((door, f"{type(error).__name__}: {error}"[:200], value[:80]))
        else:
            self.counts["taken literally"] += 1

    def _complained(self, text):
        with tempfile.TemporaryFile() as file:
            terminal = tfscale.Terminal()
            terminal._stderr = file.fileno()
            terminal.complain(text)
            file.seek(0)
            return file.read()

    def _require_clean(self, door, value, said, lines=None):
        if OBEYED.search(said):
            self.findings.append((door, "says what a terminal obeys", value[:80]))
        if lines is not None and said.count(b"\n") != lines:
            self.findings.append((door, f"says {said.count(bytes([10]))} lines", value[:80]))

    def _parsed(self, words):
        worker_flags.FLAGS.unparse_flags()
        for name in worker_flags.FLAGS:
            worker_flags.FLAGS[name].unparse()
        given = ["worker.py", "--run_dir=runs/a", "--dataset=d.py", "--model=m.py", *words]
        rest = program.flags_read(worker_flags.FLAGS, given)
        return worker_flags.config(), worker_flags.cluster({}), rest

    def _found(self, environ):
        asked = Asked(folder=str(self.folder), waits=False)
        for address in tfscale.resolve(None, None, environ, asked).addresses:
            _require(ADDRESS.fullmatch(address))

    def _flag(self, name, value):
        config, cluster, _ = self._parsed([f"--{name}={value}"])
        if name in ("run_dir", "data_dir", "cache"):
            expected = (
                value if value in ("none", "memory") else str(Path.cwd() / Path(value).expanduser())
            )
            _require(getattr(config, name) == expected)
        elif name in ("dataset", "model"):
            _require(getattr(worker_flags, name)() == value)
            if not os.path.exists(value):
                load_module(value, ())
        elif name.endswith("_option"):
            _require(getattr(config, name) == (value,))
        elif name == "hosts":
            _require([a.strip() for a in value.split(",")] == list(cluster.addresses))

    def _option(self, name, value):
        module = load_module(str(self._options_file), [f"{name}={value}"])
        forget_modules()
        if name == "text":
            _require(module.text == value)

    def _launched(self, value):
        commands = worker_commands(Path("w.py"), [f"--run_dir={value}", value], num_workers=2)
        _require(all(command[-2:] == [f"--run_dir={value}", value] for command in commands))
        run_dir_of([f"--run_dir={value}"])

    def _written(self, value):
        """What a run writes and prints that has such names in it."""
        named = value.replace("\0", "").encode(errors="replace").decode()[:1000] or "x"
        file = str(Path(f"{self.folder}/{named}/model.keras").resolve())
        self._commands += [
            (shell.in_shell(named), [named]),
            (shell.run_command(file), [sys.executable, file]),
        ]
        self._program(shell.load_command(file), file)
        options = {"text": value}
        brought = Brought(f"{named}/load_model.py", named, options, (), [named])
        loaded = load_script.with_objects(brought, named, {value: "own.A"}, safe_mode=True)
        built = load_script.with_build(
            brought, named, features=repr(value), arguments="features", policy="a", floatx="b"
        )
        benign = Brought("a/load_model.py", "a", {"text": "a"}, (), ["a"])
        for text, same in (
            (loaded, load_script.with_objects(benign, "a", {"a": "own.A"}, safe_mode=True)),
            (
                built,
                load_script.with_build(
                    benign, "a", features="'a'", arguments="features", policy="a", floatx="b"
                ),
            ),
        ):
            if _surrogates(value):
                text = text.encode(errors="replace").decode()
            try:
                if _shape(text) != _shape(same):
                    self.findings.append(("load_model.py", "is another program", value[:80]))
            except (SyntaxError, ValueError) as error:
                self.findings.append(("load_model.py", f"can't be parsed: {error}", value[:80]))
        shown = []
        terminal = tfscale.Terminal(shown.append)
        terminal.show(tables.table("plan", {"run directory": value, value: 1}))
        terminal.show(tables.next_commands(f"{self.folder}/{named}"))
        markdown = tables.markdown({"--run_dir": value, value: 1})
        directory = RunDirectory(str(self.folder / "run"), Cluster())
        directory.write_settings({"run_dir": value, value: [value]})
        written = (self.folder / "run" / "config.json").read_bytes()
        for door, text in (("shown", "".join(shown)), ("Markdown", markdown)):
            self._require_clean(door, value, text.encode(errors="replace"))
        if len(markdown.splitlines()) != 4 or re.search(r"<[a-z/!]|(?<!\\)\[", markdown, re.I):
            self.findings.append(("Markdown", "is more than a table", value[:80]))
        self._require_clean("config.json", value, written)
        if json.loads(written)["run_dir"] != value:
            self.findings.append(("config.json", "says another value", value[:80]))

    def _program(self, command, file):
        """`python -c PROGRAM`: Python has to read the one path in it."""
        texts = [
            node.value
            for node in ast.walk(ast.parse(shlex.split(command)[2]))
            if isinstance(node, ast.Constant)
        ]
        if texts != [file]:
            self.findings.append(("python -c", "reads another path", file[-80:]))

    def _look(self, value):
        if self.canary.exists():
            self.counts["executed"] += 1
            self.findings.append(("canary", "EXECUTED", value[:200]))
            self.canary.unlink()


def _require(is_it):
    if not is_it:
        raise RuntimeError("it was neither refused nor taken literally")


def _surrogates(text):
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _shape(text):
    """What a program does, without the texts in it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def _tf_config(place, value):
    content = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    if place == "worker":
        content["cluster"]["worker"][1] = value
    elif place == "type":
        content["task"]["type"] = value
    else:
        content["cluster"][value] = value
    return content


def sent(count, seed, processes, folder):
    """Sends so many values through all doors, and some of them to so many real programs.

    Args:
        count: of values.
        seed: that they are made of.
        processes: how many programs are started.
        folder: where everything happens.

    Returns:
        The doors, with what was counted and found.
    """
    here, canary = folder / "here", folder / "canary"
    here.mkdir()
    doors = Doors(here, canary)
    values = list(hostile_values(count, seed, str(canary)))
    before = os.getcwd()
    os.chdir(here)  # whatever is made under such a name is removed in the end
    try:
        for value in values:
            doors.send(value)
        doors.type_commands()
        chance = random.Random(seed)
        for number, value in enumerate(chance.choices(values, k=processes)):
            doors.start(PROGRAMS[number % len(PROGRAMS)], value, number)
    finally:
        os.chdir(before)
    return doors


def main(count, seed, processes):
    """Prints what came of so many values; gives the exit code."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tfscale-hostile-") as name:
        doors = sent(count, seed, processes, Path(name))
    lines = [f"{count} values, seed {seed}, {time.monotonic() - began:.0f} s"]
    lines += [f"  {what:<17}{doors.counts[what]:>8,}" for what in FIGURES]
    lines += [f"  {'findings':<17}{len(doors.findings):>8,}"]
    lines += ["    ".join(map(ascii, finding)) for finding in doors.findings[:40]]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(bool(doors.findings))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=70)
    asked = parser.parse_args()
    sys.exit(main(asked.count, asked.seed, asked.processes))
