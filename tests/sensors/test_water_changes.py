"""Changes in what a network reads are explained by a new leak, a known one, or nothing; on made-up signatures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.detection.water.changes import Changes, Criteria, What

READINGS, PLACES = 8, 30
NOISE = 0.01
RNG = np.random.default_rng(5)
SIGNATURES = -np.abs(RNG.normal(size=(PLACES, READINGS)))
LINE_M = 100.0


def along(place):
    return np.abs(np.arange(PLACES) - place) * LINE_M


def changes(**own):
    kept = {
        "gain": 15.0,
        "model_error": 0.2,
        "misfit": 0.3,
        "alone": 1.0,
        "grown": 12.0,
        "shrunk": 8.0,
        "draws": 0,
        "floor": np.full(READINGS, 0.003),
        "least": 0.01,
        "most": np.full(PLACES, 2.0),
        "near_m": 150.0,
        "beside": 20.0,
        "confirmed": 1,
        "settled": 3,
        "confidence": 0.6,
        "patience": 4,
        "warm_up": 10,
    }
    return Changes(SIGNATURES, along, Criteria(**kept | own))


def quiet(blocks, seed=1):
    return list(NOISE * np.random.default_rng(seed).normal(size=(blocks, READINGS)))


def said(follower, blocks, **how):
    return [(number, change) for number, block in enumerate(blocks) for change in follower.take(block, **how)]


def with_leak(blocks, place, flow, begin, end=None):
    return [b + SIGNATURES[place] * flow * (begin <= k < (end or len(blocks))) for k, b in enumerate(blocks)]


def test_a_leak_is_found_where_it_is():
    [(when, change)] = said(changes(), with_leak(quiet(60), 12, 0.3, 40))
    assert when in {40, 41}
    assert (change.what, change.place) == (What.NEW, 12)
    assert change.flow == pytest.approx(0.3, rel=0.25)


def test_a_leak_that_grows_is_one_leak():
    blocks = quiet(120)
    for k in range(40, 120):
        blocks[k] = blocks[k] + SIGNATURES[7] * 0.01 * (k - 40)
    found = [change for _, change in said(changes(), blocks)]
    assert [change.what for change in found] == [What.NEW]
    assert along(7)[found[0].place] <= 150


def test_a_repaired_leak_is_over():
    found = said(changes(), with_leak(quiet(100), 20, 0.5, 40, 70))
    assert [(change.what, change.place) for _, change in found] == [(What.NEW, 20), (What.OVER, 20)]
    assert found[1][0] in {70, 71}


def test_two_leaks_after_each_other_are_two():
    blocks = with_leak(with_leak(quiet(120), 5, 0.4, 40), 25, 0.4, 60)
    follower = changes()
    assert [change.place for _, change in said(follower, blocks)] == [5, 25]
    assert follower.known == [5, 25]


def test_a_leak_beside_a_known_one_of_like_signature_is_no_growth_of_it():
    """Where growth asks for next to nothing, it is swallowed."""
    blocks = with_leak(with_leak(quiet(100), 12, 0.3, 40), 16, 0.1, 60)
    near = {"near_m": 50.0, "beside": 5.0}
    assert [change.place for _, change in said(changes(**near), blocks)] == [12, 16]
    assert [change.place for _, change in said(changes(grown=3.0, **near), blocks)] == [12]


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_noise_alone_says_nothing(seed):
    assert not said(changes(), quiet(80, seed))


def test_a_pressure_that_rises_is_no_leak():
    blocks = [b - SIGNATURES[12] * 0.5 * (k >= 40) for k, b in enumerate(quiet(80))]
    assert not said(changes(), blocks)


def test_one_strange_reading_is_no_leak():
    """What fits no signature is taken in as the new state of things, and nothing is said."""
    blocks = quiet(100)
    for k in range(40, 100):
        blocks[k][3] += 1.0
    assert not said(changes(), blocks)


def test_history_teaches_and_says_nothing():
    follower = changes()
    assert not said(follower, with_leak(quiet(60), 12, 0.3, 40), live=False)
    assert follower.known == []
    assert not said(follower, [b + SIGNATURES[12] * 0.3 for b in quiet(20, 9)])


def test_a_reading_that_is_missing_takes_no_part():
    blocks = with_leak(quiet(60), 12, 0.3, 40)
    for block in blocks[30:]:
        block[0] = np.nan
    [(_, change)] = said(changes(), blocks)
    assert change.place == 12
    assert change.shift[0] == 0


def test_a_leak_waits_until_its_place_is_sure():
    """Two places far apart with nearly the same signature: told after `patience` blocks, with half the trust."""
    alike = SIGNATURES.copy()
    alike[20] = alike[5] * 1.001
    follower = Changes(alike, along, changes()._test)
    [(when, change)] = said(follower, with_leak(quiet(60), 5, 0.3, 40))
    assert when >= 44
    assert change.confidence < 0.6
    assert {row for row, weight in change.weights if weight > 0.1} >= {5, 20}


def test_no_pipe_lets_out_more_than_it_carries():
    most = np.full(PLACES, 2.0)
    most[12] = 0.1
    assert 12 not in {change.place for _, change in said(changes(most=most), with_leak(quiet(60), 12, 0.3, 40))}


def test_a_leak_must_show_in_as_many_blocks_as_asked():
    [(when, _)] = said(changes(confirmed=2), with_leak(quiet(60), 12, 0.3, 40))
    assert when == 41


def test_state_carries_everything():
    blocks = with_leak(with_leak(quiet(120), 5, 0.4, 40), 25, 0.4, 60, 90)
    for half in (30, 50, 80):
        one, other = changes(), changes()
        said(one, blocks[:half])
        other.restore({name: array.copy() for name, array in one.state().items()})
        expected = [(n, c.what, c.place, c.flow) for n, c in said(one, blocks[half:])]
        assert [(n, c.what, c.place, c.flow) for n, c in said(other, blocks[half:])] == expected
