"""What tests of processes that are started elsewhere share with those of this machine's."""

from tests.supervise.conftest import lifeline  # noqa: F401 - a fixture
