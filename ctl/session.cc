#include "ctl/session.h"

#include <chrono>
#include <utility>

namespace raftkv::ctl {

using client::Endpoint;

client::Http::Options Session::HttpOptions() const {
  auto from_seconds = [](double seconds) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  };
  return {.timeout = from_seconds(timeout_s), .connect_timeout = from_seconds(connect_timeout_s)};
}

Result<client::Client> Session::MakeClient() const {
  std::vector<std::string> texts = endpoints;
  if (texts.empty()) texts = {kDefaultEndpoint};
  ASSIGN_OR_RETURN(std::vector<Endpoint> parsed, client::ParseEndpoints(texts));
  return client::Client(std::move(parsed), HttpOptions());
}

Result<Endpoint> Session::AdminEndpointOf(const Endpoint& client_endpoint) const {
  client::Client client({client_endpoint}, HttpOptions());
  ASSIGN_OR_RETURN(uint16_t port, client.AdminPort(client_endpoint));
  return Endpoint{client_endpoint.host, port};
}

Result<client::Admin> Session::MakeAdmin() const {
  std::vector<Endpoint> found;
  if (!admin_endpoints.empty()) {
    ASSIGN_OR_RETURN(found, client::ParseEndpoints(admin_endpoints));
    return client::Admin(std::move(found), HttpOptions());
  }
  ASSIGN_OR_RETURN(client::Client client, MakeClient());
  Status last;
  for (const Endpoint& endpoint : client.http().endpoints()) {
    Result<Endpoint> admin = AdminEndpointOf(endpoint);
    if (admin) {
      found.push_back(std::move(*admin));
    } else {
      last = admin.error();
    }
  }
  if (found.empty())
    return Error(last.code(),
                 "no admin listener found (--admin-endpoints can name it): " + last.message());
  return client::Admin(std::move(found), HttpOptions());
}

Result<client::Admin> Session::MakeAdminOfOneNode() const {
  if (admin_endpoints.size() > 1 || (admin_endpoints.empty() && endpoints.size() > 1))
    return Error(
        Code::kInvalidArgument,
        "this concerns one node: name its admin listener with --admin-endpoints HOST:PORT");
  if (admin_endpoints.empty() && !endpoints.empty()) return MakeAdmin();
  ASSIGN_OR_RETURN(Endpoint endpoint,
                   client::ParseEndpoint(admin_endpoints.empty() ? kDefaultAdminEndpoint
                                                                 : admin_endpoints.front()));
  return client::Admin({std::move(endpoint)}, HttpOptions());
}

}  // namespace raftkv::ctl
