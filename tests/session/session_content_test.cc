// Messages in parts: texts and pictures.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "proto/error.h"
#include "session/session.h"
#include "tests/session/session_fixture.h"

namespace understudy::session {
namespace {

using ::testing::SizeIs;

class ContentTest : public SessionFixture {
 protected:
  static std::shared_ptr<const v1::Content> Picture(const std::string& text) {
    auto content = std::make_shared<v1::Content>();
    content->add_parts()->set_text(text);
    v1::Image& image = *content->add_parts()->mutable_image();
    image.set_mime_type("image/png");
    image.set_data("the bytes");
    return content;
  }

  Pending<SendResult> Send(const std::string& session,
                           std::shared_ptr<const v1::Content> content,
                           std::optional<std::string> model = {}) {
    Pending<SendResult> sent;
    SendParams params;
    params.session_id = session;
    params.text = content->parts(0).text();
    params.content = std::move(content);
    params.model = std::move(model);
    params.wait_completed = true;
    engine.manager->SendMessage({}, std::move(params), sent.reply());
    engine.Run();
    return sent;
  }
};

TEST_F(ContentTest, ReachesTheAgentAsItIsAndTheEventsWithoutTheImages) {
  const std::string s = engine.Create();
  const auto content = Picture("what is this");
  ASSERT_TRUE(Send(s, content).status().ok());
  ASSERT_THAT(engine.world.deliveries, SizeIs(1));
  EXPECT_EQ(engine.world.deliveries[0].content->SerializeAsString(),
            content->SerializeAsString());
  const v1::Event accepted = engine.Last(s, "message_accepted");
  EXPECT_EQ(accepted.message_accepted().text(), "");
  v1::Content shown = *content;
  shown.mutable_parts(1)->mutable_image()->clear_data();
  EXPECT_EQ(accepted.message_accepted().content().SerializeAsString(),
            shown.SerializeAsString());
  EXPECT_EQ(engine.Last(s, "turn_started").turn_started().text(),
            "what is this");
}

TEST_F(ContentTest, WaitsWithItsModelAndForAnotherAgent) {
  const std::string s = engine.Create();
  ASSERT_TRUE(Send(s, Picture("one"), "model-b").status().ok());
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
  ASSERT_NE(engine.world.deliveries.back().content, nullptr);
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "two");
  const Pending<SendResult> third = Send(s, Picture("three"));
  LetAllBeFine();
  engine.world.live().front()->Crash();
  engine.Run();
  ASSERT_TRUE(third.status().ok()) << third.status();
  ASSERT_NE(engine.world.deliveries.back().content, nullptr);
  EXPECT_EQ(engine.world.deliveries.back().content->parts(1).image().data(),
            "the bytes");
}

TEST_F(ContentTest, NoEventOfItIsTooLongForTheWire) {
  const std::string s = engine.Create();
  auto content = std::make_shared<v1::Content>();
  for (int i = 0; i < 1000; ++i) {
    content->add_parts()->set_text(std::string(10 << 10, 'x'));
  }
  ASSERT_TRUE(Send(s, content).status().ok());
  for (const v1::Event& event : engine.Events(s)) {
    EXPECT_LE(event.ByteSizeLong(), 3u << 20);
  }
  const v1::Event accepted = engine.Last(s, "message_accepted");
  EXPECT_EQ(accepted.message_accepted().content().parts_size(), 1000);
  size_t left = 0;
  for (const v1::Part& part : accepted.message_accepted().content().parts()) {
    left += part.text().size();
  }
  EXPECT_EQ(left + accepted.truncated_bytes(), 1000u * (10 << 10));
  EXPECT_EQ(engine.world.deliveries[0].content->parts(999).text().size(),
            10u << 10);
}

TEST_F(ContentTest, AnAgentThatTakesNoImagesGetsNone) {
  const std::string s = engine.Create();
  engine.Send(s, "hello");
  engine.world.capabilities.images = false;
  const Pending<SendResult> sent = Send(s, Picture("what is this"));
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kCapabilityMissing);
  EXPECT_EQ(Count(s, "message_accepted"), 1u);
  auto text = std::make_shared<v1::Content>();
  text->add_parts()->set_text("in parts");
  EXPECT_TRUE(Send(s, text).status().ok());
}

}  // namespace
}  // namespace understudy::session
