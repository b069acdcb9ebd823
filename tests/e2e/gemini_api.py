"""A stand-in for the Gemini API; see model_api.py."""

import dataclasses
import re

from model_api import Handler, ModelApi, Request

_STATUS = {400: 'INVALID_ARGUMENT', 404: 'NOT_FOUND',
           429: 'RESOURCE_EXHAUSTED'}


@dataclasses.dataclass(frozen=True)
class _Request(Request):
    """`messages` are of {'role': 'user' or 'model', 'parts': ...}."""

    @property
    def user_texts(self):
        # What the agent adds in the user's name is marked up.
        return [part['text'] for content in self.messages
                if content.get('role') == 'user'
                for part in content.get('parts', ()) if 'text' in part and
                not part['text'].lstrip().startswith('<')]

    @property
    def tool_results(self):
        parts = self.messages[-1].get('parts', ()) if self.messages else ()
        return [str(part['functionResponse']['response'].get(
            'output') or part['functionResponse']['response'])
                for part in parts if 'functionResponse' in part]

    @property
    def is_probe(self):
        return not self.tools

    def has_used(self, command):
        return any(part.get('functionCall', {}).get('args', {}).get('command')
                   == command for content in self.messages
                   for part in content.get('parts', ()))


class _Handler(Handler):

    def answer(self, path, body):
        found = re.fullmatch(r'.*/models/([^/:]+):(\w+)', path)
        method = found[2] if found else ''
        if method == 'countTokens':
            self.send_json(200, {'totalTokens': 100})
            return
        if method not in ('generateContent', 'streamGenerateContent'):
            self.send_error_message(404, 'no such path')
            return
        stream = method == 'streamGenerateContent'
        request, instruction, number = self.owner.accept(
            model=found[1], messages=tuple(body.get('contents', ())),
            stream=stream,
            tools=tuple(declared.get('name', '')
                        for tool in body.get('tools') or ()
                        for declared in tool.get('functionDeclarations', ())),
            body=body)
        if instruction.status:
            self.send_error_message(instruction.status, instruction.message)
        elif stream:
            self.begin_stream()
            for parts in _parts(instruction):
                self.send_event(_answer(request, number, parts))
            self.send_event(_answer(request, number, [{'text': ''}], last=True))
            self.end_stream()
        else:
            self.send_json(200, _answer(
                request, number,
                [part for parts in _parts(instruction) for part in parts],
                last=True))

    def send_error_message(self, status, message):
        self.send_json(status, {'error': {
            'code': status, 'message': message,
            'status': _STATUS.get(status, 'INTERNAL')}})


def _parts(instruction):
    if instruction.thought:
        yield [{'text': instruction.thought, 'thought': True}]
    if instruction.bash:
        yield [{'functionCall': {'name': 'run_shell_command',
                                 'args': instruction.bash}}]
    else:
        for piece in instruction.pieces():
            yield [{'text': piece}]


def _answer(request, number, parts, last=False):
    candidate = {'index': 0, 'content': {'role': 'model', 'parts': parts}}
    if last:
        candidate['finishReason'] = 'STOP'
    return {'candidates': [candidate], 'modelVersion': request.model,
            'responseId': f'standin{number:06}',
            'usageMetadata': {'promptTokenCount': 100,
                              'candidatesTokenCount': 10,
                              'totalTokenCount': 110}}


class GeminiApi(ModelApi):
    """The API under `/v1beta/models`."""

    request_type = _Request
    handler_type = _Handler
