import numpy as np

from tfscale.fit.boundary import Boundary

# Of each worker: seconds, waiting for input, exposed and all communication, and two figures.
ROWS = np.array([[4.0, 0.5, 0.25, 1.0, 50.0, 100.0], [5.0, 0.0, 0.75, 2.0, 60.0, 200.0]])


def test_each_workers_row_is_read_by_its_columns():
    boundary = Boundary.of_rows(ROWS, step=30, steps=10, is_warm=True)
    assert (boundary.step, boundary.steps, boundary.is_warm) == (30, 10, True)
    assert boundary.seconds.tolist() == [4.0, 5.0]
    assert boundary.input_wait_seconds.tolist() == [0.5, 0.0]
    assert boundary.exposed_seconds.tolist() == [0.25, 0.75]
    assert boundary.travel_seconds.tolist() == [1.0, 2.0]
    assert boundary.figures.tolist() == [[50.0, 100.0], [60.0, 200.0]]


def test_a_worker_may_have_no_figures():
    boundary = Boundary.of_rows(ROWS[:, :4], step=1, steps=1, is_warm=False)
    assert boundary.figures.shape == (2, 0)
