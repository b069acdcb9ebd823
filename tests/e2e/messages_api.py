"""A stand-in for the Anthropic Messages API; see model_api.py."""

import dataclasses
import json

from model_api import Handler, ModelApi, Request

_ERROR_TYPES = {
    400: 'invalid_request_error',
    401: 'authentication_error',
    404: 'not_found_error',
    429: 'rate_limit_error',
    500: 'api_error',
    529: 'overloaded_error',
}


@dataclasses.dataclass(frozen=True)
class _Request(Request):
    """`messages` are of {'role': ..., 'content': ...}."""

    @property
    def user_texts(self):
        return [text for message in self.messages
                if message.get('role') == 'user'
                for text in _texts(message)
                if not text.lstrip().startswith('<system-reminder>')]

    @property
    def tool_results(self):
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
        return not self.tools and len(self.messages) == 1

    def has_used(self, command):
        return any(block.get('type') == 'tool_use' and
                   block.get('input', {}).get('command') == command
                   for message in self.messages
                   if isinstance(message.get('content'), list)
                   for block in message['content'])


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


class _Handler(Handler):

    def answer(self, path, body):
        if path == '/v1/messages/count_tokens':
            self.send_json(200, {
                'input_tokens': max(1, len(json.dumps(body)) // 4)})
            return
        if path != '/v1/messages':
            self.send_error_message(404, 'no such path')
            return
        request, instruction, number = self.owner.accept(
            model=body.get('model', ''),
            messages=tuple(body.get('messages', ())),
            stream=bool(body.get('stream')),
            tools=tuple(tool.get('name', '')
                        for tool in body.get('tools', ())),
            body=body)
        if instruction.status:
            self.send_error_message(instruction.status, instruction.message)
        elif request.stream:
            self._stream(request, instruction, number)
        else:
            self._whole(request, instruction, number)

    def send_error_message(self, status, message):
        kind = _ERROR_TYPES.get(status, 'api_error')
        self.send_json(status, {
            'type': 'error', 'request_id': 'req_standin',
            'error': {'type': kind, 'message': message}},
                       request_id='req_standin')

    def _whole(self, request, instruction, number):
        if instruction.gate is not None:
            instruction.gate.pass_through()
        message = _message(request, number)
        message['content'] = _blocks(instruction, number)
        message['stop_reason'] = _stop_reason(instruction)
        self.send_json(200, message, request_id='req_standin')

    def _stream(self, request, instruction, number):
        self.begin_stream(request_id='req_standin')
        self._event('message_start', message=_message(request, number))
        for index, block in enumerate(_blocks(instruction, number)):
            self._block(index, block, instruction)
        self._event('message_delta',
                    delta={'stop_reason': _stop_reason(instruction),
                           'stop_sequence': None},
                    usage={'output_tokens': 10})
        self._event('message_stop')
        self.end_stream()

    def _block(self, index, block, instruction):
        if block['type'] == 'text':
            empty = {'type': 'text', 'text': ''}
            deltas = ({'type': 'text_delta', 'text': piece}
                      for piece in instruction.pieces())
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
        for delta in deltas:
            self._event('content_block_delta', index=index, delta=delta)
        self._event('content_block_stop', index=index)

    def _event(self, kind, **fields):
        self.send_event({'type': kind, **fields}, kind)


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


class MessagesApi(ModelApi):
    """The API under `/v1/messages`."""

    request_type = _Request
    handler_type = _Handler
    unknown_models = ('claude-bogus-9',)
