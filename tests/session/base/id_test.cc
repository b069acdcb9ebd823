#include "session/base/id.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace understudy::session {
namespace {

TEST(IdTest, NewUuidsAreLowerCaseVersionFourAndDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string uuid = NewUuid();
    EXPECT_EQ(CanonicalUuid(uuid), uuid);
    EXPECT_EQ(uuid[14], '4');
    EXPECT_NE(std::string("89ab").find(uuid[19]), std::string::npos);
    seen.insert(uuid);
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(IdTest, RecognisesUuidsOfAnyCase) {
  EXPECT_TRUE(IsUuid("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"));
  EXPECT_TRUE(IsUuid("0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9"));
  EXPECT_TRUE(IsUuid("00000000-0000-0000-0000-000000000000"));
  for (const char* bad : {
           "",
           "0a1b2c3d",
           "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f",
           "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f90",
           "0a1b2c3d-4e5f-6071-8293_a4b5c6d7e8f9",
           "0a1b2c3d4-e5f-6071-8293-a4b5c6d7e8f9",
           "ga1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
           "{a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f}",
           " a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
           "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f\n",
       }) {
    EXPECT_FALSE(IsUuid(bad)) << bad;
    EXPECT_EQ(CanonicalUuid(bad), std::nullopt) << bad;
  }
}

TEST(IdTest, TheCanonicalUuidIsLowerCase) {
  EXPECT_EQ(CanonicalUuid("0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9"),
            "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9");
}

TEST(IdTest, ModelNamesMayHoldWhatVendorsUse) {
  for (const char* good :
       {"o3", "sonnet", "claude-sonnet-4-5-20250929", "sonnet[1m]",
        "us.anthropic.claude-opus-4-1-20250805-v1:0", "openai/gpt-5@latest",
        "a_b"}) {
    EXPECT_TRUE(IsModelName(good)) << good;
  }
  EXPECT_TRUE(IsModelName(std::string(128, 'm')));
  EXPECT_FALSE(IsModelName(std::string(129, 'm')));
  for (const char* bad :
       {"", "-x", "--model", ".x", "/etc/passwd", "[1m]", "a b", "a\n", "a;b",
        "a$b", "a\"b", "a\\b", "ä", "a,b", "a=b", "a*"}) {
    EXPECT_FALSE(IsModelName(bad)) << bad;
  }
  EXPECT_FALSE(IsModelName(std::string("a\0b", 3)));
}

TEST(IdTest, OtherIdsAreNarrower) {
  for (const char* good : {"a", "0", "perm-1", "a:b.c_d-e"}) {
    EXPECT_TRUE(IsId(good)) << good;
  }
  EXPECT_TRUE(IsId(std::string(128, 'i')));
  EXPECT_FALSE(IsId(std::string(129, 'i')));
  for (const char* bad : {"", "-a", ":a", "a/b", "../a", "a@b", "a[0]", "a b",
                          "a\n", "\xC3\xA4"}) {
    EXPECT_FALSE(IsId(bad)) << bad;
  }
  EXPECT_FALSE(IsId(std::string("a\0b", 3)));
}

}  // namespace
}  // namespace understudy::session
