import numpy as np
import pytest
import tensorflow as tf

from tfscale.model import boxes

UNIT = [0.0, 0.0, 1.0, 1.0]


def _boxes(*given):
    return tf.constant(given, tf.float32)


def _agreement(one, other, function=boxes.intersection_over_union):
    return float(function(_boxes(*one), _boxes(*other)))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (UNIT, UNIT, 1.0),
        (UNIT, [0.0, 0.0, 0.5, 0.5], 0.25),
        ([0.0, 0.0, 0.4, 0.4], [0.2, 0.2, 0.6, 0.6], 0.04 / 0.28),
        ([0.0, 0.0, 0.4, 0.4], [0.4, 0.0, 0.8, 0.4], 0.0),  # they touch
        ([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], 0.0),  # both are empty
        ([0.6, 0.6, 0.2, 0.2], UNIT, 0.0),  # turned inside out: it has no area
    ],
)
def test_intersection_over_union_is_the_common_part_of_both(one, other, expected):
    assert _agreement(one, other) == pytest.approx(expected, abs=1e-6)
    assert _agreement(other, one) == pytest.approx(expected, abs=1e-6)


def test_intersection_over_union_of_all_pairs():
    found = boxes.intersection_over_union(
        _boxes(UNIT, [0.0, 0.0, 0.5, 1.0])[:, tf.newaxis], _boxes(UNIT, UNIT, [0.5, 0.0, 1.0, 1.0])
    )
    np.testing.assert_allclose(found, [[1.0, 1.0, 0.5], [0.5, 0.5, 0.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0.0, 0.0, 0.2, 0.2], 1.0),
        # Around both is 0.2 x 0.6, of which a third is in neither.
        ([0.0, 0.4, 0.2, 0.6], -1 / 3),
        ([0.0, 0.1, 0.2, 0.3], 1 / 3),
    ],
)
def test_generalized_intersection_over_union_tells_how_far_away_a_box_is(other, expected):
    function = boxes.generalized_intersection_over_union
    assert _agreement([0.0, 0.0, 0.2, 0.2], other, function) == pytest.approx(expected, abs=1e-4)


def test_a_box_that_has_nothing_in_common_is_drawn_nearer():
    box = tf.Variable(_boxes([0.0, 0.0, 0.2, 0.2]))
    with tf.GradientTape() as tape:
        value = boxes.generalized_intersection_over_union(box, _boxes([0.0, 0.6, 0.2, 0.8]))
    slope = tape.gradient(value, box)
    assert float(slope[0, 3]) > 0.1, "it agrees more when its right edge goes right"


def _encoded(*objects, num_classes=2, cells=(8, 8)):
    """Of one image with objects (class, box)."""
    classes = tf.constant([[kind for kind, _ in objects]], tf.int64)
    corners = tf.constant([[box for _, box in objects]], tf.float32)
    return boxes.encode(corners, classes, num_classes=num_classes, cells=cells)


def test_the_heat_of_an_object_is_one_at_its_centre_and_falls_off():
    targets = _encoded((1, [0.125, 0.25, 0.875, 0.75]))  # 6 x 4 cells around (4, 4)
    heat = targets.heat[0].numpy()
    assert heat.shape == (8, 8, 2)
    assert heat[4, 4, 1] == 1.0
    assert np.argwhere(heat[..., 1] == 1.0).tolist() == [[4, 4]]
    # It reaches 0.54 of half a side: one cell each way. A third of the reach is the deviation.
    assert heat[3, 4, 1] == pytest.approx(np.exp(-0.5 * (3 / 1.62) ** 2), rel=1e-4)
    assert heat[4, 5, 1] == pytest.approx(np.exp(-0.5 * (3 / 1.08) ** 2), rel=1e-4)
    assert heat[2, 4, 1] == heat[4, 6, 1] == 0.0
    assert not heat[..., 0].any()
    assert float(targets.num_objects[0]) == 1.0


def test_what_fills_up_is_no_object():
    nothing = (-1, [np.nan, 0.1, 0.2, 0.3])
    one = (0, [0.2, 0.2, 0.5, 0.5])
    filled, alone = _encoded(one, nothing), _encoded(one)
    np.testing.assert_array_equal(filled.heat, alone.heat)
    np.testing.assert_allclose(filled.weights, alone.weights, atol=1e-6)
    assert float(filled.num_objects[0]) == 1.0
    empty = _encoded(nothing, nothing)
    assert not np.any(empty.heat)
    assert not np.any(empty.weights)
    assert np.all(np.isfinite(empty.boxes))


def test_each_object_has_the_same_weight_whatever_its_size():
    small, large = [0.0, 0.0, 0.1, 0.1], [0.3, 0.3, 1.0, 1.0]
    targets = _encoded((0, small), (0, large))
    weights = targets.weights[0].numpy()
    assert weights[0, 0] == pytest.approx(1.0, abs=1e-4)
    assert weights.sum() == pytest.approx(2.0, abs=1e-4)
    np.testing.assert_allclose(targets.boxes[0, 0, 0], small, atol=1e-6)
    np.testing.assert_allclose(targets.boxes[0, 5, 5], large, atol=1e-6)


def test_where_objects_lie_upon_each_other_a_cell_has_the_box_whose_centre_is_nearer():
    left, right = [0.0, 0.0, 1.0, 0.9], [0.0, 0.3, 1.0, 1.0]  # centres in columns 3 and 5
    targets = _encoded((0, left), (1, right))
    np.testing.assert_allclose(targets.boxes[0, 4, 3], left, atol=1e-6)
    np.testing.assert_allclose(targets.boxes[0, 4, 5], right, atol=1e-6)


def test_images_of_a_batch_do_not_see_each_other():
    objects = [(0, [0.1, 0.1, 0.4, 0.5]), (1, [0.5, 0.5, 0.9, 0.9])]
    both = boxes.encode(
        tf.constant([[box] for _, box in objects]),
        tf.constant([[kind] for kind, _ in objects]),
        num_classes=2,
        cells=(8, 6),
    )
    for number, one in enumerate(objects):
        alone = _encoded(one, cells=(8, 6))
        np.testing.assert_array_equal(both.heat[number], alone.heat[0])
        np.testing.assert_array_equal(both.weights[number], alone.weights[0])


@pytest.mark.parametrize(
    ("probability", "heat", "expected"),
    [
        (0.5, 1.0, 0.25 * np.log(2.0)),  # a centre: (1 - p)^2 of -log p
        (0.9, 1.0, 0.01 * -np.log(0.9)),
        (0.5, 0.0, 0.25 * np.log(2.0)),  # far away: p^2 of -log(1 - p)
        (0.9, 0.5, 0.5**4 * 0.81 * -np.log(0.1)),  # near a centre: so much less
    ],
)
def test_the_loss_of_heat_is_that_of_the_paper(probability, heat, expected):
    logit = np.log(probability / (1.0 - probability))
    found = boxes.heat_loss(tf.constant(logit, tf.float64), tf.constant(heat, tf.float64))
    assert float(found) == pytest.approx(expected)


def test_an_output_of_zero_is_a_box_of_four_cells_around_its_own():
    found = boxes.decode(tf.zeros((1, 8, 16, 4)))
    np.testing.assert_allclose(found[0, 3, 5], [1.5 / 8, 3.5 / 16, 5.5 / 8, 7.5 / 16], atol=1e-6)


def test_decode_gives_back_the_box_that_an_output_stands_for():
    box, cells, row, column = np.array([0.1, 0.35, 0.7, 0.6]), np.array([8, 4]), 3, 1
    centre, sides = (box[:2] + box[2:]) / 2 * cells, (box[2:] - box[:2]) * cells
    output = np.zeros((1, 8, 4, 4), "float32")
    output[0, row, column] = [*(centre - [row + 0.5, column + 0.5]), *np.log(sides / 4)]
    np.testing.assert_allclose(boxes.decode(output)[0, row, column], box, atol=1e-6)


def test_a_network_that_has_gone_astray_gives_boxes_that_are_numbers():
    assert np.all(np.isfinite(boxes.decode(tf.fill((1, 2, 2, 4), 1e4))))


def _map(*peaks, cells=(6, 6), num_classes=2):
    """Scores and boxes of one image: (row, column, class, score, box)."""
    scores = np.zeros((1, *cells, num_classes), "float32")
    corners = np.zeros((1, *cells, 4), "float32")
    for row, column, kind, score, box in peaks:
        scores[0, row, column, kind] = score
        corners[0, row, column] = box
    return scores, corners


def _best(*peaks, **settings):
    settings = {"count": 3, "candidates": 9, "most_overlap": 0.5, **settings}
    found = boxes.best_detections(*_map(*peaks), **settings)
    return {name: value.numpy()[0] for name, value in found.items()}


LEFT, RIGHT = [0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 1.0, 1.0]


def test_the_surest_comes_first_and_what_is_left_is_filled_up():
    found = _best((0, 0, 0, 0.6, LEFT), (4, 4, 1, 0.9, RIGHT))
    np.testing.assert_allclose(found["scores"], [0.9, 0.6, 0.0])
    np.testing.assert_allclose(found["boxes"], [RIGHT, LEFT, [0.0] * 4])
    assert found["classes"].tolist() == [1, 0, -1]
    assert found["classes"].dtype == np.int64


def test_one_object_of_a_class_is_found_once():
    near = [0.0, 0.0, 0.4, 0.35]
    found = _best((0, 0, 0, 0.9, LEFT), (0, 3, 0, 0.8, near), (3, 0, 1, 0.7, near))
    assert found["classes"].tolist() == [0, 1, -1], "another class may be at the same place"
    np.testing.assert_allclose(found["scores"][:2], [0.9, 0.7])


def test_a_box_that_one_left_out_overlaps_is_kept():
    """Only what is kept leaves out others."""
    chain = [[0.0, 0.1 * step, 0.4, 0.4 + 0.1 * step] for step in range(3)]
    peaks = [(0, 2 * step, 0, 0.9 - 0.1 * step, box) for step, box in enumerate(chain)]
    found = _best(*peaks, most_overlap=0.4)
    np.testing.assert_allclose(found["boxes"][:2], [chain[0], chain[2]])
    assert found["classes"].tolist() == [0, 0, -1]


def test_a_cell_beside_a_surer_one_is_no_object():
    found = _best((2, 2, 0, 0.9, LEFT), (2, 3, 0, 0.8, RIGHT), (3, 3, 1, 0.7, RIGHT))
    assert found["classes"].tolist() == [0, 1, -1]


def test_boxes_end_at_the_edge_of_the_image():
    found = _best((0, 0, 0, 0.9, [-0.5, 0.1, 0.5, 1.5]))
    np.testing.assert_allclose(found["boxes"][0], [0.0, 0.1, 0.5, 1.0])


def test_more_detections_than_there_are_candidates_may_be_asked_for():
    found = _best((0, 0, 0, 0.9, LEFT), count=200, candidates=1000)
    assert found["boxes"].shape == (200, 4)
    assert np.count_nonzero(found["classes"] >= 0) == 1


def test_overlap_is_judged_as_by_a_plain_loop():
    random = np.random.default_rng(0)
    centres, sides = random.uniform(0.2, 0.8, (1, 8, 8, 2)), random.uniform(0.1, 0.5, (1, 8, 8, 2))
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], -1).astype("float32")
    scores = random.uniform(size=(1, 8, 8, 2)).astype("float32")
    found = boxes.best_detections(scores, corners, count=10, candidates=128, most_overlap=0.3)
    peaks = np.argwhere(scores[0] >= tf.nn.max_pool2d(scores, 3, 1, "SAME")[0].numpy())
    kept = []
    for row, column, kind in sorted(peaks.tolist(), key=lambda peak: -scores[0][tuple(peak)]):
        box = np.clip(corners[0, row, column], 0.0, 1.0)
        rivals = [other for other, of, _ in kept if of == kind]
        if all(_agreement(box, other) <= 0.3 for other in rivals):
            kept.append((box, kind, scores[0, row, column, kind]))
    kept = kept[:10]
    np.testing.assert_allclose(found["boxes"][0][: len(kept)], [box for box, *_ in kept])
    assert found["classes"][0][: len(kept)].numpy().tolist() == [kind for _, kind, _ in kept]
    assert np.all(found["classes"][0][len(kept) :] == -1)
