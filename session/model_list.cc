#include "session/model_list.h"

namespace understudy::session {
namespace {

bool Names(const ModelInfo& info, std::string_view model) {
  return !model.empty() && (info.model == model || info.resolved == model);
}

}  // namespace

std::vector<ModelRow> ModelList(const Profile& profile,
                                const std::vector<ModelInfo>& listed,
                                std::string_view current) {
  const std::string& preset = profile.default_model;
  std::vector<ModelRow> rows;
  bool has_current = current.empty();
  bool has_default = preset.empty();
  for (const ModelInfo& info : listed) {
    ModelRow& row = rows.emplace_back();
    row.model = info.model;
    row.name = info.name;
    row.known = true;
    row.is_current = Names(info, current);
    row.is_default = preset.empty() ? info.is_default : Names(info, preset);
    has_current |= row.is_current;
    has_default |= row.is_default;
  }
  if (!has_default) {
    rows.push_back({.model = preset,
                    .name = preset,
                    .is_current = current == preset,
                    .is_default = true,
                    .known = false});
    has_current |= current == preset;
  }
  if (!has_current) {
    rows.push_back({.model = std::string(current),
                    .name = std::string(current),
                    .is_current = true,
                    .is_default = false,
                    .known = false});
  }
  return rows;
}

}  // namespace understudy::session
