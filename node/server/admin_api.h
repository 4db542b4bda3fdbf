// The admin API: /admin/... with the messages of admin.proto as bodies (docs/api.md).
//
// Thread-safety: any thread; the Service must outlive every exchange's loop.
#pragma once

#include "node/server/service.h"

namespace raftkv::server {

class AdminApi {
 public:
  explicit AdminApi(Service* service) : service_(service) {}

  // False: no such route.
  bool Handle(const ExchangePtr& exchange) const;

 private:
  Service* const service_;
};

}  // namespace raftkv::server
