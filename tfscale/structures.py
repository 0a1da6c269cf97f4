"""Names for what Python's types can't say: TensorFlow and Keras ship none.

Each is `Any` to a type checker, and tells the reader what is meant.
"""

from typing import Any, TypeAlias

# Tensors in the tuples and dicts that a user's data has, or one tensor.
Structure: TypeAlias = Any

# The same with a `tf.TensorSpec` for each tensor.
Spec: TypeAlias = Any

# A tensor, IndexedSlices, or None for a variable that the loss doesn't depend on.
Gradient: TypeAlias = Any

# What JSON can hold.
Json: TypeAlias = Any

# An object of a library without types, or of the user's.
Foreign: TypeAlias = Any
