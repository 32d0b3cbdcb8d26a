"""The delegate on several threads, in several interpreters at once and after a fork, under ThreadSanitizer.

The programs stand in native/: a small host takes the place of TFLite, so that every part of the process is built with the
sanitizer. They compare each result with that of the portable kernels on one thread.
"""

import pytest
import sanitizers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def threads_test(tmp_path_factory):
    folder = tmp_path_factory.mktemp("threads")
    sanitizers.build(folder, "thread", ("threads_test",))
    return str(folder / "threads_test")


def test_no_two_threads_meet_in_memory_without_order(threads_test):
    assert sanitizers.run([threads_test, "25"], TSAN_OPTIONS="halt_on_error=1") == "ok\n"


def test_a_child_process_uses_what_its_parent_has_used(threads_test):
    """The child has none of its parent's threads; the sanitizer itself has to be told to live on in it."""
    assert sanitizers.run([threads_test, "--fork"], TSAN_OPTIONS="halt_on_error=1:die_after_fork=0") == "ok\n"
