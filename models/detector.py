r"""A compact detector of one stage, without anchors: where the objects of an image are, and what.

    python launch/local.py --workers=2 -- --dataset=datasets/shapes.py --model=models/detector.py \
        --model_option=width=16 --model_option=total_steps=384 --run_dir=runs/shapes \
        --batch_size=32 --epochs=6

For a data set with `task = "detection"`: x is an image float32 (height, width, 3) in 0..1, y is
`{"boxes": float32 (m, 4), "classes": int64 (m,)}`, boxes relative as (y_min, x_min, y_max, x_max)
and -1 for no object. What y has beside ("crowd", "difficult": bool (m,)) isn't trained on.

Each object is a Gaussian around the cell of its centre in a map of a quarter of the image's side,
after Z. Liu et al., "Training-Time-Friendly Network for Real-Time Object Detection", 2019,
https://arxiv.org/abs/1909.00700. The network is a residual one whose stages are added up from the
coarsest to the finest, after T.-Y. Lin et al., "Feature Pyramid Networks", 2017,
https://arxiv.org/abs/1612.03144, with group normalisation, which sees one example at a time: the
same on any number of replicas. The model comes compiled; set its rate with
`--model_option=learning_rate=0.001`, and `--model_option=total_steps=N` to let it fall to 0.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfscale.model import boxes

depth = 1  # residual blocks of each of the four stages
width = 32  # channels of the first stage; each of the others has twice as many
learning_rate = 2e-3
weight_decay = 1e-4
total_steps = None  # over which the rate rises for a tenth, then falls to 0; None: it stays
max_detections = 100  # that predict gives for an image
most_overlap = 0.5  # intersection over union above which two boxes of a class show one object

_BOX_WEIGHT = 5.0  # of the boxes' loss; section 4.4 of Liu et al.
_RARE = -4.6  # logit of 0.01: nearly all cells show nothing


class Detector(keras.Model):
    """Maps of heat and boxes; `predict` gives detections, as `boxes.best_detections` says."""

    def compute_loss(
        self,
        x: Any = None,  # noqa: ANN401 - as Keras has it
        y: Any = None,  # noqa: ANN401
        y_pred: Any = None,  # noqa: ANN401
        sample_weight: tf.Tensor | None = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The mean over examples; what an example's objects add is divided by their number."""
        classes = y["classes"]
        for kind in {"crowd", "difficult"} & set(y):
            classes = tf.where(tf.cast(y[kind], tf.bool), tf.constant(-1, classes.dtype), classes)
        num_classes, cells = y_pred["heat"].shape[-1], tuple(y_pred["heat"].shape[1:3])
        targets = boxes.encode(y["boxes"], classes, num_classes=num_classes, cells=cells)
        agreement = boxes.generalized_intersection_over_union(
            boxes.decode(y_pred["boxes"]), targets.boxes
        )
        of_boxes = tf.reduce_sum(targets.weights * (1.0 - agreement), axis=[1, 2])
        of_heat = tf.reduce_sum(boxes.heat_loss(y_pred["heat"], targets.heat), axis=[1, 2, 3])
        losses = (of_heat + _BOX_WEIGHT * of_boxes) / tf.maximum(targets.num_objects, 1.0)
        return tf.reduce_mean(losses if sample_weight is None else losses * sample_weight)

    def predict_step(self, data: Any) -> dict[str, tf.Tensor]:  # noqa: ANN401 - as Keras has it
        """Detections: "boxes" (b, n, 4), "scores" (b, n) and "classes" (b, n)."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        maps = self(x, training=False)
        return boxes.best_detections(
            tf.sigmoid(maps["heat"]),
            boxes.decode(maps["boxes"]),
            count=max_detections,
            candidates=5 * max_detections,
            most_overlap=most_overlap,
        )


def build(spec: tf.TensorSpec, num_classes: int) -> keras.Model:
    """Build and compile the detector.

    Args:
        spec: shape and dtype of one image, without the batch; its sides have to be known.
        num_classes: of objects.
    """
    inputs = keras.Input(shape=spec.shape)
    x = layers.ReLU()(_conv_norm(inputs, width, stride=2))
    stages = []
    for stage in range(4):
        for block in range(depth):
            x = _block(x, width * 2**stage, stride=2 if block == 0 else 1)
        stages.append(x)
    x = layers.Conv2D(2 * width, 1)(stages.pop())
    for finer in reversed(stages):
        height, breadth = finer.shape[1:3]
        larger = layers.UpSampling2D(2)(x)[:, :height, :breadth]
        x = layers.Add()([larger, layers.Conv2D(2 * width, 1)(finer)])
    x = layers.ReLU()(_conv_norm(x, 2 * width))
    outputs = {
        "heat": _head(x, num_classes, "heat", bias=_RARE),
        "boxes": _head(x, 4, "boxes", bias=0.0),
    }
    model = Detector(inputs, outputs, name="detector")
    # The loops of the non-maximum suppression aren't for XLA, which Keras alone would choose.
    model.compile(_optimizer(), jit_compile=False)
    return model


def _optimizer() -> keras.optimizers.Optimizer:
    rate = learning_rate
    if total_steps is not None:
        rising = total_steps // 10
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, total_steps - rising, warmup_target=learning_rate, warmup_steps=rising
        )
    return keras.optimizers.AdamW(rate, weight_decay=weight_decay, global_clipnorm=10.0)


def _block(x: keras.KerasTensor, channels: int, stride: int) -> keras.KerasTensor:
    shortcut = _conv_norm(x, channels, kernel=1, stride=stride) if stride > 1 else x
    x = layers.ReLU()(_conv_norm(x, channels, stride=stride))
    return layers.ReLU()(layers.Add()([_conv_norm(x, channels), shortcut]))


def _conv_norm(
    x: keras.KerasTensor, channels: int, *, kernel: int = 3, stride: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False)(x)
    return layers.GroupNormalization(groups=min(8, channels))(x)


def _head(x: keras.KerasTensor, channels: int, name: str, *, bias: float) -> keras.KerasTensor:
    """One map in float32, whatever the precision of the rest."""
    x = layers.ReLU()(_conv_norm(x, 2 * width))
    start = keras.initializers.Constant(bias)
    return layers.Conv2D(channels, 1, bias_initializer=start, dtype="float32", name=name)(x)
