"""R5 with supervisors: a link that is cut and comes back costs seconds, and changes nothing."""

import pytest

from tests.faults import cut_links
from tests.faults.lost_workers import has_namespaces

pytestmark = [pytest.mark.long, pytest.mark.promise("link")]


@pytest.mark.skipif(not has_namespaces(), reason="it needs root, ip and tc")
def test_both_workers_go_on_when_their_link_is_back(tmp_path):
    played = cut_links.play(tmp_path / "cut", cut_links.clean(tmp_path / "clean"))
    assert played.out is not None and played.back is not None, played.said
    assert played.problems == [], played.said
