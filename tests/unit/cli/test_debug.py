"""debug: the errors of a command in the guest of a pod itself. Commands that run are in the conformance tests."""


def test_a_pod_that_is_not_there_is_an_error(vmsandbox):
    ran = vmsandbox("debug", "nope", "dmesg", "-T")
    assert (ran.status, ran.out) == (125, "")
    assert "there is no pod nope" in ran.err


def test_the_words_after_the_pod_are_the_commands(vmsandbox):
    vmsandbox.pod("web")
    ran = vmsandbox("debug", "web", "ls", "--detach-keys")
    assert (ran.status, ran.out) == (125, "")
    assert "without streaming" in ran.err
