// SharedProcess over the fake launcher: seats that write JSON-RPC by hand.

#include "session/agent/shared_process.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_launcher.h"
#include "tests/fakes/fake_loop.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::Not;

class SharedProcessTest : public ::testing::Test {
 protected:
  // Who sits on a seat.
  struct Sitter final : Subprocess::Observer {
    void OnStarted(pid_t) override { Note("started"); }
    void OnLine(char* line, size_t size) override {
      Note(std::string(line, size));
    }
    void OnLinesDone() override { ++quiet; }
    void OnExit(const ExitStatus& status) override {
      exit = status;
      Note("exit");
    }
    void Note(const std::string& what) {
      log.push_back(what);
      if (on_call) on_call(what);
    }

    std::unique_ptr<Subprocess> seat;
    std::vector<std::string> log;
    std::optional<ExitStatus> exit;
    int quiet = 0;
    std::function<void(const std::string&)> on_call;
  };

  void Sit(Sitter& sitter) {
    auto seat = shared_->Launch(command_, &sitter);
    ASSERT_THAT(seat.status(), IsOk());
    sitter.seat = *std::move(seat);
    loop_.RunUntilIdle();
  }
  void SitAll() {
    for (Sitter* sitter : {&a_, &b_, &c_}) {
      Sit(*sitter);
      sitter->log.clear();
    }
    a_.seat->Subscribe("A");
    b_.seat->Subscribe("B");
    c_.seat->Subscribe("C");
  }

  void Ask(Sitter& sitter, const std::string& id, const std::string& method) {
    EXPECT_THAT(sitter.seat->WriteLine(JsonRpcRequest(id, method, "{}")),
                IsOk());
    loop_.RunUntilIdle();
  }
  static std::string Answer(const std::string& id) {
    return JsonRpcResult("\"" + id + "\"", "{}");
  }
  static std::string Of(const std::string& channel) {
    return JsonRpcNotification("session/update",
                               R"({"sessionId":")" + channel + R"("})");
  }
  static std::string Wants(int id, const std::string& channel) {
    return absl::StrCat(R"({"jsonrpc":"2.0","id":)", id,
                        R"(,"method":"ask","params":{"sessionId":")", channel,
                        R"("}})");
  }
  void Say(std::vector<std::string> lines) {
    child().Say(std::move(lines));
    loop_.RunUntilIdle();
  }
  FakeChild& child() { return launcher_.last(); }

  FakeLoop loop_;
  FakeLauncher launcher_{loop_};
  std::shared_ptr<SharedProcess> shared_ =
      SharedProcess::Create(loop_, launcher_);
  Command command_{.argv = {"agent"}};
  Sitter a_, b_, c_;
};

TEST_F(SharedProcessTest, ThereIsOneChildForAll) {
  SitAll();
  EXPECT_EQ(launcher_.children(), 1u);
  EXPECT_EQ(a_.seat->pid(), c_.seat->pid());
  EXPECT_TRUE(a_.seat->shared());
}

TEST_F(SharedProcessTest, EachGetsItsOwnLinesAndAllWhatIsNobodys) {
  SitAll();
  Ask(a_, "a-1", "session/prompt");
  Ask(b_, "b-1", "session/prompt");
  const std::string nobodys = JsonRpcNotification("status", "{}");
  Say({Answer("b-1"), Of("A"), Of("B"), Answer("a-1"), nobodys, "garbage"});
  EXPECT_THAT(a_.log, ElementsAre(Of("A"), Answer("a-1"), nobodys, "garbage"));
  EXPECT_THAT(b_.log, ElementsAre(Answer("b-1"), Of("B"), nobodys, "garbage"));
  EXPECT_THAT(c_.log, ElementsAre(nobodys, "garbage"));
  EXPECT_EQ(a_.quiet, 1);
  c_.quiet = 0;
  Say({Of("A")});
  EXPECT_EQ(a_.quiet, 2);
  EXPECT_EQ(c_.quiet, 0);
  EXPECT_TRUE(shared_->Knows("B"));
  EXPECT_FALSE(shared_->Knows("D"));
}

TEST_F(SharedProcessTest, WhatIsTheSameForAllIsAskedOnce) {
  Sit(a_);
  Ask(a_, "a-1", "initialize");
  Sit(b_);
  Ask(b_, "b-1", "initialize");
  EXPECT_THAT(child().lines(), ElementsAre(HasSubstr("a-1")));
  Say({Answer("a-1")});
  Sit(c_);
  Ask(c_, "c-1", "initialize");
  EXPECT_THAT(child().lines(), ElementsAre(HasSubstr("a-1")));
  EXPECT_THAT(a_.log, ElementsAre("started", Answer("a-1")));
  EXPECT_THAT(b_.log, ElementsAre("started", Answer("b-1")));
  EXPECT_THAT(c_.log, ElementsAre("started", Answer("c-1")));
}

TEST_F(SharedProcessTest, WhatFailedIsAskedAgain) {
  Sit(a_);
  Ask(a_, "a-1", "initialize");
  Say({JsonRpcError("\"a-1\"", 1, "not now")});
  Sit(b_);
  Ask(b_, "b-1", "initialize");
  EXPECT_THAT(child().lines(), ElementsAre(HasSubstr("a-1"), HasSubstr("b-1")));
  Say({Answer("b-1")});
  EXPECT_EQ(b_.log.back(), Answer("b-1"));
}

TEST_F(SharedProcessTest, WhoAskedFirstMayBeGoneBeforeTheAnswer) {
  Sit(a_);
  Ask(a_, "a-1", "initialize");
  Sit(b_);
  Ask(b_, "b-1", "initialize");
  a_.seat.reset();
  Say({Answer("a-1")});
  EXPECT_THAT(a_.log, ElementsAre("started"));
  EXPECT_EQ(b_.log.back(), Answer("b-1"));
}

TEST_F(SharedProcessTest, ARequestForNobodyIsRefused) {
  SitAll();
  Say({Wants(0, "D")});
  EXPECT_THAT(child().lines(),
              ElementsAre(R"({"jsonrpc":"2.0","id":0,"error":{"code":-32602,)"
                          R"("message":"no such session here"}})"));
  EXPECT_THAT(a_.log, IsEmpty());
}

TEST_F(SharedProcessTest, ARequestThatNamesNobodyIsRefusedOnce) {
  SitAll();
  Say({R"({"jsonrpc":"2.0","id":7,"method":"fs/read_text_file","params":{}})"});
  EXPECT_THAT(child().lines(), SizeIs(1));
  EXPECT_THAT(a_.log, IsEmpty());
}

TEST_F(SharedProcessTest, OnceOneHasLeftAChildThatHoldsOnOnlyHeMayComeBack) {
  SitAll();
  a_.seat->HoldsOn();
  EXPECT_TRUE(shared_->MayJoin("E"));
  b_.seat->Stop(absl::Seconds(1));
  loop_.RunUntilIdle();
  EXPECT_FALSE(shared_->MayJoin("E"));
  EXPECT_FALSE(shared_->MayJoin(""));
  EXPECT_TRUE(shared_->MayJoin("B"));
}

TEST_F(SharedProcessTest, WhoIsStoppedLeavesWhenAllIsAnswered) {
  SitAll();
  Ask(a_, "a-1", "session/prompt");
  a_.seat->Stop(absl::Seconds(5));
  EXPECT_FALSE(a_.exit.has_value()) << "called from inside the call";
  loop_.Advance(absl::Seconds(1));
  EXPECT_FALSE(a_.exit.has_value());
  // It hears the rest, but can answer nothing.
  Say({Of("A"), Wants(7, "A")});
  EXPECT_THAT(a_.log, ElementsAre(Of("A")));
  EXPECT_THAT(child().lines().back(), HasSubstr("\"id\":7,\"error\""));
  EXPECT_EQ(a_.seat->WriteLine("{}").code(),
            absl::StatusCode::kFailedPrecondition);
  Say({Answer("a-1")});
  ASSERT_TRUE(a_.exit.has_value());
  EXPECT_EQ(a_.exit->cause, ExitStatus::Cause::kStopped);
  EXPECT_TRUE(shared_->MayJoin(""));
  EXPECT_FALSE(child().stopping());
  Say({Of("B")});
  EXPECT_THAT(b_.log, ElementsAre(Of("B")));
}

TEST_F(SharedProcessTest, WhoHasAskedNothingLeavesAtOnce) {
  SitAll();
  // An extension need not be answered.
  Ask(a_, "a-1", "_their/own");
  a_.seat->Stop(absl::Seconds(5));
  loop_.RunUntilIdle();
  EXPECT_TRUE(a_.exit.has_value());
  EXPECT_TRUE(shared_->MayJoin(""));
}

TEST_F(SharedProcessTest, WhoIsNotAnsweredCondemnsTheProcessButNobodyElse) {
  SitAll();
  Ask(a_, "a-1", "session/prompt");
  a_.seat->Stop(absl::ZeroDuration());
  a_.seat->Stop(absl::Seconds(9));  // no longer than before
  loop_.Advance(absl::Seconds(1));
  ASSERT_TRUE(a_.exit.has_value());
  EXPECT_EQ(a_.exit->cause, ExitStatus::Cause::kStopped);
  EXPECT_FALSE(shared_->MayJoin(""));
  EXPECT_FALSE(shared_->Launch(command_, &a_).ok());
  EXPECT_FALSE(child().stopping());
  a_.seat.reset();
  Say({Answer("a-1"), Of("A"), Of("B")});
  EXPECT_THAT(a_.log, ElementsAre("exit"));
  EXPECT_THAT(b_.log, ElementsAre(Of("B")));
  b_.seat->Stop(absl::Seconds(1));
  c_.seat->Stop(absl::Seconds(1));
  EXPECT_TRUE(child().stopping());
  loop_.RunUntilIdle();
  EXPECT_TRUE(b_.exit.has_value() && c_.exit.has_value());
}

TEST_F(SharedProcessTest, TheLastOneStopsTheChild) {
  Sit(a_);
  EXPECT_FALSE(a_.seat->shared());
  Sit(b_);
  b_.seat->Stop(absl::Seconds(1));
  loop_.RunUntilIdle();
  EXPECT_FALSE(a_.seat->shared());
  EXPECT_FALSE(child().stopping());
  a_.seat->Stop(absl::Seconds(4));
  EXPECT_EQ(child().grace(), absl::Seconds(4));
  EXPECT_FALSE(shared_->MayJoin(""));
  loop_.RunUntilIdle();
  EXPECT_EQ(a_.exit->cause, ExitStatus::Cause::kStopped);
}

TEST_F(SharedProcessTest, TheChildsEndIsTheEndOfAllOnce) {
  SitAll();
  Ask(b_, "b-1", "session/prompt");
  b_.seat->Stop(absl::Seconds(5));
  ExitStatus status;
  status.cause = ExitStatus::Cause::kSignaled;
  status.signal = 9;
  child().Exit(status);
  loop_.RunUntilIdle();
  EXPECT_EQ(a_.exit->cause, ExitStatus::Cause::kSignaled);
  EXPECT_EQ(b_.exit->cause, ExitStatus::Cause::kStopped);
  loop_.Advance(absl::Seconds(10));
  for (Sitter* sitter : {&a_, &b_, &c_}) {
    EXPECT_THAT(sitter->log, ElementsAre("exit"));
    sitter->seat->Stop(absl::ZeroDuration());
  }
  EXPECT_FALSE(shared_->MayJoin(""));
}

TEST_F(SharedProcessTest, WhoIsDestroyedHearsNoMoreAndNobodyJoins) {
  SitAll();
  Ask(a_, "a-1", "session/prompt");
  a_.seat.reset();
  EXPECT_FALSE(shared_->MayJoin(""));
  Say({Answer("a-1"), Of("A"), Wants(3, "A"), Of("B")});
  EXPECT_THAT(a_.log, IsEmpty());
  EXPECT_THAT(child().lines().back(), HasSubstr("\"id\":3,\"error\""));
  EXPECT_THAT(b_.log, ElementsAre(Of("B")));
  b_.seat.reset();
  EXPECT_FALSE(child().destroyed());
  c_.seat.reset();
  EXPECT_TRUE(child().destroyed());
}

TEST_F(SharedProcessTest, TheLastThatStaysMayBeDestroyedWhileAnotherLeaves) {
  Sit(a_);
  Sit(b_);
  Ask(a_, "a-1", "session/prompt");
  a_.seat->Stop(absl::Seconds(60));
  b_.seat.reset();
  EXPECT_TRUE(child().stopping());
  loop_.RunUntilIdle();
  EXPECT_TRUE(a_.exit.has_value());
}

TEST_F(SharedProcessTest, ASeatMayBeDestroyedFromInsideItsOwnCalls) {
  for (const std::string& when :
       {Answer("a-1"), Of("A"), std::string("nobody"), std::string("exit")}) {
    for (const bool all : {false, true}) {
      shared_ = SharedProcess::Create(loop_, launcher_);
      a_.log.clear();
      SitAll();
      Ask(a_, "a-1", "initialize");
      Ask(b_, "b-1", "initialize");
      a_.on_call = [&](const std::string& what) {
        if (what != when) return;
        if (all) b_.seat.reset();
        if (all) c_.seat.reset();
        a_.seat.reset();
      };
      b_.on_call = [](const std::string&) {};
      child().Say({Answer("a-1"), Of("A"), "nobody", Of("B")});
      child().Exit();
      shared_.reset();
      loop_.RunUntilIdle();
      EXPECT_EQ(a_.seat, nullptr);
      EXPECT_EQ(a_.log.back(), when);
      b_.seat.reset();
      c_.seat.reset();
      b_.log.clear();
      a_.on_call = nullptr;
    }
  }
}

TEST_F(SharedProcessTest, ASeatMayBeDestroyedWhenItIsGone) {
  SitAll();
  a_.on_call = [this](const std::string&) { a_.seat.reset(); };
  a_.seat->Stop(absl::ZeroDuration());
  loop_.RunUntilIdle();
  EXPECT_EQ(a_.seat, nullptr);
  EXPECT_TRUE(shared_->MayJoin(""));
  Sit(a_);
}

TEST_F(SharedProcessTest, OneThatDoesNotReadHoldsAllUpUntilItLeaves) {
  SitAll();
  a_.seat->set_reading(false);
  EXPECT_FALSE(child().reading());
  b_.seat->set_reading(true);
  EXPECT_FALSE(child().reading());
  Ask(a_, "a-1", "session/prompt");
  a_.seat->Stop(absl::Seconds(9));
  EXPECT_TRUE(child().reading());
  b_.seat->set_reading(false);
  EXPECT_FALSE(child().reading());
  b_.seat.reset();
  EXPECT_TRUE(child().reading());
}

TEST_F(SharedProcessTest, AChildThatDoesNotStartEndsAll) {
  launcher_.RefuseNext(2);
  auto first = shared_->Launch(command_, &a_);
  auto second = shared_->Launch(command_, &b_);
  ASSERT_TRUE(first.ok() && second.ok());
  loop_.RunUntilIdle();
  EXPECT_THAT(a_.log, ElementsAre("exit"));
  EXPECT_THAT(b_.log, ElementsAre("exit"));
  EXPECT_EQ(b_.exit->cause, ExitStatus::Cause::kNotStarted);
}

TEST_F(SharedProcessTest, ALaunchThatFailsClosesIt) {
  launcher_.FailNext(absl::UnavailableError("no descriptors"));
  EXPECT_FALSE(shared_->Launch(command_, &a_).ok());
  EXPECT_FALSE(shared_->MayJoin(""));
}

}  // namespace
}  // namespace understudy::session
