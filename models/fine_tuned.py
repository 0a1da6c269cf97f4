r"""A network that was trained before, for classes of your own, in two phases.

First what is new, above a base that stays as it is; then all of it, at a small rate:

    python launch/worker.py --model=models/fine_tuned.py --run_dir=runs/head \
        --optimizer=adam --learning_rate=0.001 --epochs=5 --dataset=... --data_dir=...
    python launch/worker.py --model=models/fine_tuned.py --run_dir=runs/all \
        --model_option=start=runs/head/model.keras --optimizer=adam --learning_rate=0.00001 ...
"""

import keras
import tensorflow as tf
from keras import layers

weights = "imagenet"  # of the base: "imagenet" is downloaded, "" begins anew, or a file
start = ""  # the saved model of the first phase: then all of it is trained


def build(spec: tf.TensorSpec, num_classes: int) -> keras.Model:
    """Give logits for an image in 0..1."""
    if start:
        model = keras.saving.load_model(start, compile=False)
        model.get_layer("base").trainable = True
        return model
    base = keras.applications.MobileNetV2(
        input_shape=spec.shape,
        include_top=False,
        pooling="avg",
        weights=weights or None,
        name="base",
    )
    base.trainable = False
    inputs = keras.Input(spec.shape)
    # It was trained with -1 to 1. Batch statistics stay those of the base in both phases.
    x = base(layers.Rescaling(2.0, offset=-1.0)(inputs), training=False)
    x = layers.Dropout(0.2)(x)
    return keras.Model(inputs, layers.Dense(num_classes, dtype="float32")(x))
