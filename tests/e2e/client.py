"""A client of the API for tests: calls, readable failures, and what was seen.

Every wait has a bound and ends as soon as its condition holds.
"""

import queue
import threading
import uuid

import grpc

from protos import (control, control_grpc, error_details, event, pool_grpc,
                    rpc_status)

TIMEOUT_SECONDS = 60

COMPLETED = control.WAIT_UNTIL_COMPLETED


class Failure(Exception):
    """How a call failed: code, reason, text and details."""

    def __init__(self, code, message, details):
        super().__init__(f'{code}: {message}')
        self.code = code
        self.message = message
        self.reason = ''
        self.domain = ''
        self.metadata = {}
        self.fields = []
        self.retry_info = False
        for detail in details:
            info = error_details.ErrorInfo()
            bad_request = error_details.BadRequest()
            if detail.Unpack(info):
                self.reason = info.reason
                self.domain = info.domain
                self.metadata = dict(info.metadata)
            elif detail.Unpack(bad_request):
                self.fields = [v.field for v in bad_request.field_violations]
            elif detail.Is(error_details.RetryInfo.DESCRIPTOR):
                self.retry_info = True

    @classmethod
    def of_call(cls, error):
        status = rpc_status.Status()
        for key, value in error.trailing_metadata() or ():
            if key == 'grpc-status-details-bin':
                status.ParseFromString(value)
        return cls(error.code().name, error.details(), status.details)

    @classmethod
    def of_status(cls, status):
        code = next(code.name for code in grpc.StatusCode
                    if code.value[0] == status.code)
        return cls(code, status.message, status.details)


class Client:
    """One connection. Answers are the messages of the API; errors Failures."""

    def __init__(self, address):
        self._channel = grpc.insecure_channel(
            address, options=[('grpc.enable_http_proxy', 0)])
        self.control = control_grpc.AgentControlStub(self._channel)
        self.pool = pool_grpc.PoolAdminStub(self._channel)
        self._readers = []

    def close(self):
        for reader in self._readers:
            reader.close()
        self._channel.close()

    def healthy(self):
        """Waits for a connection; whether the server says it serves."""
        check = self._channel.unary_unary('/grpc.health.v1.Health/Check')
        answer = check(b'', timeout=TIMEOUT_SECONDS, wait_for_ready=True)
        return answer == b'\x08\x01'

    @staticmethod
    def call(method, request, timeout=TIMEOUT_SECONDS):
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise Failure.of_call(error) from None

    def create(self, working_directory, **fields):
        return self.call(self.control.CreateSession,
                         control.CreateSessionRequest(
                             working_directory=working_directory,
                             request_id=str(uuid.uuid4()), **fields))

    def get(self, session_id):
        return self.call(self.control.GetSession,
                         control.GetSessionRequest(session_id=session_id))

    def delete(self, session_id):
        return self.call(self.control.DeleteSession,
                         control.DeleteSessionRequest(
                             session_id=session_id,
                             request_id=str(uuid.uuid4())))

    def conversations(self, session_id):
        return self.call(self.control.ListConversations,
                         control.ListConversationsRequest(
                             session_id=session_id)).conversations

    def agents(self):
        return self.call(self.control.ListAgents,
                         control.ListAgentsRequest()).agents

    def models(self, **of):
        """Of a `session_id` or of an `agent`."""
        return self.call(self.control.ListModels,
                         control.ListModelsRequest(**of)).models

    def send(self, session_id, text, wait_until=COMPLETED, **fields):
        return self.call(self.control.SendMessage, control.SendMessageRequest(
            session_id=session_id, text=text, wait_until=wait_until,
            request_id=str(uuid.uuid4()), **fields))

    def send_content(self, session_id, *parts):
        """Sends texts and PNG files (bytes), and waits for the turn."""
        message = event.Content(parts=[
            event.Part(text=part) if isinstance(part, str) else
            event.Part(image=event.Image(mime_type='image/png', data=part))
            for part in parts])
        return self.call(self.control.SendMessage, control.SendMessageRequest(
            session_id=session_id, content=message, wait_until=COMPLETED,
            request_id=str(uuid.uuid4())))

    def set_mode(self, session_id, permission_mode):
        return self.call(self.control.SetPermissionMode,
                         control.SetPermissionModeRequest(
                             session_id=session_id,
                             permission_mode=permission_mode,
                             request_id=str(uuid.uuid4()))).permission_mode

    def start(self, session_id, text, **fields):
        """Sends without waiting for the end of the turn."""
        return self.send(session_id, text, control.WAIT_UNTIL_ACCEPTED,
                         **fields)

    def send_in_background(self, session_id, text, **fields):
        """A send that waits for the turn on a thread; see `Background`."""
        return Background(lambda: self.send(session_id, text, **fields))

    def switch(self, session_id, model, **fields):
        return self.call(self.control.SwitchModel, control.SwitchModelRequest(
            session_id=session_id, model=model,
            request_id=str(uuid.uuid4()), **fields))

    def clear(self, session_id, **fields):
        return self.call(self.control.Clear, control.ClearRequest(
            session_id=session_id, request_id=str(uuid.uuid4()), **fields))

    def resume(self, session_id, agent_session_id, **fields):
        return self.call(self.control.Resume, control.ResumeRequest(
            session_id=session_id, agent_session_id=agent_session_id,
            request_id=str(uuid.uuid4()), **fields))

    def interrupt(self, session_id, **fields):
        return self.call(self.control.Interrupt, control.InterruptRequest(
            session_id=session_id, request_id=str(uuid.uuid4()), **fields))

    def resolve(self, session_id, permission_id, decision, **fields):
        return self.call(self.control.ResolvePermission,
                         control.ResolvePermissionRequest(
                             session_id=session_id,
                             permission_id=permission_id, decision=decision,
                             request_id=str(uuid.uuid4()), **fields))

    def watch(self, session_id, after_sequence=0, include_deltas=True):
        """Everything the session has told and will tell."""
        reader = EventReader(self.control.WatchEvents(
            control.WatchEventsRequest(
                session_id=session_id, after_sequence=after_sequence,
                include_deltas=include_deltas)))
        self._readers.append(reader)
        return reader

    def attach(self):
        stream = AttachStream(self.control)
        self._readers.append(stream)
        return stream


class Background:
    """A call on a thread of its own."""

    def __init__(self, call):
        self._outcome = queue.Queue()

        def run():
            try:
                self._outcome.put((call(), None))
            except Failure as failure:
                self._outcome.put((None, failure))

        threading.Thread(target=run, daemon=True).start()

    def result(self, timeout=TIMEOUT_SECONDS):
        answer, failure = self._outcome.get(timeout=timeout)
        if failure is not None:
            raise failure
        return answer


def kind(an_event):
    return an_event.WhichOneof('payload')


class _Collector:
    """Messages of a stream, gathered on a thread; waited for by condition."""

    def __init__(self, call):
        self._changed = threading.Condition()
        self._items = []
        self._ended = False
        self.failure = None
        self._call = call
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self):
        try:
            for item in self._call:
                self._add(item)
        except grpc.RpcError as error:
            self.failure = Failure.of_call(error)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _add(self, item):
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def close(self):
        self._call.cancel()
        self._thread.join(TIMEOUT_SECONDS)

    def wait_for_end(self, timeout=TIMEOUT_SECONDS):
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended, timeout):
                raise TimeoutError('the stream goes on')

    def _wait_for(self, predicate, what, timeout):
        with self._changed:
            found = []
            position = 0

            def search():
                nonlocal position
                while position < len(self._items):
                    position += 1
                    if predicate(self._items[position - 1]):
                        found.append(self._items[position - 1])
                        return True
                return self._ended

            self._changed.wait_for(search, timeout)
            if found:
                return found[0]
            raise TimeoutError(
                f'no {what}; the stream {"ended" if self._ended else "goes on"}'
                f' ({self.failure}) and brought:\n  ' +
                '\n  '.join(self.describe(item) for item in self._items[-40:]))

    @staticmethod
    def describe(item):
        return ' '.join(str(item).split())[:200]


class EventReader(_Collector):
    """The events of one session, in the order they came."""

    @property
    def events(self):
        with self._changed:
            return list(self._items)

    @property
    def durable(self):
        return [e for e in self.events if e.sequence]

    def of(self, wanted, turn_id=None):
        return [e for e in self.events if kind(e) == wanted and
                (turn_id is None or e.turn_id == turn_id)]

    def of_turn(self, turn_id):
        return [e for e in self.events if e.turn_id == turn_id]

    def wait_for(self, wanted, turn_id=None, after=0, where=None,
                 timeout=TIMEOUT_SECONDS):
        """The first event of this kind, past or to come."""
        return self._wait_for(
            lambda e: kind(e) == wanted and
            (turn_id is None or e.turn_id == turn_id) and
            (not after or e.sequence > after) and
            (where is None or where(getattr(e, wanted))),
            f'{wanted} after {after} in turn {turn_id}', timeout)

    def wait_for_sequence(self, sequence, timeout=TIMEOUT_SECONDS):
        """Returns once everything up to `sequence` has come."""
        return self._wait_for(lambda e: e.sequence >= sequence,
                              f'event {sequence}', timeout)

    @staticmethod
    def describe(item):
        return (f'{item.sequence} {kind(item)} incarnation={item.incarnation} '
                f'turn={item.turn_id[:8]} '
                f'{" ".join(str(getattr(item, kind(item) or "time")).split())}'
                )[:240]


class AttachStream(_Collector):
    """The control protocol: commands are sent, answers found by request id."""

    def __init__(self, stub):
        self._commands = queue.Queue()
        super().__init__(stub.Attach(iter(self._commands.get, None)))

    def close(self):
        self._commands.put(None)
        super().close()

    def subscribe(self, subscription_id, session_id, **fields):
        """Returns the `subscribed` or `closed` that answers."""
        self._commands.put(control.AttachRequest(
            request_id=str(uuid.uuid4()), subscribe=control.Subscribe(
                subscription_id=subscription_id, session_id=session_id,
                **fields)))
        answer = self._wait_for(
            lambda r: (r.HasField('subscribed') and
                       r.subscribed.subscription_id == subscription_id) or
            (r.HasField('closed') and
             r.closed.subscription_id == subscription_id),
            f'answer to subscription {subscription_id}', TIMEOUT_SECONDS)
        return getattr(answer, answer.WhichOneof('response'))

    def command(self, **fields):
        """Sends one command, such as send_message=...; returns its id."""
        request_id = str(uuid.uuid4())
        self._commands.put(control.AttachRequest(request_id=request_id,
                                                 **fields))
        return request_id

    def result(self, request_id, timeout=TIMEOUT_SECONDS):
        """The answer to a command: the message of its kind, or a Failure."""
        result = self._wait_for(
            lambda r: r.HasField('result') and
            r.result.request_id == request_id,
            f'result of {request_id}', timeout).result
        if result.status.code:
            raise Failure.of_status(result.status)
        return getattr(result, result.WhichOneof('response'))

    def events(self, subscription_id):
        with self._changed:
            items = list(self._items)
        return [e for r in items if r.HasField('batch') and
                r.batch.subscription_id == subscription_id
                for e in r.batch.events]

    def wait_for_event(self, subscription_id, predicate,
                       timeout=TIMEOUT_SECONDS):
        found = self._wait_for(
            lambda r: r.HasField('batch') and
            r.batch.subscription_id == subscription_id and
            any(predicate(e) for e in r.batch.events),
            f'event of subscription {subscription_id}', timeout)
        return next(e for e in found.batch.events if predicate(e))


def enum_name(enum, value):
    """A value's name without its enum's prefix, for messages and tests."""
    name = enum.Name(value)
    prefix = ''.join(f'_{c}' if c.isupper() else c.upper()
                     for c in enum.DESCRIPTOR.name).lstrip('_') + '_'
    return name[len(prefix):] if name.startswith(prefix) else name


def route(message):
    return enum_name(event.Route, message.route)


def outcome(message):
    return enum_name(event.TurnOutcome, message.outcome)
