// PUT, GET, HEAD, DELETE of one key and GET of a range: /kv/{key} and /kv/?... (docs/api.md).
//
// Thread-safety: any thread; the Service must outlive every exchange's loop.
#pragma once

#include <functional>
#include <string>

#include "node/server/http.h"
#include "node/server/service.h"

namespace raftkv::server {

class KvApi {
 public:
  explicit KvApi(Service* service) : service_(service) {}

  // `path` is the request's raw path, "/kv", "/kv/" or "/kv/...".
  void Handle(const ExchangePtr& exchange) const;

  // The parts, for the seeds' APIs, which differ in where the key comes from and in the answer.
  using PutAnswer = std::function<HttpResponse(const kv::CommandResult&)>;
  using GetAnswer = std::function<HttpResponse(const kv::KeyValue&)>;
  void Put(const ExchangePtr& exchange, std::string key, std::string_view value,
           PutAnswer answer) const;
  void Get(const ExchangePtr& exchange, std::string key, GetAnswer answer) const;

 private:
  void Delete(const ExchangePtr& exchange, std::string key) const;
  void Range(const ExchangePtr& exchange) const;

  Service* const service_;
};

// The answers of the native API.
HttpResponse WriteAnswer(const kv::CommandResult& result);
HttpResponse ValueAnswer(const kv::KeyValue& item);

}  // namespace raftkv::server
