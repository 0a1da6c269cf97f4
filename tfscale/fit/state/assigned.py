"""Which variables a function assigns, read off the function itself."""

from collections.abc import Sequence

import tensorflow as tf
from tensorflow.python.framework import auto_control_deps_utils


def assigned_within(variables: Sequence[tf.Variable]) -> list[bool]:
    """Which variables the function that is being traced assigns so far, in whatever it calls.

    Args:
        variables: of one device each, made outside of the function.
    """
    graph = tf.compat.v1.get_default_graph()
    outside = {internal.ref(): external for external, internal in graph.captures}
    assigned = set()
    for operation in graph.get_operations():
        _, written = auto_control_deps_utils.get_read_write_resource_inputs(operation)
        assigned |= {id(outside.get(handle.ref(), handle)) for handle in written}
    return [id(variable.handle) in assigned for variable in variables]
