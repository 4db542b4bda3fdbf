#include "tests/faults/malformed_http.h"

#include <cctype>
#include <random>
#include <string_view>

namespace raftkv::faults {
namespace {

constexpr const char* kHost = "Host: h\r\n";

class Builder {
 public:
  void Add(const std::string& category, const std::string& bytes, int status) {
    requests_.push_back({category, bytes, status});
  }
  std::vector<MalformedRequest> Take() { return std::move(requests_); }

 private:
  std::vector<MalformedRequest> requests_;
};

std::string Line(const std::string& line, const std::string& headers = kHost) {
  return line + "\r\n" + headers + "\r\n";
}

// May stand in a method or in a header's name.
bool IsToken(char byte) {
  const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
  const bool digit = byte >= '0' && byte <= '9';
  return letter || digit ||
         std::string_view("!#$%&'*+-.^_`|~").find(byte) != std::string_view::npos;
}

// Understood, but a length is wanted.
bool IsChunked(std::string_view coding) {
  return coding == "chunked" || coding == "Chunked" || coding == " chunked";
}

void RequestLines(Builder& out) {
  for (int c = 0; c < 256; ++c) {
    const char byte = static_cast<char>(c);
    // What may stand in a method makes an unknown one; a space ends one.
    out.Add("method byte", Line(std::string("GE") + byte + "T /kv/a HTTP/1.1"),
            IsToken(byte) || byte == ' ' ? 501 : 400);
    if (c <= ' ' || c == 0x7f) {
      out.Add("target byte", Line(std::string("GET /kv/a") + byte + "b HTTP/1.1"), 400);
    }
  }
  for (const char* version : {"HTTP/0.9", "HTTP/2.0"}) {
    out.Add("version", Line(std::string("GET /kv/a ") + version), 505);
  }
  // No digit, point, digit.
  for (const char* version :
       {"HTTP/3", "HTTP/1.10", "HTTP/1", "http/1.1", "HTTP/1.1 x", "HTTP/-1.1", "HTTPS/1.1", "",
        "ICY", "HTTP/11", "HTTP/1.1\t", " HTTP/1.1"}) {
    out.Add("version", Line(std::string("GET /kv/a ") + version), 400);
  }
  for (const char* target : {"//", "/", "/nothing"}) {
    out.Add("target that names nothing", Line(std::string("GET ") + target + " HTTP/1.1"), 404);
  }
  for (const char* target : {"*",
                             "http://",
                             "http:///kv/a",
                             "kv/a",
                             "?",
                             "#",
                             "http:",
                             "\\",
                             "/kv/%",
                             "/kv/%1",
                             "/kv/%zz",
                             "/kv/%00%",
                             "/kv/a?x=%",
                             "/kv/a?consistency=strong",
                             "/kv/a?revision=-1",
                             "/kv/a?revision=1x",
                             "/kv/a?revision=99999999999999999999",
                             "/kv/a?unknown=1",
                             "/kv/a?revision=1&revision=2",
                             "/kv/?limit=0",
                             "/kv/?limit=10001",
                             "/kv/?order=up",
                             "/kv/?keys_only=maybe",
                             "/kv/?after=%",
                             "/kv/a#b"}) {
    out.Add("target", Line(std::string("GET ") + target + " HTTP/1.1"), 400);
  }
  // Neither of two hexadecimal digits, each in turn.
  for (char c = '!'; c <= '~'; ++c) {
    if (std::isxdigit(static_cast<unsigned char>(c)) != 0 || c == '#') continue;
    out.Add("percent-encoding", Line(std::string("GET /kv/a%") + c + "0 HTTP/1.1"), 400);
    out.Add("percent-encoding", Line(std::string("GET /kv/a%0") + c + " HTTP/1.1"), 400);
  }
  // Lines have their limit, keys a smaller one.
  for (size_t size = 52'000; size <= 236'000; size += 4'000) {
    out.Add("long target", Line("GET /kv/" + std::string(size, 'a') + " HTTP/1.1"), 414);
  }
  for (size_t size = 4097; size < 50'000; size += 2'400) {
    out.Add("long key", Line("GET /kv/" + std::string(size, 'a') + " HTTP/1.1"), 400);
  }
}

void Headers(Builder& out) {
  for (int c = 0; c < 256; ++c) {
    const char byte = static_cast<char>(c);
    // A colon ends the name, and the request is right.
    if (!IsToken(byte) && byte != ':') {
      out.Add("header name byte",
              Line("GET /kv/a HTTP/1.1", std::string(kHost) + "X" + byte + "Y: v\r\n"), 400);
    }
    if (c < ' ' && byte != '\t') {
      out.Add("header value byte",
              Line("GET /kv/a HTTP/1.1", std::string(kHost) + "X: a" + byte + "b\r\n"), 400);
    }
  }
  const std::string get = "GET /kv/a HTTP/1.1";
  for (const char* header : {" X: folded\r\n", "X\r\n", ": v\r\n", "X : v\r\n", "\tX: v\r\n",
                             "Host: other\r\n", "Host:\r\nHost:\r\n"}) {
    out.Add("header form", Line(get, std::string(kHost) + header), 400);
  }
  out.Add("no host", Line(get, ""), 400);
  for (size_t count = 65; count < 600; count += 35) {
    std::string headers = kHost;
    for (size_t i = 0; i < count; ++i) headers += "X" + std::to_string(i) + ": v\r\n";
    out.Add("many headers", Line(get, headers), 431);
  }
  for (size_t size = 8'500; size < 200'000; size += 5'000) {
    out.Add("long header", Line(get, kHost + ("X: " + std::string(size, 'v')) + "\r\n"), 431);
  }
  for (const char* condition :
       {"If-Match: 17\r\n", "If-Match: \"x\r\n", "If-Match: \r\n", "If-Match: *, *\r\n",
        "If-Match: \"1\" \"2\"\r\n", "If-None-Match: \"1\"\r\n",
        "If-Match: \"1\"\r\nIf-None-Match: *\r\n"}) {
    out.Add("condition",
            Line("PUT /kv/malformed HTTP/1.1",
                 std::string(kHost) + condition + "Content-Length: 0\r\n"),
            400);
  }
  // A weak one never matches.
  out.Add("condition",
          Line("PUT /kv/malformed HTTP/1.1",
               std::string(kHost) + "If-Match: W/\"1\"\r\nContent-Length: 0\r\n"),
          412);
}

void Bodies(Builder& out) {
  const std::string put = "PUT /kv/malformed HTTP/1.1";
  for (const char* length : {"-1", "+1", "0x10", "1 2", "1,2", "1,1x", "a", "", " ", "1.0", "1e3",
                             "1\r\nContent-Length: 2", "\xc2\xb2"}) {
    out.Add("content length", Line(put, std::string(kHost) + "Content-Length: " + length + "\r\n"),
            400);
  }
  for (const char* length : {"1048577", "2000000", "4294967296", "18446744073709551615",
                             "18446744073709551616", "99999999999999999999999"}) {
    out.Add("too large", Line(put, std::string(kHost) + "Content-Length: " + length + "\r\n"), 413);
  }
  for (const char* coding : {"chunked", "gzip", "gzip, chunked", "chunked, chunked", "identity",
                             "Chunked", " chunked", "x", "chunked;q=1", ""}) {
    out.Add("transfer coding",
            Line(put, std::string(kHost) + "Transfer-Encoding: " + coding + "\r\n") + "0\r\n\r\n",
            IsChunked(coding) ? 411 : 501);
    out.Add("smuggling",
            Line(put, std::string(kHost) + "Content-Length: 4\r\nTransfer-Encoding: " + coding +
                          "\r\n") +
                "0\r\n\r\nGET /kv/a HTTP/1.1\r\n\r\n",
            400);
  }
  out.Add("no length", Line(put), 411);
  for (const char* header : {"Content-Encoding: gzip\r\n", "Content-Type: multipart/form-data\r\n",
                             "Content-Encoding: br\r\n"}) {
    out.Add("content that is not understood",
            Line(put, std::string(kHost) + header + "Content-Length: 0\r\n"), 415);
  }
  out.Add("expectation", Line(put, std::string(kHost) + "Expect: 200-ok\r\nContent-Length: 0\r\n"),
          417);
  for (const char* method : {"TRACE", "CONNECT", "PATCH", "POST", "OPTIONS"}) {
    out.Add("method", Line(std::string(method) + " /kv/a HTTP/1.1"), 405);
  }
  for (const char* method : {"BREW", "get", "Put", "PROPFIND"}) {
    out.Add("unknown method", Line(std::string(method) + " /kv/a HTTP/1.1"), 501);
  }
  for (size_t cut = 1; cut < 60; ++cut) {
    out.Add("cut short", Line(put, std::string(kHost) + "Content-Length: 10\r\n").substr(0, cut),
            0);
  }
}

void Noise(Builder& out) {
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    std::string noise(1 + random() % 400, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    out.Add("noise", noise + "\r\n\r\n", 400);
  }
  out.Add("other protocols", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 400);
  out.Add("other protocols", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
  out.Add("other protocols", "\x89RAFTKV\n", 400);
  // No head that ends.
  out.Add("other protocols", "SSH-2.0-OpenSSH_9.2\r\n", 0);
  out.Add("other protocols", "*1\r\n$4\r\nPING\r\n", 0);
}

}  // namespace

std::vector<MalformedRequest> MalformedRequests() {
  Builder out;
  RequestLines(out);
  Headers(out);
  Bodies(out);
  Noise(out);
  return out.Take();
}

}  // namespace raftkv::faults
