"""The agents that speak ACP, each as a user would set it up.

A table: what is run, with which environment, configuration and models, and
what each agent is known not to do. All that an agent has is in the folder it
is given, and all it can reach is the stand-in for its model's API; the key is
made up.
"""

import dataclasses
import json
import os
import typing

from chat_api import ChatApi
from gemini_api import GeminiApi
from install_agents import install_acp
from messages_api import MessagesApi
from model_api import ModelApi
from protos import config
from responses_api import ResponsesApi

_KEY = 'a-made-up-key'


@dataclasses.dataclass(frozen=True)
class AcpAgent:
    """One agent. Models and modes are in the agent's own words."""
    name: str
    api_type: type[ModelApi]
    # (folder, URL of the API) -> environment; writes the configuration.
    configure: typing.Callable
    default_model: str
    other_model: str
    # One that the agent does not offer.
    unknown_model: str
    # One that the agent takes and the API does not know; or none.
    missing_model: str = ''
    # What the API is asked for, where that is not the agent's word.
    api_models: dict = dataclasses.field(default_factory=dict)
    # Whether it refuses a model that it does not offer; if not, the next turn
    # shows it.
    refuses_models: bool = True
    # Whether it says which model it is on after a change.
    verifies: bool = True
    # What it calls its process, where that is not its command line.
    title: str = ''
    # Whether it can go back to an earlier conversation.
    resumes: bool = True
    # The mode in which it asks the client before it runs a tool, where that is
    # not its default, and one in which it does not ask, if there is one.
    asking_mode: str = ''
    free_mode: str = ''
    # Whether what the user said in a turn that was interrupted stays in the
    # conversation.
    keeps_interrupted: bool = True

    def install(self):
        return install_acp(self.name)

    def start_api(self):
        """A stand-in for the API behind this agent."""
        api = self.api_type()
        if self.missing_model:
            api.forget_model(self.api_model(self.missing_model))
        return api

    def api_model(self, model):
        return self.api_models.get(model, model)

    def profile(self, folder, url, **fields):
        """A profile of understudyd, as in deploy/config.example.textproto."""
        installed = self.install()
        values = {'default_model': self.default_model,
                  'permission_mode': self.asking_mode, **fields}
        return config.Profile(
            name=self.name, agent='acp', command=installed.command,
            arg=installed.arguments, env=self.configure(folder, url),
            **values)


def _base(folder):
    """What every agent gets: a home, a temporary folder, no network but
    loopback."""
    folders = {
        'HOME': 'home',
        'TMPDIR': 'tmp',
        'XDG_CACHE_HOME': 'home/.cache',
        'XDG_CONFIG_HOME': 'home/.config',
        'XDG_DATA_HOME': 'home/.local/share',
        'XDG_STATE_HOME': 'home/.local/state',
    }
    environment = {}
    for variable, name in folders.items():
        environment[variable] = os.path.join(folder, name)
        os.makedirs(environment[variable], mode=0o700, exist_ok=True)
    return {
        **environment,
        'LANG': 'C.UTF-8',
        'PATH': '/usr/local/bin:/usr/bin:/bin',
        'SHELL': '/bin/bash',
        'NO_COLOR': '1',
    }


def _write(text, *path):
    path = os.path.join(*path)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    return path


def _opencode(folder, url):
    models = {name: {'name': name, 'limit': {'context': 100000,
                                             'output': 10000}}
              for name in ('alpha', 'beta', 'gone', 'small')}
    path = _write(json.dumps({
        '$schema': 'https://opencode.ai/config.json',
        'autoupdate': False,
        'share': 'disabled',
        'enabled_providers': ['standin'],
        'model': 'standin/alpha',
        'small_model': 'standin/small',
        'permission': {'bash': 'ask', 'edit': 'ask'},
        'provider': {'standin': {
            # Comes with OpenCode: nothing is fetched for it.
            'npm': '@ai-sdk/openai-compatible',
            'name': 'Stand-in',
            'options': {'baseURL': f'{url}/v1', 'apiKey': _KEY},
            'models': models,
        }},
    }, indent=2), folder, 'opencode.json')
    return {
        **_base(folder),
        'OPENCODE_CONFIG': path,
        'OPENCODE_DISABLE_AUTOUPDATE': '1',
        'OPENCODE_DISABLE_LSP_DOWNLOAD': '1',
        'OPENCODE_DISABLE_MODELS_FETCH': '1',
        'OPENCODE_DISABLE_SHARE': '1',
        # OpenCode serves itself on a port of loopback.
        'OPENCODE_SERVER_PASSWORD': _KEY,
        # It would fetch its plugin package into its configuration folder.
        'npm_config_offline': 'true',
    }


def _codex(folder, url):
    home = os.path.join(folder, 'codex')
    _write(f'''\
model = "gpt-5.6-sol"
model_provider = "standin"
check_for_update_on_startup = false

[model_providers.standin]
name = "Stand-in"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "STANDIN_API_KEY"
request_max_retries = 0
stream_max_retries = 0

[analytics]
enabled = false

[feedback]
enabled = false

# All of these would reach out.
[features]
apps = false
daemon_auto_start = false
plugin_discovery_prefetch = false
plugins = false
recommended_plugins = false
remote_plugin = false
''', home, 'config.toml')
    return {
        **_base(folder),
        'CODEX_HOME': home,
        'NO_BROWSER': '1',
        'STANDIN_API_KEY': _KEY,
    }


def _gemini(folder, url):
    environment = _base(folder)
    _write(json.dumps({
        'general': {'enableAutoUpdate': False,
                    'enableAutoUpdateNotification': False},
        'privacy': {'usageStatisticsEnabled': False},
        'security': {'auth': {'selectedType': 'gemini-api-key'}},
        'telemetry': {'enabled': False},
    }, indent=2), environment['HOME'], '.gemini', 'settings.json')
    return {
        **environment,
        'GEMINI_API_KEY': _KEY,
        'GEMINI_CLI_NO_RELAUNCH': '1',
        'GEMINI_CLI_TRUST_WORKSPACE': 'true',
        'GOOGLE_GEMINI_BASE_URL': url,
    }


def _claude(folder, url):
    configuration = os.path.join(folder, 'claude')
    os.makedirs(configuration, mode=0o700, exist_ok=True)
    return {
        **_base(folder),
        'ANTHROPIC_API_KEY': _KEY,
        'ANTHROPIC_BASE_URL': url,
        'CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC': '1',
        'CLAUDE_CODE_MAX_RETRIES': '2',
        'CLAUDE_CONFIG_DIR': configuration,
        'DISABLE_AUTOUPDATER': '1',
        'DISABLE_ERROR_REPORTING': '1',
        'DISABLE_TELEMETRY': '1',
        # The tests run as root in many containers.
        'IS_SANDBOX': '1',
    }


def _kimi(folder, url):
    environment = _base(folder)
    models = '\n'.join(f'''
[models."standin/{name}"]
provider = "standin"
model = "{name}"
max_context_size = 100000
''' for name in ('alpha', 'beta'))
    _write(f'''\
default_model = "standin/alpha"
telemetry = false

[providers.standin]
type = "openai"
base_url = "{url}/v1"
api_key = "{_KEY}"
{models}''', environment['HOME'], '.kimi-code', 'config.toml')
    return environment


AGENTS = {agent.name: agent for agent in (
    AcpAgent(
        name='opencode', api_type=ChatApi, configure=_opencode,
        default_model='standin/alpha', other_model='standin/beta',
        unknown_model='standin/nowhere', missing_model='standin/gone',
        api_models={'standin/alpha': 'alpha', 'standin/beta': 'beta',
                    'standin/gone': 'gone'}),
    # Its models are of families; from one to another it would compact the
    # conversation before it switches.
    AcpAgent(
        name='codex', api_type=ResponsesApi, configure=_codex,
        default_model='gpt-5.6-sol', other_model='gpt-5.6-terra',
        unknown_model='gpt-0-none',
        # By default it asks another model, not the client.
        asking_mode='read-only', free_mode='agent-full-access'),
    AcpAgent(
        name='gemini', api_type=GeminiApi, configure=_gemini,
        default_model='gemini-2.5-pro', other_model='gemini-3.8-flash',
        unknown_model='gemini-0-none', missing_model='gemini-0-none',
        refuses_models=False, verifies=False, resumes=False,
        free_mode='yolo', keeps_interrupted=False),
    AcpAgent(
        name='claude-acp', api_type=MessagesApi, configure=_claude,
        default_model='sonnet', other_model='haiku', unknown_model='nowhere',
        api_models={'sonnet': 'claude-sonnet-5-5',
                    'haiku': 'claude-haiku-5-5'},
        free_mode='bypassPermissions'),
    # Nothing in the server knows of it.
    AcpAgent(
        name='kimi', api_type=ChatApi, configure=_kimi, title='kimi-code',
        default_model='standin/alpha', other_model='standin/beta',
        # It tells of no error of its API: a turn on a model that is missing
        # there succeeds, and says nothing.
        unknown_model='standin/nowhere',
        api_models={'standin/alpha': 'alpha', 'standin/beta': 'beta'},
        free_mode='yolo'),
)}
