import random
import threading
import time

import pytest

from tfscale.startup.meeting import Meeting


class Store:
    """What workers of one process share in place of TensorFlow's store."""

    def __init__(self):
        self.said, self.changed, self.is_over = {}, threading.Condition(), False

    def put(self, key, text):
        with self.changed:
            self.said.setdefault(key, text)
            self.changed.notify_all()

    def get(self, key):
        with self.changed:
            assert self.changed.wait_for(lambda: key in self.said or self.is_over, 30), key
            return self.said.get(key, "")

    def end(self):
        """Lets whoever still waits for a word end, too."""
        with self.changed:
            self.is_over = True
            self.changed.notify_all()


class Board:
    def __init__(self, store, rank, size):
        self.store, self.rank, self.size = store, rank, size
        self.is_shared = size > 1

    def post(self, topic, text):
        self.store.put(topic, text)

    def wait_for(self, topic):
        return self.store.get(topic)

    def send(self, topic, text):
        time.sleep(random.random() * 0.003)
        self.store.put((topic, self.rank), text)

    def withdraw(self, topic):
        self.store.said.pop(topic, None)

    def unsend(self, topic):
        self.store.said.pop((topic, self.rank), None)

    def gather(self, topic):
        return [self.store.get((topic, rank)) for rank in range(self.size)]


def test_a_worker_alone_meets_itself_at_the_next_point():
    meeting = Meeting(Board(Store(), 0, 1), "stop")
    assert [meeting.reached(), meeting.reached()] == ["", ""]
    meeting.call("stop")
    meeting.call("another reason")
    assert [meeting.reached(), meeting.reached()] == ["stop", ""]


@pytest.mark.parametrize("seed", range(6))
def test_workers_meet_at_one_point_and_none_waits_for_one_that_waits_for_it(seed):
    # Each point is a collective: nobody passes the next one before all have come to the last.
    draw, store, size, points = random.Random(seed), Store(), 3, 40
    calls = {draw.randrange(size): draw.randrange(5, 25) for _ in range(2)}
    barrier = threading.Barrier(size)
    met = [[] for _ in range(size)]

    def work(rank):
        own = random.Random(seed * 10 + rank)
        meeting = Meeting(Board(store, rank, size), "stop")
        for point in range(points):
            if calls.get(rank) == point:
                meeting.call(f"by {rank}")
            time.sleep(own.random() * 0.002)
            if point % 3 or not seed % 2:  # some points without a collective
                barrier.wait(30)
            reason = meeting.reached()
            if reason:
                met[rank].append((point, reason))
        meeting.end()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    store.end()
    assert met[0]
    assert met[0] == met[1] == met[2]
    # What everybody has heard doesn't stay: a run of days has many meetings.
    kept = {str(topic).split("/")[2] for topic in store.said}
    assert len(kept) <= 2
