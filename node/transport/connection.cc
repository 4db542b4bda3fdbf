#include "node/transport/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <utility>

#include "base/check.h"

namespace raftkv::transport {
namespace {

// A frame that has grown to this is closed and another begun: the receiver can work on the first
// while the second is on its way.
constexpr size_t kFrameTargetBytes = 128 << 10;
constexpr size_t kKeepWriteBytes = 1 << 20;
constexpr size_t kMaxWriteBytes = 256 << 10;

std::string RemoteAddress(const asio::ip::tcp::socket& socket) {
  asio::error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) return "unknown";
  const std::string address = endpoint.address().to_string();
  const std::string port = std::to_string(endpoint.port());
  return endpoint.address().is_v6() ? "[" + address + "]:" + port : address + ":" + port;
}

}  // namespace

Connection::Connection(asio::ip::tcp::socket socket, const ConnectionOptions& options,
                       size_t max_frame_bytes)
    : options_(options),
      socket_(std::move(socket)),
      timer_(socket_.get_executor()),
      remote_(RemoteAddress(socket_)),
      reader_(max_frame_bytes) {
  SetMaxFrameBytes(max_frame_bytes);
}

void Connection::SetMaxFrameBytes(size_t bytes) {
  reader_.set_max_body_bytes(bytes);
  frame_target_ = std::min(kFrameTargetBytes, bytes / 2);
}

void Connection::Start(std::weak_ptr<User> user) {
  user_ = std::move(user);
  asio::error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
#ifdef TCP_USER_TIMEOUT
  const auto limit_ms = static_cast<unsigned>(
      std::chrono::duration_cast<std::chrono::milliseconds>(options_.silence_limit).count());
  ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof(limit_ms));
#endif
  pending_.Append(kMagic);
  StartTick();
  Read();
}

void Connection::Close() {
  if (closed_) return;
  closed_ = true;
  user_.reset();
  timer_.cancel();
  asio::error_code ignored;
  socket_.close(ignored);
}

void Connection::CloseWhenSent() {
  if (closed_) return;
  user_.reset();
  draining_ = true;
  paused_ = false;
  silent_ticks_ = 0;
  Flush();
  if (writing_.empty()) OnWritten({}, 0);
  // What is still read is thrown away.
  if (!reading_ && !delivering_ && Deliver()) Read();
}

void Connection::ResumeReading() {
  if (closed_ || !paused_) return;
  paused_ = false;
  if (reading_ || delivering_) return;
  if (Deliver() && !paused_) Read();
}

void Connection::Read() {
  reading_ = true;
  const std::span<char> room = reader_.Prepare();
  socket_.async_read_some(asio::buffer(room.data(), room.size()),
                          [self = shared_from_this()](const asio::error_code& error, size_t n) {
                            self->OnRead(error, n);
                          });
}

void Connection::OnRead(const asio::error_code& error, size_t n) {
  reading_ = false;
  if (closed_) return;
  if (error == asio::error::eof) {
    return Fail(reader_.partial() ? "closed by the other side within a frame"
                                  : "closed by the other side");
  }
  if (error) return Fail(error.message());
  silent_ticks_ = draining_ ? silent_ticks_ : 0;
  received_bytes_ += n;
  reader_.Commit(n);
  if (paused_) return;
  if (Deliver() && !paused_) Read();
}

bool Connection::Deliver() {
  delivering_ = true;
  FrameError error = FrameError::kNone;
  bool ok = true;
  while (!closed_ && !paused_ && ok) {
    std::string_view body;
    error = reader_.Next(&body);
    if (error != FrameError::kNone) break;
    if (body.empty() || draining_) continue;
    const auto user = user_.lock();
    ok = user == nullptr || user->OnFrame(body);
  }
  if (error == FrameError::kBadMagic) {
    const auto user = user_.lock();
    if (draining_ || (user != nullptr && user->OnForeign(reader_.rest()))) {
      reader_.DiscardRest();
      error = FrameError::kNeedMore;
    }
  }
  if (const auto user = user_.lock(); user != nullptr && !closed_) user->OnReadEnd();
  delivering_ = false;
  if (!ok) Fail("protocol error: unexpected or malformed message");
  if (error != FrameError::kNone && error != FrameError::kNeedMore) {
    Fail(std::string("protocol error: ") + Describe(error));
  }
  return !closed_;
}

ByteBuffer& Connection::OpenFrame() {
  if (frame_open_ && pending_.size() - frame_begin_ >= frame_target_) CloseFrame();
  if (!frame_open_) {
    frame_open_ = true;
    frame_begin_ = BeginFrame(pending_);
  }
  return pending_;
}

void Connection::CloseFrame() {
  frame_open_ = false;
  // Nothing was put in, or what was had to be undone.
  if (pending_.size() == frame_begin_ + kFrameHeaderBytes) {
    pending_.Truncate(frame_begin_);
  } else {
    EndFrame(pending_, frame_begin_);
  }
}

void Connection::SendFrame(const google::protobuf::MessageLite& message) {
  if (frame_open_) CloseFrame();
  AppendFrame(message, pending_);
  Flush();
}

void Connection::SendForeign(std::string_view bytes) {
  CHECK(sent_bytes_ == 0 && writing_.empty(), "nothing has left");
  frame_open_ = false;
  pending_.Clear(kKeepWriteBytes);
  pending_.Append(bytes);
  Flush();
}

void Connection::SendKeepAlive() {
  if (frame_open_) CloseFrame();
  EndFrame(pending_, BeginFrame(pending_));
  Flush();
}

void Connection::Flush() {
  if (frame_open_) CloseFrame();
  if (closed_ || !writing_.empty() || pending_.empty()) return;
  std::swap(pending_, writing_);
  WriteSome();
}

void Connection::WriteSome() {
  // In pieces, so that it is known of all but the last whether they left.
  const size_t piece = std::min(writing_.size() - written_, kMaxWriteBytes);
  handed_over_ = sent_bytes_ + piece;
  socket_.async_write_some(asio::buffer(writing_.data() + written_, piece),
                           [self = shared_from_this()](const asio::error_code& error, size_t n) {
                             self->OnWritten(error, n);
                           });
}

void Connection::OnWritten(const asio::error_code& error, size_t n) {
  if (closed_) return;
  if (error) return Fail(error.message());
  sent_bytes_ += n;
  written_ += n;
  if (written_ < writing_.size()) {
    // The other side takes what it can; its answers may wait behind all this. (A write that fits
    // the socket's buffer whole says nothing about the other side.)
    silent_ticks_ = 0;
    return WriteSome();
  }
  writing_.Clear(kKeepWriteBytes);
  written_ = 0;
  Flush();
  if (closed_ || !writing_.empty()) return;
  if (draining_ && !shut_) {
    // The other side reads to the end, closes, and so do we. Closing first could turn into a reset
    // that overtakes the last bytes.
    shut_ = true;
    asio::error_code ignored;
    socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  }
  if (const auto user = user_.lock()) user->OnDrained();
}

void Connection::StartTick() {
  timer_.expires_after(options_.tick);
  timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    if (!error && !self->closed_) self->OnTick();
  });
}

void Connection::OnTick() {
  // Ticks are counted, not time: after this process itself was stopped for a while, what arrived
  // meanwhile must get its chance to be read.
  if (!paused_ && ++silent_ticks_ * options_.tick > options_.silence_limit) {
    return Fail(
        "silent for " +
        std::to_string(
            std::chrono::duration_cast<std::chrono::milliseconds>(options_.silence_limit).count()) +
        " ms");
  }
  if (const auto user = user_.lock()) user->OnTick();
  if (!closed_) StartTick();
}

void Connection::Fail(const std::string& reason) {
  if (closed_) return;
  const auto user = user_.lock();
  Close();
  if (user != nullptr) user->OnClosed(reason);
}

}  // namespace raftkv::transport
