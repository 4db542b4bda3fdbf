#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/encoding.h"
#include "base/hex_id.h"
#include "node/server/conditions.h"
#include "node/server/http_head.h"
#include "node/server/message_codec.h"
#include "node/server/query.h"
#include "node/server/text.h"
#include "node/server/txn_api.h"
#include "raftkv/v1/admin.pb.h"
#include "tests/fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

using namespace server;  // NOLINT: its parsers are all that this file is about

// Where a head ends does not depend on how its bytes arrive, and what is accepted is sound.
void RunHead(std::string_view input) {
  const Limits limits;
  HeadScanner at_once(limits);
  const auto size = at_once.Scan(input);
  HeadScanner slowly(limits);
  for (size_t n = 1; n <= input.size(); ++n) {
    const auto part = slowly.Scan(input.substr(0, n));
    if (!part) {
      CHECK(!size, "a head that is refused early is refused as a whole");
      break;
    }
    if (*part > 0) {
      CHECK(size && *size == *part, "the same end");
      break;
    }
  }
  if (!size || *size == 0) return;
  const auto head = ParseHead(input.substr(0, *size), limits);
  if (!head) {
    CHECK(head.error().status >= 400 && head.error().status < 600);
    return;
  }
  CHECK(head->content_length <= limits.max_body_bytes);
  (void)Query::Parse(head->request, {"prefix", "start", "end", "limit", "revision"});
  (void)Conditions::Parse(head->request);
  (void)FormatOfBody(head->request);
  (void)FormatOfAnswer(head->request);
}

std::vector<std::string> HeadSeeds() {
  return {"GET /kv/a%2Fb?prefix=a&limit=3 HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\n\r\n",
          "PUT /kv/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nIf-Match: \"17\"\r\n\r\nabc",
          "GET http://h:1/kv/?start=x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
          "POST /admin/join HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
          "Expect: 100-continue\r\nAccept: application/protobuf;q=0.5\r\n\r\n"};
}

void RunText(std::string_view input) {
  if (const Result<std::string> bytes = PercentDecode(input)) {
    const Result<std::string> again = PercentDecode(PercentEncode(*bytes));
    CHECK(again && *again == *bytes, "encoding and decoding are inverse");
  }
  if (const Result<std::vector<QueryParameter>> parameters = ParseQuery(input)) {
    std::string query;
    for (const QueryParameter& each : *parameters) {
      query +=
          (query.empty() ? "" : "&") + PercentEncode(each.name) + "=" + PercentEncode(each.value);
    }
    const Result<std::vector<QueryParameter>> again = ParseQuery(query);
    CHECK(again && std::ranges::equal(*again, *parameters,
                                      [](const auto& a, const auto& b) {
                                        return a.name == b.name && a.value == b.value;
                                      }),
          "what was read of a query can be asked again");
  }
  if (const std::optional<uint64_t> number = ParseDecimal(input)) {
    CHECK(ParseDecimal(std::to_string(*number)) == number, "the same number");
    CHECK(input.find_first_not_of("0123456789") == std::string_view::npos, "digits alone");
  }
  if (const std::optional<uint64_t> id = ParseId(input)) {
    CHECK(EqualsIgnoreCase(HexId(*id), input), "an ID has one form");
  }
  // Another program's idea of UTF-8.
  const std::string dumped = nlohmann::json(std::string(input))
                                 .dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore);
  const nlohmann::json valid = nlohmann::json::parse(dumped);
  CHECK(IsUtf8(input) == (valid.get<std::string>() == input),
        "valid is what nothing is left out of");
  const Result<std::string> bytes = Base64Decode(Base64Encode(input));
  CHECK(bytes && *bytes == input, "what was encoded is decoded");
  (void)Base64Decode(input);
}

std::vector<std::string> TextSeeds() {
  return {"a%2Fb=c&d", "17", "00000000000000a1", "\xc3\xa4\xe2\x82\xac"};
}

template <typename Message>
void RunJson(std::string_view input) {
  Message message;
  if (!MessageFromJson(input, &message).ok()) return;
  Message again;
  const std::string json = MessageToJson(message).dump();
  CHECK(MessageFromJson(json, &again).ok(), "what we answer can be sent back");
  CHECK(again.SerializeAsString() == message.SerializeAsString());
}

void RunBodies(std::string_view input) {
  RunJson<v1::ChangeMembershipRequest>(input);
  RunJson<v1::InitializeRequest>(input);
  RunJson<v1::JoinRequest>(input);
  RunJson<v1::TransferLeadershipRequest>(input);
  RunJson<v1::CompactRequest>(input);
}

std::vector<std::string> BodySeeds() {
  return {R"({"expected_config_index":5,"promote":["00000000000000c3"],"force":true})",
          R"({"cluster_id":"00000000000000c1","members":[{"id":"00000000000000a1","name":"a"}]})",
          R"({"peer_addresses":["10.0.0.1:7071"],"remain_learner":true})", R"({"revision":2})"};
}

// A request that is taken keeps its shape as a protobuf, and its keys and values can be answered.
void RunTxn(std::string_view input) {
  const Result<v1::TxnRequest> request = TxnFromJson(input);
  if (!request) {
    CHECK(!request.error().message().empty(), "a refusal says why");
    return;
  }
  v1::TxnRequest again;
  CHECK(again.ParseFromString(request->SerializeAsString()), "what was read can be sent on");
  v1::TxnResponse response;
  response.set_succeeded(true);
  for (const auto* list : {&request->success(), &request->failure()}) {
    for (const v1::TxnRequest::Op& op : *list) {
      v1::TxnResponse::Item& item = *response.add_gets();
      item.set_found(op.has_put());
      item.set_key(op.has_put() ? op.put().key() : op.get().key());
      item.set_value(op.put().value());
    }
  }
  CHECK(nlohmann::json::accept(TxnToJson(response)), "what is answered is JSON");
}

std::vector<std::string> TxnSeeds() {
  return {R"({"compare":[{"key":"a","value":"100"}],"success":[{"put":{"key":"a","value":"80"}},)"
          R"({"get":{"key":"d/1"}}]})",
          R"({"compare":[{"key":"a","relation":"greater","version":5}],)"
          R"("success":[{"delete":{"prefix":"d/"}}],"failure":[{"get":{"key":"a"}}]})",
          R"({"compare":[{"key":"/w==","key_encoding":"base64","mod_revision":3}],)"
          R"("success":[{"put":{"key":"/w==","key_encoding":"base64","value":"/w==",)"
          R"("encoding":"base64"}},{"delete":{"key":"b"}}]})"};
}

}  // namespace

std::vector<Target> HttpTargets() {
  return {{"http_head", RunHead, HeadSeeds},
          {"http_text", RunText, TextSeeds},
          {"http_bodies", RunBodies, BodySeeds},
          {"txn_json", RunTxn, TxnSeeds}};
}

}  // namespace raftkv::fuzz
