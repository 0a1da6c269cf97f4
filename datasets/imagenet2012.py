r"""ImageNet (ILSVRC 2012), 1.28 million photographs in 1000 classes, through TensorFlow Datasets.

    python launch/worker.py --dataset=datasets/imagenet2012.py --data_dir=/data \
        --model=models/resnet.py --run_dir=runs/imagenet --batch_size=1024 --epochs=90 \
        --precision=mixed_bfloat16

Its licence forbids downloading without an account: get ILSVRC2012_img_train.tar and
ILSVRC2012_img_val.tar from https://image-net.org/download-images, and put them into
`--data_dir`/downloads/manual. The first run takes hours to sort 144 GiB into record files.
Source: O. Russakovsky et al., 2015, https://arxiv.org/abs/1409.0575.
"""

import tensorflow as tf

from tfscale.data import images
from tfscale.data.augment.images import decode_random_resized_crop, random_flip
from tfscale.data.collection import Collection
from tfscale.data.formats import tfds

size = (224, 224)  # height and width of x

num_classes = 1000
task = "classification"
splits = ("train", "validation")


def prepare(data_dir: str) -> None:
    """Sort the archives into record files; one worker does, the others wait."""
    tfds.prepare("imagenet2012", data_dir)


def load(split: str, data_dir: str) -> Collection:
    """Give the records of one split: `{"image": bytes of a JPEG, "label": int64, ...}`."""
    if split not in splits:
        raise ValueError(f"ImageNet has no split {split!r}. Use one of {', '.join(splits)}.")
    return tfds.records("imagenet2012", split, data_dir, decode_images=False)


def preprocess(
    record: dict[str, tf.Tensor], training: bool, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (*size, 3) in 0..1, y int64 scalar in 0..999.

    In training a random part of the image, half of them mirrored; else its middle.
    """
    data = record["image"]
    if training:
        image = random_flip(decode_random_resized_crop(data, seed, size), seed)
    else:
        image = images.decode_middle(data, size)
    return tf.cast(image, tf.float32) / 255.0, record["label"]
