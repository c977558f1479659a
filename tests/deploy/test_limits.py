import pytest

from mnemodex.deploy.access import Access
from mnemodex.deploy.limits import Rates
from mnemodex.schemas.errors import RateError


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def key(name, rate):
    return Access(key_name=name, scopes=frozenset({"search"}), rate=rate)


def taken(rates, access, times):
    """How many of so many requests at one moment are let through."""
    passed = 0
    for _ in range(times):
        try:
            rates.take(access)
        except RateError:
            continue
        passed += 1
    return passed


class TestRates:
    def test_let_through_a_second_of_requests_at_once_and_then_the_rate(self):
        clock = Clock()
        rates = Rates(clock=clock)
        assert taken(rates, key("k", 5), 20) == 5
        clock.now += 1
        assert taken(rates, key("k", 5), 20) == 5
        clock.now += 0.5
        assert taken(rates, key("k", 5), 20) == 2
        clock.now += 3600
        assert taken(rates, key("k", 5), 20) == 5

    def test_say_when_to_ask_again(self):
        clock = Clock()
        rates = Rates(clock=clock)
        rates.take(key("k", 0.1))
        with pytest.raises(RateError, match=r"more than 0\.1 times a second") as raised:
            rates.take(key("k", 0.1))
        assert raised.value.retry_after == pytest.approx(10)
        clock.now += raised.value.retry_after + 1e-6
        rates.take(key("k", 0.1))

    def test_are_of_each_key(self):
        rates = Rates(clock=Clock())
        assert taken(rates, key("a", 2), 9) == 2
        assert taken(rates, key("b", 3), 9) == 3
        assert taken(rates, key("c", None), 9) == 9

    def test_of_several_replicas_sum_to_the_rate(self):
        assert sum(taken(Rates(4, clock=Clock()), key("k", 20), 20) for _ in range(4)) == 20
