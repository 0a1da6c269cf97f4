from tfscale.errors import ConfigError
from tools.doctor.findings import Finding, Reason, Severity, fail, refused, warn


def test_a_finding_comes_back_as_it_was_sent():
    for finding in (fail(Reason.PORT, "a", "b", "c").at(3), warn(Reason.CLOCK, "a", "b", "c")):
        assert Finding.of_json(finding.as_json()) == finding


def test_what_a_run_refuses_is_taken_apart():
    error = ConfigError("KERAS_BACKEND=jax is set; expected tensorflow, really. Type: unset it")
    found = refused(Reason.ENVIRONMENT, error)
    assert (found.came, found.expected) == ("KERAS_BACKEND=jax is set", "tensorflow, really")
    assert (found.remedy, found.severity) == ("Type: unset it", Severity.FAIL)
