"""A stand-in for the Anthropic Messages API, on loopback.

It remembers nothing between requests: what it answers depends on nothing but
the request in hand and on what the test told it, so an answer that needs the
conversation proves that the agent sent the conversation. Every request is
kept for the test to look at.

    with MessagesApi() as api:
        gate = api.hold('a slow one')           # the answer waits for the test
        api.use_bash('make it', 'touch made')   # the answer calls a tool
        api.fail('break it', 529)               # the answer is an error
        ... run the agent with ANTHROPIC_BASE_URL=api.url ...
        request = api.wait_for_request(lambda r: r.last_text == 'a slow one')
        gate.release()

Instructions are chosen by the last user text of the request, which must
contain the given words. Without one the answer is
`model=<model> turns=<messages> last=<last user text>`, and the question
"what is the secret number?" is answered from the request's own messages.
"""

import dataclasses
import http.server
import itertools
import json
import re
import socketserver
import threading

# Models that the real service would answer not_found_error for.
UNKNOWN_MODELS = ('claude-bogus-9',)

_ERROR_TYPES = {
    400: 'invalid_request_error',
    401: 'authentication_error',
    404: 'not_found_error',
    429: 'rate_limit_error',
    500: 'api_error',
    529: 'overloaded_error',
}

# Bounds every wait, so that a test that forgets a gate ends.
_GATE_TIMEOUT_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Request:
    """One request for a message, as the agent sent it."""
    index: int
    model: str
    messages: tuple  # of {'role': ..., 'content': ...}
    stream: bool
    tools: tuple  # names
    body: dict

    @property
    def user_texts(self):
        """What the user wrote, oldest first, without the agent's reminders."""
        return [text for message in self.messages
                if message.get('role') == 'user'
                for text in _texts(message)
                if not text.lstrip().startswith('<system-reminder>')]

    @property
    def last_text(self):
        texts = self.user_texts
        return texts[-1] if texts else ''

    @property
    def tool_results(self):
        """The results of tools that this request brings, as text.

        Empty if the user spoke after them.
        """
        last = next((message for message in reversed(self.messages)
                     if message.get('role') == 'user'), {})
        content = last.get('content')
        if not isinstance(content, list) or any(
                text.strip() and not text.lstrip().startswith('<')
                for text in _texts(last)):
            return []
        return [_tool_text(block) for block in content
                if block.get('type') == 'tool_result']

    @property
    def is_probe(self):
        """Whether the agent only asks if a model exists, outside any turn."""
        return not self.tools and len(self.messages) == 1

    def has_used(self, tool_input):
        """Whether the agent has called a tool with this input already."""
        return any(block.get('type') == 'tool_use' and
                   block.get('input', {}).get('command') ==
                   tool_input['command']
                   for message in self.messages
                   if isinstance(message.get('content'), list)
                   for block in message['content'])

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

    def _pass(self):
        self._reached.set()
        self._open.wait(_GATE_TIMEOUT_SECONDS)


@dataclasses.dataclass(frozen=True)
class _Instruction:
    words: str
    text: str = ''
    gate: Gate = None
    bash: dict = None
    every_turn: bool = False
    thought: str = ''
    status: int = 0
    message: str = ''


class MessagesApi:
    """The server and its log. Any number of agents may use it at once."""

    def __init__(self):
        self._changed = threading.Condition()
        self._requests = []
        self._instructions = []
        self._unknown_models = set(UNKNOWN_MODELS)
        self._refused_models = {}  # model -> why
        self._numbers = itertools.count(1)
        api = self

        class Handler(_Handler):
            owner = api

        self._server = _HttpServer(('127.0.0.1', 0), Handler)
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
        self._instruct(_Instruction(words, text=text, thought=thought))

    def hold(self, words, text='first words and the rest'):
        """The first word of `text` is sent at once, the rest on release."""
        gate = Gate()
        self._instruct(_Instruction(words, text=text, gate=gate))
        return gate

    def use_bash(self, words, command, background=False, every_turn=False):
        """Calls Bash, then answers with what the tool said.

        Once in a conversation, or once in every turn.
        """
        bash = {'command': command, 'description': 'asked for by the test'}
        if background:
            bash['run_in_background'] = True
        self._instruct(_Instruction(words, bash=bash, every_turn=every_turn))

    def fail(self, words, status, message='made to fail'):
        self._instruct(_Instruction(words, status=status, message=message))

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
        """The requests that belong to a turn: probes of models left out."""
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

    def _accept(self, body):
        with self._changed:
            request = Request(
                index=len(self._requests), model=body.get('model', ''),
                messages=tuple(body.get('messages', ())),
                stream=bool(body.get('stream')),
                tools=tuple(tool.get('name', '')
                            for tool in body.get('tools', ())),
                body=body)
            self._requests.append(request)
            instruction = self._choose(request)
            self._changed.notify_all()
            return request, instruction, next(self._numbers)

    def _choose(self, request):
        if request.model in self._unknown_models:
            return _Instruction('', status=404,
                                message=f'model: {request.model}')
        if request.model in self._refused_models and not request.is_probe:
            return _Instruction('', status=400,
                                message=self._refused_models[request.model])
        last = request.last_text
        for instruction in self._instructions:
            if instruction.words in last and not _is_used(instruction,
                                                          request):
                return instruction
        if request.tool_results:
            return _Instruction('', text='the tool said: ' +
                                ' | '.join(request.tool_results))
        if 'what is the secret number' in last.lower():
            found = [number for text in request.user_texts for number in
                     re.findall(r'secret number is (\d+)', text)]
            return _Instruction('', text=f'The secret number is {found[-1]}.'
                                if found else 'I know no secret number.')
        return _Instruction('', text=f'model={request.model} '
                            f'turns={len(request.messages)} last={last}')


def _is_used(instruction, request):
    """Whether a tool that is to be called has been called already."""
    if not instruction.bash:
        return False
    if instruction.every_turn:
        return bool(request.tool_results)
    return request.has_used(instruction.bash)


def _texts(message):
    content = message.get('content')
    if isinstance(content, str):
        return [content]
    return [block.get('text', '') for block in content or ()
            if block.get('type') == 'text']


def _tool_text(block):
    content = block.get('content')
    if isinstance(content, str):
        return content
    return ''.join(part.get('text', '') for part in content or ())


class _HttpServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    # Threads may be held by a connection that a dead agent's orphan keeps.
    block_on_close = False
    request_queue_size = 64


class _Handler(http.server.BaseHTTPRequestHandler):
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
        self._error(404, 'no such path')

    def do_POST(self):  # pylint: disable=invalid-name
        length = int(self.headers.get('Content-Length', 0))
        data = self.rfile.read(length)
        path = self.path.split('?')[0]
        if path == '/v1/messages/count_tokens':
            self._json(200, {'input_tokens': max(1, len(data) // 4)})
            return
        if path != '/v1/messages':
            self._error(404, 'no such path')
            return
        try:
            body = json.loads(data)
        except ValueError:
            self._error(400, 'the body is not JSON')
            return
        # pylint: disable=protected-access
        request, instruction, number = self.owner._accept(body)
        if instruction.status:
            self._error(instruction.status, instruction.message)
        elif request.stream:
            self._stream(request, instruction, number)
        else:
            self._whole(request, instruction, number)

    def _json(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.send_header('request-id', 'req_standin')
        if status in (429, 500, 529):
            self.send_header('retry-after', '0')
        self.end_headers()
        self.wfile.write(data)

    def _error(self, status, message):
        kind = _ERROR_TYPES.get(status, 'api_error')
        self._json(status, {'type': 'error', 'request_id': 'req_standin',
                            'error': {'type': kind, 'message': message}})

    def _whole(self, request, instruction, number):
        if instruction.gate is not None:
            instruction.gate._pass()  # pylint: disable=protected-access
        message = _message(request, number)
        message['content'] = _blocks(instruction, number)
        message['stop_reason'] = _stop_reason(instruction)
        self._json(200, message)

    def _stream(self, request, instruction, number):
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream')
        self.send_header('request-id', 'req_standin')
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        self._event('message_start', message=_message(request, number))
        for index, block in enumerate(_blocks(instruction, number)):
            self._block(index, block, instruction.gate)
        self._event('message_delta',
                    delta={'stop_reason': _stop_reason(instruction),
                           'stop_sequence': None},
                    usage={'output_tokens': 10})
        self._event('message_stop')
        self.wfile.write(b'0\r\n\r\n')

    def _block(self, index, block, gate):
        if block['type'] == 'text':
            empty = {'type': 'text', 'text': ''}
            deltas = [{'type': 'text_delta', 'text': piece}
                      for piece in re.findall(r'\S*\s*', block['text'])
                      if piece]
        elif block['type'] == 'thinking':
            empty = {'type': 'thinking', 'thinking': '', 'signature': ''}
            deltas = [{'type': 'thinking_delta',
                       'thinking': block['thinking']},
                      {'type': 'signature_delta',
                       'signature': block['signature']}]
        else:
            empty = {**block, 'input': {}}
            deltas = [{'type': 'input_json_delta',
                       'partial_json': json.dumps(block['input'])}]
        self._event('content_block_start', index=index, content_block=empty)
        for position, delta in enumerate(deltas):
            if position == 1 and gate is not None:
                gate._pass()  # pylint: disable=protected-access
            self._event('content_block_delta', index=index, delta=delta)
        self._event('content_block_stop', index=index)

    def _event(self, kind, **fields):
        data = (f'event: {kind}\n'
                f'data: {json.dumps({"type": kind, **fields})}\n\n').encode()
        self.wfile.write(b'%x\r\n%s\r\n' % (len(data), data))


def _message(request, number):
    return {'id': f'msg_standin{number:06}', 'type': 'message',
            'role': 'assistant', 'model': request.model, 'content': [],
            'stop_reason': None, 'stop_sequence': None,
            'usage': {'input_tokens': 100, 'output_tokens': 1,
                      'cache_creation_input_tokens': 0,
                      'cache_read_input_tokens': 0}}


def _blocks(instruction, number):
    blocks = []
    if instruction.thought:
        blocks.append({'type': 'thinking', 'thinking': instruction.thought,
                       'signature': 'c2lnbmVk'})
    if instruction.bash:
        blocks.append({'type': 'tool_use', 'id': f'toolu_standin{number:06}',
                       'name': 'Bash', 'input': instruction.bash})
    else:
        blocks.append({'type': 'text', 'text': instruction.text})
    return blocks


def _stop_reason(instruction):
    return 'tool_use' if instruction.bash else 'end_turn'
