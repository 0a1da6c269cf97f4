"""What faults cost a training, from the times of its steps, and how it is said."""

import itertools
import os
import statistics
import sys

_AROUND_SECONDS = 4.0  # before and after, in which steps take what they take without
_FEWEST_STEPS = 5


def step_seconds(steps):
    """Of a training without faults, with all that lies between steps."""
    return (steps[-1].at - steps[0].at) / (len(steps) - 1)


def lost(faults, steps, seconds_a_step):
    """Seconds lost by each fault: until the next one, less what the new steps meanwhile take.

    Args:
        faults: when each has happened, in order.
        steps: of the training, in order.
        seconds_a_step: without faults.
    """
    found = []
    for began, ended in zip(faults, [*faults[1:], steps[-1].at], strict=True):
        done = max((step.number for step in steps if step.at <= began), default=0)
        then = max((step.number for step in steps if step.at <= ended), default=0)
        found.append(max(0.0, ended - began - (then - done) * seconds_a_step))
    return found


def recovered(fault, steps):
    """Seconds from a fault to the first step of the next start, and to the first that is new.

    Args:
        fault: when it has happened.
        steps: of the training, in order.

    Returns:
        Both; None where the training wasn't started again.
    """
    before = [step for step in steps if step.at <= fault]
    process = before[-1].process if before else ""
    # The step that is on its way may still end: who was killed had done its part.
    first = next((s for s in steps if s.at > fault and s.process != process), None)
    if first is None:
        return None
    done = max((step.number for step in steps if step.at < first.at), default=0)
    new = next((s for s in steps if s.at >= first.at and s.number > done), first)
    return first.at - fault, new.at - fault


def excess(ends, began, ended):
    """Seconds by which the steps around something took longer than others near it.

    Args:
        ends: of all steps, in order.
        began: when it has begun, within them.
        ended: when it was over.

    Returns:
        From the step before it to the step after it, less what as many steps take in the seconds
        around it; None if there are too few of these on a side.
    """
    before = max((place for place, end in enumerate(ends) if end <= began), default=0)
    after = next((place for place, end in enumerate(ends) if end > ended), len(ends) - 1)
    first = next(place for place, end in enumerate(ends) if end > began - _AROUND_SECONDS)
    last = max(place for place, end in enumerate(ends) if end < ended + _AROUND_SECONDS)
    sides = [lengths(ends[first : before + 1]), lengths(ends[after : last + 1])]
    if min(map(len, sides)) < _FEWEST_STEPS:
        return None
    usual = statistics.fmean(map(statistics.fmean, sides))
    return ends[after] - ends[before] - (after - before) * usual


def lengths(times):
    """Seconds from each to the next."""
    return [end - begin for begin, end in itertools.pairwise(times)]


def figures(values):
    """Minimum, median and maximum of some seconds, as text."""
    if not values:
        return f"{'-':>9}" * 3
    return "".join(f"{one:9.2f}" for one in (min(values), statistics.median(values), max(values)))


def seed_of(given):
    """A seed: the one that was given, or a new one."""
    return int.from_bytes(os.urandom(4)) if given is None else given


def say(text):
    """Prints a line at once, also into a file that somebody watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
