"""A stand-in for OpenAI's chat completions API; see model_api.py."""

import dataclasses
import json

from model_api import Handler, ModelApi, Request


@dataclasses.dataclass(frozen=True)
class _Request(Request):
    """`messages` are of {'role': ..., 'content': ...}."""

    @property
    def user_texts(self):
        # What some agents add in the user's name is marked up.
        return [text for message in self.messages
                if message.get('role') == 'user' for text in _texts(message)
                if not text.lstrip().startswith('<')]

    @property
    def tool_results(self):
        results = []
        for message in reversed(self.messages):
            if message.get('role') != 'tool':
                break
            results.insert(0, ''.join(_texts(message)).strip())
        return results

    @property
    def is_probe(self):
        return not self.tools

    def has_used(self, command):
        return any(
            json.loads(call['function']['arguments'] or '{}').get('command') ==
            command
            for message in self.messages
            for call in message.get('tool_calls') or ())


def _texts(message):
    content = message.get('content')
    if isinstance(content, str):
        return [content]
    return [part.get('text', '') for part in content or ()
            if part.get('type') == 'text']


class _Handler(Handler):

    def answer(self, path, body):
        if not path.endswith('/chat/completions'):
            self.send_error_message(404, 'no such path')
            return
        request, instruction, number = self.owner.accept(
            model=body.get('model', ''),
            messages=tuple(body.get('messages', ())),
            stream=bool(body.get('stream')),
            tools=tuple(tool.get('function', {}).get('name', '')
                        for tool in body.get('tools') or ()),
            body=body)
        if instruction.status:
            self.send_error_message(instruction.status, instruction.message)
        elif request.stream:
            self._stream(request, instruction, number)
        else:
            message = {'role': 'assistant',
                       'content': ''.join(instruction.pieces())}
            self.send_json(200, _chunk(
                request, number, [{'index': 0, 'message': message,
                                   'finish_reason': 'stop'}], whole=True))

    def send_error_message(self, status, message):
        self.send_json(status, {'error': {
            'message': message, 'type': 'invalid_request_error',
            'code': 'model_not_found' if status == 404 else None}})

    def _stream(self, request, instruction, number):
        def choice(delta, finish_reason=None):
            self.send_event(_chunk(request, number, [
                {'index': 0, 'delta': delta, 'finish_reason': finish_reason}]))

        self.begin_stream()
        choice({'role': 'assistant', 'content': ''})
        if instruction.thought:
            choice({'reasoning_content': instruction.thought})
        if instruction.bash:
            choice({'tool_calls': [{
                'index': 0, 'id': f'call_standin{number:06}',
                'type': 'function', 'function': {
                    'name': _shell(request),
                    'arguments': json.dumps(instruction.bash)}}]})
            choice({}, 'tool_calls')
        else:
            for piece in instruction.pieces():
                choice({'content': piece})
            choice({}, 'stop')
        self.send_event(_chunk(request, number, []))
        self.send_event('[DONE]')
        self.end_stream()


def _shell(request):
    """The name of the tool that runs commands."""
    for name in ('bash', 'run_shell_command', 'shell', 'Bash'):
        if name in request.tools:
            return name
    return 'bash'


def _chunk(request, number, choices, whole=False):
    return {'id': f'chatcmpl-standin{number:06}',
            'object': 'chat.completion' + ('' if whole else '.chunk'),
            'created': 1, 'model': request.model, 'choices': choices,
            **({} if choices and not whole else {'usage': {
                'prompt_tokens': 100, 'completion_tokens': 10,
                'total_tokens': 110}})}


class ChatApi(ModelApi):
    """The API under `/v1/chat/completions`."""

    request_type = _Request
    handler_type = _Handler
