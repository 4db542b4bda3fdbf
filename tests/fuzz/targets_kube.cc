// Targets of the operator's Kubernetes client: the framing of the API server's answers, and what
// exec plugins print.

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/check.h"
#include "operator/kube/exec_plugin.h"
#include "operator/kube/http_connection.h"
#include "operator/kube/json.h"
#include "operator/kube/test_stream.h"
#include "operator/kube/timing.h"
#include "tests/fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

// --- Answers of the API server -------------------------------------------------------------------

// So small that an input reaches them.
constexpr kube::HttpLimits kLimits{.max_head_bytes = 512, .max_body_bytes = 1024};
constexpr size_t kMaxLine = 1024;  // of a chunk's head (http_connection.cc)

struct Answer {
  kube::HttpHead head;
  std::string body;
  bool whole = false;
  bool reusable = false;
  kube::ApiError error;

  bool operator==(const Answer& other) const {
    return head.status == other.head.status && head.headers == other.head.headers &&
           body == other.body && whole == other.whole && reusable == other.reusable &&
           error.reason == other.error.reason && error.message == other.error.message;
  }
};

Answer ReadAnswer(std::string_view bytes, size_t piece, bool pauses) {
  auto memory = std::make_unique<kube::MemoryStream>(std::string(bytes), piece, false);
  kube::MemoryStream* stream = memory.get();
  kube::HttpConnection connection(std::move(memory), kLimits);
  Answer answer;
  const auto check_memory = [&] {
    CHECK(connection.buffered_bytes() <= std::max(kLimits.max_head_bytes, kMaxLine) + 2 + piece,
          "what has been used is not kept");
  };
  const auto head =
      connection.Send({.method = "PATCH", .target = "/", .headers = {}, .body = {}}, {});
  check_memory();
  if (!head) {
    answer.error = head.error();
    CHECK(answer.error.may_have_happened, "who knows what a call without an answer has done");
    return answer;
  }
  answer.head = *head;
  stream->Pause(pauses);
  for (;;) {
    const auto read = connection.ReadSome({});
    check_memory();
    if (!read && read.error().Is(kube::Reason::kDeadline)) continue;
    if (!read) answer.error = read.error();
    answer.whole = read && read->empty();
    if (!read || read->empty()) break;
    answer.body += *read;
  }
  answer.reusable = connection.reusable();
  CHECK(answer.whole || !answer.reusable, "half an answer ends its connection");
  return answer;
}

void CheckAnswer(const Answer& answer, std::string_view input) {
  using kube::Reason;
  if (!answer.whole) {
    CHECK(answer.error.Is(Reason::kConnection) || answer.error.Is(Reason::kMalformed),
          "an answer ends, breaks or is none");
    CHECK(!answer.error.message.empty() && answer.error.message.size() < 200,
          "an error says what is wrong, and not all that was sent");
  }
  if (answer.head.status == 0) return;
  CHECK(answer.head.status >= 200 && answer.head.status <= 599, "interim answers are passed over");
  CHECK(answer.body.size() <= input.size(), "a body was sent");
  for (const auto& [name, value] : answer.head.headers) {
    CHECK(kube::IsHeaderText(name) && !name.empty() &&
              std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; }),
          "a name is one, in lower case");
    CHECK(answer.head.Header(name).data() != nullptr, "what is there is found");
  }
  if (!answer.whole) return;
  const std::string_view length = answer.head.Header("content-length");
  const bool chunked = !answer.head.Header("transfer-encoding").empty();
  if (!length.empty() && !chunked && answer.head.status != 204 && answer.head.status != 304) {
    CHECK(answer.body.size() == std::stoull(std::string(length)), "a body is as long as it says");
  }
}

// The same answer in words of ours, in chunks of `chunk` bytes.
std::string SaidAgain(const Answer& answer, size_t chunk) {
  std::string text = "HTTP/1.1 " + std::to_string(answer.head.status) + "\r\n";
  for (const auto& [name, value] : answer.head.headers) {
    if (name != "content-length" && name != "transfer-encoding" && name != "connection") {
      text += name + ": " + value + "\r\n";
    }
  }
  text += "transfer-encoding: chunked\r\n\r\n";
  if (answer.head.status == 204 || answer.head.status == 304) return text;
  for (size_t at = 0; at < answer.body.size(); at += chunk) {
    const std::string piece = answer.body.substr(at, chunk);
    char size[32];
    std::snprintf(size, sizeof(size), "%zx\r\n", piece.size());
    text += size + piece + "\r\n";
  }
  return text + "0\r\n\r\n";
}

void RunKubeAnswer(std::string_view input) {
  if (input.empty()) return;
  const size_t piece = static_cast<unsigned char>(input.front()) + size_t{1};
  input.remove_prefix(1);
  const Answer answer = ReadAnswer(input, input.size() + 1, false);
  CHECK(ReadAnswer(input, piece, false) == answer, "an answer does not depend on how it arrives");
  CHECK(ReadAnswer(input, piece, true) == answer, "a reader that has waited goes on where it was");
  CheckAnswer(answer, input);
  if (!answer.whole) return;
  const std::string again = SaidAgain(answer, piece);
  // Longer names and a head of ours may be beyond the limit of heads.
  if (again.find("\r\n\r\n") + 4 > kLimits.max_head_bytes) return;
  const Answer second = ReadAnswer(again, 7, true);
  CHECK(second.whole && second.body == answer.body && second.head.status == answer.head.status,
        "an answer in chunks is the same answer");
  CHECK(second.reusable, "a connection that is kept is kept");

  auto memory = std::make_unique<kube::MemoryStream>(std::string(input), piece, false);
  kube::HttpConnection connection(std::move(memory), kLimits);
  CHECK(connection.Send({.method = "GET", .target = "/", .headers = {}, .body = {}}, {}));
  const auto all = connection.ReadAll({});
  CHECK(
      all ? *all == answer.body && all->size() <= kLimits.max_body_bytes
          : all.error().Is(kube::Reason::kTooLarge) && answer.body.size() > kLimits.max_body_bytes,
      "a body is read at once as in pieces, up to its limit");
}

std::vector<std::string> KubeAnswerSeeds() {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
  const std::string busy = "HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
  return {
      "\x03" + ok + "Content-Length: 2\r\nConnection: close\r\n\r\n{}",
      "\x05" + chunked + "4\r\nabcd\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\n\r\n",
      "\x09HTTP/1.1 100 Continue\r\n\r\n" + busy,
      "\x02HTTP/1.0 503 Bad\r\n\r\n<html>bad gateway</html>",
      "\x10HTTP/1.1 204 No Content\r\n\r\n",
      "\x04" + ok + "Content-Length: 1\r\n\r\nx" + ok};
}

// --- Exec plugins --------------------------------------------------------------------------------

void RunExecCredential(std::string_view input) {
  const Result<kube::ExecCredential> credential = kube::ParseExecCredential(input);
  if (!credential) {
    CHECK(credential.error().message().starts_with("printed "), "a refusal says what was printed");
    return;
  }
  CHECK(!credential->token.empty() || !credential->client_certificate.empty(),
        "a credential proves something");
  CHECK(credential->client_certificate.empty() == credential->client_key.empty(),
        "a pair is whole");
  CHECK(kube::IsHeaderText(credential->token), "a token is one header's");
  kube::Json status = {{"token", credential->token},
                       {"clientCertificateData", credential->client_certificate},
                       {"clientKeyData", credential->client_key}};
  if (credential->expires_wall_micros) {
    CHECK(*credential->expires_wall_micros >= 0, "a date is one");
    status["expirationTimestamp"] = kube::FormatMicroTime(*credential->expires_wall_micros);
  }
  const Result<kube::ExecCredential> again = kube::ParseExecCredential(
      kube::Json({{"kind", "ExecCredential"}, {"status", status}}).dump());
  CHECK(again && again->token == credential->token &&
            again->client_certificate == credential->client_certificate &&
            again->client_key == credential->client_key &&
            again->expires_wall_micros == credential->expires_wall_micros,
        "the same words mean the same");
}

std::vector<std::string> ExecCredentialSeeds() {
  const std::string head =
      R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":)";
  return {head + R"({"token":"t","expirationTimestamp":"2026-01-31T12:00:00Z"}})",
          head + R"({"clientCertificateData":"-----BEGIN","clientKeyData":"k\n"},"spec":{}})",
          head + R"({"token":"t","clientCertificateData":"c","clientKeyData":"k",)" +
              R"("expirationTimestamp":"9999-12-31T23:59:59.999999+01:00"}})"};
}

}  // namespace

std::vector<Target> KubeTargets() {
  return {{"kube_answer", RunKubeAnswer, KubeAnswerSeeds},
          {"exec_credential", RunExecCredential, ExecCredentialSeeds}};
}

}  // namespace raftkv::fuzz
