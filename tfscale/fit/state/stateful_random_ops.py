"""Random operations that keep their place inside TensorFlow, where nobody can read or set it.

`tf.random.normal` in a step counts its calls within the process. A run that goes on would draw the
first numbers again, and no checkpoint can hold otherwise. Keras's own layers draw with generators
whose state is a variable.
"""

import tensorflow as tf

_STATEFUL = frozenset(
    (
        *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
        *("ParameterizedTruncatedNormal", "RandomGamma", "RandomPoisson", "RandomPoissonV2"),
        *("RandomShuffle", "Multinomial", "RandomCrop", "FixedUnigramCandidateSampler"),
        *("UniformCandidateSampler", "LogUniformCandidateSampler"),
    )
)


def random_operations() -> list[str]:
    """Those of the function that is being traced, and of all that it calls, by their types."""
    graph = tf.compat.v1.get_default_graph()
    kinds = {operation.type for operation in graph.get_operations()}
    if any(kind in kinds for kind in ("If", "While", "Case", "StatefulPartitionedCall")):
        library = graph.as_graph_def().library.function
        kinds |= {node.op for function in library for node in function.node_def}
    return sorted(kinds & _STATEFUL)
