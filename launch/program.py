"""The shell that all programs share: from flags that are read to one line that says why it ended.

A program has one line before its imports, which nothing imported can do for it: started by its path
(`python launch/worker.py`), Python looks for modules in launch/ alone.
"""

import contextlib
import io
import sys
import traceback
from collections.abc import Callable, Sequence

from absl import app, flags

import tfscale
from tfscale.errors import INTERRUPTED_CODE, End, end_of
from tfscale.process.exit import end_well, leave_at_exit, record_end, record_end_in
from tfscale.process.printable import printable
from tfscale.startup.environment import take_end_record


def run(
    main: Callable[..., int | None],
    *,
    parse: Callable[[list[str]], list[str]] = flags.FLAGS,
    is_verbose: Callable[[], bool] = lambda: False,
    is_launcher: Callable[[], bool] = lambda: False,
) -> None:
    """Runs a program and ends the process with its exit code; call it last.

    With 0 it ends as Python does: threads are waited for, and `atexit` is asked, for a minute.

    Libraries' messages are kept out of the terminal, in a log that stays if something goes wrong.
    Whatever is raised becomes one line on the standard error, and the exit code that belongs to it.

    Args:
        main: gets the terminal, of a launcher also each word that is no flag; gives the exit code,
            None for 0.
        parse: reads the command line into absl's flags and gives the words that are none, after
            the program's name.
        is_verbose: asked when flags are read; whether the messages stay in the terminal.
        is_launcher: asked when flags are read; whether the words are for processes that the
            program starts in its own terminal, so that neither is kept from them.
    """

    def ended(argv: Sequence[str]) -> int:
        # Letters that this terminal does not have must not end the program.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        terminal = tfscale.Terminal(print, progress=True)
        record_end_in(take_end_record())
        with contextlib.ExitStack() as stack:
            try:
                tfscale.use_own_temporary_folder()
                launches = is_launcher()
                if not (launches or is_verbose()):
                    stack.enter_context(terminal.captured())
                if not launches:
                    _refuse_words(argv[1:])
                code = main(terminal, *argv[1:]) or 0
            except (Exception, KeyboardInterrupt) as error:
                code = _complain(error, terminal, is_verbose=is_verbose())
        if code:
            tfscale.leave(code)
        end_well(terminal.complain)
        return 0

    leave_at_exit()
    app.run(ended, flags_parser=lambda words: _parsed(parse, words))


def _parsed(parse: Callable[[list[str]], list[str]], words: list[str]) -> list[str]:
    try:
        return flags_read(parse, words)
    except SystemExit:  # absl (2.4) has shown what --help asks for, which to it is a failure
        sys.exit(0)
    except tfscale.ConfigError as error:
        reason, code = tfscale.describe_failure(error)
        tfscale.Terminal().complain(reason)
        sys.exit(code)


def flags_read(parse: Callable[[list[str]], list[str]], words: list[str]) -> list[str]:
    """What `parse` gives; one kind of error, whatever is wrong with the words."""
    try:
        return parse(words)
    except flags.Error as error:
        raise tfscale.ConfigError(f"{error} (see --help)") from error
    except RecursionError as error:
        # absl (2.4) looks for flags of a similar name, letter by letter.
        raise tfscale.ConfigError("A flag has too long a name (see --help)") from error


def _refuse_words(words: Sequence[str]) -> None:
    """Refuses what is no flag: a typing error that absl would hand on, and nobody would read."""
    if words:
        raise tfscale.ConfigError(
            f"{' '.join(words)!r} is no flag; expected --name=value only. See --help."
        )


def _complain(error: BaseException, terminal: tfscale.Terminal, *, is_verbose: bool) -> int:
    """Says in a line why the program ends, and in its log where; gives the exit code."""
    if isinstance(error, KeyboardInterrupt):
        terminal.complain("Ended by Ctrl-C.")
        record_end(End.of(INTERRUPTED_CODE, "Ended by Ctrl-C."))
        return INTERRUPTED_CODE
    end = end_of(error)
    record_end(end)
    reason, code = end.reason, end.code
    has_log = terminal.log_path is not None
    if code not in (tfscale.CONFIG_CODE, tfscale.PREEMPTED_CODE) and (has_log or is_verbose):
        with contextlib.suppress(OSError):  # a full disk must not hide the reason
            sys.stderr.write(printable(traceback.format_exc()))
        reason += f" (more in {terminal.kept_log()})" if has_log else ""
    terminal.complain(reason)
    return code
