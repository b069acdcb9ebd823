#include "client/cli/event_text.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace understudy::client {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(EventTextTest, NamesEveryPayloadAsTheSchemaDoes) {
  const auto* payload = v1::Event::descriptor()->FindOneofByName("payload");
  ASSERT_GT(payload->field_count(), 20);
  for (int i = 0; i < payload->field_count(); ++i) {
    v1::Event event;
    event.GetReflection()->MutableMessage(&event, payload->field(i));
    EXPECT_THAT(EventText(event), HasSubstr(payload->field(i)->name()));
  }
}

TEST(EventTextTest, AnEventNewerThanTheSchemaHasALineToo) {
  v1::Event event;
  event.set_sequence(12);
  EXPECT_EQ(EventText(event), "    12                ?");
}

TEST(EventTextTest, ShowsHowTheModelChanged) {
  v1::Event event;
  auto& changed = *event.mutable_model_changed();
  changed.set_previous_model("opus");
  changed.set_model("haiku");
  changed.set_route(v1::ROUTE_NATIVE);
  changed.set_cause(v1::CAUSE_CLIENT);
  changed.set_verified(true);
  changed.mutable_elapsed()->set_nanos(12000000);
  EXPECT_THAT(EventText(event),
              EndsWith("opus -> haiku, NATIVE, verified, by CLIENT, 12ms"));
}

TEST(EventTextTest, ShowsHowAnAgentEnded) {
  v1::Event event;
  auto& exited = *event.mutable_agent_exited();
  exited.set_pid(7);
  exited.set_cause(v1::EXIT_CAUSE_SIGNALED);
  exited.set_signal(9);
  exited.set_stderr_tail("out of\nluck");
  EXPECT_THAT(EventText(event),
              EndsWith("pid 7, SIGNALED, signal 9: out of luck"));
}

TEST(EventTextTest, IsOneLineOfPrintableCharacters) {
  v1::Event event;
  event.mutable_tool_call()->set_name("Ba\x1b[2Jsh\n");
  event.mutable_tool_call()->set_title("a\nb\x07");
  EXPECT_THAT(EventText(event), Not(HasSubstr("\x1b")));
  EXPECT_THAT(EventText(event), EndsWith("a b?"));
}

TEST(UsageTextTest, LeavesOutWhatTheAgentDoesNotReport) {
  v1::Usage usage;
  usage.set_input_tokens(120);
  usage.set_output_tokens(34);
  EXPECT_EQ(UsageText(usage), "in 120, out 34");
  usage.set_cache_read_tokens(5);
  usage.set_cost_usd(0.01234);
  EXPECT_EQ(UsageText(usage),
            "in 120, out 34, cache 5 read, 0 written, $0.0123");
}

}  // namespace
}  // namespace understudy::client
