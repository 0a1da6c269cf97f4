from tests.supervise.lifeline import lifeline  # noqa: F401
