#include "tests/bench/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace understudy::bench {

double Percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(percent / 100 * values.size());
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

double Median(std::vector<double> values) {
  return Percentile(std::move(values), 50);
}

std::string Fixed(double value, int digits) {
  char text[64];
  snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string Count(double count) {
  if (count >= 1e6) return Fixed(count / 1e6, 2) + " M";
  if (count >= 1e3) return Fixed(count / 1e3, count >= 1e5 ? 0 : 1) + " k";
  return Fixed(count, 0);
}

void Print(const Row& row) {
  std::cout << "| " << row.what << " | " << row.measured << " | "
            << row.reference << " | " << row.ratio << " | " << row.must << " | "
            << row.aim << " |" << std::endl;
}

}  // namespace understudy::bench
