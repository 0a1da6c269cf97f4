"""What faults cost a training, from the times of its steps, and how it is said."""

import os
import statistics
import sys


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
