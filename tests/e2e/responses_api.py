"""A stand-in for OpenAI's responses API; see model_api.py."""

import dataclasses
import json

from model_api import Handler, ModelApi, Request


@dataclasses.dataclass(frozen=True)
class _Request(Request):
    """`messages` are the items of the input."""

    @property
    def user_texts(self):
        # What the agent adds in the user's name is marked up.
        return [text for item in self.messages if item.get('role') == 'user'
                for text in _texts(item.get('content'))
                if not text.lstrip().startswith('<')]

    @property
    def tool_results(self):
        results = []
        for item in reversed(self.messages):
            if item.get('type') not in ('function_call_output',
                                        'custom_tool_call_output'):
                break
            results.insert(0, '\n'.join(_texts(item.get('output'))))
        return results

    @property
    def is_probe(self):
        return self.last_text.startswith('Your task is to generate a ')

    def has_used(self, command):
        return any(
            json.dumps(command) in item.get('arguments', item.get('input', ''))
            for item in self.messages
            if item.get('type') in ('function_call', 'custom_tool_call'))


def _texts(content):
    if isinstance(content, str):
        return [content]
    return [part.get('text', '') for part in content or ()
            if 'text' in part]


class _Handler(Handler):

    def answer(self, path, body):
        if not path.endswith('/responses'):
            self.send_error_message(404, 'no such path')
            return
        request, instruction, number = self.owner.accept(
            model=body.get('model', ''),
            messages=tuple(body.get('input', ())),
            stream=bool(body.get('stream')),
            tools=tuple(tool.get('name') or tool.get('type', '')
                        for tool in body.get('tools') or ()),
            body=body)
        if instruction.status:
            self.send_error_message(instruction.status, instruction.message)
        else:
            self._stream(request, instruction, number)

    def send_error_message(self, status, message):
        self.send_json(status, {'error': {
            'message': message, 'type': 'invalid_request_error',
            'code': 'model_not_found' if status == 404 else None}})

    def _stream(self, request, instruction, number):
        self.begin_stream()
        response = {'id': f'resp_standin{number:06}', 'object': 'response',
                    'model': request.model, 'status': 'in_progress',
                    'output': []}
        self._event('response.created', response=response)
        item = {'type': 'message', 'id': f'msg_standin{number:06}',
                'role': 'assistant', 'status': 'in_progress', 'content': []}
        if instruction.bash:
            item = _call(request, instruction.bash, number)
            self._event('response.output_item.added', output_index=0,
                        item=item)
        else:
            self._event('response.output_item.added', output_index=0,
                        item=item)
            for piece in instruction.pieces():
                self._event('response.output_text.delta', item_id=item['id'],
                            output_index=0, content_index=0, delta=piece)
            item = {**item, 'status': 'completed', 'content': [
                {'type': 'output_text', 'text': instruction.text,
                 'annotations': []}]}
        self._event('response.output_item.done', output_index=0, item=item)
        self._event('response.completed', response={
            **response, 'status': 'completed', 'output': [item],
            'usage': {'input_tokens': 100, 'output_tokens': 10,
                      'input_tokens_details': {'cached_tokens': 0},
                      'output_tokens_details': {'reasoning_tokens': 0},
                      'total_tokens': 110}})
        self.end_stream()

    def _event(self, kind, **fields):
        self.send_event({'type': kind, **fields}, kind)


def _call(request, bash, number):
    """A call of the tool that runs commands, asking to leave the sandbox."""
    arguments = {'cmd': bash['command']}
    if _is_sandboxed(request):
        arguments.update(justification=bash['description'],
                         sandbox_permissions='require_escalated')
    arguments = json.dumps(arguments)
    call = {'id': f'fc_standin{number:06}', 'status': 'completed',
            'call_id': f'call_standin{number:06}'}
    if 'exec_command' in request.tools:
        return {**call, 'type': 'function_call', 'name': 'exec_command',
                'arguments': arguments}
    # Newer models have no tool but one that runs JavaScript.
    return {**call, 'type': 'custom_tool_call', 'name': 'exec',
            'input': f'text((await tools.exec_command({arguments})).output)'}


def _is_sandboxed(request):
    turn = json.loads(request.body.get('client_metadata', {}).get(
        'x-codex-turn-metadata', '{}'))
    return turn.get('sandbox_mode') != 'danger-full-access'


class ResponsesApi(ModelApi):
    """The API under `/v1/responses`."""

    request_type = _Request
    handler_type = _Handler
