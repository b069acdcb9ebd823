#!/usr/bin/python3
"""The main job on the real Claude Code CLI, changed in place.

    UNDERSTUDY_BUILD=<build folder> tests/e2e/claude_native_test.py [TEST...]
"""

import os
import unittest

from client import kind, outcome, route
from protos import control, event
from support import (ALLOW, DEFAULT_MODEL, KNOWN, OTHER_MODEL, QUESTION,
                     SECRET, UNKNOWN, UNKNOWN_MODEL, AgentTest)


class MainJob:
    """What every version does in its running process."""

    # Whether it tells which model it is on after a change.
    verifies = True

    def test_c3_c7_a_switch_is_native_and_carries_the_conversation(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        before = client.get(session)
        pids = self.agent_pids()
        answer = client.switch(session, OTHER_MODEL)
        self.assertTrue(answer.changed)
        self.assertEqual(self.verifies, answer.verified)
        self.assertEqual('NATIVE', route(answer))
        self.assertEqual((session, 'claude', DEFAULT_MODEL, OTHER_MODEL),
                         (answer.session_id, answer.agent,
                          answer.previous_model, answer.model))
        self.assertEqual(before.agent_session_id, answer.agent_session_id)
        self.assertEqual(before.incarnation, answer.incarnation)
        # It is in the record already, and the event is the one it names.
        record = client.get(session)
        self.assertEqual((OTHER_MODEL, OTHER_MODEL),
                         (record.model, record.model_override))
        self.assertGreaterEqual(record.newest_sequence, answer.sequence)
        events = client.watch(session)
        changed = events.wait_for('model_changed')
        self.assertEqual(answer.sequence, changed.sequence)
        self.assertEqual('NATIVE', route(changed.model_changed))
        self.assertEqual(self.verifies, changed.model_changed.verified)
        self.assertEqual('CAUSE_CLIENT',
                         event.Cause.Name(changed.model_changed.cause))

        sent = len(self.api.turns)
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        request = self.api.turns[sent]
        self.assertEqual(OTHER_MODEL, request.model)
        self.assertTrue(request.mentions(SECRET))
        self.assertTrue(request.mentions(f'model={DEFAULT_MODEL}'))
        self.assertEqual(pids, self.agent_pids())
        self.assertEqual(1, len(events.of('model_changed')))
        self.check_log(events)

    def test_a_switch_is_stored_before_it_is_answered(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        answer = client.switch(session, OTHER_MODEL)
        self.server.kill()
        self.server.leftovers()
        client = self.restart()
        self.assertEqual(OTHER_MODEL, client.get(session).model)
        changed = client.watch(session).wait_for('model_changed')
        self.assertEqual(answer.sequence, changed.sequence)
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertEqual(OTHER_MODEL, self.api.turns[-1].model)

    def test_a_switch_to_the_same_model_does_nothing(self):
        client = self.serve()
        session = self.session()
        client.send(session, 'hello')
        client.switch(session, 'haiku')
        before = client.get(session)
        asked = len(self.api.requests)
        pids = self.agent_pids()
        # By the name that was asked for, and by the one it stands for.
        for model in ('haiku', before.model):
            answer = client.switch(session, model)
            self.assertFalse(answer.changed)
            self.assertEqual('NONE', route(answer))
            self.assertEqual(before.model, answer.model)
        after = client.get(session)
        self.assertEqual(before.newest_sequence, after.newest_sequence)
        self.assertEqual(before.incarnation, after.incarnation)
        self.assertEqual(pids, self.agent_pids())
        self.assertEqual(asked, len(self.api.requests))

    def test_the_empty_model_reverts_to_the_default(self):
        client = self.serve()
        session = self.session(model=OTHER_MODEL)
        client.send(session, SECRET)
        self.assertEqual(OTHER_MODEL, self.api.turns[-1].model)
        answer = client.switch(session, '')
        self.assertTrue(answer.changed)
        self.assertEqual(DEFAULT_MODEL, answer.model)
        record = client.get(session)
        self.assertEqual((DEFAULT_MODEL, ''),
                         (record.model, record.model_override))
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertEqual(DEFAULT_MODEL, self.api.turns[-1].model)

    def test_a_model_on_a_message_is_the_model_of_that_message(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        answer = client.send(session, QUESTION, model=OTHER_MODEL)
        self.assertEqual(KNOWN, answer.text)
        self.assertEqual(OTHER_MODEL, self.api.turns[-1].model)
        self.assertEqual(OTHER_MODEL, client.get(session).model)
        events = client.watch(session)
        started = events.wait_for('turn_started', answer.turn_id)
        changed = events.wait_for('model_changed')
        self.assertLess(changed.sequence, started.sequence)
        self.assertEqual(OTHER_MODEL, started.turn_started.model)
        events.wait_for('turn_completed', answer.turn_id)
        self.check_log(events)

    def test_clear_is_native_and_keeps_the_process(self):
        client = self.serve()
        session = self.session()
        # Nothing was said yet, so there is nothing to forget.
        self.assertFalse(client.clear(session).changed)
        client.send(session, SECRET)
        pids = self.agent_pids()
        cleared = client.clear(session)
        self.assertEqual('NATIVE', route(cleared))
        self.assertEqual(pids, self.agent_pids())
        self.assertEqual(1, client.get(session).incarnation)
        self.assertEqual(UNKNOWN, client.send(session, QUESTION).text)
        self.assertFalse(self.api.turns[-1].mentions('4711'))
        self.assertFalse(self.api.turns[-1].mentions(SECRET))
        self.assertEqual(pids, self.agent_pids())

    def test_clear_and_resume_are_one_step(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        old = client.get(session).agent_session_id
        client.clear(session)
        client.send(session, 'another conversation')
        mark = client.get(session).newest_sequence
        both = client.clear(session, resume_agent_session_id=old)
        self.assertEqual(old, both.agent_session_id)
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertFalse(self.api.turns[-1].mentions('another conversation'))
        # The conversation that is current already is not loaded again.
        self.assertFalse(client.resume(session, old).changed)
        events = client.watch(session)
        events.wait_for('turn_completed', after=mark)
        announced = [kind(e) for e in events.durable if e.sequence > mark and
                     kind(e).startswith('conversation_')]
        self.assertEqual(['conversation_resumed'], announced)
        self.check_log(events)

    def test_resume_with_a_model_tells_both(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        old = client.get(session).agent_session_id
        client.clear(session)
        client.send(session, 'another conversation')
        answer = client.resume(session, old, model=OTHER_MODEL)
        self.assertEqual((old, OTHER_MODEL),
                         (answer.agent_session_id, answer.model))
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertEqual(OTHER_MODEL, self.api.turns[-1].model)
        events = client.watch(session)
        resumed = events.wait_for('conversation_resumed')
        changed = events.wait_for('model_changed')
        self.assertLess(resumed.sequence, changed.sequence)
        self.assertEqual(changed.sequence, answer.sequence)


class ClaudeNative2_1_197Test(MainJob, AgentTest):
    version = '2.1.197'
    verifies = False


class ClaudeNativeTest(MainJob, AgentTest):
    """The newest supported version, in full."""

    version = '2.1.329'

    def test_a_rejected_model_leaves_the_session_on_the_old_one(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        before = client.get(session)
        with self.fails('INVALID_ARGUMENT', 'MODEL_REJECTED') as failed:
            client.switch(session, UNKNOWN_MODEL)
        self.assertIn(f"Model '{UNKNOWN_MODEL}' not found",
                      failed.failure.message)
        after = client.get(session)
        self.assertEqual((before.model, before.model_override),
                         (after.model, after.model_override))
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertEqual(DEFAULT_MODEL, self.api.turns[-1].model)
        events = client.watch(session)
        told = events.wait_for('transition_failed').transition_failed
        self.assertEqual('MODEL_REJECTED', told.reason)
        events.wait_for_sequence(client.get(session).newest_sequence)
        self.assertEqual([], events.of('model_changed'))
        self.check_log(events)

    def test_a_rejected_model_on_a_message_accepts_nothing(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        with self.fails('INVALID_ARGUMENT', 'MODEL_REJECTED'):
            client.send(session, 'never to be seen', model=UNKNOWN_MODEL)
        self.assertEqual(KNOWN, client.send(session, QUESTION).text)
        self.assertFalse(self.api.turns[-1].mentions('never to be seen'))
        events = client.watch(session)
        events.wait_for_sequence(client.get(session).newest_sequence)
        self.assertEqual(
            [SECRET, QUESTION],
            [e.message_accepted.text for e in events.of('message_accepted')])

    def test_a_switch_waits_for_the_running_turn(self):
        client = self.serve()
        session = self.session()
        events = client.watch(session)
        gate = self.api.hold('slowly')
        call = client.send_in_background(session, 'slowly please')
        gate.wait_until_reached()
        with self.fails('FAILED_PRECONDITION', 'TURN_RUNNING'):
            client.switch(session, OTHER_MODEL,
                          turn_policy='TURN_POLICY_FAIL')
        stream = client.attach()
        switch = stream.command(switch_model=control.SwitchModelRequest(
            session_id=session, model=OTHER_MODEL))
        # Commands of a stream take effect in order: once this is answered,
        # the switch waits in the queue before it.
        last = stream.command(send_message=control.SendMessageRequest(
            session_id=session, text='after the switch'))
        stream.result(last)
        self.assertEqual([], events.of('model_changed'))
        gate.release()
        first = call.result()
        self.assertEqual(OTHER_MODEL, stream.result(switch).model)
        changed = events.wait_for('model_changed')
        second = events.wait_for('turn_completed', after=changed.sequence)
        self.assertEqual(
            f'model={OTHER_MODEL}', second.turn_completed.text.split()[0])
        self.assertLess(
            events.wait_for('turn_completed', first.turn_id).sequence,
            changed.sequence)
        self.check_log(events)

    def test_a_conversation_belongs_to_one_session(self):
        client = self.serve()
        first, second = self.session(), self.session()
        client.send(first, SECRET)
        held = client.get(first).agent_session_id
        with self.fails('FAILED_PRECONDITION', 'CONVERSATION_IN_USE'):
            client.resume(second, held)
        self.assertEqual(UNKNOWN, client.send(second, QUESTION).text)

    def test_a_conversation_stays_in_its_working_directory(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        cleared = client.clear(session)
        elsewhere = os.path.join(self.directory, 'elsewhere')
        os.mkdir(elsewhere)
        other = client.create(elsewhere).session_id
        with self.fails('NOT_FOUND', 'CONVERSATION_NOT_FOUND') as failed:
            client.resume(other, cleared.previous_agent_session_id)
        self.assertIn('another working directory', failed.failure.message)
        self.assertEqual(UNKNOWN, client.send(other, QUESTION).text)

    def test_conversations_of_the_directory_are_listed(self):
        client = self.serve()
        first, second = self.session(), self.session()
        client.send(first, SECRET)
        client.send(second, QUESTION)
        self.assertEqual(
            {client.get(first).agent_session_id: SECRET,
             client.get(second).agent_session_id: QUESTION},
            {one.agent_session_id: one.first_prompt
             for one in client.conversations(second)})

    def test_a_tool_waits_for_permission(self):
        made = os.path.join(self.directory, 'made')
        self.api.use_bash('make it', f'echo here > {made}; cat {made}')
        client = self.serve()
        session = self.session()
        events = client.watch(session)
        call = client.send_in_background(session, 'make it')
        asked = events.wait_for('permission_requested')
        self.assertEqual('Bash', asked.permission_requested.tool_name)
        self.assertIn(made, asked.permission_requested.input_json)
        permission = asked.permission_requested.permission_id
        self.assertEqual([permission],
                         list(client.get(session).pending_permission_ids))
        self.assertFalse(os.path.exists(made))
        client.resolve(session, permission, event.PERMISSION_DECISION_ALLOW)
        self.assertEqual('the tool said: here', call.result().text)
        self.assertTrue(os.path.exists(made))
        self.assertEqual([], list(client.get(session).pending_permission_ids))
        used, = events.of('tool_result')
        self.assertEqual('here', used.tool_result.output)
        self.assertFalse(used.tool_result.is_error)
        self.assertEqual(1, len(events.of('permission_resolved')))
        self.check_log(events)

    def test_a_denied_tool_does_not_run(self):
        made = os.path.join(self.directory, 'made')
        self.api.use_bash('make it', f'echo here > {made}')
        client = self.serve()
        session = self.session()
        events = client.watch(session)
        call = client.send_in_background(session, 'make it')
        asked = events.wait_for('permission_requested')
        permission = asked.permission_requested.permission_id
        client.resolve(session, permission, event.PERMISSION_DECISION_DENY,
                       message='not on my machine')
        self.assertIn('not on my machine', call.result().text)
        self.assertFalse(os.path.exists(made))
        with self.fails('FAILED_PRECONDITION', 'PERMISSION_RESOLVED'):
            client.resolve(session, permission,
                           event.PERMISSION_DECISION_ALLOW)

    def test_an_interrupt_withdraws_a_pending_permission(self):
        made = os.path.join(self.directory, 'made')
        self.api.use_bash('make it', f'echo here > {made}')
        client = self.serve()
        session = self.session()
        events = client.watch(session)
        call = client.send_in_background(session, 'make it')
        events.wait_for('permission_requested')
        self.assertTrue(client.interrupt(session).interrupted)
        self.assertEqual('INTERRUPTED', outcome(call.result()))
        void = events.wait_for('permission_resolved').permission_resolved
        self.assertTrue(void.withdrawn)
        self.assertEqual([], list(client.get(session).pending_permission_ids))
        self.assertFalse(os.path.exists(made))
        self.assertEqual('SUCCEEDED',
                         outcome(client.send(session, 'still there?')))
        self.check_log(events)

    def test_a_finished_background_task_begins_a_turn_of_its_own(self):
        door = self.fifo('door')
        self.api.use_bash('in the background', f'head -n 1 {door.path}',
                          background=True)
        client = self.serve(permission_policy=ALLOW)
        session = self.session()
        events = client.watch(session)
        own = client.send(session, 'in the background')
        self.assertEqual('SUCCEEDED', outcome(own))
        door.write('come in\n')
        begun = events.wait_for('turn_started', where=lambda e: e.unsolicited)
        self.assertNotEqual(own.turn_id, begun.turn_id)
        done = events.wait_for('turn_completed', begun.turn_id)
        self.assertEqual('SUCCEEDED', outcome(done.turn_completed))
        answer = client.send(session, 'and now?')
        self.assertTrue(answer.text.endswith('last=and now?'), answer.text)
        self.check_log(events)

    def test_a_retried_request_is_noticed_and_a_lasting_error_fails(self):
        self.api.fail('break it', 529, 'too busy')
        client = self.serve()
        session = self.session()
        answer = client.send(session, 'break it')
        self.assertEqual('FAILED', outcome(answer))
        events = client.watch(session)
        events.wait_for('turn_completed', answer.turn_id)
        self.assertIn('NOTICE_KIND_RETRYING',
                      [event.NoticeKind.Name(e.notice.kind)
                       for e in events.of('notice')])

    def test_a_thought_is_told_apart_from_the_answer(self):
        self.api.say('think', 'the answer', thought='a deep thought')
        client = self.serve()
        session = self.session()
        events = client.watch(session)
        answer = client.send(session, 'think')
        self.assertEqual('the answer', answer.text)
        events.wait_for('turn_completed', answer.turn_id)
        self.assertEqual(['a deep thought'],
                         [e.thought.text for e in events.of('thought')])
        self.assertEqual('a deep thought', ''.join(
            e.thought_delta.text for e in events.of('thought_delta')))
        self.check_log(events)

    def test_the_whole_main_job_over_one_attached_stream(self):
        client = self.serve()
        session = self.session()
        stream = client.attach()
        stream.subscribe(7, session, after_sequence=0)

        def message(text):
            sent = stream.result(stream.command(
                send_message=control.SendMessageRequest(
                    session_id=session, text=text,
                    wait_until='WAIT_UNTIL_COMPLETED')))
            return sent.text

        message(SECRET)
        old = client.get(session).agent_session_id
        switched = stream.result(stream.command(
            switch_model=control.SwitchModelRequest(
                session_id=session, model=OTHER_MODEL)))
        self.assertEqual(OTHER_MODEL, switched.model)
        self.assertEqual(KNOWN, message(QUESTION))
        self.assertEqual(OTHER_MODEL, self.api.turns[-1].model)
        stream.result(stream.command(
            clear=control.ClearRequest(session_id=session)))
        self.assertEqual(UNKNOWN, message(QUESTION))
        stream.result(stream.command(resume=control.ResumeRequest(
            session_id=session, agent_session_id=old)))
        self.assertEqual(KNOWN, message(QUESTION))

        newest = client.get(session).newest_sequence
        stream.wait_for_event(7, lambda e: e.sequence == newest)
        durable = [e for e in stream.events(7) if e.sequence]
        self.assertEqual(list(range(1, newest + 1)),
                         [e.sequence for e in durable])
        moves = [kind(e) for e in durable if kind(e) in (
            'model_changed', 'conversation_cleared', 'conversation_resumed')]
        self.assertEqual(['model_changed', 'conversation_cleared',
                          'conversation_resumed'], moves)

    def test_e1_a_reader_that_comes_back_misses_nothing(self):
        client = self.serve()
        session = self.session()
        client.send(session, SECRET)
        half = client.get(session).newest_sequence
        gate = self.api.hold('slowly')
        call = client.send_in_background(session, 'slowly please')
        gate.wait_until_reached()
        # Replayed and live events meet in the middle of a turn.
        late = client.watch(session, after_sequence=half)
        late.wait_for('turn_started')
        gate.release()
        answer = call.result()
        late.wait_for('turn_completed', answer.turn_id)
        newest = client.get(session).newest_sequence
        late.wait_for_sequence(newest)
        self.assertEqual(list(range(half + 1, newest + 1)),
                         [e.sequence for e in late.durable])


if __name__ == '__main__':
    unittest.main(verbosity=2)
