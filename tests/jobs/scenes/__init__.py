"""Small trainings for real workers, compared between one worker and several.

A scene takes a `Stage` and gives a dict of numbers and arrays, which every worker pickles.
Read `stage`, then `examples` and `networks`, then any scene. `python -m tests.jobs.scenes` plays
them; the tests that ask for them are in `test_parity.py`, how they are started in `playing.py`.

TensorFlow and Keras are imported within functions: `tfscale.train` sets what they read when they
are imported.
"""

from tests.jobs.scenes import (
    callbacks,
    compiling,
    data_kinds,
    gradients,
    parity,
    precision,
    replicas,
    scores,
    wires,
)

SCENES = {
    scene.__name__: scene
    for scene in (
        *(parity.parity_float32, parity.parity_float64, parity.optimizers, parity.loops),
        *(parity.own_train_step, parity.several_inputs),
        *(gradients.gradient_path, gradients.clipping, gradients.accumulation),
        *(wires.updates, wires.rounded_resnet, wires.compressed),
        *(compiling.compiled, compiling.not_compilable),
        *(precision.mixed_bfloat16, precision.mixed_float16, precision.overflow),
        *(replicas.statistics, replicas.dropout),
        *(callbacks.decisions, callbacks.files_of_callbacks),
        *(scores.detection, scores.several_labels),
        *(data_kinds.sizes, data_kinds.brought, data_kinds.table),
    )
}
