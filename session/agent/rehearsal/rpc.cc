#include "session/agent/rehearsal/rpc.h"

#include <utility>

namespace understudy::session {

void RpcPeer::Result(const Json& id, const Json& result) {
  WriteLine(Dump({{"jsonrpc", "2.0"}, {"id", id}, {"result", result}}));
}

void RpcPeer::Error(const Json& id, const RpcError& error) {
  Json body = {{"code", error.code}, {"message", error.message}};
  if (!error.data.is_null()) body["data"] = error.data;
  WriteLine(Dump({{"jsonrpc", "2.0"}, {"id", id}, {"error", body}}));
}

void RpcPeer::Notify(std::string_view method, const Json& params) {
  WriteLine(Dump({{"jsonrpc", "2.0"}, {"method", method}, {"params", params}}),
            GetString(params, "sessionId"));
}

Json RpcPeer::UpdateFrame(const std::string& session_id, const Json& update) {
  return {{"jsonrpc", "2.0"},
          {"method", "session/update"},
          {"params", {{"sessionId", session_id}, {"update", update}}}};
}

void RpcPeer::Update(const std::string& session_id, const Json& update) {
  WriteLine(Dump(UpdateFrame(session_id, update)), session_id);
}

int64_t RpcPeer::Request(std::string_view method, const Json& params,
                         Answered answered) {
  const int64_t id = next_id_++;
  requests_[id] = std::move(answered);
  WriteLine(Dump({{"jsonrpc", "2.0"},
                  {"id", id},
                  {"method", method},
                  {"params", params}}),
            GetString(params, "sessionId"));
  return id;
}

void RpcPeer::OnResponse(const Json& message) {
  const Json& id = Get(message, "id");
  if (!id.is_number_integer()) return;
  auto request = requests_.find(id.get<int64_t>());
  if (request == requests_.end()) return;
  Answered answered = std::move(request->second);
  requests_.erase(request);
  answered(message);
}

void RpcPeer::WriteLine(const std::string& line,
                        const std::string& session_id) {
  if (log_lines_) {
    log_.Write({{"event", "line"}, {"session_id", session_id}, {"line", line}});
  }
  loop_.output().Line(line);
}

}  // namespace understudy::session
