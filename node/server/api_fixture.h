// A Server over a FakeNode, for tests of routes.
#pragma once

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <nlohmann/json.hpp>

#include "node/server/fake_node.h"
#include "node/server/server.h"
#include "node/server/test_client.h"

namespace raftkv::server {

class ApiTest : public testing::Test {
 protected:
  explicit ApiTest(Dialect dialect = Dialect::kNative) {
    ServerOptions options;
    options.client_listen = options.admin_listen = options.metrics_listen = "127.0.0.1:0";
    options.dialect = dialect;
    options.max_value_bytes = 1000;
    options.open_snapshot = [this](MonotonicTime deadline, auto done) {
      node_.ExportSnapshot(deadline, std::move(done));
    };
    server_ = std::move(Server::Start(options, &node_, &registry_).value());
  }

  TestResponse Client(std::string_view method, std::string_view target, std::string_view body = {},
                      std::string_view headers = {}) {
    return Ask(server_->client_port(), method, target, body, headers);
  }
  TestResponse Admin(std::string_view method, std::string_view target, std::string_view body = {},
                     std::string_view headers = {}) {
    return Ask(server_->admin_port(), method, target, body, headers);
  }

  // Of a problem document: its detail; checks the form.
  static std::string Detail(const TestResponse& response) {
    EXPECT_EQ(response.Header("content-type"), "application/problem+json");
    auto problem = nlohmann::json::parse(response.body);
    EXPECT_EQ(problem["status"], response.status);
    for (const char* member : {"type", "title", "detail", "code"}) {
      EXPECT_FALSE(problem[member].get<std::string>().empty()) << member;
    }
    return problem["detail"];
  }

  prometheus::Registry registry_;
  FakeNode node_;
  std::unique_ptr<Server> server_;
};

}  // namespace raftkv::server
