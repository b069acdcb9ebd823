// SharedProcess: one child process that serves several agents, each of which
// takes it for a process of its own. For protocols on JSON-RPC in which a
// process has many conversations.
//
// It stands in for the launcher: the first Launch starts the child, every later
// one joins it. What an agent is given is a seat: a Subprocess whose lines are
// those of its own requests' answers and of the channels (conversations) it has
// subscribed to. A line that belongs to nobody in particular is everybody's; a
// request of the child's that belongs to nobody is refused.
//
// A seat that is stopped while others stay has left when all that it asked has
// been answered, or when its time is over; then nobody may join any more, since
// the child may still be at what that seat wanted, and it ends with its last
// seat. A seat that is destroyed while it waits for an answer condemns the
// child in the same way. A child that ends takes all seats with it.
//
// Invariants: every seat has one OnExit, unless it is destroyed before; the
// child is stopped when the last seat that stays leaves.
//
// Threads: everything on the loop.

#ifndef UNDERSTUDY_SESSION_AGENT_SHARED_PROCESS_H_
#define UNDERSTUDY_SESSION_AGENT_SHARED_PROCESS_H_

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "session/agent/json_rpc.h"
#include "session/base/event_loop.h"
#include "session/base/json.h"
#include "session/process/subprocess.h"

namespace understudy::session {

class SharedProcess final : public Launcher,
                            public std::enable_shared_from_this<SharedProcess>,
                            private Subprocess::Observer {
 public:
  // Both outlive it; it outlives its seats by itself.
  static std::shared_ptr<SharedProcess> Create(EventLoop& loop,
                                               Launcher& launcher);
  ~SharedProcess() override;

  // `command` is the same each time.
  absl::StatusOr<std::unique_ptr<Subprocess>> Launch(
      const Command& command, Subprocess::Observer* observer) override;

  // Whether another agent may join, for `conversation` or ("") a new one. Once
  // a seat has left a child that holds on to what it opens, only who comes back
  // may: nobody else is to take the place of a conversation that is nowhere
  // else to be had.
  bool MayJoin(std::string_view conversation) const {
    return open_ && (!(holds_on_ && departed_) || Knows(conversation));
  }
  // Whether a seat has ever subscribed to `channel`.
  bool Knows(std::string_view channel) const {
    return known_.find(channel) != known_.end();
  }

 private:
  class Seat;

  // A request that has the same answer for every seat, and is asked once.
  struct Once {
    std::string asked_id;  // of the request that was written
    std::string answer;    // "": it is to come
    std::vector<std::pair<Seat*, std::string>> waiting;  // with their ids
  };

  SharedProcess(EventLoop& loop, Launcher& launcher)
      : loop_(loop), launcher_(launcher) {}

  // Subprocess::Observer, of the child.
  void OnStarted(pid_t pid) override;
  void OnLine(char* line, size_t size) override;
  void OnLinesDone() override;
  void OnExit(const ExitStatus& status) override;

  absl::Status Write(Seat& seat, std::string_view line);
  bool AskOnce(Seat& seat, std::string_view method, std::string_view id);
  void AnswerOnce(std::string_view id, std::string_view raw);
  void Deliver(Seat& seat, std::string_view line);
  void DeliverToAll(std::string_view line);
  bool Present(const Seat* seat) const;
  bool Alone(const Seat& seat) const;
  void Stop(Seat& seat, absl::Duration grace);
  void Left(Seat& seat, bool clean);
  void Remove(Seat& seat);
  void ApplyReading();

  EventLoop& loop_;
  Launcher& launcher_;
  std::unique_ptr<Subprocess> child_;
  bool open_ = true;
  bool holds_on_ = false;
  bool departed_ = false;  // a seat has left
  std::optional<ExitStatus> exit_;
  std::list<Seat*> seats_;
  std::map<std::string, Seat*, std::less<>> asked_;     // by request
  std::map<std::string, Seat*, std::less<>> channels_;  // by conversation
  std::set<std::string, std::less<>> known_;
  std::map<std::string, Once, std::less<>> once_;  // by method
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_SHARED_PROCESS_H_
