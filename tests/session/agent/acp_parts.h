// A JSON text as the parts of an AcpAgent are given it.

#ifndef UNDERSTUDY_TESTS_SESSION_AGENT_ACP_PARTS_H_
#define UNDERSTUDY_TESTS_SESSION_AGENT_ACP_PARTS_H_

#include <string>

#include "gtest/gtest.h"
#include "session/base/json.h"

namespace understudy::session {

class Parsed {
 public:
  explicit Parsed(const std::string& text) {
    EXPECT_TRUE(document_.ParseCopy(text).ok()) << text;
  }
  JsonValue operator*() const { return document_.root(); }

 private:
  JsonDocument document_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SESSION_AGENT_ACP_PARTS_H_
