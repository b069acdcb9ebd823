// From an event to the bytes of the wire: the bounds of the API (no event
// above 3 MiB; long texts in parts, other long fields cut) and the framing in
// which streams send them. Pure functions; any thread.

#ifndef UNDERSTUDY_SESSION_EVENT_CODEC_H_
#define UNDERSTUDY_SESSION_EVENT_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "session/agent/agent.h"
#include "understudy/v1/event.pb.h"

namespace understudy::session {

// A field's text in one event, and a raw line. An event without its line takes
// less than two of them, and so stays below the 3 MiB of the API with it.
inline constexpr size_t kMaxFieldBytes = 1 << 20;

// An event as one that fits, or for a long message, thought or tool_result as
// several parts. What is longest in any other is cut at a character's boundary,
// with truncated_bytes.
std::vector<v1::Event> SplitEvent(v1::Event event);

// Appends field 2 (`events` of Batch) with these bytes as its value.
// `tail` is part of the value: protobuf messages can be concatenated.
void AppendFrame(std::string& out, std::string_view event,
                 std::string_view tail = {});

// Field `raw` of Event, encoded, at most kMaxFieldBytes of it (then with
// truncated_bytes).
std::string EncodeRaw(std::string_view raw);

// The frame at the start of `frames`, without tag and length; `frames` moves
// behind it. `frames` must be well formed and not empty.
std::string_view NextFrame(std::string_view& frames);

// session_id, after_sequence and turn_id: what every delta of a turn begins
// with.
std::string EncodeDeltaPrefix(std::string_view session_id,
                              uint64_t after_sequence,
                              std::string_view turn_id);

// A delta, framed, is written by hand: it is what an agent says most.
size_t DeltaFrameSize(std::string_view prefix, DeltaKind kind,
                      std::string_view tool_call_id, std::string_view text);
void WriteDeltaFrame(char* out, std::string_view prefix, DeltaKind kind,
                     std::string_view tool_call_id, std::string_view text);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_EVENT_CODEC_H_
