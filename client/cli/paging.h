// Lists that come in pages, as one.
//
// Threads: one.

#ifndef UNDERSTUDY_CLIENT_CLI_PAGING_H_
#define UNDERSTUDY_CLIENT_CLI_PAGING_H_

#include "absl/status/statusor.h"
#include "client/cli/command.h"

namespace understudy::client {

// Calls `method` until there is no next page; returns one answer with what they
// all have.
template <typename Request, typename Response>
absl::StatusOr<Response> ListAll(const Context& context,
                                 absl::StatusOr<Response> (Client::*method)(
                                     Request, const CallOptions&) const,
                                 Request request) {
  constexpr int kPageSize = 1000;  // the most a server gives
  Response all;
  request.set_page_size(kPageSize);
  do {
    const auto page = (context.client.*method)(request, context.Call());
    if (!page.ok()) return page.status();
    request.set_page_token(page->next_page_token());
    all.MergeFrom(*page);
  } while (!request.page_token().empty());
  all.clear_next_page_token();
  return all;
}

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CLI_PAGING_H_
