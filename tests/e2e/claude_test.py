#!/usr/bin/python3
"""The main job on the real Claude Code CLI: what every version must do.

    UNDERSTUDY_BUILD=<build folder> tests/e2e/claude_test.py [TEST...]

What the model is sent is read from the stand-in for its API: that, and not
what anybody believes, proves which model ran and what it knew.
"""

import base64
import os
import signal
import time
import unittest

import processes
from client import outcome, route
from protos import event
from support import (ALLOW, DEFAULT_MODEL, GONE, KNOWN, NEVER, OTHER_MODEL,
                     QUESTION, SECRET, SOON, UNKNOWN, UNKNOWN_MODEL, AgentTest)

# One black pixel.
PNG = base64.b64decode(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQ'
    'AAAABJRU5ErkJggg==')

NO_SUCH_CONVERSATION = '00000000-0000-4000-8000-000000000000'


class EveryVersion:
    """What every supported version must do. Mixed into an AgentTest."""

    def test_a_message_runs_a_turn_on_the_default_model(self):
        client = self.serve()
        session = self.session()
        answer = client.send(session, 'hello there')
        self.assertEqual('SUCCEEDED', outcome(answer))
        request, = self.api.turns
        self.assertEqual(DEFAULT_MODEL, request.model)
        self.assertEqual('hello there', request.last_text)
        self.assertEqual(
            f'model={DEFAULT_MODEL} turns={len(request.messages)} '
            'last=hello there', answer.text)

        events = client.watch(session)
        done = events.wait_for('turn_completed', answer.turn_id)
        self.assertEqual('SUCCEEDED', outcome(done.turn_completed))
        self.assertEqual(answer.text, done.turn_completed.text)
        self.assertEqual(answer.text,
                         ''.join(e.message.text for e in events.of('message')))
        self.assertEqual(1, len(events.of('turn_completed')))
        started = events.wait_for('agent_started').agent_started
        self.assertEqual([started.pid], self.agent_pids())
        # A version that does not tell itself must not be given one.
        self.assertIn(started.agent_version, ('', self.version))
        self.check_log(events)
        record = client.get(session)
        self.assertEqual(DEFAULT_MODEL, record.model)
        self.assertEqual('', record.model_override)
        self.assertTrue(record.agent_session_id)

    def test_deltas_come_live_and_join_to_the_message(self):
        client = self.serve()
        session = self.session()
        events = client.watch(session)
        gate = self.api.hold('slowly', 'first and the rest of it')
        call = client.send_in_background(session, 'slowly please')
        gate.wait_until_reached()
        # The turn cannot end before the gate opens: what comes now is live.
        first = events.wait_for('text_delta')
        self.assertTrue('first and the rest of it'.startswith(
            first.text_delta.text))
        self.assertEqual(0, first.sequence)
        self.assertEqual('SESSION_STATE_RUNNING', event.SessionState.Name(
            client.get(session).state))
        gate.release()
        answer = call.result()
        events.wait_for('turn_completed', answer.turn_id)
        self.assertEqual('first and the rest of it', ''.join(
            e.text_delta.text for e in events.of('text_delta')))
        self.assertEqual('first and the rest of it', answer.text)
        self.check_log(events)

    def test_a_picture_arrives_and_text_beside_it_is_no_command(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        before = client.get(session)
        for parts in (('/clear', PNG), (PNG, '/new'), ('/model haiku',),
                      ('look', PNG, '/compact')):
            answer = client.send_content(session, *parts)
            self.assertEqual('SUCCEEDED', outcome(answer))
            request = self.api.turns[-1]
            content = request.messages[-1]['content']
            self.assertEqual(
                [base64.b64encode(PNG).decode()] * parts.count(PNG),
                [block['source']['data'] for block in content
                 if block['type'] == 'image'])
            # New versions tell the model beside it where the picture is kept.
            told = [text.strip() for text in request.user_texts]
            for part in parts:
                if isinstance(part, str):
                    self.assertIn(part, told)
        after = client.get(session)
        self.assertEqual(before.agent_session_id, after.agent_session_id)
        self.assertEqual(before.model, after.model)
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)

    def test_a_permission_mode_is_set_natively_and_kept(self):
        client = self.serve()
        session = self.session()
        events = client.watch(session)
        self.assertEqual('plan', client.set_mode(session, 'plan'))
        client.send(session, SECRET)
        pid, = self.agent_pids()
        self.assertIn('--permission-mode=plan', self.arguments_of(pid))
        self.assertEqual('acceptEdits',
                         client.set_mode(session, 'acceptEdits'))
        for mode in ('nonsense', 'bypassPermissions'):
            with self.fails('INVALID_ARGUMENT', 'FIELD_INVALID'):
                client.set_mode(session, mode)
        self.assertEqual([pid], self.agent_pids())
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertEqual('acceptEdits', client.get(session).permission_mode)

        os.kill(pid, signal.SIGKILL)
        events.wait_for('agent_exited')
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        second, = self.agent_pids()
        self.assertIn('--permission-mode=acceptEdits',
                      self.arguments_of(second))
        events.wait_for_sequence(client.get(session).newest_sequence)
        self.assertEqual(
            ['plan', 'acceptEdits'],
            [e.notice.message for e in events.of('notice')
             if e.notice.kind == event.NOTICE_KIND_MODE])
        self.check_log(events)

    def test_a10_a11_c3_c7_a_switch_by_restart_keeps_the_conversation(
            self):
        client = self.serve(native_switch=NEVER)
        session = self.session()
        events = client.watch(session)
        client.send(session, SECRET)
        before = client.get(session)
        first_pid = events.wait_for('agent_started').agent_started.pid

        answer = client.switch(session, OTHER_MODEL)
        self.assertTrue(answer.changed)
        self.assertEqual('RESTART', route(answer))
        self.assertEqual(DEFAULT_MODEL, answer.previous_model)
        self.assertEqual(OTHER_MODEL, answer.model)
        self.assertEqual(before.agent_session_id, answer.agent_session_id)
        self.assertEqual(before.incarnation + 1, answer.incarnation)

        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        request = self.api.turns[-1]
        self.assertEqual(OTHER_MODEL, request.model)
        self.assertTrue(request.mentions(SECRET))
        exited = events.wait_for('agent_exited')
        self.assertEqual(first_pid, exited.agent_exited.pid)
        self.assertTrue(exited.agent_exited.expected)
        self.assertTrue(processes.wait_for_end(first_pid, 20))
        second, = self.agent_pids()
        self.assertNotEqual(first_pid, second)
        changed = events.of('model_changed')
        self.assertEqual(1, len(changed))
        self.assertEqual('RESTART', route(changed[0].model_changed))
        self.check_log(events)

    def test_a_model_that_only_the_next_turn_rejects_is_rolled_back(self):
        client = self.serve(native_switch=NEVER)
        session = self.session()
        events = client.watch(session)
        client.send(session, SECRET)
        client.switch(session, UNKNOWN_MODEL)
        answer = client.send(session, 'does this work?')
        self.assertEqual('FAILED', outcome(answer))
        self.assertEqual('MODEL_REJECTED', answer.error.reason)
        self.assertIn(UNKNOWN_MODEL, answer.error.message)
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertEqual(DEFAULT_MODEL, self.api.turns[-1].model)
        record = client.get(session)
        self.assertEqual(DEFAULT_MODEL, record.model)
        self.assertEqual('', record.model_override)
        events.wait_for_sequence(record.newest_sequence)
        self.assertEqual(
            [UNKNOWN_MODEL, DEFAULT_MODEL],
            [e.model_changed.model for e in events.of('model_changed')])
        self.check_log(events)

    def test_clear_forgets_and_resume_remembers(self):
        client = self.serve()
        session = self.session(model=OTHER_MODEL)
        events = client.watch(session)
        client.send(session, SECRET)
        old = client.get(session).agent_session_id

        cleared = client.clear(session)
        self.assertTrue(cleared.changed)
        self.assertEqual(old, cleared.previous_agent_session_id)
        self.assertNotEqual(old, cleared.agent_session_id)
        self.assertEqual(UNKNOWN, client.send(session, QUESTION).text)
        self.assertFalse(self.api.turns[-1].mentions('4711'))
        self.assertEqual(OTHER_MODEL, self.api.turns[-1].model)
        fresh = client.get(session).agent_session_id
        self.assertNotEqual(old, fresh)

        resumed = client.resume(session, old)
        self.assertTrue(resumed.changed)
        self.assertEqual(old, resumed.agent_session_id)
        self.assertEqual(fresh, resumed.previous_agent_session_id)
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertTrue(self.api.turns[-1].mentions(SECRET))
        self.assertEqual(OTHER_MODEL, self.api.turns[-1].model)
        self.assertEqual(old, client.get(session).agent_session_id)

        confirmed = events.wait_for('conversation_resumed')
        self.assertEqual(old,
                         confirmed.conversation_resumed.agent_session_id)
        self.assertEqual(1, len(events.of('conversation_cleared')))
        self.assertEqual([], events.of('model_changed'))
        self.check_log(events)

    def test_resume_of_an_unknown_conversation_leaves_the_session_working(
            self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        before = client.get(session)
        with self.fails('NOT_FOUND', 'CONVERSATION_NOT_FOUND') as failed:
            client.resume(session, NO_SUCH_CONVERSATION)
        # The agent's own words.
        self.assertIn('No conversation found', failed.failure.message)
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        after = client.get(session)
        self.assertEqual(before.agent_session_id, after.agent_session_id)
        self.assertEqual(before.model, after.model)
        events = client.watch(session)
        events.wait_for('transition_failed')
        self.assertEqual([], events.of('conversation_resumed'))
        self.check_log(events)

    def test_text_that_looks_like_a_command_is_text(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        before = client.get(session)
        for text in ('/clear', '/model haiku', '/exit', '!echo made', '#note'):
            with self.subTest(text):
                self.assertEqual('SUCCEEDED',
                                 outcome(client.send(session, text)))
                self.assertEqual(text, self.api.turns[-1].last_text.strip())
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        after = client.get(session)
        self.assertEqual(before.agent_session_id, after.agent_session_id)
        self.assertEqual(before.model, after.model)
        self.assertEqual(before.incarnation, after.incarnation)

    def test_an_error_of_the_api_fails_the_turn_and_not_the_session(self):
        self.api.fail('break it', 400, 'made to fail')
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        answer = client.send(session, 'break it')
        self.assertEqual('FAILED', outcome(answer))
        self.assertIn('made to fail', answer.error.message)
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertEqual(1, client.get(session).incarnation)

    def test_an_interrupted_turn_does_not_leak_into_the_next(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        gate = self.api.hold('slowly')
        call = client.send_in_background(session, 'slowly please')
        gate.wait_until_reached()
        stopped = client.interrupt(session)
        self.assertTrue(stopped.interrupted)
        interrupted = call.result()
        self.assertEqual('INTERRUPTED', outcome(interrupted))
        self.assertEqual(interrupted.turn_id, stopped.turn_id)
        gate.release()
        answer = client.send(session, QUESTION)
        self.assertEqual(('SUCCEEDED', KNOWN), (outcome(answer), answer.text))
        self.assertNotEqual(interrupted.turn_id, answer.turn_id)
        self.assertFalse(client.interrupt(session).interrupted)
        self.assertEqual(1, client.get(session).incarnation)
        events = client.watch(session)
        events.wait_for('turn_completed', answer.turn_id)
        self.check_log(events)

    def test_a_killed_agent_is_noticed_at_once_and_the_next_message_resumes(
            self):
        client = self.serve()
        session = self.session()
        events = client.watch(session)
        client.send(session, SECRET)
        gate = self.api.hold('slowly')
        call = client.send_in_background(session, 'slowly please')
        gate.wait_until_reached()
        pid, = self.agent_pids()
        killed = time.monotonic()
        os.kill(pid, 9)
        with self.fails('UNAVAILABLE', 'AGENT_LOST') as failed:
            call.result()
        exited = events.wait_for('agent_exited')
        lost = events.wait_for(
            'turn_completed', where=lambda e: outcome(e) == 'AGENT_LOST')
        # Far below every time-out that could have brought it about.
        self.assertLess(time.monotonic() - killed, 2)
        self.assertEqual('9', failed.failure.metadata['signal'])
        self.assertEqual(lost.turn_id, failed.failure.metadata['turn_id'])
        self.assertEqual(pid, exited.agent_exited.pid)
        self.assertEqual(9, exited.agent_exited.signal)
        self.assertFalse(exited.agent_exited.expected)
        self.assertEqual('EXIT_CAUSE_SIGNALED', event.ExitCause.Name(
            exited.agent_exited.cause))
        self.assertEqual('AGENT_LOST', lost.turn_completed.error.reason)
        gate.release()

        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertEqual(2, client.get(session).incarnation)
        self.check_log(events)

    def test_a_killed_server_leaves_no_process_and_loses_nothing(self):
        client = self.serve()
        session = self.session(labels={'color': 'blue'})
        client.send(session, SECRET)
        client.switch(session, OTHER_MODEL)
        record = client.get(session)
        events = client.watch(session, include_deltas=False)
        events.wait_for_sequence(record.newest_sequence)
        told = [e.SerializeToString(deterministic=True)
                for e in events.durable]
        self.server.kill()
        self.assertEqual([], [str(p) for p in self.server.leftovers()])

        client = self.restart()
        after = client.get(session)
        for field in ('session_id', 'agent', 'model', 'model_override',
                      'working_directory', 'agent_session_id', 'create_time',
                      'labels'):
            self.assertEqual(getattr(record, field), getattr(after, field),
                             field)
        replay = client.watch(session, include_deltas=False)
        replay.wait_for_sequence(record.newest_sequence)
        self.assertEqual(told, [e.SerializeToString(deterministic=True)
                                for e in replay.durable[:len(told)]])
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertEqual(OTHER_MODEL, self.api.turns[-1].model)
        replay.wait_for('turn_completed', after=record.newest_sequence)
        self.check_log(replay)

    def test_a_server_killed_while_a_tool_runs_leaves_no_process(self):
        tool_pids = self.stubborn_tool('run it')
        client = self.serve(permission_policy=ALLOW)
        session = self.session()
        client.send(session, SECRET)
        turn = client.start(session, 'run it').turn_id
        self.assertLessEqual(set(tool_pids()),
                             {p.pid for p in self.server.processes()})
        self.server.kill()
        self.assertEqual([], [str(p) for p in self.server.leftovers(GONE)])

        client = self.restart()
        events = client.watch(session)
        done = events.wait_for('turn_completed', turn)
        self.assertEqual('INDETERMINATE', outcome(done.turn_completed))
        self.assertEqual('DELIVERED_MAYBE', event.Delivered.Name(
            done.turn_completed.delivered))
        # Completed by the start of the server: no agent was needed for it.
        self.assertEqual([], self.agent_pids())
        exited = events.wait_for('agent_exited').agent_exited
        self.assertEqual('EXIT_CAUSE_SERVER_LOST',
                         event.ExitCause.Name(exited.cause))
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.check_log(events)

    def test_a_killed_agent_leaves_none_of_its_tools(self):
        tool_pids = self.stubborn_tool('run it')
        client = self.serve(permission_policy=ALLOW)
        session = self.session()
        turn = client.start(session, 'run it').turn_id
        pids = tool_pids()
        os.kill(self.agent_pids()[0], 9)
        client.watch(session).wait_for('turn_completed', turn)
        self.assert_gone(pids)

    def test_a_server_that_stops_while_a_tool_runs_leaves_no_process(self):
        tool_pids = self.stubborn_tool('run it')
        client = self.serve(drain_timeout=SOON, permission_policy=ALLOW)
        session = self.session()
        client.start(session, 'run it')
        self.assertLessEqual(set(tool_pids()),
                             {p.pid for p in self.server.processes()})
        self.server.stop()
        self.assertEqual([], [str(p) for p in self.server.leftovers(GONE)])

    def test_a_session_deleted_while_a_tool_runs_leaves_no_process(self):
        tool_pids = self.stubborn_tool('run it')
        client = self.serve(permission_policy=ALLOW)
        session = self.session()
        client.start(session, 'run it')
        pids = tool_pids() + self.agent_pids()
        client.delete(session)
        self.assert_gone(pids)

    def test_an_agent_that_is_parked_takes_its_background_tools_along(self):
        pids = self.fifo('pids')
        self.api.use_bash('in the background',
                          f'echo $$ > {pids.path}; exec sleep 1000',
                          background=True)
        client = self.serve(max_slots=1, permission_policy=ALLOW)
        first, second = self.session(), self.session()
        client.send(first, 'in the background')
        gone = [int(line) for line in pids.read_lines(1)] + self.agent_pids()
        # The other session needs the only slot.
        self.assertEqual('SUCCEEDED', outcome(client.send(second, 'hello')))
        self.assert_gone(gone)

    def test_a_stopped_server_resumes_where_it_was(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        self.assertEqual(0, self.server.stop())
        self.assertEqual([], [str(p) for p in self.server.leftovers()])
        client = self.restart()
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)

    def test_sessions_that_are_idle_give_way_and_forget_nothing(self):
        client = self.serve(max_slots=1)
        first, second = self.session(), self.session()
        client.send(first, SECRET)
        self.assertEqual(UNKNOWN, client.send(second, QUESTION).text)
        self.assertEqual(KNOWN, client.send(first, QUESTION).text)
        self.assertEqual([True, False, True],
                         [r.mentions('4711') for r in self.api.turns])
        self.assertEqual(1, len(self.agent_pids()))


class Claude2_1_329Test(EveryVersion, AgentTest):
    version = '2.1.329'


class Claude2_1_197Test(EveryVersion, AgentTest):
    version = '2.1.197'

    def test_a_model_that_nobody_has_looked_at_is_not_verified(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        self.assertFalse(client.switch(session, UNKNOWN_MODEL).verified)
        answer = client.send(session, 'does this work?')
        self.assertEqual('MODEL_REJECTED', answer.error.reason)
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertEqual(DEFAULT_MODEL, self.api.turns[-1].model)
        record = client.get(session)
        self.assertEqual(('', DEFAULT_MODEL),
                         (record.model_override, record.model))


if __name__ == '__main__':
    unittest.main(verbosity=2)
