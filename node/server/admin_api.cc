#include "node/server/admin_api.h"

#include <algorithm>

#include "node/server/admin_raft.h"
#include "node/server/message_codec.h"
#include "node/server/query.h"

namespace raftkv::server {
namespace {

void AdminError(const ExchangePtr& exchange, const Status& error) {
  exchange->Respond(Problem(error, Audience::kAdmin));
}

// The body as a message; answers the request itself and returns false if it is none.
bool ReadBody(const ExchangePtr& exchange, google::protobuf::Message* message) {
  const HttpRequest& request = exchange->request();
  if (auto query = Query::Parse(request, {}); !query) {
    AdminError(exchange, query.error());
    return false;
  }
  if (request.body.empty()) return true;
  Status parsed;
  switch (FormatOfBody(request)) {
    case BodyFormat::kJson:
      parsed = MessageFromJson(request.body, message);
      break;
    case BodyFormat::kProtobuf:
      if (!message->ParseFromArray(request.body.data(), static_cast<int>(request.body.size()))) {
        parsed = Status(Code::kInvalidArgument,
                        "The body is no " + message->GetDescriptor()->name() + " message.");
      }
      break;
    case BodyFormat::kUnknown:
      exchange->Respond(
          Problem(415, "Send Content-Type: application/json or application/protobuf."));
      return false;
  }
  if (parsed.ok()) return true;
  AdminError(exchange, parsed);
  return false;
}

// Calls `method` of the node with the request's body and answers with what it gives.
template <typename Request, typename Response>
void Call(const Service& service, const ExchangePtr& exchange,
          void (runtime::Node::*method)(Request, MonotonicTime, runtime::Callback<Response>)) {
  Request message;
  if (!ReadBody(exchange, &message)) return;
  auto done = [exchange](Result<Response> result) {
    exchange->Run([exchange, result = std::move(result)] {
      if (!result) return AdminError(exchange, result.error());
      exchange->Respond(MessageAnswer(*result, FormatOfAnswer(exchange->request())));
    });
  };
  (service.node().*method)(std::move(message), service.Deadline(exchange->request()),
                           std::move(done));
}

// A fresh status of the node, or the last one if its loop is too busy to answer.
void WithStatus(const Service& service, const ExchangePtr& exchange,
                std::function<HttpResponse(const v1::StatusResponse&)> answer) {
  if (auto query = Query::Parse(exchange->request(), {}); !query) {
    return AdminError(exchange, query.error());
  }
  runtime::Node* node = &service.node();
  auto done = [exchange, node, answer = std::move(answer)](Result<v1::StatusResponse> fresh) {
    exchange->Run([exchange, node, answer, fresh = std::move(fresh)] {
      exchange->Respond(answer(fresh ? *fresh : *node->status()));
    });
  };
  node->FreshStatus(service.Deadline(exchange->request()), std::move(done));
}

struct AdminRoute {
  std::string_view path;
  Route route;
  bool post;
  void (*call)(const Service&, const ExchangePtr&);
};

constexpr AdminRoute kRoutes[] = {
    {"/admin/initialize", Route::kAdminInitialize, true,
     [](const Service& s, const ExchangePtr& e) { Call(s, e, &runtime::Node::Initialize); }},
    {"/admin/join", Route::kAdminJoin, true,
     [](const Service& s, const ExchangePtr& e) { Call(s, e, &runtime::Node::Join); }},
    {"/admin/membership", Route::kAdminMembership, true,
     [](const Service& s, const ExchangePtr& e) { Call(s, e, &runtime::Node::ChangeMembership); }},
    {"/admin/transfer", Route::kAdminTransfer, true,
     [](const Service& s, const ExchangePtr& e) {
       Call(s, e, &runtime::Node::TransferLeadership);
     }},
    {"/admin/snapshot", Route::kAdminSnapshot, true,
     [](const Service& s, const ExchangePtr& e) { Call(s, e, &runtime::Node::TakeSnapshot); }},
    {"/admin/compact", Route::kAdminCompact, true,
     [](const Service& s, const ExchangePtr& e) { Call(s, e, &runtime::Node::Compact); }},
    {"/admin/status", Route::kAdminStatus, false,
     [](const Service& s, const ExchangePtr& e) {
       BodyFormat format = FormatOfAnswer(e->request());
       WithStatus(s, e, [format](const v1::StatusResponse& status) {
         return MessageAnswer(status, format);
       });
     }},
    {"/admin/raft", Route::kAdminRaft, false,
     [](const Service& s, const ExchangePtr& e) { WithStatus(s, e, DescribeRaft); }},
};

}  // namespace

bool AdminApi::Handle(const ExchangePtr& exchange) const {
  const HttpRequest& request = exchange->request();
  auto found = std::ranges::find(kRoutes, request.raw_path, &AdminRoute::path);
  if (found == std::end(kRoutes)) return false;
  SetRoute(exchange, found->route);
  bool reads = request.method == "GET" || request.method == "HEAD";
  if (found->post && request.method != "POST") {
    exchange->Respond(MethodNotAllowed("POST"));
  } else if (!found->post && !reads) {
    exchange->Respond(MethodNotAllowed("GET, HEAD"));
  } else {
    found->call(*service_, exchange);
  }
  return true;
}

}  // namespace raftkv::server
