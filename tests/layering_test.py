#!/usr/bin/python3
"""Who may include whom: the floors of the source tree, by its #include lines.

A file includes lower floors and its own group, nothing else. Groups on one
floor do not see each other.
"""

import os
import re
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ('proto', 'session', 'service', 'client', 'tests')
ENDINGS = ('.h', '.cc', '.def')

# Floor by floor from the bottom, the groups on it. A group is a folder, or
# files of session/ by name.
FLOORS = (
    ('proto',),
    ('session/base',),
    ('session/process',),
    ('session/agent', 'session/store'),
    ('agent_catalog', 'calls', 'committer', 'conversation_claims',
     'cost_ledger', 'event_codec', 'grants', 'model_names', 'permission_desk',
     'plan', 'retention', 'start_breaker'),
    ('conversation_list', 'conversation_origin', 'engine_options', 'event_log', 'model_list',
     'request_ledger', 'slot_pool'),
    ('held_calls', 'transition'),
    ('session',),
    ('session_table',),
    ('drain',),
    ('session_manager',),
    ('service',),
)
FLOOR_OF = {group: floor for floor, groups in enumerate(FLOORS)
            for group in groups}

# One class whose implementation is several files.
PARTS = {'retiring': 'session', 'session_agent': 'session',
         'session_commit': 'session', 'session_end': 'session',
         'session_moved': 'session', 'session_moves': 'session',
         'session_settings': 'session', 'session_starts': 'session',
         'session_turns': 'session', 'session_watch': 'session'}

# Groups that see less than everything below them.
SEES_ONLY = {
    'client': ('proto', 'client'),
    'session/agent/rehearsal': ('session/agent/rehearsal',),
    'session/store': ('proto', 'session/base', 'session/store'),
}

# A request meets the engine at its front door. Only what assembles the process
# knows the rest of it.
SERVICE_SEES = ('proto', 'session/base', 'calls', 'event_codec', 'event_log',
                'session_manager', 'service')
ASSEMBLY = re.compile(r'service/(main|server|config|profile_config)\.')

# Libraries that are an implementation's own affair: header, and who knows it.
CONFINED = (
    (r'(grpc|grpcpp)/|.*\.grpc\.pb\.h$',
     r'(service|client|tests)/|proto/rpc_status\.'),
    (r'boost/asio', r'session/base/asio_loop\.cc$'),
    (r'simdjson', r'session/base/json\.cc$|tests/'),
    (r'spdlog/', r'session/base/log\.cc$'),
    (r'sqlite3\.h$', r'session/store/sqlite|tests/'),
    (r'(gtest|gmock)/', r'tests/'),
)


def group_of(path):
    """The group of a file, or None if it is not one of ours."""
    folder, name = os.path.split(path)
    if folder == 'session':
        stem = name.split('.')[0]
        return PARTS.get(stem, stem)
    for group in ('session/agent/rehearsal', 'session/agent', 'session/base',
                  'session/process', 'session/store'):
        if folder == group:
            return group
    top = path.split('/')[0]
    return top if '/' in path and top in FOLDERS else None


def may_see(path, group, other):
    """Whether the file, of that group, may include one of the other group."""
    if other == 'tests' or group == 'tests':
        return group == 'tests'
    if group == other:
        return True
    if group in SEES_ONLY and other not in SEES_ONLY[group]:
        return False
    if (group == 'service' and other not in SERVICE_SEES and
            not ASSEMBLY.match(path)):
        return False
    if group == 'client':
        return True
    return (other in FLOOR_OF and group in FLOOR_OF and
            FLOOR_OF[other] < FLOOR_OF[group])


def violations(includes):
    """What is wrong with a tree, given as {path: [what it includes]}."""
    found = []
    for path, names in sorted(includes.items()):
        group = group_of(path)
        if group not in FLOOR_OF and group not in SEES_ONLY and (
                group != 'tests'):
            found.append(f'{path} stands on no floor: give it one in FLOORS')
            continue
        for name in names:
            other = group_of(name)
            if other and not may_see(path, group, other):
                found.append(f'{path} must not include {name}')
            for header, knows in CONFINED:
                if re.match(header, name) and not re.match(knows, path):
                    found.append(f'{path} must not know of {name}')
    return found + [f'{" -> ".join(cycle)} is a cycle'
                    for cycle in cycles(includes)]


def cycles(includes):
    """The circles in which files include each other."""
    found, done, trail = [], set(), []

    def visit(path):
        if path in trail:
            found.append(trail[trail.index(path):] + [path])
        elif path not in done:
            trail.append(path)
            for name in includes.get(path, ()):
                visit(name)
            done.add(trail.pop())

    for path in sorted(includes):
        visit(path)
    return found


def read_tree():
    includes = {}
    for top in FOLDERS:
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in names:
                if name.endswith(ENDINGS):
                    path = os.path.join(folder, name)
                    with open(path, encoding='utf-8') as file:
                        includes[os.path.relpath(path, ROOT)] = re.findall(
                            r'^\s*#\s*include\s*[<"]([^>"]+)[>"]',
                            file.read(), re.M)
    return includes


class LayeringTest(unittest.TestCase):
    maxDiff = None

    def test_the_tree_keeps_its_floors(self):
        includes = read_tree()
        self.assertGreater(len(includes), 100)
        self.assertEqual([], violations(includes))

    def test_what_the_rules_forbid_is_found(self):
        for path, name in (
                ('session/plan.cc', 'session/session.h'),
                ('session/plan.cc', 'session/slot_pool.h'),
                ('session/process/guard.cc', 'session/agent/agent.h'),
                ('session/store/sqlite_store.cc', 'session/agent/agent.h'),
                ('session/store/sqlite_store.cc', 'session/process/guard.h'),
                ('session/agent/claude.cc', 'session/store/store.h'),
                ('session/agent/claude.cc', 'session/agent/rehearsal/json.h'),
                ('session/agent/rehearsal/main.cc', 'session/base/json.h'),
                ('session/session.cc', 'service/check.h'),
                ('service/check.cc', 'session/session.h'),
                ('service/check.cc', 'client/cpp/client.h'),
                ('client/cpp/client.cc', 'session/base/json.h'),
                ('client/cpp/client.cc', 'service/check.h'),
                ('client/cpp/client.cc', 'tests/support/pch.h'),
                ('proto/error.cc', 'session/base/check.h'),
                ('session/event_log.cc', 'grpcpp/grpcpp.h'),
                ('session/event_log.cc', 'understudy/v1/pool.grpc.pb.h'),
                ('session/session.cc', 'boost/asio/io_context.hpp'),
                ('session/agent/claude.cc', 'simdjson.h'),
                ('session/committer.cc', 'sqlite3.h'),
        ):
            with self.subTest(f'{path} includes {name}'):
                self.assertEqual(1, len(violations({path: [name]})))

    def test_what_the_rules_allow_is_not(self):
        self.assertEqual([], violations({
            'client/cpp/client.cc': ['client/cpp/client.h', 'proto/error.h',
                                     'grpcpp/grpcpp.h', 'string'],
            'service/check.cc': ['session/session_manager.h'],
            'service/server.cc': ['session/store/store.h'],
            'session/session_end.cc': ['session/session.h'],
            'tests/session/plan_test.cc': ['session/plan.h',
                                           'tests/fakes/fake_loop.h'],
        }))

    def test_a_file_without_a_floor_is_found(self):
        found, = violations({'session/novelty.cc': []})
        self.assertIn('session/novelty.cc stands on no floor', found)

    def test_a_cycle_is_found(self):
        found, = violations({
            'session/base/a.h': ['session/base/b.h'],
            'session/base/b.h': ['session/base/c.h'],
            'session/base/c.h': ['session/base/a.h'],
        })
        self.assertEqual('session/base/a.h -> session/base/b.h -> '
                         'session/base/c.h -> session/base/a.h is a cycle',
                         found)


if __name__ == '__main__':
    unittest.main()
