// GET /kv/?prefix=...: a page of keys as JSON.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "node/server/json_bytes.h"
#include "node/server/kv_api.h"
#include "node/server/query.h"
#include "node/server/text.h"

namespace raftkv::server {
namespace {

constexpr uint64_t kDefaultLimit = 1000;
constexpr uint64_t kMaxLimit = 10'000;

// The address of any page fits: prefix, start, end and after, percent-encoded; the byte more is for
// bounds that are made from a key.
static_assert(Limits{}.max_line_bytes >= 4 * 3 * (kv::kMaxKeyBytes + 1) + 1024);

struct RangeQuery {
  kv::RangeRequest range;
  runtime::Consistency consistency;
  Query query;  // as given, for the link to the next page
};

std::string Earlier(std::string a, std::string b) {  // of two ends; empty: no end
  if (a.empty() || b.empty()) return a.empty() ? b : a;
  return std::min(a, b);
}

Status ParseOrder(const Query& query, bool* descending) {
  std::string order = query.Text("order");
  if (!order.empty() && order != "asc" && order != "desc") {
    return Status(Code::kInvalidArgument, "order must be asc or desc.");
  }
  *descending = order == "desc";
  return Status::Ok();
}

// The bounds of the page: what prefix, start and end have in common, behind `after`.
void SetBounds(const Query& query, kv::RangeRequest* range) {
  std::string prefix = query.Text("prefix");
  range->start = std::max(query.Text("start"), prefix);
  range->end = query.Text("end");
  if (!prefix.empty()) range->end = Earlier(range->end, kv::PrefixEnd(prefix));
  const std::string* after = query.Find("after");
  if (!after) return;
  if (range->descending) {
    range->end = Earlier(range->end, *after);
  } else {
    range->start = std::max(range->start, *after + '\0');
  }
}

Result<RangeQuery> ParseRange(const HttpRequest& request) {
  RangeQuery result;
  ASSIGN_OR_RETURN(result.query,
                   Query::Parse(request, {"prefix", "start", "end", "limit", "after", "revision",
                                          "keys_only", "count_only", "order", "consistency"}));
  const Query& query = result.query;
  kv::RangeRequest& range = result.range;
  ASSIGN_OR_RETURN(result.consistency, query.Consistency());
  ASSIGN_OR_RETURN(range.limit, query.Number("limit", kDefaultLimit));
  ASSIGN_OR_RETURN(range.revision, query.Number("revision", 0));
  ASSIGN_OR_RETURN(range.keys_only, query.Flag("keys_only"));
  ASSIGN_OR_RETURN(range.count_only, query.Flag("count_only"));
  RETURN_UNEXPECTED_IF_ERROR(ParseOrder(query, &range.descending));
  if (range.limit == 0 || range.limit > kMaxLimit) {
    return Error(Code::kInvalidArgument,
                 "limit must be between 1 and " + std::to_string(kMaxLimit) + ".");
  }
  if (const std::string* after = query.Find("after"); after && after->empty()) {
    return Error(Code::kInvalidArgument, "after must be the last key of the page before.");
  }
  SetBounds(query, &range);
  return result;
}

void AppendItem(const kv::KeyValue& item, bool keys_only, std::string* out) {
  out->push_back('{');
  AppendBytes("key", "key_encoding", item.key, out);
  if (!keys_only) {
    out->push_back(',');
    AppendBytes("value", "encoding", item.value, out);
  }
  out->append(",\"create_revision\":").append(std::to_string(item.create_revision));
  out->append(",\"mod_revision\":").append(std::to_string(item.mod_revision));
  out->append(",\"version\":").append(std::to_string(item.version)).append("}");
}

// The relative URL of the next page, at the same revision.
std::string NextPage(const Query& query, const kv::RangeResult& result) {
  std::string url = "/kv/?";
  for (std::string_view name :
       {"prefix", "start", "end", "limit", "keys_only", "order", "consistency"}) {
    if (const std::string* value = query.Find(name)) {
      url.append(name).append("=").append(PercentEncode(*value)).append("&");
    }
  }
  return url + "revision=" + std::to_string(result.revision) +
         "&after=" + PercentEncode(result.items.back().key);
}

std::string Format(const RangeQuery& request, const kv::RangeResult& result) {
  std::string out = "{\"revision\":" + std::to_string(result.revision);
  if (request.range.count_only) {
    return out + ",\"count\":" + std::to_string(result.count) + "}\n";
  }
  out.append(",\"count\":").append(std::to_string(result.items.size()));
  out.append(",\"more\":").append(result.more ? "true" : "false");
  if (result.more) {
    out.append(",\"next\":").append(nlohmann::json(NextPage(request.query, result)).dump());
  }
  out.append(",\"items\":[");
  for (const kv::KeyValue& item : result.items) {
    if (out.back() == '}') out.push_back(',');
    AppendItem(item, request.range.keys_only, &out);
  }
  return out + "]}\n";
}

// Counts page by page, so that a large store cannot keep a thread beyond the request's time.
Result<kv::RangeResult> Count(const kv::StateMachine& state, kv::RangeRequest range,
                              MonotonicTime deadline) {
  range.count_only = false;
  range.keys_only = true;
  range.descending = false;
  range.limit = kMaxLimit;
  kv::RangeResult total;
  for (;;) {
    ASSIGN_OR_RETURN(kv::RangeResult page, state.Range(range));
    total.count += page.items.size();
    total.revision = range.revision = page.revision;
    if (!page.more) return total;
    if (Clock::System().Now() >= deadline) {
      return Error(Code::kUnavailable,
                   "There are more keys than can be counted in time (" +
                       std::to_string(total.count) +
                       " so far); count parts of the range with prefix, start and end.");
    }
    range.start = std::move(page.items.back().key) + '\0';
  }
}

Result<kv::RangeResult> Read(const kv::StateMachine& state, const kv::RangeRequest& range,
                             MonotonicTime deadline) {
  if (Clock::System().Now() >= deadline) {
    return Error(Code::kUnavailable,
                 "The request waited too long behind other listings; repeat it later.");
  }
  return range.count_only ? Count(state, range, deadline) : state.Range(range);
}

void Answer(const ExchangePtr& exchange, const kv::StateMachine& state, const RangeQuery& request,
            MonotonicTime deadline) {
  auto result = Read(state, request.range, deadline);
  if (!result && result.error().code() == Code::kConflict) {
    return exchange->Respond(Problem(410, result.error().message()));
  }
  if (!result) return RespondError(exchange, result.error());
  HttpResponse response;
  response.Add("Content-Type", "application/json");
  response.Add("Raftkv-Revision", result->revision);
  response.body = Format(request, *result);
  exchange->Respond(std::move(response));
}

}  // namespace

void AppendBytes(std::string_view name, std::string_view encoding_name, std::string_view bytes,
                 std::string* out) {
  bool text = IsUtf8(bytes);
  out->append("\"").append(name).append("\":");
  out->append(text ? nlohmann::json(bytes).dump() : '"' + Base64Encode(bytes) + '"');
  if (!text) out->append(",\"").append(encoding_name).append("\":\"base64\"");
}

void KvApi::Range(const ExchangePtr& exchange) const {
  auto request = ParseRange(exchange->request());
  if (!request) return RespondError(exchange, request.error());
  auto read = [exchange, service = service_, request = *request,
               deadline = service_->Deadline(exchange->request())](Status ready) {
    if (!ready.ok()) return RespondError(exchange, ready);
    service->RunBlocking(exchange, [exchange, service, request, deadline] {
      Answer(exchange, service->node().state(), request, deadline);
    });
  };
  service_->Barrier(exchange, request->consistency, std::move(read));
}

}  // namespace raftkv::server
