// What must hold of the log of any session, whatever happened to it: the rules
// that the API states about events and their order.

#ifndef UNDERSTUDY_TESTS_SUPPORT_HISTORY_CHECKER_H_
#define UNDERSTUDY_TESTS_SUPPORT_HISTORY_CHECKER_H_

#include <string>
#include <vector>

#include "tests/fakes/fake_agent.h"
#include "understudy/v1/event.pb.h"

namespace understudy::session {

// One line for each rule that is broken. `settled`: nothing runs any more, so
// that every turn and every process must have its end.
std::vector<std::string> CheckHistory(const std::vector<v1::Event>& events,
                                      bool settled);

// The same history beside what the agents themselves got.
std::vector<std::string> CheckDeliveries(
    const std::vector<v1::Event>& events,
    const std::vector<FakeDelivery>& deliveries);

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_HISTORY_CHECKER_H_
