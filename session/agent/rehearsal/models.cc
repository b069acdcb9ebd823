#include "session/agent/rehearsal/models.h"

#include <algorithm>
#include <utility>

namespace understudy::session {

Models::Models(const std::vector<std::string>& more,
               std::vector<std::string> bad)
    : models_{{"claude-opus-5-5", "opus", "Opus 5.5",
               "Opus 5.5 · Best for everyday, complex tasks", 4e-6, 20e-6},
              {"claude-sonnet-5-5", "sonnet", "Sonnet 5.5",
               "Sonnet 5.5 · Efficient for routine tasks", 2e-6, 10e-6},
              {"claude-haiku-5-5", "haiku", "Haiku 5.5",
               "Haiku 5.5 · Fastest for quick answers", 1e-7, 5e-7},
              {"claude-fable-5-2", "fable", "Fable 5.2",
               "Fable 5.2 · Most capable for your hardest tasks", 8e-6, 40e-6}},
      bad_(std::move(bad)) {
  for (const std::string& id : more) models_.push_back({id, "", id, id});
}

std::string Models::Resolve(std::string_view name) const {
  if (name == "default") return default_id();
  std::string_view stem = name.substr(0, name.find('['));
  for (const Model& model : models_) {
    if (!model.alias.empty() && model.alias == stem) {
      return model.id + std::string(name.substr(stem.size()));
    }
  }
  return std::string(name);
}

const Model* Models::Find(std::string_view id) const {
  if (std::find(bad_.begin(), bad_.end(), id) != bad_.end()) return nullptr;
  std::string_view stem = id.substr(0, id.find('['));
  for (const Model& model : models_) {
    if (model.id == stem || model.id == id) return &model;
  }
  return nullptr;
}

}  // namespace understudy::session
