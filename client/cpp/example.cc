// Creates a session, sends it a message, and prints what its agent says.
//
//   understudy-example TEXT [AGENT]

#include <filesystem>
#include <iostream>
#include <string>

#include "client/cpp/client.h"

namespace client = understudy::client;
namespace v1 = understudy::v1;

absl::Status Run(const std::string& text, const std::string& agent) {
  const auto server = client::Client::Connect();
  if (!server.ok()) return server.status();

  v1::CreateSessionRequest create;
  create.set_agent(agent);
  create.set_working_directory(std::filesystem::current_path().string());
  const auto session = (*server)->CreateSession(create);
  if (!session.ok()) return session.status();

  const auto events = (*server)->StreamEvents(
      {.session_id = session->session_id(), .after_sequence = 0});

  v1::SendMessageRequest send;
  send.set_session_id(session->session_id());
  send.set_text(text);
  const auto turn = (*server)->SendMessage(send);
  if (!turn.ok()) return turn.status();

  while (true) {
    const auto event = events->Next();
    if (!event.ok()) return event.status();
    if ((*event)->has_message()) std::cout << (*event)->message().text();
    if (!(*event)->has_turn_completed()) continue;
    std::cout << std::endl;
    const v1::TurnCompleted& completed = (*event)->turn_completed();
    if (completed.outcome() == v1::TURN_OUTCOME_SUCCEEDED) {
      return absl::OkStatus();
    }
    return absl::AbortedError(completed.error().reason() + ": " +
                              completed.error().message());
  }
}

int main(int argc, char** argv) {
  const absl::Status status =
      Run(argc > 1 ? argv[1] : "Hello", argc > 2 ? argv[2] : "");
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
