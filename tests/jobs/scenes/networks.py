"""The networks of more than one scene, each as a function that gives a `build`."""


def convolutions(**compile_arguments):
    """A convolution with synchronised batch normalisation, compiled as `dense` says."""

    def build(spec, num_classes):
        import keras

        layers = [
            keras.Input(spec.shape),
            keras.layers.Conv2D(8, 3, use_bias=False),
            keras.layers.BatchNormalization(synchronized=True, momentum=0.9),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(num_classes),
        ]
        return _compiled(keras.Sequential(layers), metrics=["accuracy"], **compile_arguments)

    return build


def dense(**compile_arguments):
    """One layer of logits.

    Args:
        compile_arguments: of `compile`, with a function in the place of an optimizer; SGD with
            momentum where there is none.
    """

    def build(spec, num_classes):
        import keras

        layers = [keras.Input(spec.shape), keras.layers.Flatten(), keras.layers.Dense(num_classes)]
        return _compiled(keras.Sequential(layers), **compile_arguments)

    return build


def uncompiled_dense(spec, num_classes):
    """The same layer, for which the settings of the run decide."""
    import keras

    layers = [keras.Input(spec.shape), keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    return keras.Sequential(layers)


def words(count):
    """An embedding of `count` words, whose gradients are rows."""

    def build(spec, num_classes):
        import keras

        layers = [
            keras.Input(spec.shape, dtype="int64"),
            keras.layers.Embedding(count, 8),
            keras.layers.Flatten(),
            keras.layers.Dense(num_classes),
        ]
        return _compiled(keras.Sequential(layers), optimizer=lambda: keras.optimizers.SGD(0.5))

    return build


def small_resnet(spec):
    """The benchmark's small ResNet, not compiled."""
    import keras

    from tools.bench.workloads.small_resnet import SmallResNet

    return SmallResNet().keras_model(keras)


def smaller_resnet(spec):
    """The same for smaller images."""
    import keras

    return keras.models.clone_model(small_resnet(spec), keras.Input(spec.shape))


def _compiled(model, *, optimizer=None, **arguments):
    import keras

    model.compile(
        optimizer=optimizer() if optimizer else keras.optimizers.SGD(0.05, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **arguments,
    )
    return model
