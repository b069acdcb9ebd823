"""What stand-ins for the APIs of models have in common, on loopback.

A stand-in remembers nothing between requests: what it answers depends on
nothing but the request in hand and on what the test told it, so an answer that
needs the conversation proves that the agent sent the conversation. Every
request is kept for the test to look at.

    with MessagesApi() as api:
        gate = api.hold('a slow one')           # the answer waits for the test
        api.use_bash('make it', 'touch made')   # the answer calls a tool
        api.fail('break it', 529)               # the answer is an error
        ... run the agent against api.url ...
        request = api.wait_for_request(lambda r: r.last_text == 'a slow one')
        gate.release()

Instructions are chosen by the last user text of a turn's request, which must
contain the given words. Without one the answer is
`model=<model> turns=<messages> last=<last user text>`, and the question
"what is the secret number?" is answered from the request's own messages.

A stand-in is a `ModelApi` with the `Request` and the `Handler` of its
protocol.
"""

import dataclasses
import http.server
import itertools
import json
import re
import socketserver
import threading

# Bounds every wait, so that a test that forgets a gate ends.
_GATE_TIMEOUT_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Request:
    """One request for an answer, as the agent sent it."""
    index: int
    model: str
    messages: tuple
    stream: bool
    tools: tuple  # names
    body: dict

    @property
    def user_texts(self):
        """What the user wrote, oldest first, without the agent's reminders."""
        raise NotImplementedError

    @property
    def last_text(self):
        texts = self.user_texts
        return texts[-1] if texts else ''

    @property
    def tool_results(self):
        """The results of tools that this request brings, as text.

        Empty if the user spoke after them.
        """
        raise NotImplementedError

    @property
    def is_probe(self):
        """Whether this belongs to no turn, such as the request for a title."""
        raise NotImplementedError

    def has_used(self, command):
        """Whether the agent was told to run this command already."""
        raise NotImplementedError

    def mentions(self, words):
        """Whether the words are anywhere in the conversation sent."""
        return words in json.dumps(self.messages, ensure_ascii=False)


class Gate:
    """Holds one answer back: its first words are out, the rest waits."""

    def __init__(self):
        self._open = threading.Event()
        self._reached = threading.Event()

    def wait_until_reached(self, timeout=60):
        """Returns once the agent waits for the rest of the answer."""
        if not self._reached.wait(timeout):
            raise TimeoutError(f'no request reached the gate in {timeout} s')

    def release(self):
        self._open.set()

    def pass_through(self):
        """For the handler: waits for the test."""
        self._reached.set()
        self._open.wait(_GATE_TIMEOUT_SECONDS)


@dataclasses.dataclass(frozen=True)
class Instruction:
    words: str
    text: str = ''
    gate: Gate = None
    bash: dict = None
    every_turn: bool = False
    thought: str = ''
    status: int = 0
    message: str = ''

    def pieces(self):
        """The answer's text in the pieces in which it is streamed.

        Waits before the second for the test, if told to.
        """
        for position, piece in enumerate(
                p for p in re.findall(r'\S*\s*', self.text) if p):
            if position == 1 and self.gate is not None:
                self.gate.pass_through()
            yield piece


class ModelApi:
    """The server and its log. Any number of agents may use it at once."""

    request_type = Request
    handler_type = None
    # Models that the real service would not know.
    unknown_models = ()

    def __init__(self):
        self._changed = threading.Condition()
        self._requests = []
        self._instructions = []
        self._unknown_models = set(self.unknown_models)
        self._refused_models = {}  # model -> why
        self._numbers = itertools.count(1)
        handler = type('Handler', (self.handler_type,), {'owner': self})
        self._server = _HttpServer(('127.0.0.1', 0), handler)
        self.url = f'http://127.0.0.1:{self._server.server_address[1]}'
        self._thread = threading.Thread(target=self._server.serve_forever,
                                        kwargs={'poll_interval': 0.05},
                                        daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with self._changed:
            instructions = list(self._instructions)
        for instruction in instructions:
            if instruction.gate is not None:
                instruction.gate.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # What to answer. The newest instruction that matches is followed.

    def say(self, words, text, thought=''):
        self._instruct(Instruction(words, text=text, thought=thought))

    def hold(self, words, text='first words and the rest'):
        """The first word of `text` is sent at once, the rest on release."""
        gate = Gate()
        self._instruct(Instruction(words, text=text, gate=gate))
        return gate

    def use_bash(self, words, command, background=False, every_turn=False):
        """Calls the agent's shell, then answers with what the tool said.

        Once in a conversation, or once in every turn.
        """
        bash = {'command': command, 'description': 'asked for by the test'}
        if background:
            bash['run_in_background'] = True
        self._instruct(Instruction(words, bash=bash, every_turn=every_turn))

    def fail(self, words, status, message='made to fail'):
        self._instruct(Instruction(words, status=status, message=message))

    def refuse_model(self, model, message):
        """From now on no turn of this model is answered (HTTP 400)."""
        with self._changed:
            self._refused_models[model] = message

    def forget_model(self, model):
        """From now on this model is unknown."""
        with self._changed:
            self._unknown_models.add(model)

    def clear_instructions(self):
        with self._changed:
            self._instructions.clear()

    def _instruct(self, instruction):
        with self._changed:
            self._instructions.insert(0, instruction)

    # What was asked.

    @property
    def requests(self):
        """Every request so far, in the order of arrival."""
        with self._changed:
            return list(self._requests)

    @property
    def turns(self):
        """The requests that belong to a turn."""
        return [request for request in self.requests if not request.is_probe]

    def wait_for_request(self, predicate, timeout=60):
        """The first request, past or to come, that fulfils `predicate`."""
        with self._changed:
            found = []

            def search():
                found[:] = [r for r in self._requests if predicate(r)][:1]
                return bool(found)

            if not self._changed.wait_for(search, timeout):
                raise TimeoutError('no such request; there were: ' + '; '.join(
                    f'{r.model} {r.last_text!r}' for r in self._requests))
            return found[0]

    # For the handler.

    def accept(self, **fields):
        """Writes a request down; returns it, what to do, and its number."""
        with self._changed:
            request = self.request_type(index=len(self._requests), **fields)
            self._requests.append(request)
            instruction = self._choose(request)
            self._changed.notify_all()
            return request, instruction, next(self._numbers)

    def _choose(self, request):
        if request.model in self._unknown_models:
            return Instruction('', status=404,
                               message=f'model: {request.model}')
        if request.model in self._refused_models and not request.is_probe:
            return Instruction('', status=400,
                               message=self._refused_models[request.model])
        last = request.last_text
        for instruction in () if request.is_probe else self._instructions:
            if instruction.words in last and not _is_used(instruction,
                                                          request):
                return instruction
        if request.tool_results:
            return Instruction('', text='the tool said: ' +
                               ' | '.join(request.tool_results))
        if 'what is the secret number' in last.lower():
            found = [number for text in request.user_texts for number in
                     re.findall(r'secret number is (\d+)', text)]
            return Instruction('', text=f'The secret number is {found[-1]}.'
                               if found else 'I know no secret number.')
        return Instruction('', text=f'model={request.model} '
                           f'turns={len(request.messages)} last={last}')


def _is_used(instruction, request):
    """Whether a tool that is to be called has been called already."""
    if not instruction.bash:
        return False
    if instruction.every_turn:
        return bool(request.tool_results)
    return request.has_used(instruction.bash['command'])


class _HttpServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    # Threads may be held by a connection that a dead agent's orphan keeps.
    block_on_close = False
    request_queue_size = 64


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of an agent. Subclasses speak a protocol."""

    owner = None
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass  # A killed agent hangs up in the middle.

    def do_HEAD(self):  # pylint: disable=invalid-name
        self.send_response(200)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def do_GET(self):  # pylint: disable=invalid-name
        self.send_error_message(404, 'no such path')

    def do_POST(self):  # pylint: disable=invalid-name
        length = int(self.headers.get('Content-Length', 0))
        data = self.rfile.read(length)
        try:
            self.answer(self.path.split('?')[0], json.loads(data))
        except ValueError:
            self.send_error_message(400, 'the body is not JSON')

    def answer(self, path, body):
        """Answers a request whose body is JSON."""
        raise NotImplementedError

    def send_error_message(self, status, message):
        """Answers with an error in the words of the protocol."""
        raise NotImplementedError

    def send_json(self, status, value, **headers):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        if status in (429, 500, 529):
            self.send_header('retry-after', '0')
        for name, text in headers.items():
            self.send_header(name.replace('_', '-'), text)
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self, **headers):
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream')
        self.send_header('Transfer-Encoding', 'chunked')
        for name, text in headers.items():
            self.send_header(name.replace('_', '-'), text)
        self.end_headers()

    def send_event(self, value, kind=None):
        """One server-sent event; `value` is text or something for JSON."""
        text = value if isinstance(value, str) else json.dumps(value)
        data = (f'event: {kind}\n' if kind else '').encode()
        data += f'data: {text}\n\n'.encode()
        self.wfile.write(b'%x\r\n%s\r\n' % (len(data), data))

    def end_stream(self):
        self.wfile.write(b'0\r\n\r\n')
