"""What happens to gradients before they reach the weights."""

from tests.jobs.scenes.examples import image_data, word_data
from tests.jobs.scenes.networks import convolutions, dense, uncompiled_dense, words


def gradient_path(stage):
    """Buckets smaller than tensors, micro-batches, and gradients of rows."""
    few = {"steps_per_epoch": 10, "bucket_mb": 0.001}
    return {
        "pieces": stage.train(image_data(), convolutions(), **few),
        "halves": stage.train(image_data(), uncompiled_dense, accumulate_steps=2, **few),
        "rows": stage.train(word_data(5000), words(5000), **few),
        "densified": stage.train(word_data(6), words(6), **few),
    }


def clipping(stage):
    """K3: gradients are clipped after they have been summed."""

    def optimizer():
        import keras

        return keras.optimizers.SGD(1.0, global_clipnorm=0.05)

    return stage.train(image_data(), dense(optimizer=optimizer), steps_per_epoch=5)


def accumulation(stage):
    """K7: two micro-batches a step give what one batch gives."""
    return {
        "whole": stage.train(image_data(), uncompiled_dense, steps_per_epoch=10),
        "halves": stage.train(
            image_data(), uncompiled_dense, steps_per_epoch=10, accumulate_steps=2
        ),
    }
