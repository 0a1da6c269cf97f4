"""Which variables an optimizer has been built for."""

import keras


def unknown_variables(model: keras.Model) -> list[str]:
    """Paths of the trainable variables that the built optimizer of a model has no place for.

    Keras raises at the first step, with the variable's address. An optimizer that has been built by
    loading a model knows what was trainable then.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    known = getattr(optimizer, "_trainable_variables", None)
    if optimizer is None or not optimizer.built or not known:
        return []
    ids = {id(variable) for variable in known}
    return [one.path for one in model.trainable_variables if id(one) not in ids]
