#!/usr/bin/python3
"""The main job on the real agents that speak ACP, each by its profile alone.

    UNDERSTUDY_BUILD=<build folder> tests/e2e/acp_test.py [OPTION...] [TEST...]

    --agents=NAME,...   only these (default: opencode,codex,gemini,claude-acp,
                        kimi)
    --matrix=FILE       writes what each agent did, how and how fast, as a table
                        in Markdown; it is printed, too
    --repeat=N          runs every test N times; the table has medians
    -k PATTERN          only tests whose name matches, as unittest's own

What an agent is asked is seen in the log of its stand-in: that, not what the
agent says, proves a model and a history.
"""

import argparse
import collections
import os
import signal
import statistics
import sys
import time
import unittest

import acp_agents
from client import Failure, enum_name, kind, outcome, route
from protos import control, event
from support import (ALLOW, KNOWN, NEVER, QUESTION, SECRET, UNKNOWN,
                     AgentTest)

# The rows of the table, in order.
START = 'first message, agent started for it'
MESSAGE = 'message to a warm agent'
SWITCH = 'SwitchModel'
SWITCH_REFUSED = 'SwitchModel, no such model'
SWITCH_RESTART = 'SwitchModel, `native_switch` off'
CLEAR = 'Clear'
RESUME = 'Resume'
RESUME_COLD = 'Resume, agent started for it'
RESUME_ELSEWHERE = 'Resume what another process has had open'
INTERRUPT = 'Interrupt'
ALLOWED = 'permission, allowed'
DENIED = 'permission, denied'
KILLED = '`kill -9` in a turn, next message'
SHARED = 'two sessions in one process'
ROWS = (START, MESSAGE, SWITCH, SWITCH_REFUSED, SWITCH_RESTART, CLEAR, RESUME,
        RESUME_COLD, RESUME_ELSEWHERE, INTERRUPT, ALLOWED, DENIED, KILLED, SHARED)


class Matrix:
    """What was measured: agent and row -> how it went, and how long it took."""

    def __init__(self):
        self._cells = collections.defaultdict(list)
        self._failed = set()

    def add(self, agent, row, how, seconds=None):
        self._cells[agent, row].append((how, seconds))

    def fail(self, agent, row):
        self._failed.add((agent, row))

    def table(self, agents):
        lines = ['| | ' + ' | '.join(agents) + ' |',
                 '|---' * (len(agents) + 1) + '|']
        for row in ROWS:
            cells = [self._cell(agent, row) for agent in agents]
            if any(cells):
                lines.append(f'| {row} | ' + ' | '.join(cells) + ' |')
        return '\n'.join(lines) + '\n'

    def _cell(self, agent, row):
        if (agent, row) in self._failed:
            return '**failed**'
        # Each way it went has its own median.
        ways = collections.defaultdict(list)
        for how, seconds in self._cells[agent, row]:
            ways[how].append(seconds)
        return '; '.join(
            (how if None in times else
             f'{how} {1000 * statistics.median(times):.0f} ms').strip()
            for how, times in ways.items())


class Timer:
    """Measures a block."""

    def __enter__(self):
        self._began = time.monotonic()
        self.seconds = None
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self._began


def _verified(answer):
    return ', verified' if answer.verified else ', not verified'


def rows(*names):
    """Says which rows of the table a test fills."""
    def mark(test):
        test.rows = names
        return test
    return mark


class AcpTest(AgentTest):
    """Every test of one agent; subclasses name it."""

    agent = None  # an AcpAgent
    matrix = Matrix()

    @classmethod
    def setUpClass(cls):
        if cls.agent is None:
            raise unittest.SkipTest('only the ground of other tests')
        cls.installed = cls.agent.install()

    def start_api(self):
        return self.agent.start_api()

    def profile(self, **fields):
        return self.agent.profile(self.folder, self.api.url, **fields)

    def is_agent(self, process):
        wanted = (self.installed.command, *self.installed.arguments)
        if self.agent.title:
            return process.arguments[0].strip() == self.agent.title
        return process.arguments[:len(wanted)] == wanted

    def doCleanups(self):
        done = super().doCleanups()
        result = getattr(self, '_outcome', None)
        if result is not None and not result.success:
            for row in getattr(getattr(self, self._testMethodName), 'rows',
                               ()):
                self.matrix.fail(self.agent.name, row)
        return done

    def record(self, row, how, seconds=None):
        self.matrix.add(self.agent.name, row, how, seconds)

    def record_failure(self, row, failure):
        self.record(row, f'{failure.code} `{failure.reason}`')

    # What holds of every agent.

    def remembers(self, session, model=None):
        """Asks for the secret; the agent has to send what it was told."""
        answer = self.client.send(session, QUESTION)
        self.assertEqual(('SUCCEEDED', KNOWN),
                         (outcome(answer), answer.text.strip()))
        self.assertTrue(self.api.turns[-1].mentions(SECRET))
        self.is_on(model or self.agent.default_model)
        return answer

    def knows_nothing(self, session, model=None):
        answer = self.client.send(session, QUESTION)
        self.assertEqual(('SUCCEEDED', UNKNOWN),
                         (outcome(answer), answer.text.strip()))
        self.assertFalse(self.api.turns[-1].mentions('4711'))
        self.is_on(model or self.agent.default_model)
        return answer

    def is_on(self, model):
        """What the API was asked for by the last turn."""
        self.assertEqual(self.agent.api_model(model), self.api.turns[-1].model)

    def only_agent(self):
        """The process id of the agent, of which there is one."""
        pid, = self.agent_pids()
        return pid

    @rows(START, MESSAGE)
    def test_a_message_is_answered(self):
        client = self.serve()
        session = self.session()
        events = client.watch(session)
        with Timer() as first:
            answer = client.send(session, SECRET)
        self.assertEqual('SUCCEEDED', outcome(answer), answer)
        self.assertIn(f'last={SECRET}', answer.text)
        self.is_on(self.agent.default_model)
        with Timer() as second:
            self.remembers(session)
        record = client.get(session)
        self.assertEqual((self.agent.default_model, '', 1),
                         (record.model, record.model_override,
                          record.incarnation))
        self.assertTrue(record.agent_session_id)
        events.wait_for_sequence(record.newest_sequence)
        started = events.wait_for('agent_started').agent_started
        self.assertEqual(self.only_agent(), started.pid)
        self.assertIn(self.installed.version, started.agent_version)
        said = events.of('message', answer.turn_id)
        self.assertEqual(answer.text, ''.join(e.message.text for e in said))
        self.assertEqual(answer.text, ''.join(
            e.text_delta.text
            for e in events.of('text_delta', answer.turn_id)))
        self.check_log(events)
        self.record(START, '', first.seconds)
        self.record(MESSAGE, '', second.seconds)

    @rows(SWITCH)
    def test_a_switch_is_native_and_carries_the_conversation(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        before = client.get(session)
        pid = self.only_agent()
        with Timer() as timer:
            answer = client.switch(session, self.agent.other_model)
        self.assertTrue(answer.changed)
        self.assertEqual(('NATIVE', self.agent.verifies),
                         (route(answer), answer.verified))
        self.assertEqual(
            (self.agent.default_model, self.agent.other_model),
            (answer.previous_model, answer.model))
        self.assertEqual(before.agent_session_id, answer.agent_session_id)
        self.assertEqual(before.incarnation, answer.incarnation)
        self.remembers(session, self.agent.other_model)
        # Not the same summed up: what the model before has said is there.
        self.assertTrue(self.api.turns[-1].mentions(
            f'model={self.agent.api_model(self.agent.default_model)}'))
        self.assertEqual(pid, self.only_agent())
        self.assertFalse(client.switch(session,
                                       self.agent.other_model).changed)
        events = client.watch(session)
        events.wait_for_sequence(client.get(session).newest_sequence)
        changed, = events.of('model_changed')
        self.assertEqual(answer.sequence, changed.sequence)
        self.check_log(events)
        self.record(SWITCH, route(answer) + _verified(answer), timer.seconds)

    @rows(SWITCH_REFUSED)
    def test_a_model_that_the_agent_does_not_have(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        if self.agent.refuses_models:
            with Timer() as timer, self.fails(
                    'INVALID_ARGUMENT', 'MODEL_REJECTED') as failed:
                client.switch(session, self.agent.unknown_model)
            self.record_failure(SWITCH_REFUSED, failed.failure)
        else:
            # It takes every name; the next turn shows that there is no such
            # model, and the session is on the one before again.
            with Timer() as timer:
                answer = client.switch(session, self.agent.unknown_model)
            self.assertFalse(answer.verified)
            answer = client.send(session, 'on a model that does not exist')
            self.assertEqual(('FAILED', 'MODEL_REJECTED'),
                             (outcome(answer), answer.error.reason))
            self.record(SWITCH_REFUSED, 'next turn `MODEL_REJECTED`')
            events = client.watch(session)
            events.wait_for('model_changed', where=lambda changed:
                            changed.model == self.agent.default_model)
        self.assertEqual(self.agent.default_model, client.get(session).model)
        self.remembers(session)
        events = client.watch(session)
        events.wait_for_sequence(client.get(session).newest_sequence)
        self.check_log(events)

    def test_a_model_that_the_api_does_not_have(self):
        if not self.agent.missing_model:
            self.skipTest('it offers none')
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        client.switch(session, self.agent.missing_model)
        answer = client.send(session, 'on a model that does not exist')
        self.assertEqual('FAILED', outcome(answer))
        self.assertTrue(answer.error.message)
        client.switch(session, self.agent.other_model)
        self.remembers(session, self.agent.other_model)

    @rows(SWITCH_RESTART)
    def test_a_switch_by_another_process(self):
        client = self.serve(native_switch=NEVER)
        session = self.session()
        client.send(session, SECRET)
        pid = self.only_agent()
        if not self.agent.resumes:
            with self.fails('UNIMPLEMENTED', 'CAPABILITY_MISSING') as failed:
                client.switch(session, self.agent.other_model)
            self.record_failure(SWITCH_RESTART, failed.failure)
            self.remembers(session)
            return
        with Timer() as timer:
            answer = client.switch(session, self.agent.other_model)
        self.assertEqual('RESTART', route(answer))
        self.remembers(session, self.agent.other_model)
        self.assertNotEqual(pid, self.only_agent())
        self.record(SWITCH_RESTART, route(answer) + _verified(answer),
                    timer.seconds)

    @rows(CLEAR)
    def test_clear_is_native_and_keeps_process_and_model(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        client.switch(session, self.agent.other_model)
        old = client.get(session).agent_session_id
        pid = self.only_agent()
        with Timer() as timer:
            answer = client.clear(session)
        self.assertEqual(('NATIVE', old),
                         (route(answer), answer.previous_agent_session_id))
        self.knows_nothing(session, self.agent.other_model)
        self.assertEqual(pid, self.only_agent())
        record = client.get(session)
        self.assertNotEqual(old, record.agent_session_id)
        self.assertEqual((1, self.agent.other_model),
                         (record.incarnation, record.model))
        self.record(CLEAR, route(answer), timer.seconds)

    @rows(RESUME)
    def test_resume_is_native_and_keeps_process_and_model(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        client.switch(session, self.agent.other_model)
        client.send(session, 'another message')
        old = client.clear(session).previous_agent_session_id
        client.send(session, 'another conversation')
        pid = self.only_agent()
        # One that cannot load still has open what it has left.
        with Timer() as timer:
            answer = client.resume(session, old)
        self.assertEqual(('NATIVE', old),
                         (route(answer), answer.agent_session_id))
        self.remembers(session, self.agent.other_model)
        self.assertFalse(self.api.turns[-1].mentions('another conversation'))
        self.assertEqual(pid, self.only_agent())
        # The agent may tell the whole conversation again: nobody is to see it.
        events = client.watch(session)
        events.wait_for_sequence(client.get(session).newest_sequence)
        self.assertEqual(1, sum(f'last={SECRET}' in e.message.text
                                for e in events.of('message')))
        self.check_log(events)
        self.record(RESUME, route(answer) + _verified(answer), timer.seconds)

    @rows(RESUME_COLD)
    def test_a_conversation_outlives_its_process_where_the_agent_loads(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        old = client.clear(session).previous_agent_session_id
        client.send(session, 'another conversation')
        events = client.watch(session)
        self.kill_agent()
        events.wait_for('agent_exited')
        if not self.agent.resumes:
            with self.fails('UNIMPLEMENTED', 'CAPABILITY_MISSING') as failed:
                client.resume(session, old)
            self.record_failure(RESUME_COLD, failed.failure)
            self.knows_nothing(session)
            return
        with Timer() as timer:
            answer = client.resume(session, old)
        self.assertEqual(('RESTART', old),
                         (route(answer), answer.agent_session_id))
        self.remembers(session)
        self.record(RESUME_COLD, route(answer) + _verified(answer),
                    timer.seconds)

    @rows(RESUME_ELSEWHERE)
    def test_a_conversation_that_another_process_has_had_open(self):
        client = self.serve()
        first, second = self.session(), self.session()
        client.send(first, SECRET)
        held = client.get(first).agent_session_id
        client.send(second, 'hello')
        self.assertEqual(2, len(self.agent_pids()))
        if not self.agent.resumes:
            with self.fails('UNIMPLEMENTED', 'CAPABILITY_MISSING') as failed:
                client.resume(second, held)
            self.record_failure(RESUME_ELSEWHERE, failed.failure)
            return
        with self.fails('FAILED_PRECONDITION', 'CONVERSATION_IN_USE'):
            client.resume(second, held)
        # Once the first session has left it, the second may have it, and the
        # process of the first lives on or is ended for it.
        client.clear(first)
        with Timer() as timer:
            answer = client.resume(second, held)
        self.remembers(second)
        self.knows_nothing(first)
        self.record(RESUME_ELSEWHERE, route(answer), timer.seconds)

    @rows(INTERRUPT)
    def test_an_interrupt_ends_the_turn_and_nothing_else(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        pid = self.only_agent()
        events = client.watch(session)
        gate = self.api.hold('slowly')
        call = client.send_in_background(session, 'slowly please')
        gate.wait_until_reached()
        events.wait_for('text_delta', where=lambda e: 'first' in e.text)
        with Timer() as timer:
            answer = client.interrupt(session)
        self.assertTrue(answer.interrupted)
        self.assertEqual('INTERRUPTED', outcome(call.result()))
        self.api.clear_instructions()
        gate.release()
        self.remembers(session)
        self.assertEqual(
            self.agent.keeps_interrupted,
            self.api.turns[-1].mentions('slowly please'))
        self.assertEqual(pid, self.only_agent())
        self.assertFalse(client.interrupt(session).interrupted)
        events.wait_for_sequence(client.get(session).newest_sequence)
        self.check_log(events)
        self.record(INTERRUPT, '', timer.seconds)

    def ask(self, name='made'):
        """Lets the agent ask for a tool that makes a file.

        Returns the session, its path, the call and the request.
        """
        made = os.path.join(self.directory, name)
        self.api.use_bash(f'make {name}', f'echo here > {made}; cat {made}')
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        events = client.watch(session)
        call = client.send_in_background(session, f'make {name}')
        asked = events.wait_for('permission_requested')
        self.assertFalse(os.path.exists(made))
        self.assertEqual([asked.permission_requested.permission_id],
                         list(client.get(session).pending_permission_ids))
        return session, made, call, events, asked.permission_requested

    @rows(ALLOWED)
    def test_a_tool_runs_when_it_is_allowed(self):
        session, made, call, events, asked = self.ask()
        self.assertIn(made, asked.input_json + asked.description)
        self.assertLessEqual({'ALLOW_ONCE', 'DENY_ONCE'}, {
            enum_name(event.PermissionOptionKind, o.kind)
            for o in asked.options})
        with Timer() as timer:
            self.client.resolve(session, asked.permission_id,
                                event.PERMISSION_DECISION_ALLOW)
            answer = call.result()
        self.assertEqual('SUCCEEDED', outcome(answer))
        self.assertIn('the tool said: ', answer.text)
        self.assertIn('here', answer.text)
        self.assertTrue(os.path.exists(made))
        events.wait_for('turn_completed', answer.turn_id)
        results = {e.tool_result.tool_call_id: e.tool_result
                   for e in events.of('tool_result', answer.turn_id)}
        self.assertTrue(results)
        self.assertFalse(any(r.is_error for r in results.values()))
        self.assertLessEqual(set(results), {
            e.tool_call.tool_call_id
            for e in events.of('tool_call', answer.turn_id)})
        self.remembers(session)
        self.check_log(events)
        self.record(ALLOWED, '', timer.seconds)

    @rows(DENIED)
    def test_a_tool_does_not_run_when_it_is_denied(self):
        session, made, call, events, asked = self.ask()
        with Timer() as timer:
            self.client.resolve(session, asked.permission_id,
                                event.PERMISSION_DECISION_DENY)
            answer = call.result()
        # Some go on with the turn, some end it.
        self.assertIn(outcome(answer), ('SUCCEEDED', 'INTERRUPTED'))
        self.assertFalse(os.path.exists(made))
        self.remembers(session)
        self.assertFalse(os.path.exists(made))
        events.wait_for_sequence(self.client.get(session).newest_sequence)
        self.check_log(events)
        self.record(DENIED, f'turn {outcome(answer)},', timer.seconds)

    def test_an_interrupt_withdraws_a_permission(self):
        session, made, call, events, _ = self.ask()
        self.assertTrue(self.client.interrupt(session).interrupted)
        self.assertEqual('INTERRUPTED', outcome(call.result()))
        self.assertTrue(events.wait_for(
            'permission_resolved').permission_resolved.withdrawn)
        self.remembers(session)
        self.assertFalse(os.path.exists(made))

    def test_a_permission_mode_outlives_clear_and_the_process(self):
        if not self.agent.free_mode:
            self.skipTest('it has no mode that does not ask')
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        client.set_mode(session, self.agent.free_mode)
        events = client.watch(session)
        names = ('one', 'two', 'three')
        for name in names:
            made = os.path.join(self.directory, name)
            self.api.use_bash(f'make {name}',
                              f'echo {name} > {made}; cat {made}')
        for name in names:
            self.assertIn(name, client.send(session, f'make {name}').text)
            self.assertTrue(os.path.exists(os.path.join(self.directory, name)))
            if name == 'one':
                client.clear(session)
            elif name == 'two':
                self.kill_agent()
                events.wait_for('agent_exited')
        events.wait_for_sequence(client.get(session).newest_sequence)
        self.assertEqual([], events.of('permission_requested'))

    def kill_agent(self):
        """SIGKILL, as the kernel does it; returns the process id."""
        pid = self.only_agent()
        os.kill(pid, signal.SIGKILL)
        self.assert_gone([pid])
        return pid

    @rows(KILLED)
    def test_an_agent_that_is_killed_in_a_turn_goes_on_with_the_next(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        client.switch(session, self.agent.other_model)
        client.send(session, 'another message')
        events = client.watch(session)
        gate = self.api.hold('slowly')
        call = client.send_in_background(session, 'slowly please')
        gate.wait_until_reached()
        # The server and its guard are ours; all others the agent started.
        theirs = [p.pid for p in self.server.processes()
                  if 'understudy' not in os.path.basename(p.arguments[0])]
        pid = self.kill_agent()
        with self.fails('UNAVAILABLE', 'AGENT_LOST'):
            call.result()
        # What it has started is gone with it.
        self.assert_gone(theirs)
        gate.release()
        self.api.clear_instructions()
        with Timer() as timer:
            if self.agent.resumes:
                self.remembers(session, self.agent.other_model)
            else:
                self.knows_nothing(session, self.agent.other_model)
        self.assertNotEqual(pid, self.only_agent())
        self.assertEqual(2, client.get(session).incarnation)
        record = client.get(session)
        events.wait_for_sequence(record.newest_sequence)
        exited, = events.of('agent_exited')
        self.assertEqual((pid, 9), (exited.agent_exited.pid,
                                    exited.agent_exited.signal))
        # It is told only where the conversation is not the same any more.
        self.assertEqual(
            [] if self.agent.resumes else ['CONTEXT_RESTORED_NONE'],
            [event.ContextRestored.Name(
                e.conversation_resumed.context_restored)
             for e in events.of('conversation_resumed')])
        self.check_log(events)
        self.record(KILLED, ('goes on,' if self.agent.resumes
                             else 'conversation lost,'), timer.seconds)

    def test_no_tool_outlives_its_agent(self):
        client = self.serve(permission_policy=ALLOW)
        session = self.session()
        client.send(session, SECRET)
        tools = self.stubborn_tool('run it')
        call = client.send_in_background(session, 'run it')
        pids = tools()
        self.kill_agent()
        with self.fails('UNAVAILABLE', 'AGENT_LOST'):
            call.result()
        self.assert_gone(pids)

    def test_no_tool_outlives_an_interrupt_and_a_deletion(self):
        client = self.serve(permission_policy=ALLOW)
        session = self.session()
        client.send(session, SECRET)
        tools = self.stubborn_tool('run it')
        call = client.send_in_background(session, 'run it')
        pids = tools()
        self.assertTrue(client.interrupt(session).interrupted)
        self.assertEqual('INTERRUPTED', outcome(call.result()))
        client.delete(session)
        self.assert_gone(pids)

    def test_a_killed_server_leaves_nothing_and_the_next_goes_on(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        gate = self.api.hold('slowly')
        client.start(session, 'slowly please')
        gate.wait_until_reached()
        self.server.kill()
        self.assertEqual([], [str(p) for p in self.server.leftovers()])
        gate.release()
        self.api.clear_instructions()
        client = self.restart()
        if self.agent.resumes:
            self.remembers(session)
        else:
            self.knows_nothing(session)
        events = client.watch(session)
        events.wait_for_sequence(client.get(session).newest_sequence)
        self.assertIn('INDETERMINATE', [
            outcome(e.turn_completed) for e in events.of('turn_completed')])
        self.check_log(events)

    def test_lists_tell_the_truth(self):
        client = self.serve()
        agent, = client.agents()
        self.assertEqual((self.agent.name, 'acp', False),
                         (agent.name, agent.kind, agent.capabilities.known))
        self.assertEqual([], self.agent_pids())
        session = self.session()
        client.send(session, SECRET)
        agent, = client.agents()
        self.assertIn(self.installed.version, agent.version)
        self.assertEqual(self.agent.default_model, agent.default_model)
        can = agent.capabilities
        self.assertEqual(
            (True, True, True, self.agent.resumes, True, True),
            (can.known, can.native_switch, can.clear, can.resume,
             can.interrupt, can.permissions))

        client.switch(session, self.agent.other_model)
        models = {m.model: m for m in client.models(session_id=session)}
        self.assertTrue(models[self.agent.other_model].known)
        self.assertEqual([self.agent.other_model],
                         [m.model for m in models.values() if m.is_current])
        self.assertEqual([self.agent.default_model],
                         [m.model for m in models.values() if m.is_default])
        self.assertNotIn(self.agent.unknown_model, models)
        self.assertLessEqual(
            {self.agent.default_model, self.agent.other_model},
            {m.model for m in client.models(agent=self.agent.name)})

        old = client.get(session).agent_session_id
        client.clear(session)
        client.send(session, QUESTION)
        listed = {c.agent_session_id: c.first_prompt
                  for c in client.conversations(session)}
        self.assertEqual({old, client.get(session).agent_session_id},
                         set(listed))
        self.assertTrue(listed[old])
        if not self.agent.resumes:  # but for what its process has open
            events = client.watch(session)
            self.kill_agent()
            events.wait_for('agent_exited')
            self.assertEqual([], list(client.conversations(session)))

    @rows(SHARED)
    def test_two_sessions_in_one_process(self):
        client = self.serve(sessions_per_process=4)
        first = self.session()
        client.send(first, SECRET)
        second = self.session()
        with Timer() as timer:
            client.send(second, 'my secret number is 1234')
        pid = self.only_agent()
        self.assertNotEqual(client.get(first).agent_session_id,
                            client.get(second).agent_session_id)
        seen = {s: client.watch(s) for s in (first, second)}

        # The second speaks while the first is in the middle of a turn.
        gate = self.api.hold('slowly')
        call = client.send_in_background(first, 'slowly please')
        gate.wait_until_reached()
        self.assertEqual('The secret number is 1234.',
                         client.send(second, QUESTION).text.strip())
        # What one session does is not the other's.
        self.assertEqual('NATIVE', route(
            client.switch(second, self.agent.other_model)))
        self.assertFalse(client.interrupt(second).interrupted)
        gate.release()
        self.assertEqual('first words and the rest',
                         call.result().text.strip())
        self.api.clear_instructions()
        self.remembers(first)
        self.assertEqual('NATIVE', route(client.clear(second)))
        self.knows_nothing(second, self.agent.other_model)
        self.remembers(first)
        self.assertEqual(pid, self.only_agent())
        for session, events in seen.items():
            events.wait_for_sequence(client.get(session).newest_sequence)
            self.check_log(events)
            self.assertEqual({client.get(session).session_id},
                             {e.session_id for e in events.events})
        self.assertFalse(any('1234' in e.message.text
                             for e in seen[first].of('message')))

        # It dies, in a turn of one: both lose it, and both go on.
        gate = self.api.hold('slowly')
        call = client.send_in_background(first, 'slowly again')
        gate.wait_until_reached()
        self.kill_agent()
        with self.fails('UNAVAILABLE', 'AGENT_LOST'):
            call.result()
        gate.release()
        self.api.clear_instructions()
        if self.agent.resumes:
            self.remembers(first)
        else:
            self.knows_nothing(first)
        client.delete(second)
        self.assertEqual('SUCCEEDED',
                         outcome(client.send(first, 'still there?')))
        self.record(SHARED, 'second session', timer.seconds)

    def test_the_whole_main_job_over_one_attached_stream(self):
        client = self.serve()
        session = self.session()
        stream = client.attach()
        stream.subscribe(7, session, after_sequence=0)

        def do(**command):
            return stream.result(stream.command(**command))

        def message(text):
            return do(send_message=control.SendMessageRequest(
                session_id=session, text=text,
                wait_until='WAIT_UNTIL_COMPLETED')).text.strip()

        message(SECRET)
        old = client.get(session).agent_session_id
        do(switch_model=control.SwitchModelRequest(
            session_id=session, model=self.agent.other_model))
        self.assertEqual(KNOWN, message(QUESTION))
        self.is_on(self.agent.other_model)
        do(clear=control.ClearRequest(session_id=session))
        self.assertEqual(UNKNOWN, message(QUESTION))
        wanted = ['model_changed', 'conversation_cleared',
                  'conversation_resumed']
        resume = control.ResumeRequest(session_id=session,
                                       agent_session_id=old)
        do(resume=resume)
        self.assertEqual(KNOWN, message(QUESTION))
        self.is_on(self.agent.other_model)
        newest = client.get(session).newest_sequence
        stream.wait_for_event(7, lambda e: e.sequence == newest)
        durable = [e for e in stream.events(7) if e.sequence]
        self.assertEqual(list(range(1, newest + 1)),
                         [e.sequence for e in durable])
        self.assertEqual(wanted, [kind(e) for e in durable if kind(e) in (
            'model_changed', 'conversation_cleared', 'conversation_resumed')])


def _suite(agents, patterns, repeat):
    loader = unittest.TestLoader()
    loader.testNamePatterns = [
        p if '*' in p else f'*{p}*' for p in patterns] or None
    suite = unittest.TestSuite()
    for name in agents:
        case = type(f'AcpTest_{name.replace("-", "_")}', (AcpTest,),
                    {'agent': acp_agents.AGENTS[name],
                     '__module__': __name__})
        for _ in range(repeat):
            suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


def main(arguments):
    names = list(acp_agents.AGENTS)
    parser = argparse.ArgumentParser(
        description='Tests the agents that speak ACP.')
    parser.add_argument('--agents', default=','.join(names))
    parser.add_argument('--matrix', metavar='FILE')
    parser.add_argument('--repeat', type=int, default=1, metavar='N')
    parser.add_argument('-k', action='append', default=[], dest='patterns',
                        metavar='PATTERN')
    options = parser.parse_args(arguments)
    agents = options.agents.split(',')
    for name in agents:
        if name not in names:
            parser.error(f'no such agent: {name} ({", ".join(names)})')
    suite = _suite(agents, options.patterns, options.repeat)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    table = AcpTest.matrix.table(agents)
    print(table)
    if options.matrix:
        with open(options.matrix, 'w', encoding='utf-8') as file:
            file.write(table)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
