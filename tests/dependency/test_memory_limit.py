"""The cost of a full covariance: announced, and refused before any memory is taken."""

import time
import warnings

import numpy as np
import pytest

from bitat_tf.dependency.moments import MEMORY_LIMIT, InputMoments, check_full_covariance, full_covariance_bytes
from bitat_tf.dependency.patch_moments import PatchMoments
from bitat_tf.dependency.patches import PatchGeometry

GIB = 2**30


def largest_dim(limit):
    """The largest d whose three d x d arrays of float64 fit in a number of bytes."""
    return int(np.sqrt(limit / 24))


def test_the_cost_is_three_arrays_of_float64():
    assert full_covariance_bytes(1) == 24
    assert full_covariance_bytes(1000) == 3 * np.zeros((1000, 1000)).nbytes


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("limit", [GIB, MEMORY_LIMIT, 100 * GIB])
def test_up_to_one_gib_nothing_is_said(limit):
    check_full_covariance("Somewhere", largest_dim(GIB), limit)


@pytest.mark.parametrize("dim", [largest_dim(GIB) + 1, largest_dim(MEMORY_LIMIT)])
def test_above_one_gib_a_warning_says_what_it_costs(dim):
    with pytest.warns(UserWarning, match=f"Somewhere: .*d = {dim} inputs takes {24 * dim**2 / GIB:.1f} GiB.*TFLOP"):
        check_full_covariance("Somewhere", dim)


def test_above_the_limit_the_message_has_the_cost_and_the_cure():
    dim = largest_dim(MEMORY_LIMIT) + 1
    with pytest.raises(ValueError, match=f"Somewhere: .*d = {dim} inputs takes 4.0 GiB.*the limit is 4.0 GiB") as error:
        check_full_covariance("Somewhere", dim)
    for word in ("TFLOP", "GroupedMoments", "raise `memory_limit`"):
        assert word in str(error.value)


@pytest.mark.filterwarnings("error")
def test_the_limit_holds_for_small_covariances_too():
    check_full_covariance("Somewhere", 10, memory_limit=2400)
    with pytest.raises(ValueError, match="the limit is 0.0 GiB"):
        check_full_covariance("Somewhere", 10, memory_limit=2399)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("InputMoments", lambda: InputMoments(60_000)),
        ("InputMoments", lambda: InputMoments(60_000, targets=10)),
        ("PatchMoments", lambda: PatchMoments(PatchGeometry((5, 5)), 2400)),
    ],
)
def test_refused_before_memory_is_taken(monkeypatch, name, make):
    monkeypatch.setattr(np, "zeros", lambda *_: pytest.fail("memory was taken"))
    start = time.perf_counter()
    with pytest.raises(ValueError, match=f"{name}: .*d = 60000 inputs takes 80.5 GiB"):
        make()
    assert time.perf_counter() - start < 1


def test_the_limit_of_the_accumulators_can_be_set():
    for make in (lambda limit: InputMoments(18, 0, limit), lambda limit: PatchMoments(PatchGeometry((3, 3)), 2, 0, limit)):
        with pytest.raises(ValueError, match="d = 18"):
            make(24 * 18**2 - 1)
        assert make(24 * 18**2).dim == 18


def test_the_warning_points_at_the_code_that_asked_for_it(monkeypatch):
    monkeypatch.setattr("bitat_tf.dependency.moments._LARGE_BYTES", 100)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        InputMoments(5)
    assert len(caught) == 1
    assert caught[0].filename == __file__
