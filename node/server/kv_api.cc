#include "node/server/kv_api.h"

#include "node/server/conditions.h"
#include "node/server/query.h"
#include "node/server/read_key.h"
#include "node/server/text.h"

namespace raftkv::server {
namespace {

constexpr std::string_view kPrefix = "/kv/";

// What a read of one key asks for.
struct ReadRequest {
  std::string key;
  uint64_t revision = 0;
  Conditions conditions;
};

HttpResponse NoSuchKey(uint64_t revision) {
  HttpResponse response = Problem(404, "The key does not exist.");
  response.Add("Raftkv-Revision", revision);
  return response;
}

HttpResponse ConditionFailed(uint64_t mod_revision) {
  HttpResponse response =
      Problem(412, mod_revision == 0
                       ? "The key does not exist; nothing was changed."
                       : "The key is at revision " + std::to_string(mod_revision) +
                             " (its ETag), and the condition does not hold; nothing was changed.");
  if (mod_revision != 0) response.Add("ETag", FormatETag(mod_revision));
  return response;
}

// The state machine says kConflict of a revision that has been compacted.
HttpResponse ReadError(const Status& error) {
  if (error.code() == Code::kConflict) return Problem(410, error.message());
  return Problem(error, Audience::kClient);
}

void AnswerRead(const ExchangePtr& exchange, const kv::StateMachine& state,
                const ReadRequest& request, const KvApi::GetAnswer& answer) {
  auto found = ReadKey(state, request.key, request.revision);
  if (!found) return exchange->Respond(ReadError(found.error()));
  if (!found->item) {
    if (request.conditions.if_match) return exchange->Respond(ConditionFailed(0));
    return exchange->Respond(NoSuchKey(found->revision));
  }
  const kv::KeyValue& item = *found->item;
  auto verdict = request.conditions.ForRead(item.mod_revision);
  if (verdict == Conditions::Verdict::kFailed) {
    return exchange->Respond(ConditionFailed(item.mod_revision));
  }
  const bool unchanged = verdict == Conditions::Verdict::kNotModified;
  HttpResponse response = unchanged ? HttpResponse{.status = 304} : answer(item);
  response.Add("ETag", FormatETag(item.mod_revision));
  response.Add("Raftkv-Revision", found->revision);
  if (!unchanged) {
    response.Add("Raftkv-Create-Revision", item.create_revision);
    response.Add("Raftkv-Version", item.version);
  }
  exchange->Respond(std::move(response));
}

Result<std::optional<v1::Precondition>> WriteCondition(const HttpRequest& request) {
  ASSIGN_OR_RETURN(Conditions conditions, Conditions::Parse(request));
  return conditions.ForWrite();
}

}  // namespace

HttpResponse WriteAnswer(const kv::CommandResult& result) {
  HttpResponse response;
  response.status = result.created ? 201 : 204;
  response.Add("ETag", FormatETag(result.revision));
  response.Add("Raftkv-Revision", result.revision);
  return response;
}

HttpResponse ValueAnswer(const kv::KeyValue& item) {
  HttpResponse response;
  response.Add("Content-Type", "application/octet-stream");
  response.body = item.value;
  return response;
}

void KvApi::Handle(const ExchangePtr& exchange) const {
  const HttpRequest& request = exchange->request();
  std::string_view path = request.raw_path;
  bool reads = request.method == "GET" || request.method == "HEAD";
  if (path.size() <= kPrefix.size()) {
    SetRoute(exchange, Route::kRange);
    return reads ? Range(exchange) : exchange->Respond(MethodNotAllowed("GET, HEAD"));
  }
  auto key = PercentDecode(path.substr(kPrefix.size()));
  if (!key) return RespondError(exchange, key.error());
  if (reads) {
    Get(exchange, std::move(*key), ValueAnswer);
  } else if (request.method == "PUT") {
    Put(exchange, std::move(*key), request.body, WriteAnswer);
  } else if (request.method == "DELETE") {
    Delete(exchange, std::move(*key));
  } else {
    exchange->Respond(MethodNotAllowed("GET, HEAD, PUT, DELETE"));
  }
}

void KvApi::Put(const ExchangePtr& exchange, std::string key, std::string_view value,
                PutAnswer answer) const {
  SetRoute(exchange, Route::kKeyPut);
  if (Status valid = CheckKey(key); !valid.ok()) return RespondError(exchange, valid);
  // A value that was forgotten must not become an empty one.
  if (!exchange->request().has_length) {
    return exchange->Respond(
        Problem(411, "Send the value as the body, with a Content-Length (0 if it is empty)."));
  }
  if (value.size() > service_->max_value_bytes()) {
    return exchange->Respond(Problem(
        413,
        "The value may have at most " + std::to_string(service_->max_value_bytes()) + " bytes."));
  }
  if (auto query = Query::Parse(exchange->request(), {}); !query) {
    return RespondError(exchange, query.error());
  }
  auto condition = WriteCondition(exchange->request());
  if (!condition) return RespondError(exchange, condition.error());
  v1::Command command;
  command.mutable_put()->set_key(std::move(key));
  command.mutable_put()->set_value(value.data(), value.size());
  if (*condition) *command.mutable_put()->mutable_precondition() = **condition;
  auto done = [exchange, answer = std::move(answer)](Result<kv::CommandResult> result) {
    if (!result) return RespondError(exchange, result.error());
    if (result->status.code() == Code::kConflict) {
      return exchange->Respond(ConditionFailed(result->prev_mod_revision));
    }
    if (!result->status.ok()) return RespondError(exchange, result->status);
    exchange->Respond(answer(*result));
  };
  service_->Write(exchange, std::move(command), std::move(done));
}

void KvApi::Delete(const ExchangePtr& exchange, std::string key) const {
  SetRoute(exchange, Route::kKeyDelete);
  if (Status valid = CheckKey(key); !valid.ok()) return RespondError(exchange, valid);
  if (auto query = Query::Parse(exchange->request(), {}); !query) {
    return RespondError(exchange, query.error());
  }
  auto condition = WriteCondition(exchange->request());
  if (!condition) return RespondError(exchange, condition.error());
  v1::Command command;
  command.mutable_delete_()->set_key(std::move(key));
  if (*condition) *command.mutable_delete_()->mutable_precondition() = **condition;
  auto done = [exchange](Result<kv::CommandResult> result) {
    if (!result) return RespondError(exchange, result.error());
    if (result->status.code() == Code::kConflict) {
      return exchange->Respond(ConditionFailed(result->prev_mod_revision));
    }
    if (!result->status.ok()) return RespondError(exchange, result->status);
    if (result->deleted == 0) return exchange->Respond(NoSuchKey(result->revision));
    HttpResponse response;
    response.status = 204;
    response.Add("Raftkv-Revision", result->revision);
    exchange->Respond(std::move(response));
  };
  service_->Write(exchange, std::move(command), std::move(done));
}

void KvApi::Get(const ExchangePtr& exchange, std::string key, GetAnswer answer) const {
  SetRoute(exchange, Route::kKeyGet);
  if (Status valid = CheckKey(key); !valid.ok()) return RespondError(exchange, valid);
  auto query = Query::Parse(exchange->request(), {"consistency", "revision"});
  if (!query) return RespondError(exchange, query.error());
  auto consistency = query->Consistency();
  if (!consistency) return RespondError(exchange, consistency.error());
  auto revision = query->Number("revision", 0);
  if (!revision) return RespondError(exchange, revision.error());
  auto conditions = Conditions::Parse(exchange->request());
  if (!conditions) return RespondError(exchange, conditions.error());
  auto read = [exchange, service = service_, answer = std::move(answer),
               request =
                   ReadRequest{std::move(key), *revision, std::move(*conditions)}](Status ready) {
    if (!ready.ok()) return RespondError(exchange, ready);
    AnswerRead(exchange, service->node().state(), request, answer);
  };
  service_->Barrier(exchange, *consistency, std::move(read));
}

}  // namespace raftkv::server
