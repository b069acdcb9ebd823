#include "session/cost_ledger.h"

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

TEST(CostLedgerTest, AnotherProcessStartsFromNothingEvenIfItsTotalIsHigher) {
  CostLedger ledger;
  ledger.Spent(2);
  ledger.Reset();
  EXPECT_DOUBLE_EQ(ledger.Spent(3), 3);
}

}  // namespace
}  // namespace understudy::session
