#include "session/model_names.h"

namespace understudy::session {

bool MayName(const std::vector<ModelInfo>& models, std::string_view asked,
             std::string_view reported) {
  if (asked.empty() || asked == reported) return true;
  for (const ModelInfo& info : models) {
    if (info.model == asked) {
      return info.resolved.empty() || info.resolved == reported;
    }
  }
  return reported.find(asked) != std::string_view::npos;
}

}  // namespace understudy::session
