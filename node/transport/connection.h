// Connection: one TCP connection that carries frames, whoever dialed. Reads are cut into frames
// and handed over read by read; writes gather in one buffer while another is on its way.
//
// Thread-safety: io thread only.
#pragma once

#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "node/transport/frame.h"

namespace raftkv::transport {

struct ConnectionOptions {
  size_t max_queued_bytes = 64 << 20;
  Duration tick = std::chrono::seconds(1);
  // A connection on which neither side's bytes move for this long is dead.
  Duration silence_limit = std::chrono::seconds(5);
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // Whoever uses the connection. Held weakly: a user that is gone hears nothing more.
  class User {
   public:
    virtual ~User() = default;
    // The next frame; false (a protocol error) closes the connection. May call SetUser: the frames
    // behind this one are the new user's.
    virtual bool OnFrame(std::string_view body) = 0;
    // The other side speaks another protocol, and begins with these bytes. False: a protocol error,
    // as above. True: it gets an answer that it understands (SendForeign, then CloseWhenSent).
    virtual bool OnForeign(std::string_view /*bytes*/) { return false; }
    // All frames of one read have been handed over.
    virtual void OnReadEnd() {}
    // Every Options::tick.
    virtual void OnTick() {}
    // Everything queued has been given to the operating system.
    virtual void OnDrained() {}
    // The connection broke, was closed by the other side, or spoke nonsense. Not after Close().
    virtual void OnClosed(const std::string& reason) = 0;
  };

  Connection(asio::ip::tcp::socket socket, const ConnectionOptions& options,
             size_t max_frame_bytes);

  // Sets socket options, sends the magic bytes and begins to read.
  void Start(std::weak_ptr<User> user);
  void SetUser(std::weak_ptr<User> user) { user_ = std::move(user); }
  // Of frames in both directions; who sends must keep single messages to half of it.
  void SetMaxFrameBytes(size_t bytes);
  // At once; queued bytes are lost, the user hears nothing more.
  void Close();
  // Once everything queued is sent and the other side has seen the end; bounded in time.
  void CloseWhenSent();
  bool closed() const { return closed_; }

  // No frame is handed over, and no more is read than fits the buffer, until ResumeReading.
  void PauseReading() { paused_ = true; }
  void ResumeReading();

  // --- Writing: put fields into the open frame, then Flush; or queue whole frames.
  // -----------------
  bool HasRoom(size_t bytes) const { return queued_bytes() + bytes <= options_.max_queued_bytes; }
  uint64_t queued_bytes() const { return pending_.size() + writing_.size() - written_; }
  // The buffer, with a frame open at its end.
  ByteBuffer& OpenFrame();
  void SendFrame(const google::protobuf::MessageLite& message);
  // In place of all frames, before any has left.
  void SendForeign(std::string_view bytes);
  void SendKeepAlive();
  void Flush();

  // Position in the stream of what is appended next; what lies before handed_over() may have left.
  uint64_t position() const { return sent_bytes_ + queued_bytes(); }
  uint64_t handed_over() const { return handed_over_; }

  uint64_t sent_bytes() const { return sent_bytes_; }
  uint64_t received_bytes() const { return received_bytes_; }
  const std::string& remote() const { return remote_; }

 private:
  void Read();
  void OnRead(const asio::error_code& error, size_t n);
  // Hands over the frames that are there; false if the connection is closed afterwards.
  bool Deliver();
  void WriteSome();
  void OnWritten(const asio::error_code& error, size_t n);
  void CloseFrame();
  void StartTick();
  void OnTick();
  void Fail(const std::string& reason);

  const ConnectionOptions options_;
  asio::ip::tcp::socket socket_;
  asio::steady_timer timer_;
  std::string remote_;
  std::weak_ptr<User> user_;
  FrameReader reader_;

  bool closed_ = false;
  bool reading_ = false;  // an asynchronous read is under way
  bool paused_ = false;
  bool delivering_ = false;
  bool draining_ = false;  // CloseWhenSent was called
  bool shut_ = false;      // our direction is shut down
  int silent_ticks_ = 0;

  ByteBuffer pending_;  // complete frames, perhaps one open frame at the end
  ByteBuffer writing_;  // being written
  size_t written_ = 0;  // of writing_
  bool frame_open_ = false;
  size_t frame_begin_ = 0;   // in pending_
  size_t frame_target_ = 0;  // bytes at which a frame is closed and another begun
  uint64_t handed_over_ = 0;
  uint64_t sent_bytes_ = 0;
  uint64_t received_bytes_ = 0;
};

}  // namespace raftkv::transport
