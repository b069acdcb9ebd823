// What the benchmarks print: rows of one Markdown table, and the statistics in
// them.

#ifndef UNDERSTUDY_TESTS_BENCH_REPORT_H_
#define UNDERSTUDY_TESTS_BENCH_REPORT_H_

#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace understudy::bench {

// Sorts `values`, of which there is at least one.
double Median(std::vector<double> values);
// The smallest value that `percent` of all do not exceed.
double Percentile(std::vector<double> values, double percent);

// In the units of the table: "1.71 M", "326 k", "42".
std::string Count(double count);
std::string Fixed(double value, int digits);

// A row is printed whole, as soon as it is known.
struct Row {
  std::string what;
  std::string measured;
  std::string reference;  // of the same run; what it is goes in here, too
  std::string ratio;
  std::string must;
  std::string aim;
};
void Print(const Row& row);

// Ends the program, with the reason, if there is one.
inline void OrDie(const absl::Status& status, std::string_view what) {
  if (status.ok()) return;
  std::cerr << what << ": " << status.ToString() << "\n";
  std::exit(1);
}
template <typename T>
T OrDie(absl::StatusOr<T> value, std::string_view what) {
  OrDie(value.status(), what);
  return *std::move(value);
}

}  // namespace understudy::bench

#endif  // UNDERSTUDY_TESTS_BENCH_REPORT_H_
