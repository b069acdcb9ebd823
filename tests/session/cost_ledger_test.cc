#include "session/cost_ledger.h"

#include <optional>

#include "gtest/gtest.h"

namespace understudy::session {
namespace {

TEST(CostLedgerTest, ATurnCostsWhatTheTotalHasGrownBy) {
  CostLedger ledger;
  EXPECT_DOUBLE_EQ(ledger.Spent(0.5), 0.5);
  EXPECT_DOUBLE_EQ(ledger.Spent(0.75), 0.25);
  EXPECT_DOUBLE_EQ(ledger.Spent(0.75), 0);
}

TEST(CostLedgerTest, ATotalThatFallsHasStartedAgain) {
  CostLedger ledger;
  ledger.Spent(2);
  EXPECT_DOUBLE_EQ(ledger.Spent(0.25), 0.25);
  EXPECT_DOUBLE_EQ(ledger.Spent(0.5), 0.25);
}

TEST(CostLedgerTest, AnotherProcessMayStartFromNothingWithAHigherTotal) {
  CostLedger ledger;
  ledger.Spent(2);
  ledger.Reset(0);
  EXPECT_DOUBLE_EQ(ledger.Spent(3), 3);
}

TEST(CostLedgerTest, E8_AnotherProcessMayCountOnFromWhatWasSpentBefore) {
  CostLedger ledger;
  ledger.Spent(2);
  ledger.Reset(2);
  EXPECT_DOUBLE_EQ(ledger.Spent(2.25), 0.25);
}

TEST(CostLedgerTest, WhatWasSpentBeforeAnUnknownStartIsNotCountedTwice) {
  CostLedger ledger;
  ledger.Spent(2);
  ledger.Reset(std::nullopt);
  EXPECT_DOUBLE_EQ(ledger.Spent(2.25), 0);
  EXPECT_DOUBLE_EQ(ledger.Spent(2.5), 0.25);
}

}  // namespace
}  // namespace understudy::session
