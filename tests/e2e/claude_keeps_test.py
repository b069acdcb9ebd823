#!/usr/bin/python3
"""What a session keeps when the real Claude Code CLI is replaced under it.

    UNDERSTUDY_BUILD=<build folder> tests/e2e/claude_keeps_test.py [TEST...]
"""

import os
import unittest

from client import outcome, route
from protos import event
from support import (DEFAULT_MODEL, KNOWN, NEVER, OTHER_MODEL, QUESTION,
                     SECRET, AgentTest)

# What the API says of thinking that another model has signed.
UNREADABLE = (
    'messages.1.content.0: Invalid `signature` in `thinking` block',
    'messages.1.content.0: `thinking` or `redacted_thinking` blocks in the '
    'latest assistant message cannot be modified. These blocks must remain as '
    'they were in the original response.',
)


class EveryVersion:
    """What every supported version must do. Mixed into an AgentTest."""

    def permit(self, client, session, text, **answer):
        """A turn whose tool is asked for once, and allowed."""
        events = client.watch(session)
        mark = client.get(session).newest_sequence
        call = client.send_in_background(session, text)
        asked = events.wait_for('permission_requested', after=mark)
        client.resolve(session, asked.permission_requested.permission_id,
                       event.PERMISSION_DECISION_ALLOW, **answer)
        self.assertEqual('SUCCEEDED', outcome(call.result()))

    def asked(self, client, session):
        """How often the session has asked for a permission."""
        events = client.watch(session, include_deltas=False)
        events.wait_for_sequence(client.get(session).newest_sequence)
        return len(events.of('permission_requested'))

    def kill_agent(self, client, session):
        mark = client.get(session).newest_sequence
        pid, = self.agent_pids()
        os.kill(pid, 9)
        client.watch(session).wait_for('agent_exited', after=mark)

    def test_d12_what_was_granted_is_not_asked_for_again(self):
        made = os.path.join(self.directory, 'made')
        # A rule with parentheses, which must not end it.
        self.api.use_bash(
            'make it', f"""python3 -c "open('{made}', 'a').write('x')" """,
            every_turn=True)
        client = self.serve(native_switch=NEVER)
        session = self.session()
        self.permit(client, session, 'make it',
                    scope=event.PERMISSION_SCOPE_SESSION)
        times = 1

        def is_not_asked_for(when):
            nonlocal times
            times += 1
            answer = client.send(session, 'make it')
            self.assertEqual('SUCCEEDED', outcome(answer), when)
            self.assertEqual(times, os.path.getsize(made), when)
            self.assertEqual(1, self.asked(client, session), when)

        is_not_asked_for('in the same process')
        self.assertEqual('RESTART', route(client.switch(session, OTHER_MODEL)))
        is_not_asked_for('after a switch by restart')
        client.clear(session)
        is_not_asked_for('after a clear')
        self.kill_agent(client, session)
        is_not_asked_for('after a kill of the agent')
        self.server.kill()
        self.server.leftovers()
        client = self.restart()
        is_not_asked_for('after a kill of the server')

        # Nobody else has it, and it goes with its session.
        other = self.session()
        self.permit(client, other, 'make it')
        client.delete(session)
        again = client.create(self.directory, session_id=session).session_id
        self.assertEqual(session, again)
        self.permit(client, again, 'make it')

    def test_d12_model_and_permission_mode_hold_after_every_replacement(self):
        # What Claude Code suggests for this one includes a mode.
        self.api.use_bash('make it', 'touch made', every_turn=True)
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        client.switch(session, OTHER_MODEL)
        self.permit(client, session, 'make it',
                    scope=event.PERMISSION_SCOPE_SESSION)
        mode = client.get(session).permission_mode
        self.assertEqual('acceptEdits', mode)
        self.api.use_bash('make another', 'touch another', every_turn=True)

        def holds(when):
            self.assertEqual('SUCCEEDED', outcome(
                client.send(session, 'make another')), when)
            self.assertEqual(OTHER_MODEL, self.api.turns[-1].model, when)
            self.assertEqual(1, self.asked(client, session), when)
            self.assertEqual(mode, client.get(session).permission_mode, when)

        holds('in the same process')
        self.kill_agent(client, session)
        holds('after a kill of the agent')
        client.clear(session)
        holds('after a clear')
        self.assertEqual(0, self.server.stop())
        client = self.restart()
        holds('after a stop of the server')

    def test_e8_the_cost_is_that_of_the_turns(self):
        client = self.serve()
        session = self.session()
        costs = {}  # by model: what a turn costs, whenever it comes
        total = 0

        def is_right(when, model=DEFAULT_MODEL):
            nonlocal total
            cost = client.send(session, f'hello {when}').usage.cost_usd
            total += cost
            self.assertEqual(model, self.api.turns[-1].model, when)
            self.assertGreater(cost, 0, when)
            self.assertAlmostEqual(costs.setdefault(model, cost), cost, 9,
                                   when)
            self.assertAlmostEqual(
                total, client.get(session).usage.cost_usd, 9, when)

        is_right('at first')
        is_right('and again')
        first = client.get(session).agent_session_id
        client.switch(session, OTHER_MODEL)
        is_right('after a switch', OTHER_MODEL)
        client.switch(session, '')
        client.clear(session)
        is_right('after a clear')
        client.resume(session, first)
        is_right('after a resume')
        self.kill_agent(client, session)
        is_right('after a kill of the agent')
        self.assertEqual(0, self.server.stop())
        client = self.restart()
        is_right('after a stop of the server')
        self.server.kill()
        self.server.leftovers()
        client = self.restart()
        is_right('after a kill of the server')

    def test_e10_a_conversation_the_new_model_cannot_read_goes_back(self):
        self.api.say('think', 'the answer', thought='a deep thought')
        client = self.serve()
        session = self.session()
        events = client.watch(session)
        client.send(session, SECRET)
        client.send(session, 'think')
        for text in UNREADABLE:
            with self.subTest(text):
                mark = client.get(session).newest_sequence
                self.api.refuse_model(OTHER_MODEL, text)
                client.switch(session, OTHER_MODEL)
                answer = client.send(session, 'can you read this?')
                self.assertEqual('FAILED', outcome(answer))
                self.assertEqual('CONVERSATION_UNREADABLE',
                                 answer.error.reason)
                self.assertIn(text, answer.error.message)
                self.assertEqual(KNOWN, client.send(session, QUESTION).text)
                self.assertEqual(DEFAULT_MODEL, self.api.turns[-1].model)
                record = client.get(session)
                self.assertEqual(('', DEFAULT_MODEL),
                                 (record.model_override, record.model))
                events.wait_for_sequence(record.newest_sequence)
                self.assertEqual(
                    [(OTHER_MODEL, 'CAUSE_CLIENT'),
                     (DEFAULT_MODEL, 'CAUSE_RECOVERY')],
                    [(e.model_changed.model,
                      event.Cause.Name(e.model_changed.cause))
                     for e in events.of('model_changed')
                     if e.sequence > mark])
        self.assertEqual(1, client.get(session).incarnation)
        self.check_log(events)


class ClaudeKeeps2_1_329Test(EveryVersion, AgentTest):
    version = '2.1.329'


class ClaudeKeeps2_1_197Test(EveryVersion, AgentTest):
    version = '2.1.197'


if __name__ == '__main__':
    unittest.main(verbosity=2)
