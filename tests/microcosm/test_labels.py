"""The inference relation, on examples labelled by hand."""

import pytest

from xeval.data.microcosm.pairs import label_of
from xeval.data.microcosm.world import Fact

E, N, C = 0, 1, 2


def at(subject, place, time="", negated=False):
    return Fact("at", subject, place=place, time=time, negated=negated)


def act(subject, action, place="", time="", negated=False):
    return Fact("act", subject, action, place=place, time=time, negated=negated)


def use(subject, verb, thing, place="", time=""):
    return Fact("use", subject, verb, thing, place, time)


def be(subject, prop, negated=False):
    return Fact("is", subject, prop, negated=negated)


def count(number, animal, place):
    return Fact("count", animal, number, place=place)


CASES = [
    # at: dropped detail, hypernym, other place, added detail, more specific kind, someone else
    (at("dog", "park", "night"), at("dog", "park"), E),
    (at("dog", "park"), at("animal", "park"), E),
    (at("dog", "park"), at("dog", "garden"), C),
    (at("dog", "park"), at("animal", "garden"), C),
    (at("dog", "park"), at("dog", "park", "night"), N),
    (at("animal", "park"), at("dog", "park"), N),
    (at("dog", "park"), at("cow", "park"), N),
    (at("dog", "park", "night"), at("dog", "park", "noon"), None),
    # negation, of what is stated and of what is excluded
    (at("doctor", "kitchen"), at("doctor", "kitchen", negated=True), C),
    (at("doctor", "garden"), at("doctor", "kitchen", negated=True), E),
    (at("doctor", "garden"), at("doctor", "garden", "noon", negated=True), N),
    (at("doctor", "garden", negated=True), at("doctor", "garden"), C),
    (at("doctor", "garden", negated=True), at("physician", "garden", "noon"), C),
    (at("doctor", "garden", negated=True), at("doctor", "park"), N),
    (at("doctor", "garden", negated=True), at("doctor", "garden", "noon", negated=True), E),
    (at("doctor", "garden", "noon", negated=True), at("doctor", "garden", negated=True), N),
    # act: synonyms, opposites, other actions, the place of an action
    (act("teacher", "work", "school"), act("instructor", "work"), E),
    (act("teacher", "work"), act("teacher", "rest"), C),
    (act("teacher", "work"), act("teacher", "rest", negated=True), E),
    (act("teacher", "work"), act("adult", "work", negated=True), C),
    (act("teacher", "work"), act("teacher", "laugh"), N),
    (act("teacher", "work"), act("teacher", "laugh", negated=True), N),
    (act("teacher", "work"), act("teacher", "work", "school"), N),
    (act("teacher", "work", "school"), act("teacher", "work", "park"), C),
    (act("teacher", "work", "school"), at("teacher", "school"), E),
    (act("teacher", "work", "school"), at("teacher", "park"), C),
    (act("teacher", "work", "school"), at("teacher", "park", negated=True), E),
    (at("teacher", "school"), act("teacher", "work", "school"), N),
    (at("teacher", "school"), act("teacher", "work", "park"), None),
    (act("adult", "work"), act("teacher", "rest"), None),
    (act("teacher", "work", negated=True), act("teacher", "work", "park"), C),
    # use
    (use("boy", "buy", "apple", "market"), use("child", "buy", "fruit"), E),
    (use("boy", "buy", "apple", "market"), use("boy", "sell", "apple"), C),
    (use("boy", "buy", "apple", "market"), use("boy", "buy", "fruit", "park"), C),
    (use("boy", "buy", "fruit"), use("boy", "buy", "apple"), N),
    (use("boy", "buy", "apple"), use("boy", "buy", "apple", "market"), N),
    (use("boy", "buy", "apple"), use("boy", "hide", "apple"), N),
    (use("boy", "buy", "apple"), use("boy", "buy", "hammer"), None),
    (use("boy", "buy", "apple", "market"), at("boy", "market"), E),
    # is
    (be("apple", "beautiful"), be("fruit", "pretty"), E),
    (be("apple", "big"), be("apple", "small"), C),
    (be("apple", "big"), be("apple", "small", negated=True), E),
    (be("apple", "big"), be("fruit", "big", negated=True), C),
    (be("apple", "big"), be("apple", "cheap"), N),
    (be("fruit", "big"), be("apple", "big"), N),
    (be("judge", "rich", negated=True), be("judge", "wealthy"), C),
    (be("judge", "rich", negated=True), be("judge", "poor"), None),
    (be("judge", "rich"), at("judge", "park"), N),
    # count
    (count("three", "duck", "park"), count("three", "bird", "park"), E),
    (count("three", "duck", "park"), count("five", "duck", "park"), C),
    (count("three", "duck", "park"), count("five", "bird", "park"), None),
    (count("three", "bird", "park"), count("three", "duck", "park"), N),
    (count("three", "duck", "park"), count("three", "duck", "garden"), N),
]


@pytest.mark.parametrize(("premise", "hypothesis", "label"), CASES)
def test_one_fact(premise, hypothesis, label):
    assert label_of((premise,), hypothesis) == label


def test_two_facts():
    premise = (act("teacher", "work", "school"), be("cow", "big"))
    assert label_of(premise, be("cow", "big")) == E
    assert label_of(premise, be("animal", "small")) == C
    assert label_of(premise, be("teacher", "happy")) == N
    assert label_of(premise, at("cow", "school")) == N  # the teacher is at the school; nothing is said of the cow
