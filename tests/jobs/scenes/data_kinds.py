"""What users bring as data: each kind trains alike on one worker and on several."""

from types import SimpleNamespace

import numpy as np

SENTENCES = 44
MOST_WORDS = 12
FLOWERS = ("setosa", "versicolor", "virginica")


def lengths():
    """Words of each sentence."""
    return [1 + (7 * k) % MOST_WORDS for k in range(SENTENCES)]


def sentences():
    """Numbers of words, int32, and of each word whether it is odd; padded with 0 and -1."""
    words = np.zeros((SENTENCES, MOST_WORDS), np.int32)
    for row, length in enumerate(lengths()):
        words[row, :length] = 1 + (np.arange(length) * (row + 3)) % 9
    return words, np.where(words > 0, words % 2, -1)


def _texts():
    words, _ = sentences()
    return [" ".join(str(word) for word in row if word) for row in words]


def _split_words(record):
    import tensorflow as tf

    return tf.strings.to_number(tf.strings.split(record), tf.int32)


def _tagger(spec, num_classes=None):
    """A class for each word."""
    import keras

    return keras.Sequential(
        [
            keras.Input(spec.shape, dtype="int32"),
            keras.layers.Embedding(10, 4),
            keras.layers.Conv1D(4, 1, activation="tanh"),
            keras.layers.Dense(2),
        ]
    )


def _counter(spec, num_classes=None):
    """A number for each sentence, of as many words as there are."""
    import keras

    inputs = keras.Input(spec.shape, dtype="int32")
    words = keras.layers.Embedding(10, 4, mask_zero=True)(inputs)
    mean = keras.layers.GlobalAveragePooling1D()(words)
    return keras.Model(inputs, keras.layers.Dense(1)(mean))


def sizes(stage):
    """Sentences in buckets, and a label for each of their words."""
    import tensorflow as tf

    def load(split):
        return tf.data.Dataset.from_tensor_slices(_texts()) if split == "train" else None

    def counted(record, training):
        words = _split_words(record)
        return words, tf.reduce_mean(tf.cast(words, tf.float32))

    def tagged(record, training):
        words = _split_words(record)
        return words, words % 2

    bucketed = SimpleNamespace(
        load=load,
        preprocess=counted,
        task="regression",
        bucket_boundaries=(4, 8, 12),
        element_length=lambda record: tf.size(tf.strings.split(record)),
    )
    padded = SimpleNamespace(
        load=load,
        preprocess=tagged,
        num_classes=2,
        padded_shapes=((MOST_WORDS,), (MOST_WORDS,)),
        padding_values=(0, -1),
    )
    both = SimpleNamespace(
        load=lambda split: tf.data.Dataset.from_tensor_slices(_texts()),
        preprocess=tagged,
        num_classes=2,
        bucket_boundaries=(4, 8, 12),
        element_length=lambda record: tf.size(tf.strings.split(record)),
    )
    return {
        "both": stage.train(both, _tagger, batch_size=4, epochs=2),
        "buckets": stage.train(bucketed, _counter, batch_size=4, epochs=2),
        "padded": stage.train(padded, _tagger, batch_size=SENTENCES, epochs=1),
    }


def brought(stage):
    """A stream, decoded files, examples that are kept, mixed ones, and bad ones."""
    import tensorflow as tf

    from tests.jobs.scenes.examples import NUM_EXAMPLES, images

    x, y = images()

    def generate():
        yield from zip(x, y, strict=True)

    signature = (tf.TensorSpec(x.shape[1:], tf.float32), tf.TensorSpec([], tf.int64))

    def stream(split):
        made = tf.data.Dataset.from_generator(generate, output_signature=signature)
        return made if split == "train" else None

    folder = stage.out / f"disk of worker {stage.cluster.index}"
    folder.mkdir()
    path = str(folder / "a.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for image, label in zip(x, y, strict=True):
            writer.write(tf.io.serialize_tensor(np.append(image.reshape(-1), label)).numpy())

    def decoded(record):
        numbers = tf.ensure_shape(tf.io.parse_tensor(record, tf.float64), [6 * 6 * 2 + 1])
        return tf.cast(tf.reshape(numbers[:-1], [6, 6, 2]), tf.float32), tf.cast(
            numbers[-1], tf.int64
        )

    def files(split):
        names = tf.data.Dataset.from_tensor_slices([path])
        made = names.interleave(tf.data.TFRecordDataset).map(decoded)
        return made if split == "train" else None

    def numbers(split):
        return tf.data.Dataset.range(NUM_EXAMPLES) if split == "train" else None

    def looked_up(record, training):
        return tf.gather(x, record), tf.gather(y, record)

    def sometimes_bad(record, training):
        valid = tf.debugging.Assert(record % 150 != 7, ["a record that nobody can read"])
        with tf.control_dependencies([valid]):
            return looked_up(record, training)

    def mix(x, y, seed):
        from tfscale.data.augment.mixing import mixup

        return mixup(x, tf.one_hot(y, 4), seed)

    pictures = _pictures(stage, x, y)

    def folders(split):
        import keras

        made = keras.utils.image_dataset_from_directory(
            pictures, color_mode="grayscale", image_size=(6, 6), batch_size=None, verbose=False
        )
        return made if split == "train" else None

    def train(load, preprocess=None, mix=None, **settings):
        data = SimpleNamespace(
            __name__="mine", load=load, preprocess=preprocess, mix=mix, num_classes=4
        )
        return stage.train(data, _classifier, steps_per_epoch=25, **settings)

    return {
        "stream": train(stream),
        "files": train(files, epochs=2),
        "numbers": train(numbers, looked_up, epochs=2),
        "kept": train(numbers, looked_up, cache="memory", epochs=2),
        "kept on disk": train(numbers, looked_up, cache=str(stage.out / "cache"), epochs=2),
        "folders": train(folders, lambda record, training: (record[0] / 255.0, record[1])),
        "mixed": train(numbers, looked_up, mix=mix),
        "bad": train(numbers, sometimes_bad, max_bad_examples=3),
    }


def flowers():
    """Noise, float32, and the name of each row's class; the rows are sorted by class."""
    noise = np.random.default_rng(3).normal(size=(24, 2)).astype("float32")
    return noise, [FLOWERS[row // 8] for row in range(24)]


def flower_model(spec, num_classes):
    """Compiled, for the classes of `flowers`."""
    import keras

    inputs = keras.Input(spec.shape)
    hidden = keras.layers.Dense(8, activation="tanh")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(num_classes)(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, metrics=["accuracy"])
    return model


def table(stage):
    """A table as pandas writes it, with a counter of the rows whose name is empty."""
    folder = stage.out / "table"
    folder.mkdir(exist_ok=True)
    x, classes = flowers()
    rows = [f"{row},{x[row, 0]!s},{x[row, 1]!s},{name}" for row, name in enumerate(classes)]
    for split in ("train", "validation"):
        unfinished = folder / f"{split}.{stage.cluster.index}"
        unfinished.write_text("\n".join([",a,b,species", *rows, ""]))
        unfinished.replace(folder / f"{split}.csv")
    return stage.train(
        "datasets/csv_table.py",
        flower_model,
        data_dir=str(folder),
        dataset_option=("label=species", f"num_classes={len(FLOWERS)}"),
        batch_size=len(rows),
        epochs=5,
    )


def _pictures(stage, x, y):
    """A folder for each class, with images in it; each worker writes all, as they are the same."""
    import tensorflow as tf

    folder = stage.out / "pictures"
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        path = folder / f"class {label}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{stage.cluster.index}")
        pixels = tf.cast(128 + 40 * np.clip(image[..., :1], -3, 3), tf.uint8)
        unfinished.write_bytes(tf.io.encode_png(pixels).numpy())
        unfinished.replace(path)
    return folder


def _classifier(spec, num_classes):
    import keras

    return keras.Sequential(
        [keras.Input(spec.shape), keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    )
