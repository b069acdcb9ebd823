#include "service/server.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "service/build_info.h"
#include "session/base/id.h"
#include "session/base/log.h"
#include "session/process/sweep.h"

namespace understudy::service {
namespace {

using session::LogLevel;

constexpr int kReadingThreads = 2;

// How long calls may go on after the engine has drained.
constexpr absl::Duration kShutdownGrace = absl::Seconds(5);
// What the engine takes at most beyond the time it gives to running turns, and
// some room.
constexpr absl::Duration kDrainSlack = absl::Seconds(25);

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    Configuration configuration) {
  std::unique_ptr<Server> server(new Server(configuration.drain_timeout));
  if (absl::Status status = server->Assemble(std::move(configuration));
      !status.ok()) {
    return status;
  }
  return server;
}

Server::Server(absl::Duration drain_timeout)
    : drain_timeout_(drain_timeout), node_id_(session::NewUuid()) {}

absl::Status Server::Assemble(Configuration configuration) {
  const absl::Time start_time = absl::Now();
  absl::StatusOr<std::unique_ptr<session::Store>> store =
      session::OpenStore(configuration.store);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);

  session::PosixLauncherOptions launching;
  launching.guard_path = configuration.guard;
  absl::StatusOr<std::string> mark = session::NewServerMark();
  if (!mark.ok()) return mark.status();
  launching.marker_value = *mark;
  // Before the engine looks at the sessions they belonged to.
  if (const size_t killed =
          session::SweepLeftovers(launching.marker_name, *mark);
      killed > 0) {
    session::Log(LogLevel::kWarning, "killed what an earlier server left",
                 {{"processes", absl::StrCat(killed)}});
  }

  loop_ = session::NewAsioLoop();
  reading_ = session::NewBlocking(kReadingThreads);
  clearing_ = session::NewBlocking(1);
  committing_ = session::NewBlocking(1);
  launcher_ = session::NewPosixLauncher(*loop_, std::move(launching));
  configuration.engine.node_id = node_id_;
  manager_ = std::make_unique<session::SessionManager>(
      session::SessionManager::Ground{*loop_, *reading_, *clearing_,
                                      *committing_, *launcher_, *store_},
      std::move(configuration.engine));
  if (absl::Status status = manager_->Start(); !status.ok()) return status;
  loop_thread_ = std::thread([this] { loop_->Run(); });

  RpcServer::Options options;
  options.listeners = std::move(configuration.listeners);
  options.rules = std::move(configuration.rules);
  options.progress_interval = configuration.progress_interval;
  options.info = {.version = Version(),
                  .build = Build(),
                  .store_kind = std::string(store_->kind()),
                  .node_id = node_id_,
                  .start_time = start_time};
  absl::StatusOr<std::unique_ptr<RpcServer>> rpc =
      RpcServer::Start({*manager_, *loop_, *reading_}, std::move(options));
  if (!rpc.ok()) return rpc.status();
  rpc_ = *std::move(rpc);
  return absl::OkStatus();
}

// Runs `task` on the loop and waits for it.
void Server::RunOnLoop(session::Task task) {
  absl::Notification done;
  loop_->Post([&done, task = std::move(task)]() mutable {
    std::move(task)();
    done.Notify();
  });
  done.WaitForNotification();
}

absl::Duration Server::DrainBound() const {
  return drain_timeout_ + kDrainSlack + kShutdownGrace;
}

void Server::Drain() {
  rpc_->StopServing();
  absl::Notification drained;
  manager_->Drain(drain_timeout_, [&drained] { drained.Notify(); });
  drained.WaitForNotification();
  rpc_->EndStreams();
  rpc_->Shutdown(kShutdownGrace);
}

Server::~Server() {
  rpc_ = nullptr;
  if (loop_thread_.joinable()) {
    // What is the loop's goes where nothing else of the loop runs.
    RunOnLoop([this] {
      manager_ = nullptr;
      launcher_ = nullptr;
    });
  }
  manager_ = nullptr;
  launcher_ = nullptr;
  committing_ = nullptr;
  clearing_ = nullptr;
  reading_ = nullptr;
  if (loop_thread_.joinable()) {
    loop_->Post([this] { loop_->Stop(); });
    loop_thread_.join();
  }
  loop_ = nullptr;
}

}  // namespace understudy::service
