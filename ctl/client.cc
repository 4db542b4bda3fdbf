#include "ctl/client.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/encoding.h"

namespace raftkv::client {
namespace {

using Json = nlohmann::json;

std::string KeyTarget(std::string_view key) { return "/kv/" + PercentEncode(key); }

const char* Name(Consistency consistency) {
  switch (consistency) {
    case Consistency::kLinearizable:
      return "linearizable";
    case Consistency::kLease:
      return "lease";
    case Consistency::kStale:
      return "stale";
  }
  return "linearizable";
}

std::string ReadQuery(const ReadOptions& options) {
  std::string query = std::string("?consistency=") + Name(options.consistency);
  if (options.revision != 0) query += "&revision=" + std::to_string(options.revision);
  return query;
}

void AddCondition(const Condition& condition, Request* request) {
  if (condition.mod_revision != 0)
    request->headers["If-Match"] = '"' + std::to_string(condition.mod_revision) + '"';
  if (condition.present) request->headers["If-Match"] = "*";
  if (condition.absent) request->headers["If-None-Match"] = "*";
}

// The revision in an entity tag, which stands between quotes.
uint64_t RevisionOfTag(const std::string& tag) {
  return tag.size() > 2 ? std::strtoull(tag.c_str() + 1, nullptr, 10) : 0;
}

Status Unexpected(const Answer& answer) {
  if (answer.status >= 400) return ProblemOf(answer);
  return Status(Code::kInternal, "unexpected answer " + std::to_string(answer.status) + " from " +
                                     answer.endpoint.ToString() + ": is it a raftkv node?");
}

std::string ListTarget(const ListRequest& request, uint64_t limit) {
  std::string target = "/kv/" + ReadQuery(request.read) + "&limit=" + std::to_string(limit);
  if (!request.prefix.empty()) target += "&prefix=" + PercentEncode(request.prefix);
  if (!request.start.empty()) target += "&start=" + PercentEncode(request.start);
  if (!request.end.empty()) target += "&end=" + PercentEncode(request.end);
  if (request.keys_only) target += "&keys_only=true";
  if (request.descending) target += "&order=desc";
  return target;
}

// A text field, or base64 if the field `encoding` says so. Throws what nlohmann throws.
Result<std::string> Bytes(const Json& item, const char* field, const char* encoding) {
  std::string text = item.value(field, "");
  if (item.value(encoding, "") == "base64") return Base64Decode(text);
  return text;
}

Result<KeyValue> ParseItem(const Json& item) {
  KeyValue out;
  ASSIGN_OR_RETURN(out.key, Bytes(item, "key", "key_encoding"));
  ASSIGN_OR_RETURN(out.value, Bytes(item, "value", "encoding"));
  out.create_revision = item.value("create_revision", uint64_t{0});
  out.mod_revision = item.value("mod_revision", uint64_t{0});
  out.version = item.value("version", uint64_t{0});
  return out;
}

}  // namespace

Client::Client(std::vector<Endpoint> endpoints, const Http::Options& options)
    : http_(std::move(endpoints), options) {}

Result<PutResult> Client::Put(std::string_view key, std::string_view value,
                              const Condition& condition) {
  Request request{
      .method = "PUT", .target = KeyTarget(key), .body = std::string(value), .headers = {}};
  request.headers["Content-Type"] = "application/octet-stream";
  AddCondition(condition, &request);
  ASSIGN_OR_RETURN(Answer answer, http_.Send(request));
  if (answer.status != 201 && answer.status != 204) return Error(Unexpected(answer));
  return PutResult{answer.NumberHeader("raftkv-revision"), answer.status == 201};
}

Result<GetResult> Client::Get(std::string_view key, const ReadOptions& options) {
  Request request{.method = "GET",
                  .target = KeyTarget(key) + ReadQuery(options),
                  .body = {},
                  .headers = {},
                  .safe = true};
  ASSIGN_OR_RETURN(Answer answer, http_.Send(request));
  if (answer.status != 200) return Error(Unexpected(answer));
  GetResult result;
  result.item.key = key;
  result.item.create_revision = answer.NumberHeader("raftkv-create-revision");
  result.item.mod_revision = RevisionOfTag(answer.Header("etag"));
  result.item.version = answer.NumberHeader("raftkv-version");
  result.revision = answer.NumberHeader("raftkv-revision");
  result.item.value = std::move(answer.body);
  return result;
}

Result<uint64_t> Client::Delete(std::string_view key, const Condition& condition) {
  Request request{.method = "DELETE", .target = KeyTarget(key), .body = {}, .headers = {}};
  AddCondition(condition, &request);
  ASSIGN_OR_RETURN(Answer answer, http_.Send(request));
  if (answer.status != 204) return Error(Unexpected(answer));
  return answer.NumberHeader("raftkv-revision");
}

Result<Client::Page> Client::ReadPage(const std::string& target) {
  Request request{.method = "GET", .target = target, .body = {}, .headers = {}, .safe = true};
  ASSIGN_OR_RETURN(Answer answer, http_.Send(request));
  if (answer.status != 200) return Error(Unexpected(answer));
  auto garbled = [&] {
    return Error(Code::kInternal, "unintelligible list from " + answer.endpoint.ToString());
  };
  try {
    Json body = Json::parse(answer.body);
    Page page;
    page.revision = body.at("revision").get<uint64_t>();
    page.count = body.at("count").get<uint64_t>();
    page.more = body.value("more", false);
    for (const Json& item : body.value("items", Json::array())) {
      ASSIGN_OR_RETURN(KeyValue parsed, ParseItem(item));
      page.items.push_back(std::move(parsed));
    }
    if (page.more && page.items.empty()) return garbled();
    return page;
  } catch (const Json::exception&) {
    return garbled();
  }
}

Result<uint64_t> Client::List(const ListRequest& request,
                              const std::function<Status(const std::vector<KeyValue>&)>& on_page) {
  ListRequest next = request;
  uint64_t left = request.limit;
  std::string after;
  while (true) {
    uint64_t size = left == 0 ? request.page_size : std::min(left, request.page_size);
    std::string target = ListTarget(next, size);
    if (!after.empty()) target += "&after=" + PercentEncode(after);
    ASSIGN_OR_RETURN(Page page, ReadPage(target));
    RETURN_UNEXPECTED_IF_ERROR(on_page(page.items));
    if (left != 0) left -= std::min<uint64_t>(left, page.items.size());
    bool enough = request.limit != 0 && left == 0;
    if (!page.more || enough) return page.revision;
    // Later pages show what the first one did, whatever is written meanwhile.
    next.read.revision = page.revision;
    after = page.items.back().key;
  }
}

Result<uint64_t> Client::Count(const ListRequest& request) {
  ASSIGN_OR_RETURN(Page page, ReadPage(ListTarget(request, 1) + "&count_only=true"));
  return page.count;
}

Result<uint16_t> Client::AdminPort(const Endpoint& endpoint) {
  Request request{.method = "GET", .target = "/cluster", .body = {}, .headers = {}, .safe = true};
  ASSIGN_OR_RETURN(Answer answer, http_.SendTo(endpoint, request));
  if (answer.status != 200) return Error(Unexpected(answer));
  Json body = Json::parse(answer.body, nullptr, false);
  if (!body.is_object() || !body.contains("admin_port") || !body["admin_port"].is_number_unsigned())
    return Error(Code::kInternal, endpoint.ToString() + " does not tell its admin port");
  return body["admin_port"].get<uint16_t>();
}

}  // namespace raftkv::client
