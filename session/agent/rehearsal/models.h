// The models that the scripted agent's imaginary API knows.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_MODELS_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_MODELS_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::session {

struct Model {
  std::string id;
  std::string alias;  // "" if it has none
  std::string name;
  std::string description;
  double dollars_per_input_token = 0;
  double dollars_per_output_token = 0;
};

class Models {
 public:
  // `more` are further ids the API knows, `bad` ids it does not know after
  // all.
  Models(const std::vector<std::string>& more, std::vector<std::string> bad);

  // The id that `name` (an alias, an id, "default") stands for; `name` itself
  // if it stands for nothing.
  std::string Resolve(std::string_view name) const;
  // Null if the API has no such model. A suffix such as "[1m]" is part of the
  // name of the same model.
  const Model* Find(std::string_view id) const;
  const std::string& default_id() const { return models_.front().id; }
  const std::vector<Model>& all() const { return models_; }

 private:
  std::vector<Model> models_;  // the first is the default
  std::vector<std::string> bad_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_MODELS_H_
