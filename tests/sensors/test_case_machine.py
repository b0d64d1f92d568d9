"""The disposal workflow under anybody who tries anything: no order of acts gets past a guard."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sensors.cases import acts, workflow
from sensors.cases.case import ORDER, Event, Relief, Step
from twin.errors import InputError

from .disposal import (
    CREW,
    DISPATCHER,
    ENGINEER,
    HOUR,
    OPERATOR,
    PEOPLE,
    RESPONSE,
    SECOND,
    START,
    WAY,
    at_step,
    setting,
)

ANY_ACT = st.one_of(
    st.just(acts.Open()),
    st.just(acts.Dismiss("误报")),
    st.sampled_from([acts.Dispatch("water_company"), acts.Dispatch("street_office")]),
    st.just(acts.Take()),
    st.just(acts.Done("好了")),
    st.just(acts.Verify()),
    st.just(acts.Close()),
    st.just(acts.Rate(3)),
    st.builds(acts.Regrade, st.integers(1, 4), st.just("x")),
    st.builds(acts.Answer, st.booleans(), st.just("x")),
    st.just(acts.Resume("x")),
)


class Disposal(RuleBasedStateMachine):
    """Anybody tries anything in any order, time passes, alarms come and go."""

    @initialize(step=st.sampled_from(ORDER))
    def a_case_went_its_way(self, step):
        self.at = START
        self.case = at_step(step)
        self.first = self.case.version
        self.events = []

    @rule(act=ANY_ACT, by=st.sampled_from(PEOPLE), standing=st.integers(0, 1))
    def somebody_acts(self, act, by, standing):
        self.tries(act, by, standing)

    @precondition(lambda self: self.case.step in ORDER[:-1])
    @rule(by=st.sampled_from((None, None, *PEOPLE)), standing=st.integers(0, 1))
    def it_goes_on(self, by, standing):
        _, act, usual = WAY[ORDER.index(self.case.step)]
        self.tries(act, by or usual, standing)

    @rule(
        relief=st.sampled_from(Relief),
        by=st.sampled_from(PEOPLE),
        to=st.sampled_from(ORDER),
        hours=st.integers(-5, 200),
    )
    def somebody_asks(self, relief, by, to, hours):
        self.tries(acts.Ask(relief, "x", to, self.at + hours * HOUR), by, standing=1)

    @precondition(lambda self: self.case.asked is not None)
    @rule(by=st.sampled_from((DISPATCHER, SECOND, ENGINEER, CREW)), granted=st.booleans())
    def somebody_answers(self, by, granted):
        self.tries(acts.Answer(granted, "x"), by, standing=1)

    @precondition(lambda self: self.case.undone and self.case.step is Step.DONE)
    @rule(by=st.sampled_from((OPERATOR, CREW, ENGINEER)))
    def all_is_ticked(self, by):
        for item in self.case.undone:
            self.tries(acts.Tick(item.id), by, 0)

    @rule(hours=st.integers(1, 100))
    def time_passes(self, hours):
        self.at += hours * HOUR
        before = self.case
        while (moved := workflow.elapsed(self.case, self.at, RESPONSE)) is not None:
            self.case = moved[0]
            self.events.append(moved[1])
            assert self.case.step is before.step

    def tries(self, act, by, standing):
        before = self.case
        try:
            self.case, event = workflow.perform(before, act, setting(by, self.at, standing))
        except InputError:
            return
        assert self.case.version == before.version + 1 == event.version
        assert (event.from_step, event.to_step) == (before.step, self.case.step)
        self.follows(before, event, by, standing)
        self.events.append(event)

    def follows(self, before, event, by, standing):
        if before.step in ORDER and self.case.step in ORDER:
            moved = ORDER.index(self.case.step) - ORDER.index(before.step)
            assert moved in {0, 1} or (moved < 0 and event.event is Event.SENT_BACK)
        if event.event in {Event.VERIFIED, Event.CLOSED, Event.RATED}:
            assert by.id not in self.case.handlers
        if event.event in {Event.SENT_BACK, Event.EXTENDED, Event.SUSPENDED, Event.WAIVED}:
            assert event.detail["asked_by"] != by.id
        if event.event is Event.CLOSED and standing:
            assert self.case.waiver.approver != by.id

    @invariant()
    def a_case_that_rests_is_open_and_one_that_is_over_does_not(self):
        assert self.case.open or not self.case.suspended

    @invariant()
    def what_is_in_hand_is_somebodys(self):
        if self.case.step in ORDER[3:]:
            assert self.case.department
            assert self.case.handlers
        if self.case.step in ORDER[5:]:
            assert self.case.verifier not in {None, *self.case.handlers}
            assert not self.case.undone

    @invariant()
    def events_tell_the_whole_story(self):
        counted = [event.version for event in self.events if event.event is not Event.ESCALATED]
        assert counted == list(range(self.first + 1, self.case.version + 1))


Disposal.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestDisposal = Disposal.TestCase
