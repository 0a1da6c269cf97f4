import json
import sys

import numpy as np
import pytest

from tfscale.errors import ConfigError
from tfscale.model import mean_average_precision
from tfscale.model.mean_average_precision import average_precisions, of_boxes, of_labels

A, B, FAR = [0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 1.0, 1.0], [0.0, 0.6, 0.3, 0.9]


def _truth(*images, **more):
    """Of images, each a list of (class, box)."""
    return {**_padded(images, 2), **{name: np.array(value) for name, value in more.items()}}


def _found(*images):
    """Of images, each a list of (class, box, score)."""
    arrays = _padded([[one[:2] for one in image] for image in images], 5)
    arrays["scores"] = np.zeros(arrays["classes"].shape, "float32")
    for number, image in enumerate(images):
        arrays["scores"][number, : len(image)] = [score for *_, score in image]
    return arrays


def _padded(images, most):
    boxes = np.zeros((len(images), most, 4), "float32")
    classes = np.full((len(images), most), -1, "int64")
    for number, image in enumerate(images):
        for place, (kind, box) in enumerate(image):
            boxes[number, place], classes[number, place] = box, kind
    return {"boxes": boxes, "classes": classes}


def _mean(found, truth):
    return of_boxes(found, truth)["mean_average_precision"]


def test_all_that_is_found_gives_one():
    truth = _truth([(0, A), (1, B)], [(1, A)])
    found = _found([(0, A, 0.9), (1, B, 0.2)], [(1, A, 0.5)])
    expected = {
        "mean_average_precision": 1.0,
        "average_precision_50": 1.0,
        "average_precision_75": 1.0,
    }
    assert of_boxes(found, truth) == pytest.approx(expected)


def test_nothing_that_is_found_gives_zero():
    truth = _truth([(0, A)])
    assert _mean(_found([]), truth) == 0.0
    assert _mean(_found([(0, FAR, 0.9)]), truth) == 0.0
    assert _mean(_found([(1, A, 0.9)]), truth) == 0.0


def test_where_there_is_nothing_to_find_there_is_no_number():
    assert np.isnan(_mean(_found([(0, A, 0.9)]), _truth([], [])))


def test_a_wrong_box_that_is_surer_than_the_right_one_halves_the_precision():
    truth = _truth([(0, A)])
    assert _mean(_found([(0, FAR, 0.9), (0, A, 0.8)]), truth) == pytest.approx(0.5)
    assert _mean(_found([(0, FAR, 0.7), (0, A, 0.8)]), truth) == pytest.approx(1.0)


def test_a_second_box_around_an_object_is_wrong():
    truth = _truth([(0, A), (0, B)])
    found = _found([(0, A, 0.9), (0, A, 0.8), (0, B, 0.7)])
    # COCO reads the precision at recall 0, 0.01, ..., 1: 51 of 101 up to 0.5, then 2 of 3 right.
    assert _mean(found, truth) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_box_counts_at_the_thresholds_that_it_reaches():
    # 0.345 of 0.4 in width is an IoU of 0.8625, which reaches 0.5, ..., 0.85: 8 of 10.
    found = of_boxes(_found([(0, [0.0, 0.0, 0.4, 0.345], 0.9)]), _truth([(0, A)]))
    assert list(found.values()) == pytest.approx([0.8, 1.0, 1.0])


def test_the_mean_is_over_classes_that_occur():
    truth = _truth([(0, A)], [(0, A)], [(7, B)])
    found = _found([(0, A, 0.9)], [(0, A, 0.9)], [(3, B, 0.9)])
    assert _mean(found, truth) == pytest.approx(0.5), "class 0 is found, 7 is not, 3 isn't there"


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong():
    within = [0.0, 0.6, 0.2, 0.8]
    found = _found([(0, within, 0.9), (0, [0.1, 0.7, 0.2, 0.9], 0.8), (0, A, 0.7)])
    objects = [(0, A), (0, FAR)]
    assert _mean(found, _truth(objects)) < 0.3
    assert _mean(found, _truth(objects, crowd=[[False, True]])) == pytest.approx(1.0)


def test_a_difficult_object_need_not_be_found_and_does_no_harm_if_it_is():
    objects, marked = [(0, A), (0, B)], {"difficult": [[0, 1]]}
    only_easy = _found([(0, A, 0.7)])
    assert _mean(only_easy, _truth(objects)) < 0.6
    assert _mean(only_easy, _truth(objects, **marked)) == pytest.approx(1.0)
    both = _found([(0, B, 0.9), (0, A, 0.7)])
    assert _mean(both, _truth(objects, **marked)) == pytest.approx(1.0)
    # Unlike a crowd's: a small part of it is a wrong box.
    part = _found([(0, [0.5, 0.5, 0.6, 0.6], 0.9), (0, A, 0.7)])
    assert _mean(part, _truth(objects, **marked)) == pytest.approx(0.5)


def test_sizes_tell_small_objects_from_large_ones():
    small, large = [0.0, 0.0, 0.1, 0.1], [0.2, 0.2, 1.0, 1.0]
    truth = _truth([(0, small), (0, large)], size=[[200, 300]])
    found = of_boxes(_found([(0, large, 0.9)]), truth)
    assert found["mean_average_precision_small"] == 0.0
    assert found["mean_average_precision_large"] == pytest.approx(1.0)
    assert np.isnan(found["mean_average_precision_medium"])
    without = {name: truth[name] for name in ("boxes", "classes")}
    assert _mean(_found([(0, large, 0.9)]), without) == found["mean_average_precision"]


def _random_images(seed):
    """Objects of twelve images, and detections of which some are near them."""
    random = np.random.default_rng(seed)
    first = random.uniform(0.0, 0.6, (12, 4, 2))
    boxes = np.concatenate([first, first + random.uniform(0.1, 0.4, (12, 4, 2))], axis=-1)
    classes = random.integers(-1, 3, (12, 4))
    near = np.repeat(boxes, 3, axis=1) + random.normal(0.0, 0.03, (12, 12, 4))
    kinds = np.where(random.uniform(size=(12, 12)) < 0.7, np.repeat(classes, 3, axis=1), 1)
    scores = random.uniform(size=(12, 12)).round(1)  # many are the same
    truth = {"boxes": boxes, "classes": classes, "crowd": random.uniform(size=(12, 4)) < 0.2}
    return {"boxes": near, "classes": kinds, "scores": scores}, truth


def _from_files(found, truth, folder):
    """What pycocotools says of COCO's own files, read by its own functions."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(arrays, more):
        for image, place in np.argwhere(arrays["classes"] >= 0):
            y_min, x_min, y_max, x_max = arrays["boxes"][image, place].tolist()
            height, width = y_max - y_min, x_max - x_min
            yield {
                "image_id": int(image),
                "category_id": int(arrays["classes"][image, place]),
                "bbox": [x_min, y_min, width, height],
                "area": width * height,
                **{name: arrays[ours][image, place].item() for name, ours in more.items()},
            }

    objects = [{**one, "id": 1 + n} for n, one in enumerate(rows(truth, {"iscrowd": "crowd"}))]
    content = {
        "images": [{"id": number} for number in range(len(truth["boxes"]))],
        "categories": [{"id": number} for number in range(3)],
        "annotations": [{**one, "iscrowd": int(one["iscrowd"])} for one in objects],
    }
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "found.json").write_text(json.dumps(list(rows(found, {"score": "scores"}))))
    known = COCO(str(folder / "truth.json"))
    evaluation = COCOeval(known, known.loadRes(str(folder / "found.json")), "bbox")
    for part in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        part()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_pycocotools_says_of_files(seed, tmp_path):
    found, truth = _random_images(seed)
    expected = _from_files(found, truth, tmp_path)[:3]
    assert 0.05 < expected[0] < 0.95
    assert list(of_boxes(found, truth).values()) == pytest.approx(expected.tolist(), abs=1e-12)


def test_it_prints_nothing(capsys):
    of_boxes(*_random_images(0))
    assert capsys.readouterr() == ("", "")


def test_pycocotools_that_is_not_there_is_asked_for_at_the_start(monkeypatch):
    mean_average_precision.require_pycocotools("flowers.py")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setattr(mean_average_precision.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"flowers.py gives boxes.*pip install pycocotools"):
        mean_average_precision.require_pycocotools("flowers.py")


def _precision(scores, truth):
    return float(average_precisions(np.array([scores]).T, np.array([truth]).T)[0])


def test_the_average_precision_of_a_label_is_the_area_under_its_curve():
    # Right, wrong, right, wrong: half of what is there with precision 1, the other with 2 of 3.
    assert _precision([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_lower_recall_has_the_highest_precision_of_any_recall_above():
    # Wrong, right, right: 1 of 2, then 2 of 3, which counts for both.
    assert _precision([0.9, 0.8, 0.7], [0, 1, 1]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
def test_the_order_of_examples_with_one_score_does_not_matter(order):
    scores, truth = np.array([0.5, 0.5, 0.5, 0.1])[order], np.array([1, 0, 0, 1])[order]
    assert _precision(scores, truth) == pytest.approx(0.5)


def test_an_example_that_does_not_count_is_as_if_it_were_not_there():
    assert _precision([0.95, 0.9, 0.8], [-1, 1, 0]) == _precision([0.9, 0.8], [1, 0]) == 1.0


def test_the_mean_over_labels_is_over_those_that_occur():
    scores = np.array([[0.9, 0.1, 0.3], [0.8, 0.9, 0.2]])
    truth = np.array([[1, 1, 0], [0, 0, 0]])
    of_classes = average_precisions(scores, truth)
    np.testing.assert_allclose(of_classes, [1.0, 0.5, np.nan])
    assert of_labels(scores, truth) == {"mean_average_precision": 0.75}
    assert np.isnan(of_labels(scores, 0 * truth)["mean_average_precision"])


def test_a_model_that_gives_no_numbers_has_no_precision():
    found = of_labels(np.array([[np.nan, 0.2], [0.1, 0.9]]), np.array([[1, 0], [0, 1]]))
    assert np.isnan(found["mean_average_precision"])


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) and truth \(2, 2\).*\(examples, classes\)"):
        average_precisions(np.zeros((2, 3)), np.zeros((2, 2)))
