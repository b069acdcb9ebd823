#include "session/process/memory_watchdog.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/process/proc.h"

namespace understudy::session {
namespace {

struct Process {
  pid_t pid;
  uint64_t resident_bytes;
};
using Children = std::unordered_map<pid_t, std::vector<Process>>;

Children AllChildren() {
  Children children;
  ForEachProcess([&children](pid_t pid) {
    const std::optional<ProcStat> stat = ReadProcStat(pid);
    if (!stat.has_value()) return;
    children[stat->parent].push_back({pid, stat->resident_bytes});
  });
  return children;
}

// What is orphaned becomes a child of the root, which is a subreaper, so that
// parents lead to every descendant, whatever session it has moved to. A pid
// that got another owner during the look could make a circle: each counts once.
std::vector<Process> Descendants(const Children& children, pid_t root) {
  std::vector<Process> found;
  std::set<pid_t> seen;
  std::vector<pid_t> parents = {root};
  while (!parents.empty()) {
    const pid_t parent = parents.back();
    parents.pop_back();
    const auto it = children.find(parent);
    if (!seen.insert(parent).second || it == children.end()) continue;
    for (const Process& child : it->second) {
      found.push_back(child);
      parents.push_back(child.pid);
    }
  }
  return found;
}

// Nothing if it is gone, or not ours to look at.
std::optional<uint64_t> ProportionalBytes(pid_t pid) {
  const auto text = ReadProcFile(absl::StrCat("/proc/", pid, "/smaps_rollup"));
  if (!text.has_value()) return std::nullopt;
  constexpr std::string_view kName = "\nPss:";
  const size_t at = text->find(kName);
  if (at == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(*text).substr(at + kName.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  const auto kib = ToNumber<uint64_t>(rest.substr(0, rest.find(' ')));
  if (!kib.has_value()) return std::nullopt;
  return *kib << 10;
}

}  // namespace

std::vector<uint64_t> MeasureMemory(const std::vector<MemoryBound>& trees) {
  const Children children = AllChildren();
  std::vector<uint64_t> measured;
  for (const MemoryBound& tree : trees) {
    const std::vector<Process> family = Descendants(children, tree.root);
    uint64_t bytes = 0;
    for (const Process& one : family) bytes += one.resident_bytes;
    if (bytes > tree.bytes) {
      bytes = 0;
      for (const Process& one : family) {
        bytes += ProportionalBytes(one.pid).value_or(one.resident_bytes);
      }
    }
    measured.push_back(bytes);
  }
  return measured;
}

class MemoryWatchdog::Watched final : public EventLoop::Handle {
 public:
  Watched(std::shared_ptr<MemoryWatchdog*> watchdog, Id id)
      : watchdog_(std::move(watchdog)), id_(id) {}
  ~Watched() override {
    if (*watchdog_ != nullptr) (*watchdog_)->trees_.erase(id_);
  }

 private:
  const std::shared_ptr<MemoryWatchdog*> watchdog_;
  const Id id_;
};

MemoryWatchdog::MemoryWatchdog(EventLoop& loop, Options options)
    : loop_(loop), options_(std::move(options)) {}

MemoryWatchdog::~MemoryWatchdog() { *self_ = nullptr; }

std::unique_ptr<EventLoop::Handle> MemoryWatchdog::Watch(MemoryBound bound,
                                                         Over over) {
  const Id id = ++last_id_;
  trees_[id] = {bound, std::move(over)};
  Schedule();
  return std::make_unique<Watched>(self_, id);
}

void MemoryWatchdog::Schedule() {
  if (timer_ != nullptr || measuring_ || trees_.empty()) return;
  timer_ = loop_.RunAfter(options_.interval, [this] { Measure(); });
}

void MemoryWatchdog::Measure() {
  timer_ = nullptr;
  if (trees_.empty()) return;
  std::vector<Id> ids;
  std::vector<MemoryBound> bounds;
  for (const auto& [id, tree] : trees_) {
    ids.push_back(id);
    bounds.push_back(tree.bound);
  }
  measuring_ = true;
  if (options_.blocking == nullptr && own_ == nullptr) own_ = NewBlocking(1);
  Blocking& blocking = own_ != nullptr ? *own_ : *options_.blocking;
  blocking.Run([&loop = loop_, self = self_, measure = options_.measure,
                ids = std::move(ids), bounds = std::move(bounds)]() mutable {
    std::vector<uint64_t> bytes = measure(bounds);
    loop.Post([self, ids = std::move(ids), bytes = std::move(bytes)] {
      if (*self != nullptr) (*self)->Measured(ids, bytes);
    });
  });
}

void MemoryWatchdog::Measured(const std::vector<Id>& ids,
                              const std::vector<uint64_t>& bytes) {
  measuring_ = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto it = trees_.find(ids[i]);
    if (it == trees_.end() || bytes[i] <= it->second.bound.bytes) continue;
    Over over = std::move(it->second.over);
    trees_.erase(it);
    std::move(over)(bytes[i]);
  }
  Schedule();
}

}  // namespace understudy::session
