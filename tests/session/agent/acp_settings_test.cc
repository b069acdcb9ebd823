#include "session/agent/acp_settings.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/session/agent/acp_parts.h"

namespace understudy::session {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;
using Way = AcpSetting::Way;

constexpr char kOptions[] =
    R"({"configOptions":[{"id":"model","name":"Model","category":"model",)"
    R"("type":"select","currentValue":"mock/a","options":[)"
    R"({"value":"mock/a","name":"A"},{"value":"mock/b","name":"B"}]},)"
    R"({"id":"mode","category":"mode","currentValue":"build","options":[)"
    R"({"value":"build","name":"build"},{"value":"plan","name":"plan"}]}]})";

// Of Gemini CLI 0.61.0.
constexpr char kOlder[] =
    R"({"modes":{"availableModes":[{"id":"default","name":"Default"},)"
    R"({"id":"yolo","name":"YOLO"}],"currentModeId":"default"},"models":)"
    R"({"availableModels":[{"modelId":"auto","name":"Auto"},{"modelId":)"
    R"("gemini-2.5-pro","name":"gemini-2.5-pro"}],"currentModelId":"auto"}})";

TEST(AcpSettingsTest, OptionsAreReadAndChangedByTheirIds) {
  AcpSettings settings;
  settings.Read(*Parsed(kOptions));
  EXPECT_EQ(settings.model.way, Way::kOption);
  EXPECT_EQ(settings.model.current, "mock/a");
  EXPECT_TRUE(settings.model.Offers("mock/b"));
  EXPECT_FALSE(settings.model.Offers("B"));
  EXPECT_EQ(settings.mode.current, "build");
  const AcpCall call = AcpSetModel("c\"1", settings.model, "mock/b");
  EXPECT_EQ(call.method, "session/set_config_option");
  EXPECT_EQ(call.params,
            R"({"sessionId":"c\"1","configId":"model","value":"mock/b"})");
}

TEST(AcpSettingsTest, TheOlderShapeIsReadAndChangedByItsMethods) {
  AcpSettings settings;
  settings.Read(*Parsed(kOlder));
  EXPECT_EQ(settings.model.way, Way::kOlder);
  EXPECT_EQ(settings.model.current, "auto");
  AcpCall call = AcpSetModel("c", settings.model, "x");
  EXPECT_EQ(call.method, "session/set_model");
  EXPECT_EQ(call.params, R"({"sessionId":"c","modelId":"x"})");
  call = AcpSetMode("c", settings.mode, "yolo");
  EXPECT_EQ(call.method, "session/set_mode");
  EXPECT_EQ(call.params, R"({"sessionId":"c","modeId":"yolo"})");
  settings.Read(*Parsed(R"({"currentModeId":"yolo"})"));
  EXPECT_EQ(settings.mode.current, "yolo");
}

TEST(AcpSettingsTest, OfBothShapesTheOptionsCount) {
  for (const bool options_first : {true, false}) {
    AcpSettings settings;
    settings.Read(*Parsed(options_first ? kOptions : kOlder));
    settings.Read(*Parsed(options_first ? kOlder : kOptions));
    EXPECT_EQ(settings.model.way, Way::kOption);
    EXPECT_EQ(settings.model.current, "mock/a");
    EXPECT_THAT(settings.model.choices, SizeIs(2));
  }
}

TEST(AcpSettingsTest, ValuesMayBeGroupedAndTheCategoryWinsOverTheId) {
  AcpSettings settings;
  settings.Read(*Parsed(
      R"({"configOptions":[{"id":"model","currentValue":"no"},)"
      R"({"id":"llm","category":"model","currentValue":"x","options":[)"
      R"({"name":"Group","options":[{"value":"x"},{"value":"y"}]}]}]})"));
  EXPECT_EQ(settings.model.option, "llm");
  EXPECT_TRUE(settings.model.Offers("y"));
  EXPECT_FALSE(settings.mode.exists());
}

TEST(AcpSettingsTest, WhatIsNotSpokenOfStays) {
  AcpSettings settings;
  settings.Read(*Parsed(kOlder));
  for (const char* said :
       {"{}", R"({"models":{}})", R"({"models":null})",
        R"({"configOptions":{}})", R"({"configOptions":[1,{"id":"model"}]})",
        R"({"modes":{"availableModes":5}})"}) {
    settings.Read(*Parsed(said));
    EXPECT_EQ(settings.model.current, "auto") << said;
    EXPECT_THAT(settings.model.choices, SizeIs(2)) << said;
    EXPECT_THAT(settings.mode.choices, SizeIs(2)) << said;
  }
  AcpSettings none;
  none.Read(*Parsed("{}"));
  EXPECT_FALSE(none.model.exists());
  EXPECT_THAT(none.model.choices, IsEmpty());
}

}  // namespace
}  // namespace understudy::session
