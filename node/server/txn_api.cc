#include "node/server/txn_api.h"

#include <memory>

#include "node/server/message_codec.h"
#include "node/server/query.h"

namespace raftkv::server {
namespace {

using Ops = google::protobuf::RepeatedPtrField<v1::TxnRequest::Op>;
using v1::TxnCommand;
using v1::TxnRequest;
using v1::TxnResponse;

// Of values that are read, but for the last of them: as in a page of a listing.
constexpr size_t kMaxAnswerBytes = 4 << 20;
// Of these as many are read on the event loop, where other clients wait meanwhile; the others on a
// worker thread, as listings are.
constexpr size_t kMaxBytesOnLoop = 64 << 10;

bool Touches(const TxnRequest::Op& op, std::string_view key) {
  if (op.has_put()) return op.put().key() == key;
  if (!op.has_delete_()) return false;
  const v1::DeleteCommand& del = op.delete_();
  if (del.range_end().empty()) return del.key() == key;
  const bool to_the_last = del.range_end().size() == 1 && del.range_end()[0] == '\0';
  return key >= del.key() && (to_the_last || key < del.range_end());
}

// What the replicated state machine does not check, because it never sees it: the keys that are
// read.
Status CheckGets(const Ops& ops) {
  if (static_cast<size_t>(ops.size()) > kv::kMaxTxnOps) {
    return Status(Code::kInvalidArgument, "A list of a transaction may have at most " +
                                              std::to_string(kv::kMaxTxnOps) + " operations.");
  }
  for (const TxnRequest::Op& op : ops) {
    if (!op.has_get()) continue;
    RETURN_IF_ERROR(CheckKey(op.get().key()));
    for (const TxnRequest::Op& other : ops) {
      if (Touches(other, op.get().key())) {
        return Status(Code::kInvalidArgument,
                      "A key is read and changed in one list: gets show what the transaction "
                      "leaves, so read it in another list, or before.");
      }
    }
  }
  return Status::Ok();
}

Status CheckValues(const Ops& ops, size_t max_value_bytes) {
  for (const TxnRequest::Op& op : ops) {
    if (op.has_put() && op.put().value().size() > max_value_bytes) {
      return Status(Code::kInvalidArgument,
                    "A value may have at most " + std::to_string(max_value_bytes) + " bytes.");
    }
  }
  return Status::Ok();
}

Status Check(const TxnRequest& request, size_t max_value_bytes) {
  for (const Ops* ops : {&request.success(), &request.failure()}) {
    RETURN_IF_ERROR(CheckGets(*ops));
    RETURN_IF_ERROR(CheckValues(*ops, max_value_bytes));
  }
  return Status::Ok();
}

void TakeChanges(Ops* ops, google::protobuf::RepeatedPtrField<TxnCommand::Op>* out) {
  for (TxnRequest::Op& op : *ops) {
    if (op.has_put()) {
      out->Add()->mutable_put()->Swap(op.mutable_put());
    } else if (op.has_delete_()) {
      out->Add()->mutable_delete_()->Swap(op.mutable_delete_());
    } else if (!op.has_get()) {
      out->Add();  // an empty one, which the state machine refuses
    }
  }
}

std::vector<std::string> KeysRead(const Ops& ops) {
  std::vector<std::string> keys;
  for (const TxnRequest::Op& op : ops) {
    if (op.has_get()) keys.push_back(op.get().key());
  }
  return keys;
}

// Answers with the request that the body is, or refuses it.
std::optional<TxnRequest> ReadRequest(const ExchangePtr& exchange) {
  const HttpRequest& http = exchange->request();
  const BodyFormat format = FormatOfBody(http);
  if (format == BodyFormat::kUnknown) {
    exchange->Respond(
        Problem(415, "Send application/json or application/protobuf, and say so in Content-Type."));
    return std::nullopt;
  }
  if (auto query = Query::Parse(http, {}); !query) {
    RespondError(exchange, query.error());
    return std::nullopt;
  }
  if (format == BodyFormat::kJson) {
    auto request = TxnFromJson(http.body);
    if (request) return *std::move(request);
    RespondError(exchange, request.error());
    return std::nullopt;
  }
  TxnRequest request;
  if (request.ParseFromArray(http.body.data(), static_cast<int>(http.body.size()))) return request;
  RespondError(exchange, Status(Code::kInvalidArgument, "The body is not a protobuf TxnRequest."));
  return std::nullopt;
}

// What a transaction reads, as far as it has been read.
struct Reading {
  std::vector<std::string> keys;
  TxnResponse response;
  size_t bytes = 0;

  bool complete() const { return static_cast<size_t>(response.gets_size()) == keys.size(); }
  TxnResponse::Item* Next() {
    TxnResponse::Item* item = response.add_gets();
    item->set_key(keys[static_cast<size_t>(response.gets_size()) - 1]);
    return item;
  }
  // The transaction is done, whatever can still be read.
  void OmitTheRest() {
    while (!complete()) Next()->set_omitted(true);
  }
};

// Goes on until there are `max_bytes`. Reads at the transaction's own revision: no later write
// shows there.
Status ReadKeys(const kv::StateMachine& state, size_t max_bytes, Reading* reading) {
  while (!reading->complete() && reading->bytes < max_bytes) {
    TxnResponse::Item* item = reading->Next();
    const auto found = state.Get(item->key(), reading->response.revision());
    if (!found && found.error().code() == Code::kConflict) {
      item->set_omitted(true);
      continue;
    }
    if (!found) return found.error();
    item->set_found(found->has_value());
    if (!*found) continue;
    item->set_value((*found)->value);
    reading->bytes += (*found)->value.size();
    item->set_create_revision((*found)->create_revision);
    item->set_mod_revision((*found)->mod_revision);
    item->set_version((*found)->version);
  }
  return Status::Ok();
}

void AnswerTxn(const ExchangePtr& exchange, const TxnResponse& response) {
  if (FormatOfAnswer(exchange->request()) == BodyFormat::kProtobuf) {
    HttpResponse answer = MessageAnswer(response, BodyFormat::kProtobuf);
    answer.Add("Raftkv-Revision", response.revision());
    return exchange->Respond(std::move(answer));
  }
  HttpResponse answer;
  answer.Add("Content-Type", "application/json");
  answer.Add("Raftkv-Revision", response.revision());
  answer.body = TxnToJson(response);
  exchange->Respond(std::move(answer));
}

void ReadTheRest(const Service& service, const ExchangePtr& exchange, Reading* reading,
                 MonotonicTime deadline) {
  if (Clock::System().Now() < deadline) {
    const Status read = ReadKeys(service.node().state(), kMaxAnswerBytes, reading);
    if (!read.ok()) return RespondError(exchange, read);
  }
  reading->OmitTheRest();
  AnswerTxn(exchange, reading->response);
}

// The keys that each list reads.
struct Reads {
  std::vector<std::string> success;
  std::vector<std::string> failure;
};

void Finish(Service* service, const ExchangePtr& exchange, const Reads& reads,
            MonotonicTime deadline, const kv::CommandResult& result) {
  auto reading = std::make_shared<Reading>();
  reading->keys = result.succeeded ? reads.success : reads.failure;
  reading->response.set_succeeded(result.succeeded);
  reading->response.set_revision(result.revision);
  reading->response.set_deleted(result.deleted);
  const Status read = ReadKeys(service->node().state(), kMaxBytesOnLoop, reading.get());
  if (!read.ok()) return RespondError(exchange, read);
  if (reading->complete()) return AnswerTxn(exchange, reading->response);
  auto rest = [service, exchange, reading, deadline] {
    ReadTheRest(*service, exchange, reading.get(), deadline);
  };
  if (service->TryBlocking(rest)) return;
  reading->OmitTheRest();
  AnswerTxn(exchange, reading->response);
}

}  // namespace

void HandleTxn(Service* service, const ExchangePtr& exchange) {
  SetRoute(exchange, Route::kTxn);
  if (exchange->request().method != "POST") return exchange->Respond(MethodNotAllowed("POST"));
  std::optional<TxnRequest> request = ReadRequest(exchange);
  if (!request) return;
  if (Status valid = Check(*request, service->max_value_bytes()); !valid.ok()) {
    return RespondError(exchange, valid);
  }
  Reads reads{KeysRead(request->success()), KeysRead(request->failure())};
  v1::Command command;
  TxnCommand* txn = command.mutable_txn();
  txn->mutable_compare()->Swap(request->mutable_compare());
  TakeChanges(request->mutable_success(), txn->mutable_success());
  TakeChanges(request->mutable_failure(), txn->mutable_failure());
  auto done = [service, exchange, reads = std::move(reads),
               deadline =
                   service->Deadline(exchange->request())](Result<kv::CommandResult> result) {
    if (!result) return RespondError(exchange, result.error());
    if (!result->status.ok()) return RespondError(exchange, result->status);
    Finish(service, exchange, reads, deadline, *result);
  };
  service->Write(exchange, std::move(command), std::move(done));
}

}  // namespace raftkv::server
