"""The user's two files, read, and found to be the same on every worker."""

import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass

import keras

from tfscale.data.splits import Splits, read_splits
from tfscale.fit.keras.downloads import one_download_at_a_time
from tfscale.fit.process_wide import install_replacements
from tfscale.model.model_file import ModelFile, build_model, read_model_file
from tfscale.process.patience import tell_if_long
from tfscale.process.terminal import Terminal
from tfscale.startup.agreement import SAME_FILES, require_same, surroundings, versions
from tfscale.startup.job import Job
from tfscale.startup.source_hashes import given_sources, imported_sources, library_source, source_of
from tfscale.user_paths import located, name_of

_LONG_SECONDS = 20.0


@dataclass(frozen=True)
class Built:
    """The user's files, read.

    Args:
        data: every split, sharded.
        model_file: what the model file says.
        model: as `build` returned it, compiled or not.
        sources: checksums of the texts of the "dataset" and the "model" file; "" for none.
    """

    data: Splits
    model_file: ModelFile
    model: keras.Model
    sources: Mapping[str, str]


def build(
    job: Job,
    dataset: object,
    model: object,
    learned: Mapping[str, object] | None = None,
    *,
    only: str = "",
) -> Built:
    """The first half of `prepare`, for who needs no loss and no optimizer.

    Args:
        job: a strategy that stands.
        dataset: as in `prepare`.
        model: as in `prepare`.
        learned, only: as of `read_splits`.

    Raises:
        ConfigError: the workers differ, or a file can't be used.
    """
    install_replacements()
    is_shared = job.cluster.num_workers > 1
    dataset, model = located(dataset), located(model)
    if is_shared:
        require_same(job.board, "facts", _facts(job, dataset, model))
        sources = {"the files of tfscale": library_source(), **given_sources(dataset, model)}
        require_same(job.board, "sources", sources, SAME_FILES)
    model_file = read_model_file(model, job.config.model_option)
    is_long = tell_if_long(_LONG_SECONDS, lambda: _told_of_processes(job.terminal))
    with is_long, one_download_at_a_time(job.terminal.show):
        data = read_splits(job, dataset, learned, only=only)
        if is_shared:
            sources = imported_sources()
            require_same(job.board, "imports", sources, SAME_FILES)
            require_same(job.board, "data", data.facts())
        made = build_model(model_file, data.file, data.training.spec, job.strategy)
    sources = {"dataset": source_of(dataset), "model": source_of(model)}
    return Built(data, model_file, made, sources)


def _told_of_processes(terminal: Terminal) -> bool:
    """Says where the words of processes are that the user's files wait for.

    A pool whose processes die starts others in their place, for ever and without a word.
    """
    processes = multiprocessing.active_children()
    if not processes or terminal.log_path is None:
        return False
    terminal.complain(
        f"The dataset and the model file have worked for {_LONG_SECONDS:.0f} s, and "
        f"{len(processes)} processes that they have started still run. What those say, and why "
        f"they end, is in {terminal.log_path}"
    )
    return True


def _facts(job: Job, dataset: object, model: object) -> dict[str, object]:
    return {
        "device kind": job.devices.kind,
        "number of devices": job.devices.count,
        "versions": versions(),
        "dataset": name_of(dataset),
        "model": name_of(model),
        **job.config.as_flags(same_on_workers=True),
        **surroundings(),
    }
