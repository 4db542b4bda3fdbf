#include "tests/bench/requests.h"

#include "base/encoding.h"

namespace raftkv::bench {
namespace {

// Printable and without repetition, so that compression somewhere on the way gains nothing.
std::string RandomValue(size_t bytes, Random& random) {
  std::string value(bytes, '\0');
  for (char& c : value) c = static_cast<char>('0' + random.Uniform(75));
  return value;
}

std::string HostLine(const Endpoint& to) { return " HTTP/1.1\r\nHost: " + to.ToString() + "\r\n"; }

std::string LengthLine(size_t bytes) {
  return "Content-Length: " + std::to_string(bytes) + "\r\n\r\n";
}

}  // namespace

RequestMaker::RequestMaker(const LoadOptions& options, Random& random) : options_(options) {
  put_tail_ = RandomValue(options.value_bytes, random);
  if (options.protocol == Protocol::kEtcdGateway) put_tail_ = Base64Encode(put_tail_) + "\"}";
}

std::string RequestMaker::Digits(uint64_t number) const {
  std::string digits(static_cast<size_t>(options_.key_bytes), '0');
  for (size_t i = digits.size(); i-- > 0; number /= 10)
    digits[i] = static_cast<char>('0' + number % 10);
  return digits;
}

Request RequestMaker::Json(const Endpoint& to, const std::string& path, const std::string& begin,
                           const std::string& end, size_t tail_bytes) const {
  std::string key = Base64Encode(Digits(0));
  std::string head = "POST " + path + HostLine(to) +
                     LengthLine(begin.size() + key.size() + end.size() + tail_bytes) + begin;
  return Request{head + key + end, head.size()};
}

Request RequestMaker::Put(const Endpoint& to) const {
  if (options_.protocol == Protocol::kEtcdGateway)
    return Json(to, "/v3/kv/put", "{\"key\":\"", "\",\"value\":\"", put_tail_.size());
  std::string head = "PUT " + options_.path_prefix;
  return Request{head + Digits(0) + HostLine(to) + LengthLine(put_tail_.size()), head.size()};
}

Request RequestMaker::Get(const Endpoint& to) const {
  if (options_.protocol == Protocol::kEtcdGateway) {
    const char* end = options_.stale ? "\",\"serializable\":true}" : "\"}";
    return Json(to, "/v3/kv/range", "{\"key\":\"", end, 0);
  }
  std::string head = "GET " + options_.path_prefix;
  return Request{head + Digits(0) + options_.get_query + HostLine(to) + "\r\n", head.size()};
}

void RequestMaker::WriteKey(uint64_t number, Request* request) const {
  if (options_.protocol == Protocol::kEtcdGateway) {
    std::string key = Base64Encode(Digits(number));
    request->bytes.replace(request->key_at, key.size(), key);
    return;
  }
  // In place: this runs for each request.
  for (size_t i = request->key_at + static_cast<size_t>(options_.key_bytes); i-- > request->key_at;
       number /= 10)
    request->bytes[i] = static_cast<char>('0' + number % 10);
}

}  // namespace raftkv::bench
