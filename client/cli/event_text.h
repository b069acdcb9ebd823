// Events for people, a line each.
//
// Threads: any.

#ifndef UNDERSTUDY_CLIENT_CLI_EVENT_TEXT_H_
#define UNDERSTUDY_CLIENT_CLI_EVENT_TEXT_H_

#include <string>

#include "understudy/v1/event.pb.h"

namespace understudy::client {

// "   12  14:03:22.123  model_changed  opus -> haiku, NATIVE, verified".
std::string EventText(const v1::Event& event);

// "in 120, out 34, cache 5600 read, 12 written, $0.0123".
std::string UsageText(const v1::Usage& usage);

// Why a turn did not succeed: "FAILED MODEL_REJECTED: no such model".
std::string OutcomeText(v1::TurnOutcome outcome, const v1::TurnError& error);

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CLI_EVENT_TEXT_H_
